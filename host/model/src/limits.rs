//! What a plugin may use: defaults, the manifest's wishes and the policy's ceilings (design section 5).

use crate::manifest::{RuntimeKind, json_type};
use crate::suggestion::suggestion;
use crate::{ByteSize, QuantityError, TimeSpan};
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::time::Duration;

/// The limits of one plugin. A manifest may lower them; only an operator may raise them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance.
    pub memory: ByteSize,
    /// WebAssembly stack of one instance.
    pub stack: ByteSize,
    /// Elements over all tables of one instance.
    pub tables: u32,
    /// How many instances there may be. What follows is for all of them together.
    pub instances: Instances,
    /// Calls waiting in the host for the plugin.
    pub queue: usize,
    /// Calls under way at once; none means no limit. With an instance for each call it is how many of those there may be,
    /// and there is always one.
    pub concurrency: Option<usize>,
    /// From a call's arrival to its answer.
    pub call_timeout: Duration,
    /// One tick of a routine.
    pub routine_timeout: Duration,
    /// One entry of the guest.
    pub turn: Duration,
    /// Running its code, over all entries; it comes back evenly over a minute.
    pub cpu_per_minute: Duration,
    /// The `start` hook, and with it the self-test.
    pub start_timeout: Duration,
    /// The `stop` hook.
    pub stop_timeout: Duration,
    /// Calls of a generation that has a successor; none means their own deadlines.
    pub drain_timeout: Option<Duration>,
    /// A result's JSON text.
    pub result: ByteSize,
    /// An event's JSON text.
    pub event: ByteSize,
    /// One line of log.
    pub log_line: ByteSize,
    /// Events emitted. Of this and the rates below, two seconds' worth may come at once.
    pub events_per_second: u32,
    /// Lines of log.
    pub log_lines_per_second: u32,
    /// Invocations of other devices and looks at who is there.
    pub mesh_calls_per_second: u32,
    /// Requests over HTTP under way at once; further ones wait.
    pub http_requests: u32,
    /// Requests over HTTP.
    pub http_requests_per_second: u32,
    /// Durable key-value: keys and values together, with 64 bytes for each entry.
    pub state: ByteSize,
}

/// How many instances serve a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// So many at most. A single one keeps its memory from call to call; of several each call finds another.
    UpTo(usize),
    /// A fresh one for each call, which ends with it; as many at once as [`Limits::concurrency`] says.
    PerCall,
}

impl Instances {
    /// What a manifest writes for a fresh instance for each call.
    const PER_CALL: &str = "per-call";

    /// As manifests write it.
    fn to_json(self) -> Value {
        match self {
            Self::UpTo(count) => count.into(),
            Self::PerCall => Self::PER_CALL.into(),
        }
    }

    /// How many at once this lets others ask for.
    fn ceiling(self) -> usize {
        match self {
            Self::UpTo(count) => count,
            Self::PerCall => 1,
        }
    }
}

/// A limit that a manifest may not ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// No limit has that name.
    #[error("unknown key `limits.{name}`")]
    Unknown {
        /// As written.
        name: String,
        /// A limit that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A limit that this version does not keep.
    #[error("limit `{name}` is not supported by this version")]
    Unsupported {
        /// Its name.
        name: String,
    },
    /// Neither a number of instances nor one for each call.
    #[error("`limits.instances` must be a whole number or \"per-call\", got {got}")]
    Instances {
        /// As written, as JSON.
        got: String,
        /// Whether one for each call was probably meant.
        per_call: bool,
    },
    /// Not the JSON type that the limit has.
    #[error("`limits.{name}` must be {expected}, got {got}")]
    WrongType {
        /// Its name.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
        /// A JSON type.
        got: &'static str,
    },
    /// A text that is no size or time span.
    #[error("invalid `limits.{name}`")]
    Value {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: QuantityError,
    },
    /// Nothing could run.
    #[error("`limits.{name}` must be more than zero")]
    Zero {
        /// Its name.
        name: &'static str,
    },
    /// More than its ceiling.
    #[error("`limits.{name}` may be at most {ceiling}, got {asked}")]
    Raised {
        /// Its name.
        name: &'static str,
        /// What it may be at most: its default, unless the operator raised it.
        ceiling: String,
        /// What the manifest asks for.
        asked: String,
    },
}

/// What a manifest may set.
const SUPPORTED: [&str; 22] = [
    "memory",
    "stack",
    "tables",
    "instances",
    "concurrency",
    "queue",
    "call_timeout",
    "routine_timeout",
    "turn",
    "cpu_per_minute",
    "start_timeout",
    "stop_timeout",
    "drain_timeout",
    "result",
    "event",
    "log_line",
    "events_per_second",
    "log_lines_per_second",
    "mesh_calls_per_second",
    "http_requests",
    "http_requests_per_second",
    "state",
];

/// Limits that the manifest format knows and this version does not keep: accepting one would be a promise.
const UNSUPPORTED: [&str; 1] = ["disk"];

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(64),
            stack: ByteSize::mib(1),
            tables: 20_000,
            instances: Instances::UpTo(1),
            queue: 1000,
            concurrency: None,
            call_timeout: Duration::from_secs(60),
            routine_timeout: Duration::from_secs(60),
            turn: Duration::from_secs(5),
            // A whole processor: less would halve what a plugin under full load answers.
            cpu_per_minute: Duration::from_secs(60),
            start_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
            drain_timeout: None,
            result: ByteSize::mib(1),
            event: ByteSize::kib(256),
            log_line: ByteSize::kib(16),
            events_per_second: 50,
            log_lines_per_second: 100,
            mesh_calls_per_second: 50,
            http_requests: 8,
            http_requests_per_second: 50,
            state: ByteSize::mib(1),
        }
    }
}

impl Limits {
    /// The defaults for plugins of one kind.
    #[must_use]
    pub fn for_runtime(kind: RuntimeKind) -> Self {
        let defaults = Self::default();
        match kind {
            // The interpreter itself lives in the instance.
            RuntimeKind::Python => Self { memory: ByteSize::mib(256), stack: ByteSize::mib(32), ..defaults },
            RuntimeKind::Docker => Self { call_timeout: Duration::from_secs(120), ..defaults },
            RuntimeKind::Wasm | RuntimeKind::Javascript | RuntimeKind::Native => defaults,
        }
    }

    /// How high the limits of plugins of one kind may be where no policy says otherwise: their defaults, and four instances,
    /// which with 64 MiB each have as much memory as one Python plugin.
    #[must_use]
    pub fn ceilings(kind: RuntimeKind) -> Self {
        Self { instances: Instances::UpTo(4), ..Self::for_runtime(kind) }
    }

    /// How high the limits of plugins of one kind may be where a policy names these.
    ///
    /// # Errors
    /// As [`Limits::given`], measured by [`Limits::MOST`]; and for instances that are no number: how many there may be at
    /// once is one, also of those for each call.
    pub fn ceilings_named(kind: RuntimeKind, named: &Map<String, Value>) -> Result<Self, LimitError> {
        if let Some(value) = named.get("instances").filter(|value| !value.is_number()) {
            let got = json_type(value);
            return Err(LimitError::WrongType { name: "instances", expected: "a whole number", got });
        }
        Self::MOST.given(&Self::ceilings(kind), named)
    }

    /// The most that a policy may let plugins have. Results and events cross from a guest in one piece.
    pub const MOST: Self = Self {
        memory: ByteSize::mib(4096),
        stack: ByteSize::mib(32),
        tables: 10_000_000,
        instances: Instances::UpTo(64),
        queue: 100_000,
        concurrency: None,
        call_timeout: Duration::from_secs(3600),
        routine_timeout: Duration::from_secs(3600),
        turn: Duration::from_secs(60),
        // Sixty processors: as many as the most instances can use.
        cpu_per_minute: Duration::from_secs(3600),
        start_timeout: Duration::from_secs(600),
        stop_timeout: Duration::from_secs(60),
        drain_timeout: None,
        result: ByteSize::mib(8),
        event: ByteSize::mib(8),
        log_line: ByteSize::mib(1),
        events_per_second: 100_000,
        log_lines_per_second: 100_000,
        mesh_calls_per_second: 100_000,
        http_requests: 64,
        http_requests_per_second: 100_000,
        state: ByteSize::mib(64),
    };

    /// What a plugin has that asks for this, of which each may be as high as in `self`: what it asks for, else what is in
    /// `defaults`, if that is not higher.
    ///
    /// # Errors
    /// [`LimitError`] for the first key that is unknown, unsupported, malformed, zero or higher than in `self`.
    pub fn given(&self, defaults: &Self, asked: &Map<String, Value>) -> Result<Self, LimitError> {
        let mut limits = defaults.at_most(self);
        for (name, value) in asked {
            match name.as_str() {
                "memory" => limits.memory = size("memory", self.memory, value)?,
                "stack" => limits.stack = size("stack", self.stack, value)?,
                "tables" => limits.tables = count("tables", self.tables, value)?,
                "queue" => limits.queue = count("queue", self.queue, value)?,
                "concurrency" => {
                    limits.concurrency = Some(count("concurrency", self.concurrency.unwrap_or(usize::MAX), value)?);
                }
                "call_timeout" => limits.call_timeout = span("call_timeout", self.call_timeout, value)?,
                "routine_timeout" => limits.routine_timeout = span("routine_timeout", self.routine_timeout, value)?,
                "turn" => limits.turn = span("turn", self.turn, value)?,
                "cpu_per_minute" => limits.cpu_per_minute = span("cpu_per_minute", self.cpu_per_minute, value)?,
                "start_timeout" => limits.start_timeout = span("start_timeout", self.start_timeout, value)?,
                "stop_timeout" => limits.stop_timeout = span("stop_timeout", self.stop_timeout, value)?,
                "drain_timeout" => {
                    limits.drain_timeout =
                        Some(span("drain_timeout", self.drain_timeout.unwrap_or(Duration::MAX), value)?);
                }
                "result" => limits.result = size("result", self.result, value)?,
                "event" => limits.event = size("event", self.event, value)?,
                "log_line" => limits.log_line = size("log_line", self.log_line, value)?,
                "events_per_second" => {
                    limits.events_per_second = count("events_per_second", self.events_per_second, value)?;
                }
                "log_lines_per_second" => {
                    limits.log_lines_per_second = count("log_lines_per_second", self.log_lines_per_second, value)?;
                }
                "mesh_calls_per_second" => {
                    limits.mesh_calls_per_second = count("mesh_calls_per_second", self.mesh_calls_per_second, value)?;
                }
                "http_requests" => limits.http_requests = count("http_requests", self.http_requests, value)?,
                "http_requests_per_second" => {
                    limits.http_requests_per_second =
                        count("http_requests_per_second", self.http_requests_per_second, value)?;
                }
                "state" => limits.state = size("state", self.state, value)?,
                "instances" => limits.instances = instances(self.instances.ceiling(), value)?,
                name if UNSUPPORTED.contains(&name) => {
                    return Err(LimitError::Unsupported { name: name.to_owned() });
                }
                name => {
                    let known = SUPPORTED.into_iter().chain(UNSUPPORTED);
                    return Err(LimitError::Unknown { name: name.to_owned(), suggestion: suggestion(name, known) });
                }
            }
        }
        if limits.instances == Instances::PerCall {
            let (most, named) = (self.instances.ceiling(), asked.contains_key("concurrency"));
            limits.concurrency = Some(match limits.concurrency {
                Some(asked) if named => within("concurrency", most, asked)?,
                ceiling => ceiling.map_or(most, |ceiling| ceiling.min(most)),
            });
        }
        Ok(limits)
    }

    /// How many instances there may be at once.
    #[must_use]
    pub fn instances_at_once(&self) -> usize {
        match self.instances {
            Instances::UpTo(count) => count,
            Instances::PerCall => self.concurrency.unwrap_or(1),
        }
    }

    /// Each of these, or that of `ceiling` where it is lower.
    fn at_most(&self, ceiling: &Self) -> Self {
        Self {
            memory: self.memory.min(ceiling.memory),
            stack: self.stack.min(ceiling.stack),
            tables: self.tables.min(ceiling.tables),
            instances: match self.instances {
                Instances::UpTo(count) => Instances::UpTo(count.min(ceiling.instances.ceiling())),
                Instances::PerCall => Instances::PerCall,
            },
            queue: self.queue.min(ceiling.queue),
            concurrency: self.concurrency.into_iter().chain(ceiling.concurrency).min(),
            call_timeout: self.call_timeout.min(ceiling.call_timeout),
            routine_timeout: self.routine_timeout.min(ceiling.routine_timeout),
            turn: self.turn.min(ceiling.turn),
            cpu_per_minute: self.cpu_per_minute.min(ceiling.cpu_per_minute),
            start_timeout: self.start_timeout.min(ceiling.start_timeout),
            stop_timeout: self.stop_timeout.min(ceiling.stop_timeout),
            drain_timeout: self.drain_timeout.into_iter().chain(ceiling.drain_timeout).min(),
            result: self.result.min(ceiling.result),
            event: self.event.min(ceiling.event),
            log_line: self.log_line.min(ceiling.log_line),
            events_per_second: self.events_per_second.min(ceiling.events_per_second),
            log_lines_per_second: self.log_lines_per_second.min(ceiling.log_lines_per_second),
            mesh_calls_per_second: self.mesh_calls_per_second.min(ceiling.mesh_calls_per_second),
            http_requests: self.http_requests.min(ceiling.http_requests),
            http_requests_per_second: self.http_requests_per_second.min(ceiling.http_requests_per_second),
            state: self.state.min(ceiling.state),
        }
    }
}

impl Limits {
    /// As manifests write them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let span = |span: Duration| TimeSpan(span).to_string();
        json!({
            "memory": self.memory.to_string(),
            "stack": self.stack.to_string(),
            "tables": self.tables,
            "instances": self.instances.to_json(),
            "concurrency": self.concurrency,
            "queue": self.queue,
            "call_timeout": span(self.call_timeout),
            "routine_timeout": span(self.routine_timeout),
            "turn": span(self.turn),
            "cpu_per_minute": span(self.cpu_per_minute),
            "start_timeout": span(self.start_timeout),
            "stop_timeout": span(self.stop_timeout),
            "drain_timeout": self.drain_timeout.map(span),
            "result": self.result.to_string(),
            "event": self.event.to_string(),
            "log_line": self.log_line.to_string(),
            "events_per_second": self.events_per_second,
            "log_lines_per_second": self.log_lines_per_second,
            "mesh_calls_per_second": self.mesh_calls_per_second,
            "http_requests": self.http_requests,
            "http_requests_per_second": self.http_requests_per_second,
            "state": self.state.to_string(),
        })
    }
}

impl LimitError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "limit_unknown",
            Self::Unsupported { .. } => "limit_unsupported",
            Self::WrongType { .. } | Self::Instances { .. } | Self::Value { .. } | Self::Zero { .. } => "limit_invalid",
            Self::Raised { .. } => "limit_raised",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { suggestion: Some(suggestion), .. } => format!("did you mean `{suggestion}`?"),
            Self::Unknown { suggestion: None, .. } => format!("the limits are {}", SUPPORTED.join(", ")),
            Self::Unsupported { name } => {
                format!("remove `limits.{name}`: this version of Mortise does not keep it yet")
            }
            Self::Instances { per_call: true, .. } => "did you mean \"per-call\"?".to_owned(),
            Self::Instances { per_call: false, .. } => {
                "write how many instances share the calls, or \"per-call\" for a fresh one for each".to_owned()
            }
            Self::WrongType { expected, .. } => format!("write {expected}"),
            Self::Value { .. } => "write a whole number and its unit, like \"64MiB\" or \"500ms\"".to_owned(),
            Self::Zero { name } => format!("remove `limits.{name}` to keep its default"),
            Self::Raised { ceiling, .. } => {
                format!(
                    "ask for at most {ceiling}; the operator raises that with `limits` of a rule in the policy file"
                )
            }
        }
    }
}

fn within<T: Ord + Display>(name: &'static str, ceiling: T, asked: T) -> Result<T, LimitError> {
    if asked > ceiling {
        return Err(LimitError::Raised { name, ceiling: ceiling.to_string(), asked: asked.to_string() });
    }
    Ok(asked)
}

fn size(name: &'static str, ceiling: ByteSize, value: &Value) -> Result<ByteSize, LimitError> {
    let text = text(name, value, "a size with its unit, like \"64MiB\"")?;
    let asked: ByteSize = text.parse().map_err(|source| LimitError::Value { name, source })?;
    if asked.0 == 0 {
        return Err(LimitError::Zero { name });
    }
    within(name, ceiling, asked)
}

fn span(name: &'static str, ceiling: Duration, value: &Value) -> Result<Duration, LimitError> {
    let text = text(name, value, "a time with its unit, like \"5s\"")?;
    let asked: TimeSpan = text.parse().map_err(|source| LimitError::Value { name, source })?;
    if asked.0.is_zero() {
        return Err(LimitError::Zero { name });
    }
    within(name, TimeSpan(ceiling), asked).map(|span| span.0)
}

fn count<T>(name: &'static str, ceiling: T, value: &Value) -> Result<T, LimitError>
where
    T: Copy + Ord + Display + TryFrom<u64>,
{
    let wrong = LimitError::WrongType { name, expected: "a whole number", got: json_type(value) };
    let asked = value.as_u64().ok_or(wrong)?;
    if asked == 0 {
        return Err(LimitError::Zero { name });
    }
    match T::try_from(asked) {
        Ok(count) => within(name, ceiling, count),
        Err(_) => Err(LimitError::Raised { name, ceiling: ceiling.to_string(), asked: asked.to_string() }),
    }
}

fn instances(ceiling: usize, value: &Value) -> Result<Instances, LimitError> {
    match value {
        Value::String(text) if text == Instances::PER_CALL => Ok(Instances::PerCall),
        value if value.is_u64() => count("instances", ceiling, value).map(Instances::UpTo),
        value => {
            let per_call = value.as_str().is_some_and(|text| suggestion(text, [Instances::PER_CALL]).is_some());
            Err(LimitError::Instances { got: value.to_string(), per_call })
        }
    }
}

fn text<'a>(name: &'static str, value: &'a Value, expected: &'static str) -> Result<&'a str, LimitError> {
    value.as_str().ok_or(LimitError::WrongType { name, expected, got: json_type(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(asked: Value) -> Result<Limits, LimitError> {
        Limits::default().given(&Limits::default(), asked.as_object().unwrap())
    }

    #[test]
    fn every_supported_limit_can_be_lowered() {
        let asked = json!({
            "memory": "32MiB", "stack": "512KiB", "tables": 10, "instances": 1, "concurrency": 1, "queue": 7,
            "call_timeout": "30s", "routine_timeout": "1s", "turn": "100ms", "cpu_per_minute": "3s",
            "start_timeout": "2s", "stop_timeout": "1s", "drain_timeout": "3s",
            "result": "1KiB", "event": "2KiB", "log_line": "80B", "events_per_second": 5, "log_lines_per_second": 6,
            "mesh_calls_per_second": 7, "http_requests": 2, "http_requests_per_second": 9, "state": "4KiB",
        });
        let mut named: Vec<&str> = asked.as_object().unwrap().keys().map(String::as_str).collect();
        let mut supported = SUPPORTED.to_vec();
        named.sort_unstable();
        supported.sort_unstable();
        assert_eq!(named, supported);
        let expected = Limits {
            memory: ByteSize::mib(32),
            stack: ByteSize::kib(512),
            tables: 10,
            instances: Instances::UpTo(1),
            queue: 7,
            concurrency: Some(1),
            call_timeout: Duration::from_secs(30),
            routine_timeout: Duration::from_secs(1),
            turn: Duration::from_millis(100),
            cpu_per_minute: Duration::from_secs(3),
            start_timeout: Duration::from_secs(2),
            stop_timeout: Duration::from_secs(1),
            drain_timeout: Some(Duration::from_secs(3)),
            result: ByteSize::kib(1),
            event: ByteSize::kib(2),
            log_line: ByteSize(80),
            events_per_second: 5,
            log_lines_per_second: 6,
            mesh_calls_per_second: 7,
            http_requests: 2,
            http_requests_per_second: 9,
            state: ByteSize::kib(4),
        };
        assert_eq!(expected.to_json(), asked);
        assert_eq!(lowered(asked), Ok(expected));
    }

    #[test]
    fn the_default_itself_passes_and_more_is_refused() {
        assert_eq!(lowered(json!({"memory": "64MiB", "queue": 1000, "turn": "5s"})), Ok(Limits::default()));
        for (asked, name, ceiling, got) in [
            (json!({"memory": "65MiB"}), "memory", "64MiB", "65MiB"),
            (json!({"call_timeout": "61s"}), "call_timeout", "1m", "61s"),
            (json!({"queue": 1001}), "queue", "1000", "1001"),
            (json!({"tables": 1_u64 << 40}), "tables", "20000", "1099511627776"),
        ] {
            let error = LimitError::Raised { name, ceiling: ceiling.to_owned(), asked: got.to_owned() };
            assert_eq!(lowered(asked), Err(error));
        }
        let python = Limits::for_runtime(RuntimeKind::Python);
        let asked = json!({"memory": "256MiB", "stack": "32MiB"});
        assert!(python.given(&python, asked.as_object().unwrap()).is_ok());
    }

    #[test]
    fn a_ceiling_raises_what_may_be_asked_for_and_lowers_what_is_not() {
        let defaults = Limits::default();
        let of = |ceilings: Value, asked: Value| {
            let ceilings = Limits::MOST.given(&defaults, ceilings.as_object().unwrap())?;
            ceilings.given(&defaults, asked.as_object().unwrap())
        };
        let ceilings = json!({"memory": "256MiB", "queue": 10, "concurrency": 5});
        let plain = of(ceilings.clone(), json!({})).unwrap();
        assert_eq!((plain.memory, plain.queue, plain.concurrency), (ByteSize::mib(64), 10, Some(5)));
        assert_eq!(of(ceilings.clone(), json!({"memory": "200MiB"})).unwrap().memory, ByteSize::mib(200));
        for asked in [json!({"memory": "257MiB"}), json!({"queue": 11}), json!({"concurrency": 6})] {
            assert!(matches!(of(ceilings.clone(), asked), Err(LimitError::Raised { .. })));
        }
        assert!(of(json!({"result": "9MiB"}), json!({})).is_err(), "more than a policy may raise it to");
        assert_eq!(defaults.at_most(&Limits::MOST), defaults);
        for kind in RuntimeKind::ALL {
            assert_eq!(Limits::for_runtime(kind).at_most(&Limits::MOST), Limits::for_runtime(kind));
        }
    }

    #[test]
    fn what_this_version_does_not_keep_is_refused_by_name() {
        for name in UNSUPPORTED {
            assert_eq!(lowered(json!({name: 1})), Err(LimitError::Unsupported { name: name.to_owned() }));
        }
    }

    fn within_ceilings(asked: Value) -> Result<Limits, LimitError> {
        let ceilings = Limits::ceilings(RuntimeKind::Wasm);
        ceilings.given(&Limits::default(), asked.as_object().unwrap())
    }

    #[test]
    fn instances_are_a_number_or_one_for_each_call_and_shown_as_they_were_written() {
        let pool = within_ceilings(json!({"instances": 4})).unwrap();
        assert_eq!((pool.instances, pool.concurrency, pool.instances_at_once()), (Instances::UpTo(4), None, 4));
        assert_eq!(pool.to_json()["instances"], 4);
        let each = within_ceilings(json!({"instances": "per-call"})).unwrap();
        assert_eq!((each.instances, each.concurrency, each.instances_at_once()), (Instances::PerCall, Some(4), 4));
        assert_eq!(each.to_json()["instances"], "per-call");
        let few = within_ceilings(json!({"instances": "per-call", "concurrency": 2})).unwrap();
        assert_eq!(few.instances_at_once(), 2);
        assert_eq!(within_ceilings(json!({})).unwrap(), Limits::default(), "one, where nobody asks for more");
        for (asked, name, got) in [
            (json!({"instances": 5}), "instances", "5"),
            (json!({"instances": "per-call", "concurrency": 5}), "concurrency", "5"),
        ] {
            let error = LimitError::Raised { name, ceiling: "4".to_owned(), asked: got.to_owned() };
            assert_eq!(within_ceilings(asked), Err(error));
        }
        assert_eq!(within_ceilings(json!({"instances": 0})), Err(LimitError::Zero { name: "instances" }));
        for (got, per_call) in [
            (json!("per_call"), true),
            (json!("percall"), true),
            (json!("Per Call"), true),
            (json!("per-cal"), true),
            (json!("4"), false),
            (json!(1.0), false),
            (json!(-1), false),
            (json!(null), false),
        ] {
            let error = within_ceilings(json!({"instances": got})).unwrap_err();
            assert_eq!(error, LimitError::Instances { got: got.to_string(), per_call });
            assert_eq!(error.hint().starts_with("did you mean"), per_call);
        }
    }

    #[test]
    fn a_policy_says_how_many_instances_there_may_be_in_either_form() {
        let named = |value: Value| Limits::ceilings_named(RuntimeKind::Wasm, value.as_object().unwrap());
        for (ceilings, most) in [(json!({}), 4), (json!({"instances": 8}), 8), (json!({"instances": 1}), 1)] {
            let ceilings = named(ceilings).unwrap();
            let of = |asked: Value| ceilings.given(&Limits::default(), asked.as_object().unwrap());
            assert_eq!(of(json!({"instances": most})).unwrap().instances, Instances::UpTo(most));
            assert!(matches!(of(json!({"instances": most + 1})), Err(LimitError::Raised { name: "instances", .. })));
            assert_eq!(of(json!({"instances": "per-call"})).unwrap().instances_at_once(), most);
            assert_eq!(of(json!({})).unwrap().instances, Instances::UpTo(1));
        }
        let ceilings = named(json!({"concurrency": 3})).unwrap();
        let each = ceilings.given(&Limits::default(), json!({"instances": "per-call"}).as_object().unwrap()).unwrap();
        assert_eq!(each.concurrency, Some(3), "what is not asked for is as high as it may be");
        assert!(matches!(named(json!({"instances": 65})), Err(LimitError::Raised { .. })));
        assert!(matches!(named(json!({"instances": "per-call"})), Err(LimitError::WrongType { .. })));
    }

    #[test]
    fn malformed_limits_name_themselves() {
        let unknown = |name: &str, suggestion| LimitError::Unknown { name: name.to_owned(), suggestion };
        assert_eq!(lowered(json!({"memmory": "1MiB"})), Err(unknown("memmory", Some("memory"))));
        assert_eq!(lowered(json!({"colour": 1})), Err(unknown("colour", None)));
        assert_eq!(lowered(json!({"turn": "0ms"})), Err(LimitError::Zero { name: "turn" }));
        assert_eq!(lowered(json!({"concurrency": 0})), Err(LimitError::Zero { name: "concurrency" }));
        for (asked, name) in
            [(json!({"memory": 64}), "memory"), (json!({"queue": "9"}), "queue"), (json!({"queue": -1}), "queue")]
        {
            let error = lowered(asked).unwrap_err();
            assert!(matches!(error, LimitError::WrongType { name: n, .. } if n == name), "{error}");
        }
        let error = lowered(json!({"memory": "64"})).unwrap_err();
        assert!(matches!(error, LimitError::Value { name: "memory", source: QuantityError::NoUnit { .. } }), "{error}");
    }
}
