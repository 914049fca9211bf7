//! One instance, and the ways into it. Every entry is a turn; an error from any of them means that the instance is
//! lost, and so does dropping a turn's future halfway.

use crate::bindings::Plugin;
use crate::bindings::mortise::plugin::types as wit;
use crate::code::Code;
use crate::engine::Engine;
use crate::javascript::Interpreter;
use crate::loss::{Loss, TurnLimit};
use crate::ops::{OpOutcome, Ops};
use crate::outcome;
use crate::view::{Shared, State};
use std::sync::Arc;
use tokio::time::Instant;
use wasmtime::{Store, UpdateDeadline};

/// How much one crossing of the boundary may make the host allocate. A guest's list can name the same megabyte a
/// million times, so its own memory limit does not bound what is lifted from it.
pub(crate) const CROSSING_BYTES_MAX: usize = 16 << 20;

/// Ticks before a turn is asked to let others run for the first time: two, so that it gets one whole tick at least.
const FIRST_YIELD_TICKS: u64 = 2;

/// Parameters longer than this are not worth keeping the buffer for.
const PARAMETERS_KEPT_BYTES_MAX: usize = 64 << 10;

/// An instance that can be entered. Its store outlives its exports: fields drop top to bottom.
pub(crate) struct Guest {
    entries: Entries,
    store: Store<State>,
}

/// How a guest is entered.
enum Entries {
    Component {
        plugin: Plugin,
        /// Reused, so that handing over a call's parameters allocates nothing.
        parameters: String,
    },
    Interpreter(Interpreter),
}

/// A call as the guest is told of it.
pub(crate) struct GuestCall<'a> {
    pub(crate) id: u64,
    pub(crate) kind: wit::CallKind,
    pub(crate) name: &'a str,
    /// A JSON object.
    pub(crate) parameters: &'a str,
    pub(crate) context: wit::CallContext<'a>,
}

impl Guest {
    /// A fresh instance. Running its start functions is a turn as well.
    pub(crate) async fn instantiate(
        code: &Code,
        shared: Arc<Shared>,
        engine: Arc<Engine>,
        limit: TurnLimit,
    ) -> Result<Self, Loss> {
        let state = if shared.has_folders() {
            // A folder may lie on a disk that does not answer.
            let state = tokio::task::spawn_blocking(move || State::new(shared, limit));
            state.await.map_err(|error| Loss { code: "folder", reason: error.to_string() })?
        } else {
            State::new(shared, limit)
        };
        let mut store = store(engine, state?);
        let entries = match code {
            Code::Component { plugin, sends_requests } => {
                if *sends_requests {
                    store.data_mut().hold_little();
                }
                let plugin = plugin.instantiate_async(&mut store).await;
                plugin.map(|plugin| Entries::Component { plugin, parameters: String::new() })
            }
            Code::Interpreter(program) => Interpreter::new(&mut store, program).await.map(Entries::Interpreter),
        };
        match entries {
            Ok(entries) => Ok(Self { entries, store }),
            Err(error) => Err(Loss::explain(&error, store.data())),
        }
    }

    /// To be called before each of the entries below: its limit begins now.
    pub(crate) fn begin_turn(&mut self, limit: TurnLimit) {
        let state = self.store.data_mut();
        state.host.turn_limit = limit;
        state.limiter.forget_refusal();
        self.store.set_epoch_deadline(FIRST_YIELD_TICKS);
    }

    /// Whether it has what the plugin may not have any more.
    pub(crate) fn is_outdated(&mut self, now: Instant) -> bool {
        let host = &mut self.store.data_mut().host;
        host.held.is_outdated(&host.shared.services, now)
    }

    /// Whether it may have been granted a folder that it found closed.
    pub(crate) fn has_news_of_folders(&self, now: Instant) -> bool {
        self.store.data().host.doors.have_news(now)
    }

    /// Lets it see the folders that it was granted since it began.
    pub(crate) async fn open_folders(&mut self) {
        self.store.data_mut().open_doors().await;
    }

    pub(crate) fn ops(&mut self) -> &mut Ops {
        &mut self.store.data_mut().host.ops
    }

    pub(crate) async fn describe(&mut self) -> Result<Result<wit::Description, wit::Failure>, Loss> {
        let described = match &mut self.entries {
            Entries::Component { plugin, .. } => plugin.mortise_plugin_guest().call_describe(&mut self.store).await,
            Entries::Interpreter(interpreter) => interpreter.describe(&mut self.store).await,
        };
        self.entered(described)
    }

    /// What it warned of until it had described itself. To be asked once.
    pub(crate) fn take_warned(&mut self) -> Vec<String> {
        self.store.data_mut().host.warned.take().unwrap_or_default()
    }

    /// The outcome, or none where the guest will complete the call later.
    pub(crate) async fn call(&mut self, call: GuestCall<'_>) -> Result<Option<wit::Outcome>, Loss> {
        let outcome = match &mut self.entries {
            Entries::Component { plugin, parameters } => {
                parameters.clear();
                parameters.push_str(call.parameters);
                let exports = plugin.mortise_plugin_guest();
                let outcome =
                    exports.call_call(&mut self.store, call.id, call.kind, call.name, parameters, call.context).await;
                parameters.shrink_to(PARAMETERS_KEPT_BYTES_MAX);
                outcome
            }
            Entries::Interpreter(interpreter) => interpreter.call(&mut self.store, call).await.map(|()| None),
        };
        self.entered(outcome)
    }

    /// When the guest wants to be turned again, in nanoseconds.
    pub(crate) async fn run(&mut self) -> Result<Option<u64>, Loss> {
        let wake = match &mut self.entries {
            Entries::Component { plugin, .. } => plugin.mortise_plugin_guest().call_run(&mut self.store).await,
            // Its timers are ops, and its jobs are done in the turn that left them behind.
            Entries::Interpreter(_) => Ok(None),
        };
        self.entered(wake)
    }

    pub(crate) async fn deliver(&mut self, op: u64, outcome: OpOutcome) -> Result<(), Loss> {
        let delivered = match &mut self.entries {
            Entries::Component { plugin, .. } => {
                plugin.mortise_plugin_guest().call_deliver(&mut self.store, op, &outcome::of_op(outcome)).await
            }
            Entries::Interpreter(interpreter) => interpreter.deliver(&mut self.store, op, outcome).await,
        };
        self.entered(delivered)
    }

    pub(crate) async fn cancel(&mut self, call: u64) -> Result<(), Loss> {
        let cancelled = match &mut self.entries {
            Entries::Component { plugin, .. } => plugin.mortise_plugin_guest().call_cancel(&mut self.store, call).await,
            Entries::Interpreter(interpreter) => interpreter.cancel(&mut self.store, call).await,
        };
        self.entered(cancelled)
    }

    fn entered<T>(&self, result: wasmtime::Result<T>) -> Result<T, Loss> {
        result.map_err(|error| Loss::explain(&error, self.store.data()))
    }
}

/// A store with every limit that does not depend on what the guest does.
fn store(engine: Arc<Engine>, state: State) -> Store<State> {
    let mut store = Store::new(engine.wasmtime(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(CROSSING_BYTES_MAX);
    store.set_epoch_deadline(FIRST_YIELD_TICKS);
    store.epoch_deadline_callback(move |store| {
        engine.beat();
        if Instant::now() >= store.data().host.turn_limit.end {
            return Ok(UpdateDeadline::Interrupt);
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;
    use std::time::Duration;
    use wasmtime::component::{Component, Linker};

    /// Gives a list that names the same megabyte `count` times.
    const REPEATER: &str = r#"(component
        (core module $m
            (memory (export "memory") 32)
            (func (export "run") (param $count i32) (result i32)
                (local $i i32) (local $pair i32)
                (local.set $pair (i32.const 1024))
                (block $done (loop $next
                    (br_if $done (i32.eq (local.get $i) (local.get $count)))
                    (i32.store (local.get $pair) (i32.const 0x100000))
                    (i32.store offset=4 (local.get $pair) (i32.const 0x100000))
                    (local.set $pair (i32.add (local.get $pair) (i32.const 8)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next)))
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (local.get $count))
                (i32.const 0)))
        (core instance $i (instantiate $m))
        (func (export "run") (param "count" u32) (result (list string))
            (canon lift (core func $i "run") (memory (core memory $i "memory")))))"#;

    async fn lifted(count: u32) -> wasmtime::Result<usize> {
        let engine = Arc::new(Engine::new(EngineConfig::of_components(Duration::from_millis(1))).unwrap());
        let component = Component::new(engine.wasmtime(), wat::parse_str(REPEATER).unwrap())?;
        let span = Duration::from_secs(60);
        let limit = TurnLimit { name: "limits.turn", span, end: Instant::now() + span };
        let shared = crate::host::plugin::tests::view().shared;
        let mut store = store(Arc::clone(&engine), State::new(shared, limit).unwrap());
        let instance = Linker::new(engine.wasmtime()).instantiate_async(&mut store, &component).await?;
        let run = instance.get_typed_func::<(u32,), (Vec<String>,)>(&mut store, "run")?;
        let (texts,) = run.call_async(&mut store, (count,)).await?;
        Ok(texts.iter().map(String::len).sum())
    }

    #[tokio::test]
    async fn a_guest_makes_the_host_allocate_no_more_than_one_crossing_may() {
        assert_eq!(lifted(15).await.unwrap(), 15 << 20);
        // A guest of 2 MiB, and a host that would hold 16 GiB.
        for count in [17, 16_384] {
            let error = lifted(count).await.unwrap_err();
            assert!(format!("{error:#}").contains("fuel"), "{error:#}");
        }
    }
}
