//! Which lines of a plugin's log are still to be shown.

use serde_json::Value;

/// Where the log of one plugin was left.
///
/// A host numbers lines from its start, so numbers alone do not tell which lines were shown before an interruption: the log
/// is read anew, and a line is known where its time is not later either.
#[derive(Debug, Default)]
pub(in crate::cli::commands) struct Shown {
    /// The number of the last line.
    last: u64,
    /// The time of the last line: RFC 3339 in UTC, in milliseconds, so that text is ordered as time.
    time: Option<String>,
    /// Lines that the host had dropped.
    dropped: u64,
    /// Where the log was left before the interruption, while it is read anew.
    before: Option<u64>,
}

impl Shown {
    /// What `page` has, and all before it, is not to be shown.
    pub(in crate::cli::commands) fn after(page: &Value) -> Self {
        let mut shown = Self::default();
        shown.advance(page);
        shown
    }

    /// The host may be another: its log is read from the beginning.
    pub(in crate::cli::commands) fn interrupted(&mut self) {
        let last = std::mem::take(&mut self.last);
        self.before = Some(self.before.map_or(last, |before| before.max(last)));
    }

    /// The number after which lines are wanted.
    pub(in crate::cli::commands) fn since(&self) -> u64 {
        self.last
    }

    /// Takes from `page` the lines that were shown already; says how many before it never will be.
    pub(in crate::cli::commands) fn take(&mut self, page: &mut Value) -> u64 {
        let lines = page.get_mut("lines").and_then(Value::as_array_mut);
        let mut known = 0;
        if let (Some(before), Some(shown), Some(lines)) = (self.before, &self.time, lines) {
            let count = lines.len();
            lines.retain(|line| number(line, "number") > before || time(line) > Some(shown.as_str()));
            known = count.saturating_sub(lines.len());
        }
        // Where a line is known, those after it are all there.
        let mut reached = if known > 0 { u64::MAX } else { self.last };
        if let Some(before) = self.before.filter(|before| known == 0 && number(page, "next") >= *before) {
            reached = reached.max(before);
        }
        let gone = number(page, "oldest").saturating_sub(reached.saturating_add(1));
        let dropped = number(page, "dropped");
        // A host that was started anew counts from 0.
        let dropped = dropped.checked_sub(self.dropped).unwrap_or(dropped);
        self.advance(page);
        if known == 0 {
            self.before = None;
        }
        gone.saturating_add(dropped)
    }

    fn advance(&mut self, page: &Value) {
        self.last = page.get("next").and_then(Value::as_u64).unwrap_or(self.last);
        self.dropped = number(page, "dropped");
        let lines = page.get("lines").and_then(Value::as_array);
        if let Some(time) = lines.and_then(|lines| time(lines.last()?)) {
            self.time = Some(time.to_owned());
        }
    }
}

pub(super) fn number(page: &Value, key: &str) -> u64 {
    page.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn time(line: &Value) -> Option<&str> {
    line.get("ts")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A page of lines that came at these seconds; the last one has number `next`.
    fn page(times: &[&str], next: u64, oldest: u64, dropped: u64) -> Value {
        let first = next - times.len() as u64 + 1;
        let line = |(number, time)| json!({"number": number, "ts": format!("2026-01-01T00:00:{time}Z"), "text": time});
        let lines: Vec<Value> = (first..).zip(times).map(line).collect();
        json!({"lines": lines, "next": next, "oldest": oldest, "dropped": dropped})
    }

    fn texts(page: &Value) -> Vec<&str> {
        page["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect()
    }

    #[test]
    fn lines_that_never_come_are_counted() {
        let mut shown = Shown::after(&page(&["01"], 7, 1, 2));
        assert_eq!(shown.since(), 7);
        assert_eq!(shown.take(&mut page(&["02"], 8, 1, 2)), 0);
        assert_eq!(shown.take(&mut page(&["03"], 20, 12, 2)), 3, "9, 10 and 11 had to make room");
        assert_eq!(shown.take(&mut page(&[], 20, 12, 6)), 4);
        assert_eq!(shown.take(&mut page(&[], 20, 12, 6)), 0);
    }

    #[test]
    fn after_an_interruption_no_line_is_lost_and_none_comes_twice() {
        let mut shown = Shown::after(&page(&["02"], 2, 1, 0));
        shown.interrupted();
        assert_eq!(shown.since(), 0);
        let mut same = page(&["01", "02", "02", "03"], 4, 1, 0);
        assert_eq!((shown.take(&mut same), texts(&same)), (0, vec!["02", "03"]));
        let mut more = page(&["04"], 5, 1, 0);
        assert_eq!((shown.take(&mut more), texts(&more)), (0, vec!["04"]));
        shown.interrupted();
        let mut another = page(&["05", "06"], 2, 1, 0);
        assert_eq!((shown.take(&mut another), texts(&another)), (0, vec!["05", "06"]));
        assert_eq!(shown.since(), 2);
    }

    #[test]
    fn what_had_to_make_room_during_an_interruption_is_counted() {
        let mut shown = Shown::after(&page(&["01"], 10, 1, 5));
        shown.interrupted();
        assert_eq!(shown.take(&mut page(&["04"], 20, 13, 5)), 2, "the same host: 11 and 12");
        shown.interrupted();
        assert_eq!(shown.take(&mut page(&["06"], 4, 4, 1)), 4, "another: 1, 2, 3, and one dropped");
    }
}
