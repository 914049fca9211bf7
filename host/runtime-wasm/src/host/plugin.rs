//! `mortise:plugin/host`: every function but `perform` returns at once; what takes time is an op. Only a grant for a single
//! time takes a function to the disk, which has to say that it is used up.

use super::work::Work;
use crate::bindings::mortise::plugin::host::{Host, Level, Op, OpOutcome as OpOutcomeOfGuest, PluginIdentity};
use crate::bindings::mortise::plugin::types::{self, Failure};
use crate::describe::WARNING_BYTES_MAX;
use crate::loss::TurnLimit;
use crate::ops::{OPS_BYTES_MAX, OPS_MAX, OpOutcome, REFUSALS_MAX};
use crate::outcome;
use crate::view::{HostView, Shared};
use mortise_model::{Json, cut, one_line};
use rand::Rng as _;
use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The most bytes that one `random` gives; the contract names the number.
const RANDOM_BYTES_MAX: u32 = 65_536;

/// How much of a name a failure repeats, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// Where the monotonic clock of guests begins: some moment of this process.
static CLOCK_START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl types::Host for HostView {}

/// What a plugin warns of while it describes itself: so many lines are kept to be told with the description. The log has all.
const WARNINGS_MAX: usize = 20;

impl Host for HostView {
    fn log(&mut self, level: Level, target: String, message: String) {
        let level = match level {
            Level::Trace => tracing::Level::TRACE,
            Level::Debug => tracing::Level::DEBUG,
            Level::Info => tracing::Level::INFO,
            Level::Warn => tracing::Level::WARN,
            Level::Error => tracing::Level::ERROR,
        };
        if level <= tracing::Level::WARN
            && let Some(warned) = self.warned.as_mut().filter(|warned| warned.len() < WARNINGS_MAX)
        {
            let line = match cut(&message, WARNING_BYTES_MAX) {
                whole if whole.len() == message.len() => self.shared.services.marked_text(whole),
                beginning => self.shared.services.marked_beginning(beginning),
            };
            match cut(&one_line(&line), WARNING_BYTES_MAX) {
                "" => {}
                line => warned.push(line.to_owned()),
            }
        }
        self.shared.services.log(level, &target, &message);
    }

    fn emit(&mut self, event: String, payload: String) -> Result<(), Failure> {
        let (size, limit) = (payload.len(), self.shared.limits.event);
        if size as u64 > limit.0 {
            // Before it is parsed: what is too large costs nothing.
            self.shared.services.count_refusal("event_too_large");
            let message = format!("the payload has {size} bytes, more than `limits.event` ({limit})");
            return Err(outcome::to_guest(mortise_model::Failure::new("event_too_large", message)));
        }
        Json::new(payload)
            .map_err(|error| {
                mortise_model::Failure::new(
                    "invalid_event",
                    format!("the payload of event `{}`: {error}", cut(&event, NAME_BYTES_MAX)),
                )
            })
            .and_then(|payload| self.shared.services.emit(&event, payload))
            .map_err(outcome::to_guest)
    }

    fn config(&mut self) -> String {
        self.shared.services.config().as_str().to_owned()
    }

    fn identity(&mut self) -> PluginIdentity {
        let services = &self.shared.services;
        PluginIdentity {
            plugin: services.plugin().to_string(),
            device: services.device().to_string(),
            tenant: services.tenant().to_string(),
        }
    }

    fn wall_time_ns(&mut self) -> u64 {
        // A clock before 1970 or after 2554 is nobody's real time.
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic_time_ns(&mut self) -> u64 {
        u64::try_from(CLOCK_START.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&mut self, length: u32) -> Vec<u8> {
        let mut bytes = vec![0; length.min(RANDOM_BYTES_MAX) as usize];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }

    async fn state_get(&mut self, key: String) -> Result<Option<Vec<u8>>, Failure> {
        self.shared.state_value(&key).await.map_err(outcome::to_guest)
    }

    async fn state_set(&mut self, key: String, value: Vec<u8>) -> Result<(), Failure> {
        self.shared.set_state_value(&key, &value).await.map_err(outcome::to_guest)
    }

    async fn state_delete(&mut self, key: String) -> Result<(), Failure> {
        self.shared.services.state_delete(&key).await.map_err(outcome::to_guest)
    }

    async fn state_keys(&mut self, prefix: String, after: Option<String>, limit: u32) -> Result<Vec<String>, Failure> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let keys = self.shared.services.state_keys(&prefix, after.as_deref(), limit).await;
        Ok(keys.map_err(outcome::to_guest)?.iter().map(|key| key.as_ref().to_owned()).collect())
    }

    fn start_op(&mut self, id: u64, op: Op) -> wasmtime::Result<()> {
        if self.ops.contains(id) {
            // Whichever of the two were delivered, the guest would take it for the other.
            return Err(wasmtime::Error::msg(format!("op {id} is under way already")));
        }
        let count = self.ops.count();
        if count >= OPS_MAX + REFUSALS_MAX {
            return Err(wasmtime::Error::msg(format!("it went on starting ops with {OPS_MAX} of them under way")));
        }
        if count >= OPS_MAX {
            self.refuse(id, too_many_ops(format!("{OPS_MAX} ops are under way")));
            return Ok(());
        }
        let work = match op {
            Op::Sleep(ns) => {
                let now = Instant::now();
                // A sleep of centuries ends when the instance does.
                let until = now.checked_add(Duration::from_nanos(ns)).unwrap_or(now + Duration::from_secs(1 << 32));
                self.ops.sleep(id, until);
                return Ok(());
            }
            op => self.work(op),
        };
        match work {
            Ok(Work { bytes, .. }) if !self.ops.has_room_for(bytes) => self.refuse(id, over_budget()),
            Ok(Work { bytes, outcome }) => self.ops.invoke(id, bytes, outcome),
            Err(failure) => self.refuse(id, failure),
        }
        Ok(())
    }

    async fn perform(&mut self, op: Op) -> OpOutcomeOfGuest {
        let TurnLimit { name, span, .. } = self.turn_limit;
        let late = || {
            let message = format!("it took longer than the turn of its instance may (`{name}`, {span:?})");
            OpOutcome::Failed(mortise_model::Failure::retryable("timeout", message))
        };
        let until = self.turn_limit.wait_until();
        outcome::of_op(match self.work(op) {
            Ok(Work { outcome, .. }) => tokio::time::timeout_at(until, outcome).await.unwrap_or_else(|_| late()),
            Err(failure) => OpOutcome::Failed(self.refused(failure)),
        })
    }

    fn cancel_op(&mut self, id: u64) {
        self.ops.cancel(id);
    }

    fn complete(&mut self, id: u64, outcome: types::Outcome) {
        let outcome = outcome::judge(outcome, &self.shared.limits);
        // The driver gives the answer, soon even if the guest goes on computing for another call.
        self.shared.ledger().complete(id, outcome);
    }
}

/// The plugin's state, as far as a guest can be given it.
impl Shared {
    /// A value of the plugin's state, if the guest can be given it.
    pub(super) async fn state_value(&self, key: &str) -> Result<Option<Vec<u8>>, mortise_model::Failure> {
        let bytes_max = self.entry_bytes_max();
        match self.services.state_get(key).await? {
            Some(value) if value.len() > bytes_max => {
                let size = value.len();
                let message = format!("the value has {size} bytes, and this plugin can be given {bytes_max} at once");
                Err(mortise_model::Failure::new("result_too_large", message))
            }
            value => Ok(value.map(|value| value.to_vec())),
        }
    }

    pub(super) async fn set_state_value(&self, key: &str, value: &[u8]) -> Result<(), mortise_model::Failure> {
        let (size, bytes_max) = (value.len(), self.entry_bytes_max());
        if size > bytes_max {
            // It could never be read again.
            let message = format!("the value has {size} bytes, and this plugin can be given {bytes_max} at once");
            return Err(mortise_model::Failure::new("value_too_large", message));
        }
        self.services.state_set(key, value).await
    }
}

impl HostView {
    /// An op that ends before it has begun.
    fn refuse(&mut self, id: u64, failure: mortise_model::Failure) {
        let failure = self.refused(failure);
        self.ops.finished(id, OpOutcome::Failed(failure));
    }

    /// Counts what was refused.
    fn refused(&self, failure: mortise_model::Failure) -> mortise_model::Failure {
        if let Cow::Borrowed(code) = failure.code {
            self.shared.services.count_refusal(code);
        }
        failure
    }
}

fn over_budget() -> mortise_model::Failure {
    too_many_ops(format!("the ops under way hold {} MiB, the most that they may", OPS_BYTES_MAX >> 20))
}

fn too_many_ops(message: String) -> mortise_model::Failure {
    mortise_model::Failure::retryable("too_many_ops", message)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bindings::mortise::plugin::host::{HttpRequest as GuestRequest, Invocation, OpValue};
    use crate::folders::Doors;
    use crate::held::Held;
    use crate::host::keyvalue::KeyValue;
    use crate::host::room::Quota;
    use crate::ops::Ops;
    use crate::view::{Shared, Source};
    use async_trait::async_trait;
    use mortise_model::{
        DeviceId, Digest, EmittedName, FileAccess, HttpRequest, HttpResponse, Manifest, Permission, PluginId, Tenant,
        VariableName,
    };
    use mortise_plugin::{Account, Asker, Authority, Backend, Denied, Leave, Package, Services};
    use std::future::poll_fn;
    use std::path::Path;
    use std::sync::Arc;

    struct Deaf;

    #[async_trait]
    impl Backend for Deaf {
        async fn invoke(&self, _: &PluginId, _: mortise_plugin::Invocation) -> Result<Json, mortise_model::Failure> {
            std::future::pending().await
        }

        fn discover(&self) -> Result<Json, mortise_model::Failure> {
            Ok(Json::of(&serde_json::json!([])))
        }

        fn emit(&self, _: Option<&Arc<mortise_rpc::Emitter>>, _: EmittedName, _: Json) {}

        fn listen(&self, _: Arc<dyn mortise_rpc::Listener>) -> Box<dyn mortise_rpc::Listening> {
            unreachable!("only the registry listens")
        }

        async fn http(&self, _: &PluginId, _: HttpRequest, _: usize) -> Result<HttpResponse, mortise_model::Failure> {
            std::future::pending().await
        }

        fn env(&self, _: &VariableName) -> Option<String> {
            None
        }

        fn check_folder(&self, _: &FileAccess) -> Result<(), mortise_model::Failure> {
            Ok(())
        }

        async fn secret(&self, _: &VariableName) -> Result<Option<String>, mortise_model::Failure> {
            std::future::pending().await
        }
    }

    #[async_trait]
    impl Authority for Deaf {
        fn judge(&self, _: Asker<'_>, _: &Permission) -> Result<Leave, Denied> {
            Ok(Leave::Lasting)
        }

        async fn permit(&self, _: Asker<'_>, _: &Permission) -> Result<(), Denied> {
            Ok(())
        }
    }

    /// Of a plugin that may call everybody, and that nobody answers.
    pub(crate) fn view() -> HostView {
        let id = PluginId::new("p").unwrap();
        let manifest = r#"{"id": "p", "version": "1", "entry_point": "p.wasm"}"#;
        let manifest = Arc::new(Manifest::parse_installed(manifest.as_bytes(), &id).unwrap());
        let account = Arc::new(Account::new(id.clone()));
        let limits = manifest.limits.clone();
        let (root, tree) = (Path::new("").into(), Digest::of(b""));
        let package = Package { id, manifest, root, tree, provenance: Arc::default(), limits, generation: 1 };
        let (device, tenant) = (DeviceId::new("d").unwrap(), Tenant::new("default").unwrap());
        let services = Services::new(&package, device, tenant, Arc::new(Deaf), Arc::new(Deaf), account);
        let span = Duration::from_secs(5);
        let turn_limit = TurnLimit { name: "limits.turn", span, end: Instant::now() + span };
        HostView {
            held: Held::nothing(&services),
            doors: Doors::none(&services),
            shared: Arc::new(Shared::new(Arc::new(services), Source::None)),
            ops: Ops::default(),
            keyvalue: KeyValue::default(),
            bodies: Quota::new(0),
            names: Quota::new(0),
            warned: None,
            disk: None,
            turn_limit,
        }
    }

    fn invocation(bytes: usize) -> Op {
        Op::Invoke(Invocation {
            device: None,
            function: "other.hang".to_owned(),
            parameters: format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)),
            timeout_ns: None,
            on_behalf_of: None,
        })
    }

    /// The code of the failure that is delivered next.
    async fn refused(view: &mut HostView) -> String {
        match poll_fn(|cx| view.ops.poll_next(Instant::now(), cx)).await {
            (_, OpOutcome::Failed(failure)) => failure.code.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn ops_without_number_are_refused_and_then_the_end() {
        let mut view = view();
        let mut started = 0;
        while view.start_op(started, Op::Sleep(u64::MAX)).is_ok() {
            started += 1;
            assert!(started <= 30_000);
        }
        assert_eq!(usize::try_from(started).unwrap(), OPS_MAX + REFUSALS_MAX);
        assert_eq!(refused(&mut view).await, "too_many_ops");
    }

    #[tokio::test]
    async fn invocations_begun_and_given_up_leave_next_to_nothing() {
        let mut view = view();
        // As a guest does it within one turn: nothing else runs meanwhile.
        for id in 0..50_000 {
            view.start_op(id, invocation(1)).unwrap();
            view.cancel_op(id);
        }
        assert!(view.ops.count() < 100, "{}", view.ops.count());
    }

    #[tokio::test]
    async fn parameters_are_limited_one_by_one_and_together() {
        let mut view = view();
        view.start_op(0, invocation(1 << 20)).unwrap();
        assert_eq!(refused(&mut view).await, "params_too_large");
        for id in 0..17 {
            view.start_op(id, invocation((1 << 20) - 100)).unwrap();
        }
        assert_eq!(refused(&mut view).await, "too_many_ops");
        assert_eq!(view.ops.count(), 16);
    }

    #[tokio::test]
    async fn requests_are_limited_one_by_one_and_together() {
        let mut view = view();
        let request = |bytes: usize| {
            Op::Http(GuestRequest {
                method: "POST".to_owned(),
                url: "https://a.test/".to_owned(),
                headers: Vec::new(),
                body: vec![0; bytes],
                timeout_ns: None,
                on_behalf_of: None,
            })
        };
        view.start_op(0, request(8 << 20)).unwrap();
        assert_eq!(refused(&mut view).await, "request_too_large");
        for id in 0..3 {
            view.start_op(id, request((8 << 20) - 100)).unwrap();
        }
        assert_eq!(refused(&mut view).await, "too_many_ops");
        assert_eq!(view.ops.count(), 2);
    }

    #[tokio::test]
    async fn what_the_guest_stands_still_for_ends_before_its_turn_does() {
        let mut view = view();
        assert!(matches!(view.perform(Op::Sleep(1_000_000)).await, Ok(OpValue::Done)));
        let span = Duration::from_millis(200);
        for op in [Op::Sleep(u64::MAX), invocation(1)] {
            let began = Instant::now();
            view.turn_limit = TurnLimit { name: "limits.turn", span, end: began + span };
            let failure = view.perform(op).await.unwrap_err();
            assert_eq!((failure.code.as_str(), failure.retryable), ("timeout", true), "{}", failure.message);
            assert!(began.elapsed() >= span / 10 * 9);
        }
        assert_eq!(view.perform(invocation(1 << 20)).await.unwrap_err().code, "params_too_large");
        assert_eq!(view.ops.count(), 0);
    }

    #[tokio::test]
    async fn an_event_over_its_limit_is_not_even_parsed() {
        let error = view().emit("e".to_owned(), "x".repeat(1 << 20)).unwrap_err();
        assert_eq!(error.code, "event_too_large");
    }
}
