//! How far a command has come, drawn on a terminal only.

use super::output::Printer;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A line at the bottom of the terminal that goes away when this is dropped. Elsewhere it draws nothing.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Draws if `printer` writes to a terminal for people.
    pub(super) fn new(printer: &Printer) -> Self {
        let bar = printer.draws_progress().then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar }
    }

    /// Draws nothing: for steps of something that draws itself.
    pub(super) fn none() -> Self {
        Self { bar: None }
    }

    /// Begins a stage of unknown length.
    pub(super) fn stage(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_style(ProgressStyle::default_spinner());
            bar.set_message(text);
        }
    }

    /// Begins to send `bytes`.
    pub(super) fn sending(&self, bytes: usize) {
        if let Some(bar) = &self.bar {
            if let Ok(style) = ProgressStyle::with_template("{spinner} sending {bar:30} {bytes}/{total_bytes}") {
                bar.set_style(style);
            }
            bar.set_length(u64::try_from(bytes).unwrap_or(u64::MAX));
            bar.set_position(0);
        }
    }

    /// Says that further `bytes` are sent.
    pub(super) fn sent(&self, bytes: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    /// Lets `print` write to the terminal without disturbing the line.
    pub(super) fn suspended<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
