//! `mortise dev`: installs a plugin at each save, and shows what it logs.

mod report;
mod watch;

use super::deploy::shown::Shown;
use super::deploy::{self, LINES_MAX, LOG_TICK, WAITING, install, is_success};
use crate::cli::args::DevArgs;
use crate::cli::client::{CallFailure, HostClient};
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::package::Package;
use crate::cli::progress::Progress;
use crate::cli::settings::config_failure;
use crate::config::{ClientConfig, ClientFlags, env::ProcessEnvironment, resolve_client};
use mortise_mesh::MeshError;
use mortise_model::PluginId;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::path::PathBuf;
use watch::{Look, News, Watch};

/// How often the same files are sent while no answer comes.
const ATTEMPTS: u32 = 2;

pub(in crate::cli) fn run(args: &DevArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let config = resolve_client(&ClientFlags::from(&args.connection), &ProcessEnvironment)
        .map_err(|errors| config_failure(&errors))?;
    for warning in &config.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    let id = args.plugin_id.as_ref().map(PluginId::new).transpose();
    let id = id.map_err(|error| CommandError { status: ExitStatus::Usage, ..error.into() })?;
    if !args.path.is_dir() {
        let error = anyhow::anyhow!("not a directory: {}", args.path.display());
        return Err(CommandError::failed(error).hint("`mortise new <id>` makes a plugin to begin with"));
    }
    let runtime = super::client_runtime()?;
    let mut session = Session::new(args, id, config);
    let outcome = runtime.block_on(async {
        tokio::select! {
            failed = session.run(printer) => failed.map(|never| match never {}),
            _ = tokio::signal::ctrl_c() => Ok(ExitStatus::Success),
        }
    });
    // A build, or a transport's threads, may still be at work; nobody else waits for them.
    runtime.shutdown_background();
    if let (Ok(_), Some(id)) = (&outcome, &session.installed) {
        printer.note(&stays(id));
    }
    outcome
}

struct Session {
    folder: PathBuf,
    /// Under which it is to be installed, where that was said.
    id: Option<PluginId>,
    install_dependencies: bool,
    config: ClientConfig,
    /// None while the host is out of reach.
    client: Option<HostClient>,
    watch: Watch,
    /// Whether the folder could not be looked at last time.
    unseen: bool,
    /// What was packed last, whose log is shown.
    plugin: Option<PluginId>,
    /// What was installed last.
    installed: Option<PluginId>,
    /// Where its log was left.
    log: Shown,
    /// Whether the host has no such function as one that shows a log.
    log_closed: bool,
    /// Whether the log was refused last time.
    log_refused: bool,
    /// How often the files as they are were sent without an answer.
    unanswered: u32,
}

/// Why an install did not get as far as a result.
enum Failure {
    /// The plugin is not sound, does not build or cannot be sent, or the host answered with an error: again it would be no better.
    Settled(CommandError),
    /// Nobody knows what the host made of it.
    Lost(CommandError),
}

impl From<CallFailure> for Failure {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Answered(error) => Self::Settled(error),
            CallFailure::Lost(error) | CallFailure::Final(error) => {
                // Nothing was sent.
                let is_too_large = matches!(error.error.downcast_ref(), Some(MeshError::TooLarge { .. }));
                if is_too_large { Self::Settled(error) } else { Self::Lost(error) }
            }
        }
    }
}

impl Session {
    fn new(args: &DevArgs, id: Option<PluginId>, config: ClientConfig) -> Self {
        Self {
            folder: args.path.clone(),
            id,
            install_dependencies: args.install_dependencies,
            config,
            client: None,
            watch: Watch::default(),
            unseen: false,
            plugin: None,
            installed: None,
            log: Shown::default(),
            log_closed: false,
            log_refused: false,
            unanswered: 0,
        }
    }

    /// Goes on until it is dropped.
    ///
    /// # Errors
    /// When there is no host at first. Later ones are printed.
    async fn run(&mut self, printer: &mut Printer) -> Result<Infallible, CommandError> {
        let client = HostClient::connect(&self.config, &Progress::none()).await?;
        client.pin(&mut self.config);
        self.client = Some(client);
        printer.note(&format!("watching `{}`; Ctrl-C ends that", self.folder.display()));
        loop {
            if self.client.is_none() {
                self.reconnect(printer).await;
            }
            if self.has_changed(printer).await {
                self.install(printer).await;
            }
            self.show_log(printer).await;
            // A change is sent when two looks in a row see the same.
            tokio::time::sleep(LOG_TICK).await;
        }
    }

    /// Tries until the host is there again.
    async fn reconnect(&mut self, printer: &mut Printer) {
        printer.note(WAITING);
        self.client = Some(HostClient::reconnect(&self.config).await);
        printer.note("the host is there again");
        self.log.interrupted();
        (self.log_closed, self.log_refused) = (false, false);
        // It may have come back without the plugin; the same files change nothing where they are there already.
        if self.unanswered < ATTEMPTS {
            self.watch.forget();
        }
    }

    async fn has_changed(&mut self, printer: &mut Printer) -> bool {
        let folder = self.folder.clone();
        let look = tokio::task::spawn_blocking(move || Look::at(&folder)).await;
        let look = look.map_err(std::io::Error::other).and_then(|look| look);
        match look {
            Ok(look) => {
                self.unseen = false;
                let news = self.watch.news(look);
                if news == Some(News::Changed) {
                    self.unanswered = 0;
                }
                news.is_some()
            }
            Err(error) => {
                // Once, and not at each look.
                if !std::mem::replace(&mut self.unseen, true) {
                    let context = format!("failed to look at `{}`", self.folder.display());
                    printer.failure(&CommandError::failed(anyhow::Error::new(error).context(context)));
                }
                false
            }
        }
    }

    /// Installs the plugin as it lies there, and prints what came of it.
    async fn install(&mut self, printer: &mut Printer) {
        let runs = match self.send(printer).await {
            Ok(result) => report::installed(&result, printer),
            Err(Failure::Settled(error)) => {
                printer.failure(&error);
                false
            }
            Err(Failure::Lost(error)) => {
                printer.failure(&error);
                self.client = None;
                self.unanswered = self.unanswered.saturating_add(1);
                return;
            }
        };
        self.unanswered = 0;
        if !runs {
            self.tell_what_runs(printer).await;
            return;
        }
        let before = std::mem::replace(&mut self.installed, self.plugin.clone());
        if let Some(before) = before.filter(|before| self.plugin.as_ref() != Some(before)) {
            printer.note(&stays(&before));
        }
    }

    async fn send(&mut self, printer: &mut Printer) -> Result<Value, Failure> {
        let package = self.pack().await.map_err(Failure::Settled)?;
        for warning in &package.warnings {
            printer.note(&format!("warning: {warning}"));
        }
        if let Some(id) = package.plugin_id.as_ref().filter(|id| self.plugin.as_ref() != Some(*id)) {
            self.log = self.log_end(id).await?;
            self.log_refused = false;
            self.plugin = Some(id.clone());
        }
        let Some(client) = &mut self.client else {
            return Err(Failure::Lost(no_host()));
        };
        let digest = package.digest;
        let action = install::of_package(package, &digest, true, self.install_dependencies);
        Ok(deploy::send(client, &self.config, action, &Progress::none()).await?)
    }

    /// Packs the folder; a crate is built first.
    async fn pack(&self) -> Result<Package, CommandError> {
        let (folder, id) = (self.folder.clone(), self.id.clone());
        let pack = move || Package::make(&folder, id, false, &ProcessEnvironment, &Progress::none());
        tokio::task::spawn_blocking(pack).await?
    }

    /// The end of the plugin's log: what is older is not shown.
    async fn log_end(&mut self, id: &PluginId) -> Result<Shown, CallFailure> {
        let params = Map::from_iter([("plugin_id".to_owned(), json!(id.as_str())), ("limit".to_owned(), json!(1))]);
        match self.ask("get_plugin_logs", params).await {
            Ok(page) if is_success(&page) => Ok(Shown::after(&page)),
            // There is no log yet, or none to see; that is told when it is to be shown.
            Ok(_) | Err(CallFailure::Answered(_)) => Ok(Shown::default()),
            Err(lost) => Err(lost),
        }
    }

    async fn show_log(&mut self, printer: &mut Printer) {
        while let Some(mut page) = self.log_page(printer).await {
            let count = page.get("lines").and_then(Value::as_array).map_or(0, Vec::len);
            let missing = self.log.take(&mut page);
            if missing > 0 {
                printer.note(&format!("{missing} lines are not shown"));
            }
            deploy::report::log_lines(&page, printer);
            if count < LINES_MAX {
                return;
            }
        }
    }

    /// The next part of the plugin's log; none where there is no log, none to see, or no host.
    async fn log_page(&mut self, printer: &mut Printer) -> Option<Value> {
        if self.log_closed {
            return None;
        }
        let id = self.plugin.as_ref()?.as_str();
        let wanted = [("plugin_id", json!(id)), ("since", json!(self.log.since())), ("limit", json!(LINES_MAX))];
        let wanted = wanted.map(|(key, value)| (key.to_owned(), value));
        match self.ask("get_plugin_logs", Map::from_iter(wanted)).await {
            Ok(page) if is_success(&page) => {
                self.log_refused = false;
                Some(page)
            }
            Ok(refused) => {
                // Nobody has tried to load the plugin yet.
                let is_early = refused.get("code") == Some(&json!("not_loaded"));
                if !is_early && !std::mem::replace(&mut self.log_refused, true) {
                    printer.failure(&deploy::report::refusal(ExitStatus::Failed, &refused));
                }
                None
            }
            Err(CallFailure::Answered(error)) => {
                self.log_closed = true;
                printer.failure(&error);
                None
            }
            Err(CallFailure::Lost(_) | CallFailure::Final(_)) => None,
        }
    }

    async fn tell_what_runs(&mut self, printer: &mut Printer) {
        let Some(id) = self.plugin.clone() else { return };
        if let Ok(list) = self.ask("list_plugins", Map::new()).await {
            report::what_runs(id.as_str(), &list, printer);
        }
    }

    /// Calls a function of the host; the connection is given up where nothing comes back.
    async fn ask(&mut self, method: &str, params: Map<String, Value>) -> Result<Value, CallFailure> {
        let Some(client) = &mut self.client else { return Err(CallFailure::Final(no_host())) };
        let answer = client.call(method, params, self.config.timeout, &Progress::none()).await;
        if let Err(CallFailure::Lost(_) | CallFailure::Final(_)) = &answer {
            self.client = None;
        }
        answer
    }
}

fn stays(id: &PluginId) -> String {
    format!("`{id}` stays installed; `mortise deploy uninstall {id}` removes it")
}

fn no_host() -> CommandError {
    CommandError::failed(anyhow::anyhow!("the host is not there"))
}
