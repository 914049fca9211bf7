//! What a plugin may use: defaults, the manifest's wishes and the policy's ceilings (design section 5).

mod instances;

pub use instances::Instances;

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
    /// What lies in the folders that it may change, in blocks of 4 KiB.
    pub disk: ByteSize,
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
const SUPPORTED: [&str; 23] = [
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
    "disk",
];

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
            disk: ByteSize::mib(100),
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
            RuntimeKind::Javascript => Self { stack: ByteSize::mib(32), ..defaults },
            RuntimeKind::Docker => Self { call_timeout: Duration::from_secs(120), ..defaults },
            RuntimeKind::Wasm | RuntimeKind::Native => defaults,
        }
    }

    /// How high the limits of plugins of one kind may be where no policy says otherwise: their defaults, and four instances,
    /// which with 64 MiB each have as much memory as one Python plugin, which is why those have one.
    #[must_use]
    pub fn ceilings(kind: RuntimeKind) -> Self {
        let instances = Instances::UpTo(if kind == RuntimeKind::Python { 1 } else { 4 });
        Self { instances, ..Self::for_runtime(kind) }
    }

    /// How high the limits of plugins of one kind may be where a policy names these.
    ///
    /// # Errors
    /// As [`Limits::given`], measured by [`Limits::MOST`]; and for instances that are no whole number: how many there may be at
    /// once is one, also of those for each call.
    pub fn ceilings_named(kind: RuntimeKind, named: &Map<String, Value>) -> Result<Self, LimitError> {
        if let Some(value) = named.get("instances").filter(|value| !value.is_u64()) {
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
        disk: ByteSize::mib(1 << 20),
    };

    /// What a plugin has that asks for this, of which each may be as high as in `self`: what it asks for, else what is in
    /// `defaults`, if that is not higher.
    ///
    /// # Errors
    /// [`LimitError`] for the first key that is unknown, malformed, zero or higher than in `self`.
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
                "disk" => limits.disk = size("disk", self.disk, value)?,
                "instances" => limits.instances = Instances::parse(self.instances.ceiling(), value)?,
                name => {
                    let suggestion = suggestion(name, SUPPORTED);
                    return Err(LimitError::Unknown { name: name.to_owned(), suggestion });
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

    /// Whether none of these is higher than in `ceiling`.
    #[must_use]
    pub fn are_within(&self, ceiling: &Self) -> bool {
        self.at_most(ceiling) == *self
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
            disk: self.disk.min(ceiling.disk),
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
            "disk": self.disk.to_string(),
        })
    }
}

impl LimitError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "limit_unknown",
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

fn text<'a>(name: &'static str, value: &'a Value, expected: &'static str) -> Result<&'a str, LimitError> {
    value.as_str().ok_or(LimitError::WrongType { name, expected, got: json_type(value) })
}

#[cfg(test)]
mod tests;
