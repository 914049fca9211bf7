//! Why an instance was lost.

use crate::view::State;
use mortise_model::{ByteSize, Failure, one_line};
use wasmtime::{Trap, WasmBacktrace};

/// An instance that cannot be entered any more: it trapped, or a turn took too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Stable, for `error.data.code`.
    pub(crate) code: &'static str,
    /// One line, for callers and operators.
    pub(crate) reason: String,
}

impl Loss {
    /// A turn took longer than the limit named.
    pub(crate) fn turn_limit(limit: &TurnLimit) -> Self {
        Self { code: "turn_limit", reason: format!("one turn took longer than `{}` ({:?})", limit.name, limit.span) }
    }

    /// Reads what wasmtime says about a failed entry.
    pub(crate) fn explain(error: &wasmtime::Error, state: &State) -> Self {
        if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
            tracing::debug!(plugin = %state.host.shared.plugin, backtrace = %trace, "the guest trapped");
        }
        let mut reason = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => return Self::turn_limit(&state.host.turn_limit),
            trap => reason(error, trap, state.host.shared.limits.stack),
        };
        // A guest that is refused memory usually traps on purpose; the limit is the real reason.
        if let Some(refusal) = state.limiter.refusal() {
            reason = format!("{refusal}: {reason}");
        }
        Self { code: "trap", reason }
    }

    /// What a call that was under way when the instance was lost is answered with. Never retryable by itself: nobody
    /// knows how far it got.
    pub(crate) fn failure(&self) -> Failure {
        Failure::new(self.code, format!("the plugin's instance was lost during the call: {}", self.reason))
    }
}

/// The limit that bounds a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TurnLimit {
    /// As the manifest names it.
    pub(crate) name: &'static str,
    pub(crate) span: std::time::Duration,
    pub(crate) end: tokio::time::Instant,
}

impl TurnLimit {
    /// Until when a guest may wait for one thing within its turn: a tenth of what is left of it is kept, so that the guest can
    /// be told that there is nothing, and make something of it.
    pub(crate) fn wait_until(&self) -> tokio::time::Instant {
        self.end - self.end.saturating_duration_since(tokio::time::Instant::now()) / 10
    }
}

fn reason(error: &wasmtime::Error, trap: Option<&Trap>, stack: ByteSize) -> String {
    match trap {
        Some(Trap::StackOverflow) => {
            format!("stack limit of {stack} reached, as deep recursion causes it")
        }
        // Compiled languages keep a part of their stack at the low end of their memory.
        Some(Trap::MemoryOutOfBounds) => "out of bounds memory access, as deep recursion causes it".to_owned(),
        Some(trap) => {
            let text = trap.to_string();
            text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
        }
        None => match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            Some(exit) => format!("the plugin called exit({})", exit.0),
            None => one_line(&error.root_cause().to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_line_and_name_the_limit() {
        let stack = ByteSize::mib(1);
        let of_trap = |trap: Trap| reason(&wasmtime::Error::from(trap), Some(&trap), stack);
        assert_eq!(of_trap(Trap::StackOverflow), "stack limit of 1MiB reached, as deep recursion causes it");
        assert_eq!(of_trap(Trap::UnreachableCodeReached), "wasm `unreachable` instruction executed");
        assert_eq!(reason(&wasmtime::Error::from(wasmtime_wasi::I32Exit(3)), None, stack), "the plugin called exit(3)");
        let chain = wasmtime::Error::msg("two\n  lines").context("outer");
        assert_eq!(reason(&chain, None, stack), "two lines");
    }
}
