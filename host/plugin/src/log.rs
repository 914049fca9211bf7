//! A plugin's log: every line that it writes, whichever way, within one allowance; the last of them kept to be read.

use crate::account::{Metering, Traffic};
use crate::rate::Rate;
use crate::recent::Recent;
use mortise_model::{PluginId, visible};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::time::Instant;
use tracing::Level;

/// Lines kept of one plugin; beyond it the oldest go.
pub const LOG_LINES_KEPT_MAX: usize = 1000;

/// Bytes of text that they may have together.
const LOG_BYTES_KEPT_MAX: usize = 256 << 10;

/// Bytes of text in one page; written as JSON they are six times as many at worst.
const PAGE_BYTES_MAX: usize = 128 << 10;

/// One line of a plugin's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Counts from 1 for each plugin, from the start of the host.
    pub number: u64,
    /// When it was written.
    pub at: SystemTime,
    /// The generation that wrote it.
    pub generation: u64,
    /// How serious it is, in the plugin's words.
    pub level: Level,
    /// Where it comes from, in the plugin's words.
    pub source: String,
    /// The line itself.
    pub text: String,
}

/// Some lines of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// In their order.
    pub lines: Vec<LogLine>,
    /// The number of the oldest line that is kept; what was before is gone.
    pub oldest: u64,
    /// The number to read on after.
    pub last: u64,
    /// Lines that were dropped since the host started, more than `limits.log_lines_per_second`.
    pub dropped: u64,
}

/// The log of one plugin, over all its generations.
#[derive(Debug)]
pub(crate) struct PluginLog {
    plugin: PluginId,
    recent: Recent,
    /// The std mutex is held for a push, or for a copy of what is read.
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    /// Of lines that the host's own log shows, and of those that it does not: neither costs the other anything.
    rates: [Rate; 2],
    last: u64,
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Of all lines that were taken, kept or not.
    bytes_taken: u64,
    dropped: u64,
    /// Of those dropped, how many the host's own log has not told of.
    untold: u64,
}

impl PluginLog {
    pub(crate) fn new(plugin: PluginId) -> Self {
        let book = Book {
            rates: [Rate::new(), Rate::new()],
            last: 0,
            lines: VecDeque::new(),
            bytes: 0,
            bytes_taken: 0,
            dropped: 0,
            untold: 0,
        };
        Self { plugin, recent: Recent::default(), book: Mutex::new(book) }
    }

    /// Takes one line, or drops it where there are more than `per_second`.
    ///
    /// Lines below `INFO` are taken only where the host's own log shows them.
    pub(crate) fn write(&self, generation: u64, level: Level, source: &str, text: &str, per_second: u32) {
        let is_shown = is_shown(level);
        if level > Level::INFO && !is_shown {
            return;
        }
        let mut book = self.book();
        let [shown, hidden] = &mut book.rates;
        let rate = if is_shown { shown } else { hidden };
        let now = Instant::now();
        if !rate.take(now, per_second) {
            book.dropped += 1;
            book.untold += 1;
            return;
        }
        self.recent.add(1, now);
        book.bytes_taken += text.len() as u64;
        let untold = std::mem::take(&mut book.untold);
        book.push(generation, level, source, text);
        drop(book);
        self.tell_dropped(untold);
        show(&self.plugin, level, source, text);
    }

    /// Tells the host's own log of lines that were dropped, where no line came since that could have.
    pub(crate) fn settle(&self) {
        let untold = std::mem::take(&mut self.book().untold);
        self.tell_dropped(untold);
    }

    /// The first `lines_max` lines after number `after` that are as serious as `level` at least; without `after` the
    /// last ones. Fewer where they are long. A number that was not given yet is from before the host's start: all lines
    /// come after it.
    pub(crate) fn read(&self, after: Option<u64>, level: Level, lines_max: usize) -> LogPage {
        let book = self.book();
        let wanted = book.lines.iter().filter(|line| line.level <= level);
        let (mut lines, mut bytes, mut last) = (Vec::new(), 0, book.last);
        let mut take = |line: &LogLine| {
            bytes += bytes_of(line);
            let fits = lines.is_empty() || lines.len() < lines_max && bytes <= PAGE_BYTES_MAX;
            if fits {
                lines.push(line.clone());
            }
            fits
        };
        match after {
            Some(after) => {
                let after = if after > book.last { 0 } else { after };
                let mut left = wanted.filter(|line| line.number > after);
                // What does not fit is for the next page.
                if left.any(|line| !take(line)) {
                    last = lines.last().map_or(after, |line: &LogLine| line.number);
                }
            }
            None => {
                wanted.rev().all(take);
                lines.reverse();
            }
        }
        let oldest = book.lines.front().map_or(book.last + 1, |line| line.number);
        LogPage { lines, oldest, last, dropped: book.dropped }
    }

    pub(crate) fn metering(&self, now: Instant) -> Metering {
        let book = self.book();
        Metering {
            done: book.last,
            last_minute: self.recent.total(now),
            refused: book.dropped,
            bytes: Traffic { sent: book.bytes_taken, received: 0 },
        }
    }

    fn tell_dropped(&self, lines: u64) {
        if lines > 0 {
            tracing::warn!(
                target: "plugin",
                plugin = self.plugin.as_str(),
                "{lines} lines dropped, more than `limits.log_lines_per_second`"
            );
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn push(&mut self, generation: u64, level: Level, source: &str, text: &str) {
        self.last += 1;
        let line = LogLine {
            number: self.last,
            at: SystemTime::now(),
            generation,
            level,
            source: source.to_owned(),
            text: text.to_owned(),
        };
        self.bytes += bytes_of(&line);
        self.lines.push_back(line);
        while self.lines.len() > LOG_LINES_KEPT_MAX || self.bytes > LOG_BYTES_KEPT_MAX {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= bytes_of(&oldest);
        }
    }
}

fn bytes_of(line: &LogLine) -> usize {
    line.source.len() + line.text.len()
}

// The level of a tracing event is part of its call site.

fn is_shown(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: "plugin", Level::ERROR),
        Level::WARN => tracing::enabled!(target: "plugin", Level::WARN),
        Level::INFO => tracing::enabled!(target: "plugin", Level::INFO),
        Level::DEBUG => tracing::enabled!(target: "plugin", Level::DEBUG),
        Level::TRACE => tracing::enabled!(target: "plugin", Level::TRACE),
    }
}

/// In the host's own log a line of a plugin's is one line, whatever it holds, or a plugin could write lines of the host's. A
/// field such as `source` is escaped by whoever formats the event, its message is not.
fn show(plugin: &PluginId, level: Level, source: &str, line: &str) {
    let line = visible(line);
    match level {
        Level::ERROR => tracing::error!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::WARN => tracing::warn!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::INFO => tracing::info!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::DEBUG => tracing::debug!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::TRACE => tracing::trace!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;
    use std::sync::Arc;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::Interest;
    use tracing::{Event, Metadata, Subscriber};

    const MANY: u32 = 1_000_000;

    fn log() -> PluginLog {
        PluginLog::new(PluginId::new("p").unwrap())
    }

    fn texts(page: &LogPage) -> Vec<&str> {
        page.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_are_read_from_where_the_last_page_ended() {
        let log = log();
        for (number, level) in [Level::INFO, Level::WARN, Level::INFO, Level::ERROR].into_iter().enumerate() {
            log.write(3, level, "s", &number.to_string(), MANY);
        }
        let page = log.read(None, Level::INFO, 2);
        assert_eq!((texts(&page), page.last, page.dropped), (vec!["2", "3"], 4, 0));
        let page = log.read(Some(0), Level::INFO, 3);
        assert_eq!((texts(&page), page.last), (vec!["0", "1", "2"], 3));
        let page = log.read(Some(page.last), Level::INFO, 3);
        assert_eq!((texts(&page), page.last), (vec!["3"], 4));
        let page = log.read(Some(0), Level::WARN, 10);
        assert_eq!((texts(&page), page.last, page.lines[0].generation), (vec!["1", "3"], 4, 3));
        let page = log.read(Some(500), Level::INFO, 10);
        assert_eq!((page.lines.len(), page.oldest), (4, 1), "a number of another start");
    }

    #[test]
    fn the_oldest_lines_go() {
        let log = log();
        for number in 0..LOG_LINES_KEPT_MAX + 5 {
            log.write(1, Level::INFO, "", &number.to_string(), MANY);
        }
        let page = log.read(Some(0), Level::INFO, 1);
        assert_eq!((texts(&page), page.oldest), (vec!["5"], 6));
        let long = "x".repeat(LOG_BYTES_KEPT_MAX / 4);
        for _ in 0..9 {
            log.write(1, Level::INFO, "", &long, MANY);
        }
        // Long lines make short pages.
        let mut seen = Vec::new();
        let mut page = log.read(Some(0), Level::INFO, 10);
        while !page.lines.is_empty() {
            assert_eq!(page.lines.len(), 2);
            seen.extend(page.lines.iter().map(|line| line.number));
            page = log.read(Some(page.last), Level::INFO, 10);
        }
        let newest = LOG_LINES_KEPT_MAX as u64 + 5 + 9;
        assert_eq!(seen, [newest - 3, newest - 2, newest - 1, newest]);
        let last: Vec<u64> = log.read(None, Level::INFO, 10).lines.iter().map(|line| line.number).collect();
        assert_eq!(last, [newest - 1, newest]);
    }

    #[test]
    fn a_flood_is_cut_to_the_rate_and_counted_and_what_nobody_reads_costs_nothing() {
        let log = log();
        for _ in 0..1000 {
            log.write(1, Level::TRACE, "", "unread", 10);
        }
        for _ in 0..100 {
            log.write(1, Level::INFO, "", "flood", 10);
        }
        let page = log.read(Some(0), Level::TRACE, 1000);
        assert_eq!(page.lines.len() as u64 + page.dropped, 100);
        assert!((20..30).contains(&page.lines.len()), "{}", page.lines.len());
    }

    /// Keeps the messages of its own thread.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Recorder {
        // Tests on other threads have no subscriber, and must go on having none.
        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            Interest::sometimes()
        }

        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &Event<'_>) {
            event.record(&mut Messages(&self.0));
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    struct Messages<'a>(&'a Mutex<Vec<String>>);

    impl Visit for Messages<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }

    #[test]
    fn in_the_hosts_own_log_a_line_stays_one_line() {
        let (log, recorder) = (log(), Recorder::default());
        let text = "tea\r\n2026-01-02T03:04:05Z ERROR mortise: coffee\u{1b}[31m\u{9b}";
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        tracing::subscriber::with_default(recorder.clone(), || {
            for level in levels {
                log.write(1, level, "s", text, MANY);
            }
        });
        let shown = r"tea\r\n2026-01-02T03:04:05Z ERROR mortise: coffee\u{1b}[31m\u{9b}";
        assert_eq!(*recorder.0.lock().unwrap(), [shown; 5]);
        assert_eq!(texts(&log.read(None, Level::TRACE, 10)), [text; 5], "what is kept stays as it was written");
    }
}
