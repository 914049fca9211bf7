//! Logs: one subscriber for the process, on stderr, for people or for machines.
//!
//! Everybody else uses the `tracing` macros and knows nothing of this room.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Libraries that log about themselves at the level of our own events. They speak only when something is wrong, unless
/// directives ask for more.
const QUIET_TARGETS: [&str; 8] = ["async_nats", "cranelift", "h2", "hyper", "regalloc2", "rustls", "wasmtime", "zenoh"];

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// And what is doubtful.
    Warn,
    /// And what changed.
    Info,
    /// And why.
    Debug,
    /// Everything.
    Trace,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

impl FromStr for LogLevel {
    type Err = LogError;

    /// Any case; the reference's names (`WARNING`, `CRITICAL`) are understood too (wire contract 9.4).
    fn from_str(text: &str) -> Result<Self, LogError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "off" | "none" => Ok(Self::Off),
            "error" | "critical" | "fatal" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" | "notset" => Ok(Self::Trace),
            _ => Err(LogError::Level(text.to_owned())),
        }
    }
}

/// What a line of log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "human" | "text" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format(text.to_owned())),
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No such level.
    #[error("unknown log level `{0}`: expected `off`, `error`, `warn`, `info`, `debug` or `trace`")]
    Level(String),
    /// No such format.
    #[error("unknown log format `{0}`: expected `human` or `json`")]
    Format(String),
    /// Filter directives that do not parse.
    #[error("invalid log directives `{directives}`")]
    Directives {
        /// As given.
        directives: String,
        /// Where they go wrong.
        #[source]
        source: ParseError,
    },
    /// The process has its subscriber already; that one stays.
    #[error("logging is set up already")]
    AlreadySet,
}

/// How the process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    level: LogLevel,
    directives: Option<String>,
    format: LogFormat,
    color: bool,
}

impl LogConfig {
    /// Logs at `level`, refined by `directives` in the syntax of `tracing`'s `EnvFilter` (`mortise_rpc=debug,zenoh=info`).
    ///
    /// # Errors
    /// [`LogError::Directives`] when they do not parse.
    pub fn new(level: LogLevel, directives: Option<String>, format: LogFormat) -> Result<Self, LogError> {
        let config = Self { level, directives, format, color: true };
        config.filter()?;
        Ok(config)
    }

    /// The same without colour, even on a terminal.
    #[must_use]
    pub fn without_color(mut self) -> Self {
        self.color = false;
        self
    }

    /// The level.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.level
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.format
    }

    fn filter(&self) -> Result<EnvFilter, LogError> {
        let quiet_level = self.level.min(LogLevel::Warn);
        let mut text = self.level.to_string();
        for target in QUIET_TARGETS {
            text.push_str(&format!(",{target}={quiet_level}"));
        }
        if let Some(directives) = &self.directives {
            // Later directives win over earlier ones for the same target.
            text.push(',');
            text.push_str(directives);
        }
        EnvFilter::builder()
            .parse(text)
            .map_err(|source| LogError::Directives { directives: self.directives.clone().unwrap_or_default(), source })
    }
}

/// Installs the subscriber of the process. Called once, before anything logs; a second call changes nothing.
///
/// # Errors
/// [`LogError::AlreadySet`] when there is one already.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    // A closed stderr must not take the process down: the subscriber's own complaints would go to it as well.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(config.filter()?)
        .with_writer(std::io::stderr)
        .with_ansi(config.color && std::io::stderr().is_terminal())
        .log_internal_errors(false);
    match config.format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    }
    .map_err(|_| LogError::AlreadySet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_understood_in_both_dialects() {
        for (text, level) in [
            ("INFO", LogLevel::Info),
            (" warning ", LogLevel::Warn),
            ("CRITICAL", LogLevel::Error),
            ("trace", LogLevel::Trace),
            ("off", LogLevel::Off),
        ] {
            assert_eq!(text.parse::<LogLevel>().ok(), Some(level), "{text}");
        }
        assert!("loud".parse::<LogLevel>().is_err());
    }

    #[test]
    fn libraries_are_quiet_unless_asked() {
        let config =
            LogConfig::new(LogLevel::Debug, Some("zenoh=trace,mortise_rpc=off".into()), LogFormat::Human).unwrap();
        let filter = config.filter().unwrap().to_string();
        assert!(filter.contains("async_nats=warn"), "{filter}");
        assert!(filter.contains("zenoh=trace") && !filter.contains("zenoh=warn"), "{filter}");
        assert!(filter.contains("mortise_rpc=off") && filter.contains("debug"), "{filter}");

        let silent = LogConfig::new(LogLevel::Off, None, LogFormat::Human).unwrap().filter().unwrap().to_string();
        assert!(!silent.contains("warn"), "{silent}");
    }

    #[test]
    fn bad_directives_are_refused_with_the_text() {
        let error = LogConfig::new(LogLevel::Info, Some("a=b=c".into()), LogFormat::Json).unwrap_err();
        assert_eq!(error.to_string(), "invalid log directives `a=b=c`");
    }

    #[test]
    fn a_second_init_is_an_error_and_no_panic() {
        let config = LogConfig::new(LogLevel::Error, None, LogFormat::Json).unwrap();
        // Whichever test thread comes first wins; the second call here loses in any case.
        let _ = init(&config);
        assert!(matches!(init(&config), Err(LogError::AlreadySet)));
    }
}
