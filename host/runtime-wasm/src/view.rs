//! The store's data, and the narrow part of it that the host functions see.

use crate::backoff::Backoff;
use crate::folders::{Doors, disk, preopen};
use crate::held::Held;
use crate::host;
use crate::host::keyvalue::KeyValue;
use crate::host::room::Quota;
use crate::host::stdio::LineLog;
use crate::javascript::{Modules, Session};
use crate::ledger::{Answer, Ledger};
use crate::limits::Limiter;
use crate::loss::{Loss, TurnLimit};
use crate::ops::Ops;
use mortise_model::{GUEST_SOURCE, Limits, Permission, PluginId};
use mortise_plugin::{Disk, Health, InstanceLoss, Services, Usage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtx;

/// The most bytes that any guest is given at once.
const ENTRY_BYTES_MAX: usize = 8 << 20;

/// WASI resources that one instance may hold: streams, pollables, clocks' subscriptions.
const RESOURCES_MAX: usize = 10_000;

/// The same of one that sees folders: each may be a file that the host has open, with 64 KiB that were read or wait to be
/// written.
const RESOURCES_WITH_FOLDERS_MAX: usize = 500;

/// The same of one that sends requests through WASI: each may be a body of which 512 KiB wait to be sent.
const RESOURCES_WITH_HTTP_MAX: usize = 100;

/// The longest that a further instance waits after losses, however many were lost at once.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The most bytes that one `wasi:random` call gives; more is a trap.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What the instances of one driver share with it and with the generation's handle.
pub(crate) struct Shared {
    pub(crate) plugin: PluginId,
    pub(crate) limits: Limits,
    pub(crate) services: Arc<Services>,
    pub(crate) source: Source,
    /// The driver and the guest's `complete` run in one task; the std mutex is contended by health snapshots only.
    ledger: Mutex<Ledger>,
    losses: Arc<Mutex<Losses>>,
    /// What the plugin's instances use together.
    pub(crate) usage: Arc<Usage>,
    /// Whether the host's log has been told that the generation waits for its share of the processor.
    pub(crate) told_of_waiting: Arc<AtomicBool>,
}

/// What a runner interprets.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Nothing: the plugin is code.
    None,
    /// The plugin's folder, which the guest sees.
    Folder(PathBuf),
    /// The plugin's modules, which the host reads for the guest.
    Modules(Modules),
}

/// The instances that a generation has lost.
#[derive(Debug, Default)]
struct Losses {
    count: u64,
    /// Why the last one was.
    last: Option<String>,
    backoff: Backoff,
    /// When the next instance may begin, at the earliest.
    until: Option<Instant>,
}

impl Losses {
    /// One pause after the other, also where several instances wait for theirs. Returns the end of one more.
    fn pause(&mut self, now: Instant) -> Instant {
        let begin = self.until.map_or(now, |until| until.max(now));
        *self.until.insert((begin + self.backoff.next()).min(now + PAUSE_MAX))
    }
}

impl Shared {
    pub(crate) fn new(services: Arc<Services>, source: Source) -> Self {
        Self {
            plugin: services.plugin().clone(),
            limits: services.limits().clone(),
            usage: Arc::clone(services.usage()),
            services,
            source,
            ledger: Mutex::default(),
            losses: Arc::default(),
            told_of_waiting: Arc::default(),
        }
    }

    /// Whether an instance sees any folder of this machine.
    pub(crate) fn has_folders(&self) -> bool {
        matches!(self.source, Source::Folder(_)) || self.services.wants_folders()
    }

    /// The same for a further driver of the generation.
    pub(crate) fn beside(&self) -> Self {
        Self {
            plugin: self.plugin.clone(),
            limits: self.limits.clone(),
            services: Arc::clone(&self.services),
            source: self.source.clone(),
            ledger: Mutex::new(Ledger::counting(Arc::clone(self.ledger().tally()))),
            losses: Arc::clone(&self.losses),
            usage: Arc::clone(&self.usage),
            told_of_waiting: Arc::clone(&self.told_of_waiting),
        }
    }

    /// How many bytes a guest is given at once, as parameters or as an op's result. It copies them into its own memory,
    /// and text that fills that memory would be the end of it.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        let memory = usize::try_from(self.limits.memory.0).unwrap_or(usize::MAX);
        ENTRY_BYTES_MAX.min(memory / 4)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the answers that are due.
    pub(crate) fn give_answers(&self) {
        let answers = self.ledger().take_answers();
        answers.into_iter().for_each(Answer::give);
    }

    /// Counts a loss. Returns when the next instance may begin, at the earliest.
    pub(crate) fn count_loss(&self, loss: &Loss, functions: BTreeSet<Arc<str>>, answered: bool) -> Instant {
        let until = {
            let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
            (losses.count, losses.last) = (losses.count + 1, Some(loss.reason.clone()));
            if answered {
                losses.backoff.reset();
                losses.until = None;
            }
            losses.pause(Instant::now())
        };
        let Loss { code, reason } = loss.clone();
        self.services.count_loss(InstanceLoss { code, reason, functions, answered });
        until
    }

    /// When a further instance may begin, at the earliest, if there were losses.
    pub(crate) fn pause(&self) -> Option<Instant> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).until
    }

    /// What is known of the generation besides its instances and their calls.
    pub(crate) fn health(&self) -> Health {
        let (traps, last_trap) = {
            let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
            (losses.count, losses.last.clone())
        };
        Health { traps, last_trap, stray_outcomes: self.ledger().tally().stray(), ..Health::default() }
    }
}

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    pub(crate) host: HostView,
    /// Of an interpreter that is a core module.
    pub(crate) javascript: Option<Session>,
    wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) table: ResourceTable,
}

impl State {
    /// Of a fresh instance, which sees of WASI's world what the plugin was granted.
    ///
    /// # Errors
    /// A folder that was granted cannot be opened.
    pub(crate) fn new(shared: Arc<Shared>, turn_limit: TurnLimit) -> Result<Self, Loss> {
        let mut held = Held::nothing(&shared.services);
        let mut doors = Doors::none(&shared.services);
        let mut table = ResourceTable::new();
        // The builder's defaults deny already: no files, no environment, no arguments, no network, empty stdin. Name
        // lookup and sockets are named here because a guest may open a socket by default, if to no address.
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .stdout(LineLog::stdout(&shared))
            .stderr(LineLog::stderr(&shared))
            .max_random_size(RANDOM_BYTES_MAX);
        for (name, value) in shared.services.environment() {
            wasi.env(name.as_str(), value);
            held.add(Permission::Env(name));
        }
        let folders = shared.services.folders();
        let (granted, others) = folders.map_err(|failure| Loss { code: "folder", reason: failure.message })?;
        granted.iter().for_each(|folder| held.add(Permission::Files(folder.access.clone())));
        doors.close(&shared.services, &others);
        table.set_max_capacity(if shared.has_folders() { RESOURCES_WITH_FOLDERS_MAX } else { RESOURCES_MAX });
        let not_opened = |folder: &Path, error: &wasmtime::Error| Loss {
            code: "folder",
            reason: format!("folder `{}` cannot be opened: {error:#}", folder.display()),
        };
        if let Source::Folder(source) = &shared.source {
            let opened = wasi.preopened_dir(source, GUEST_SOURCE, FsPerms::ReadOnly);
            opened.map_err(|error| not_opened(source, &error))?;
        }
        for folder in granted {
            preopen(&mut wasi, folder).map_err(|error| not_opened(folder.access.folder(), &error))?;
        }
        let disk = disk(&shared, held.folders());
        let names_bytes_max = shared.entry_bytes_max();
        Ok(Self {
            limiter: Limiter::new(&shared.limits, Arc::clone(&shared.usage)),
            host: HostView {
                shared,
                ops: Ops::default(),
                keyvalue: KeyValue::default(),
                bodies: Quota::new(host::http::BODIES_BYTES_MAX),
                names: Quota::new(names_bytes_max),
                disk,
                held,
                doors,
                warned: Some(Vec::new()),
                turn_limit,
            },
            javascript: None,
            wasi: wasi.build(),
            http: host::http::context(),
            table,
        })
    }

    /// For a guest of which each resource may be large.
    pub(crate) fn hold_little(&mut self) {
        self.table.set_max_capacity(RESOURCES_WITH_HTTP_MAX);
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What `mortise:plugin/host` works on.
pub(crate) struct HostView {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ops: Ops,
    /// Of `wasi:keyvalue`.
    pub(crate) keyvalue: KeyValue,
    /// Of `wasi:http`.
    pub(crate) bodies: Quota,
    /// Of listings of folders.
    pub(crate) names: Quota,
    /// Of `wasi:filesystem`; none where nothing may be changed.
    pub(crate) disk: Option<Disk>,
    pub(crate) held: Held,
    pub(crate) doors: Doors,
    /// What it has warned of so far; none once it has described itself.
    pub(crate) warned: Option<Vec<String>>,
    /// Bounds the turn under way.
    pub(crate) turn_limit: TurnLimit,
}

/// Tells wasmtime how a host function gets from the store's data to its view.
pub(crate) struct HasHostView;

impl HasData for HasHostView {
    type Data<'a> = &'a mut HostView;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_one_another_and_end_within_the_longest() {
        let (mut losses, now) = (Losses::default(), Instant::now());
        let ends: Vec<u128> = (0..5).map(|_| (losses.pause(now) - now).as_millis()).collect();
        assert_eq!(ends, [0, 10, 30, 70, 150]);
        assert_eq!((0..64).map(|_| losses.pause(now) - now).max(), Some(PAUSE_MAX));
    }
}
