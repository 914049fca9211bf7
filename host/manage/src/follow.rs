//! `get_plugin_logs` with `follow`: new lines of a plugin's log as events of this device, for a while.

use crate::account::line;
use crate::refusal::Refusal;
use mortise_model::{EventName, Json, PluginId, cut};
use mortise_plugin::{LogLine, LogPage, PLUGIN_LOG_EVENT, Registry};
use mortise_rpc::Outbox;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Level;

/// How long a log is followed at most before that has to be asked for again.
pub(crate) const FOLLOW_SECONDS_MAX: u64 = 300;

/// Plugins whose logs may be followed at once.
const FOLLOWED_MAX: usize = 16;

/// Between two events with lines of one plugin.
const PERIOD: Duration = Duration::from_millis(100);

/// Lines in one event.
const LINES_MAX: usize = 100;

/// Bytes of the lines in one event, unless the mesh carries less.
const EVENT_BYTES_MAX: usize = 256 << 10;

/// Events of this device that may wait for the mesh before lines wait for them: in the log, where the oldest go and are counted.
const QUEUED_MAX: usize = 16;

/// What an event has beside its lines.
const ENVELOPE_BYTES: usize = 1024;

/// Whose logs are followed.
#[derive(Default)]
pub(crate) struct Followed {
    /// The std mutex is held for a look.
    logs: Mutex<HashMap<PluginId, Follow>>,
}

struct Follow {
    wish: Arc<Mutex<Wish>>,
    task: AbortOnDropHandle<()>,
}

/// Until when, how much, and from where on.
#[derive(Debug, Clone, Copy)]
struct Wish {
    until: Instant,
    level: Level,
    /// The number of the last line that was told, or was not to be.
    after: u64,
}

/// What it takes to tell of lines.
#[derive(Clone)]
pub(crate) struct Telling {
    pub(crate) registry: Registry,
    pub(crate) outbox: Outbox,
    pub(crate) message_bytes_max: watch::Receiver<usize>,
}

impl Followed {
    /// Follows the log of a plugin for so long from now on, beginning after line `after`. One that is followed already goes on
    /// from where it is, with the lines that either wants; from `after` again where some since then were not to be told.
    pub(crate) fn follow(
        &self,
        telling: Telling,
        id: &PluginId,
        after: u64,
        level: Level,
        time: Duration,
    ) -> Result<(), Refusal> {
        let until = Instant::now() + time;
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|_, follow| !follow.task.is_finished() && lock(&follow.wish).until > Instant::now());
        if let Some(follow) = logs.get(id) {
            lock(&follow.wish).join(Wish { until, level, after });
            return Ok(());
        }
        if logs.len() >= FOLLOWED_MAX {
            let message = format!("the logs of {FOLLOWED_MAX} plugins are followed already");
            return Err(
                Refusal::new("too_many_followed", message).hint("read it with `since`, or wait until others end")
            );
        }
        let wish = Arc::new(Mutex::new(Wish { until, level, after }));
        let task = TaskTracker::new().spawn(tell(telling, id.clone(), Arc::clone(&wish)));
        logs.insert(id.clone(), Follow { wish, task: AbortOnDropHandle::new(task) });
        Ok(())
    }
}

impl Wish {
    /// Takes in another's.
    fn join(&mut self, other: Self) {
        if other.level > self.level {
            self.after = self.after.min(other.after);
        }
        self.until = self.until.max(other.until);
        self.level = self.level.max(other.level);
    }
}

fn lock(wish: &Mutex<Wish>) -> MutexGuard<'_, Wish> {
    wish.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells of what comes, until the wish has lapsed or the log is gone.
async fn tell(telling: Telling, id: PluginId, wish: Arc<Mutex<Wish>>) {
    let Telling { registry, outbox, message_bytes_max } = telling;
    let Ok(event) = EventName::new(PLUGIN_LOG_EVENT) else { return };
    let mut dropped = registry.log(&id, Some(lock(&wish).after), Level::ERROR, 1).map_or(0, |page| page.dropped);
    let mut interval = tokio::time::interval(PERIOD);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Held for a look at the log, so that nobody joins in between.
        let mut wish = lock(&wish);
        let is_over = Instant::now() >= wish.until;
        if outbox.len() < QUEUED_MAX {
            let Some(page) = registry.log(&id, Some(wish.after), wish.level, LINES_MAX) else { return };
            let bytes_max = message_bytes_max.borrow().saturating_sub(ENVELOPE_BYTES).min(EVENT_BYTES_MAX);
            if let Some((lines, last)) = fitting(&page, bytes_max) {
                let gone = page.oldest.saturating_sub(wish.after + 1) + page.dropped.saturating_sub(dropped);
                let payload = json!({"plugin_id": id, "lines": lines, "dropped": gone});
                outbox.push(None, event.clone().into(), &Json::of(&payload));
                (wish.after, dropped) = (last, page.dropped);
            } else {
                wish.after = page.last;
            }
        }
        if is_over {
            return;
        }
    }
}

/// The first lines of a page that have at most so many bytes together, and the number to go on after; none where there are
/// no lines. One that is too long alone is cut.
fn fitting(page: &LogPage, bytes_max: usize) -> Option<(Vec<Value>, u64)> {
    let mut bytes = 0;
    let mut lines = Vec::new();
    let mut last = page.last;
    for next in &page.lines {
        let value = line(next);
        bytes += value.to_string().len() + 1;
        if bytes <= bytes_max {
            lines.push(value);
            continue;
        }
        if lines.is_empty() {
            // Escaped, a byte takes six; the source has its own limit.
            let text = cut(&next.text, bytes_max / 8).to_owned();
            lines.push(line(&LogLine { text, ..next.clone() }));
            last = next.number;
        } else {
            last = next.number - 1;
        }
        break;
    }
    (!lines.is_empty()).then_some((lines, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn page(texts: &[String]) -> LogPage {
        let line = |(number, text): (usize, &String)| LogLine {
            number: number as u64 * 2 + 1,
            at: SystemTime::UNIX_EPOCH,
            generation: 1,
            level: Level::INFO,
            source: String::new(),
            text: text.clone(),
        };
        let lines = texts.iter().enumerate().map(line).collect();
        LogPage { lines, oldest: 1, last: 100, dropped: 0 }
    }

    #[test]
    fn whoever_wants_more_lines_is_told_those_that_were_left_out() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let wish = |level, after, time| Wish { until: now + time, level, after };
        let joined = |mut first: Wish, second| {
            first.join(second);
            (first.until - now, first.level, first.after)
        };
        let errors = wish(Level::ERROR, 9, second);
        assert_eq!(joined(errors, wish(Level::INFO, 7, second * 2)), (second * 2, Level::INFO, 7));
        assert_eq!(joined(errors, wish(Level::ERROR, 7, second)), (second, Level::ERROR, 9), "they were told");
        assert_eq!(joined(wish(Level::INFO, 7, second * 2), errors), (second * 2, Level::INFO, 7));
    }

    #[test]
    fn an_event_holds_as_many_lines_as_the_mesh_carries() {
        let texts = ["x".repeat(1000), "\n".repeat(1000), "z".repeat(1000)];
        let (lines, last) = fitting(&page(&texts), 1 << 20).unwrap();
        assert_eq!((lines.len(), last), (3, 100));
        let (lines, last) = fitting(&page(&texts), 4000).unwrap();
        assert_eq!((lines.len(), last), (2, 4), "an escape takes two");
        let (lines, last) = fitting(&page(&texts), 800).unwrap();
        assert_eq!((lines[0]["text"].as_str().unwrap().len(), last), (100, 1));
        assert!(fitting(&page(&[]), 800).is_none());
    }
}
