//! What a plugin may use: defaults, the manifest's wishes and their bounds (design section 5).

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
    /// Calls waiting in the host for the plugin.
    pub queue: usize,
    /// Calls under way in the instance at once; none means no limit.
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
    /// More than one instance, or one per call, which this version does not run.
    #[error("`limits.instances` must be 1 in this version, got {got}")]
    Instances {
        /// As written, as JSON.
        got: String,
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
    /// A manifest may lower a limit, never raise it.
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
const SUPPORTED: [&str; 18] = [
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
    "result",
    "event",
    "log_line",
    "events_per_second",
    "log_lines_per_second",
    "mesh_calls_per_second",
];

/// Limits that the manifest format knows and this version does not keep: accepting one would be a promise.
const UNSUPPORTED: [&str; 4] = ["drain_timeout", "http_requests", "state", "disk"];

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(64),
            stack: ByteSize::mib(1),
            tables: 20_000,
            queue: 1000,
            concurrency: None,
            call_timeout: Duration::from_secs(60),
            routine_timeout: Duration::from_secs(60),
            turn: Duration::from_secs(5),
            // A whole processor: less would halve what a plugin under full load answers.
            cpu_per_minute: Duration::from_secs(60),
            start_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
            result: ByteSize::mib(1),
            event: ByteSize::kib(256),
            log_line: ByteSize::kib(16),
            events_per_second: 50,
            log_lines_per_second: 100,
            mesh_calls_per_second: 50,
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

    /// These limits, lowered to what a manifest's `limits` object asks for.
    ///
    /// # Errors
    /// [`LimitError`] for the first key that is unknown, unsupported, malformed, zero or higher than in `self`.
    pub fn lowered(mut self, asked: &Map<String, Value>) -> Result<Self, LimitError> {
        for (name, value) in asked {
            match name.as_str() {
                "memory" => lower_size("memory", &mut self.memory, value)?,
                "stack" => lower_size("stack", &mut self.stack, value)?,
                "tables" => lower_count("tables", &mut self.tables, value)?,
                "queue" => lower_count("queue", &mut self.queue, value)?,
                "concurrency" => {
                    let mut ceiling = self.concurrency.unwrap_or(usize::MAX);
                    lower_count("concurrency", &mut ceiling, value)?;
                    self.concurrency = Some(ceiling);
                }
                "call_timeout" => lower_span("call_timeout", &mut self.call_timeout, value)?,
                "routine_timeout" => lower_span("routine_timeout", &mut self.routine_timeout, value)?,
                "turn" => lower_span("turn", &mut self.turn, value)?,
                "cpu_per_minute" => lower_span("cpu_per_minute", &mut self.cpu_per_minute, value)?,
                "start_timeout" => lower_span("start_timeout", &mut self.start_timeout, value)?,
                "stop_timeout" => lower_span("stop_timeout", &mut self.stop_timeout, value)?,
                "result" => lower_size("result", &mut self.result, value)?,
                "event" => lower_size("event", &mut self.event, value)?,
                "log_line" => lower_size("log_line", &mut self.log_line, value)?,
                "events_per_second" => lower_count("events_per_second", &mut self.events_per_second, value)?,
                "log_lines_per_second" => {
                    lower_count("log_lines_per_second", &mut self.log_lines_per_second, value)?;
                }
                "mesh_calls_per_second" => {
                    lower_count("mesh_calls_per_second", &mut self.mesh_calls_per_second, value)?;
                }
                "instances" if value.as_u64() == Some(1) => {}
                "instances" => return Err(LimitError::Instances { got: value.to_string() }),
                name if UNSUPPORTED.contains(&name) => {
                    return Err(LimitError::Unsupported { name: name.to_owned() });
                }
                name => {
                    let known = SUPPORTED.into_iter().chain(UNSUPPORTED);
                    return Err(LimitError::Unknown { name: name.to_owned(), suggestion: suggestion(name, known) });
                }
            }
        }
        Ok(self)
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
            "instances": 1,
            "concurrency": self.concurrency,
            "queue": self.queue,
            "call_timeout": span(self.call_timeout),
            "routine_timeout": span(self.routine_timeout),
            "turn": span(self.turn),
            "cpu_per_minute": span(self.cpu_per_minute),
            "start_timeout": span(self.start_timeout),
            "stop_timeout": span(self.stop_timeout),
            "result": self.result.to_string(),
            "event": self.event.to_string(),
            "log_line": self.log_line.to_string(),
            "events_per_second": self.events_per_second,
            "log_lines_per_second": self.log_lines_per_second,
            "mesh_calls_per_second": self.mesh_calls_per_second,
        })
    }
}

impl LimitError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "limit_unknown",
            Self::Unsupported { .. } | Self::Instances { .. } => "limit_unsupported",
            Self::WrongType { .. } | Self::Value { .. } | Self::Zero { .. } => "limit_invalid",
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
            Self::Instances { .. } => {
                "remove `limits.instances`: every plugin has one instance in this version of Mortise".to_owned()
            }
            Self::WrongType { expected, .. } => format!("write {expected}"),
            Self::Value { .. } => "write a whole number and its unit, like \"64MiB\" or \"500ms\"".to_owned(),
            Self::Zero { name } => format!("remove `limits.{name}` to keep its default"),
            Self::Raised { name, ceiling, .. } => {
                format!("a manifest may lower `limits.{name}`, never raise it: ask for at most {ceiling}")
            }
        }
    }
}

fn lower<T: Ord + Display>(name: &'static str, ceiling: &mut T, asked: T) -> Result<(), LimitError> {
    if asked > *ceiling {
        return Err(LimitError::Raised { name, ceiling: ceiling.to_string(), asked: asked.to_string() });
    }
    *ceiling = asked;
    Ok(())
}

fn lower_size(name: &'static str, ceiling: &mut ByteSize, value: &Value) -> Result<(), LimitError> {
    let text = text(name, value, "a size with its unit, like \"64MiB\"")?;
    let asked: ByteSize = text.parse().map_err(|source| LimitError::Value { name, source })?;
    if asked.0 == 0 {
        return Err(LimitError::Zero { name });
    }
    lower(name, ceiling, asked)
}

fn lower_span(name: &'static str, ceiling: &mut Duration, value: &Value) -> Result<(), LimitError> {
    let text = text(name, value, "a time with its unit, like \"5s\"")?;
    let asked: TimeSpan = text.parse().map_err(|source| LimitError::Value { name, source })?;
    if asked.0.is_zero() {
        return Err(LimitError::Zero { name });
    }
    let mut span = TimeSpan(*ceiling);
    lower(name, &mut span, asked)?;
    *ceiling = span.0;
    Ok(())
}

fn lower_count<T>(name: &'static str, ceiling: &mut T, value: &Value) -> Result<(), LimitError>
where
    T: Copy + Ord + Display + TryFrom<u64>,
{
    let wrong = LimitError::WrongType { name, expected: "a whole number", got: json_type(value) };
    let asked = value.as_u64().ok_or(wrong)?;
    if asked == 0 {
        return Err(LimitError::Zero { name });
    }
    let Ok(count) = T::try_from(asked) else {
        return Err(LimitError::Raised { name, ceiling: ceiling.to_string(), asked: asked.to_string() });
    };
    lower(name, ceiling, count)
}

fn text<'a>(name: &'static str, value: &'a Value, expected: &'static str) -> Result<&'a str, LimitError> {
    value.as_str().ok_or(LimitError::WrongType { name, expected, got: json_type(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(asked: Value) -> Result<Limits, LimitError> {
        Limits::default().lowered(asked.as_object().unwrap())
    }

    #[test]
    fn every_supported_limit_can_be_lowered() {
        let asked = json!({
            "memory": "32MiB", "stack": "512KiB", "tables": 10, "instances": 1, "concurrency": 1, "queue": 7,
            "call_timeout": "30s", "routine_timeout": "1s", "turn": "100ms", "cpu_per_minute": "3s",
            "start_timeout": "2s", "stop_timeout": "1s",
            "result": "1KiB", "event": "2KiB", "log_line": "80B", "events_per_second": 5, "log_lines_per_second": 6,
            "mesh_calls_per_second": 7,
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
            queue: 7,
            concurrency: Some(1),
            call_timeout: Duration::from_secs(30),
            routine_timeout: Duration::from_secs(1),
            turn: Duration::from_millis(100),
            cpu_per_minute: Duration::from_secs(3),
            start_timeout: Duration::from_secs(2),
            stop_timeout: Duration::from_secs(1),
            result: ByteSize::kib(1),
            event: ByteSize::kib(2),
            log_line: ByteSize(80),
            events_per_second: 5,
            log_lines_per_second: 6,
            mesh_calls_per_second: 7,
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
        assert!(python.lowered(asked.as_object().unwrap()).is_ok());
    }

    #[test]
    fn what_this_version_does_not_keep_is_refused_by_name() {
        for name in UNSUPPORTED {
            assert_eq!(lowered(json!({name: 1})), Err(LimitError::Unsupported { name: name.to_owned() }));
        }
        for got in [json!(2), json!("per-call"), json!(0), json!(1.0)] {
            assert_eq!(lowered(json!({"instances": got})), Err(LimitError::Instances { got: got.to_string() }));
        }
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
