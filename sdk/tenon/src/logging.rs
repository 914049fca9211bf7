//! The plugin's log: panics, and the records of `log` and `tracing`.

use crate::host::{self, Level};
use std::cell::Cell;

/// Sends panics and log records to the host. Does so once.
pub(crate) fn install() {
    thread_local!(static INSTALLED: Cell<bool> = const { Cell::new(false) });
    if INSTALLED.replace(true) {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let message = match panic.location() {
            Some(location) => format!("panicked at {location}: {message}"),
            None => format!("panicked: {message}"),
        };
        host::log(Level::Error, "panic", &message);
    }));
    #[cfg(feature = "log")]
    log_records::install();
    #[cfg(feature = "tracing")]
    tracing_events::install();
}

/// Log records only: in native tests panics belong to the test harness.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn install_log() {
    #[cfg(feature = "log")]
    log_records::install();
    #[cfg(feature = "tracing")]
    tracing_events::install();
}

#[cfg(feature = "log")]
mod log_records {
    use super::{Level, host};

    struct HostLog;

    pub(super) fn install() {
        // A plugin that brought its own logger keeps it.
        if log::set_logger(&HostLog).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    }

    impl log::Log for HostLog {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            let level = match record.level() {
                log::Level::Error => Level::Error,
                log::Level::Warn => Level::Warn,
                log::Level::Info => Level::Info,
                log::Level::Debug => Level::Debug,
                log::Level::Trace => Level::Trace,
            };
            host::log(level, record.target(), &record.args().to_string());
        }

        fn flush(&self) {}
    }
}

#[cfg(feature = "tracing")]
mod tracing_events {
    use super::{Level, host};
    use std::fmt::{Debug, Write};
    use std::sync::atomic::{AtomicU64, Ordering};
    use tracing_core::field::{Field, Visit};
    use tracing_core::span::{Attributes, Current, Id, Record};
    use tracing_core::{Dispatch, Event, Metadata, Subscriber, dispatcher};

    /// Tells events; spans are numbered and otherwise ignored.
    struct HostLog {
        next_span: AtomicU64,
    }

    pub(super) fn install() {
        // A plugin that brought its own subscriber keeps it.
        let _ = dispatcher::set_global_default(Dispatch::new(HostLog { next_span: AtomicU64::new(1) }));
    }

    impl Subscriber for HostLog {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(self.next_span.fetch_add(1, Ordering::Relaxed))
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let level = match *event.metadata().level() {
                tracing_core::Level::ERROR => Level::Error,
                tracing_core::Level::WARN => Level::Warn,
                tracing_core::Level::INFO => Level::Info,
                tracing_core::Level::DEBUG => Level::Debug,
                tracing_core::Level::TRACE => Level::Trace,
            };
            let mut line = Line::default();
            event.record(&mut line);
            host::log(level, event.metadata().target(), &line.finish());
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}

        fn current_span(&self) -> Current {
            Current::none()
        }
    }

    /// The message, then every other field as `key=value`.
    #[derive(Default)]
    struct Line {
        message: String,
        fields: String,
    }

    impl Line {
        fn finish(mut self) -> String {
            self.message.push_str(&self.fields);
            self.message
        }
    }

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            // Writing to a string cannot fail.
            let _ = match field.name() {
                "message" => write!(self.message, "{value:?}"),
                name => write!(self.fields, " {name}={value:?}"),
            };
        }
    }
}
