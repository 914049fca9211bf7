//! `get_plugin_logs` and `get_plugin_stats`: what a plugin said, and what it did.

use crate::follow::FOLLOW_SECONDS_MAX;
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::Refusal;
use crate::signature::Arguments;
use crate::versions::installed_id;
use jiff::Timestamp;
use mortise_model::{Limits, PluginId};
use mortise_plugin::{LOG_LINES_KEPT_MAX, LogLine, Metering, Outcomes, PLUGIN_LOG_EVENT, Stats};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tracing::Level;

/// Lines of log in one answer where the caller does not say how many.
const LINES: usize = 100;

/// From the most serious to the least.
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

impl Manager {
    pub(crate) fn logs(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let id = installed_id(arguments)?;
        let after = arguments.optional_number("since")?;
        let level = arguments.optional_text("level")?.map_or(Ok(Level::TRACE), level)?;
        let lines_max = arguments.optional_number("limit")?.map_or(Ok(LINES), lines_max)?;
        let page = self.registry.log(&id, after, level, lines_max).ok_or_else(|| not_tried(&id))?;
        let lines: Vec<Value> = page.lines.iter().map(line).collect();
        let mut answer = json!({
            "status": "success",
            "plugin_id": id,
            "lines": lines,
            "next": page.last,
            "oldest": page.oldest,
            "dropped": page.dropped,
        });
        if let Some(seconds) = arguments.optional_number("follow")? {
            if !(1..=FOLLOW_SECONDS_MAX).contains(&seconds) {
                let message = format!("argument `follow` must be a number from 1 to {FOLLOW_SECONDS_MAX}");
                return Err(Refusal::new("invalid_argument", message).hint("ask again before the time is over"));
            }
            self.followed.follow(self.telling(), &id, page.last, level, Duration::from_secs(seconds))?;
            insert(&mut answer, "follow", json!({"event": PLUGIN_LOG_EVENT, "seconds": seconds}));
        }
        Ok(answer)
    }

    pub(crate) async fn stats(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let mut plugins = Map::new();
        if arguments.has("plugin_id") {
            let id = installed_id(arguments)?;
            let mut stats = self.stats_of(&id).ok_or_else(|| not_tried(&id))?;
            if let Some(limits) = self.limits_of(&id).await {
                insert(&mut stats, "limits", limits.to_json());
            }
            plugins.insert(id.to_string(), stats);
        } else {
            let all = self.registry.accounts().into_iter();
            plugins.extend(all.filter_map(|id| Some((id.to_string(), self.stats_of(&id)?))));
        }
        Ok(json!({"status": "success", "plugins": plugins}))
    }

    /// What a plugin may use: as it runs, or as it would.
    async fn limits_of(&self, id: &PluginId) -> Option<Limits> {
        if let Some(running) = self.running(id) {
            return Some(running.package().limits.clone());
        }
        let asking = self.asking_of(id.clone()).await.ok()?;
        self.authority.limits(asking.asker(), &asking.manifest).ok()
    }

    fn stats_of(&self, id: &PluginId) -> Option<Value> {
        let mut value = stats(&self.registry.stats(id)?);
        if let Some(running) = self.running(id) {
            let health = running.health();
            insert(&mut value, "generation", running.generation());
            insert(&mut value, "queue", json!({"waiting": health.queued, "running": health.running}));
            insert(&mut value, "stray_outcomes", health.stray_outcomes);
            insert(&mut value, "instances", health.instances);
        }
        Some(value)
    }
}

fn not_tried(id: &PluginId) -> Refusal {
    Refusal::new("not_loaded", format!("nobody has tried to load plugin '{id}' since the host started"))
        .with("plugin_id", id.as_str())
        .hint("`list_plugins` names the plugins there are")
}

fn level(name: &str) -> Result<Level, Refusal> {
    LEVELS.into_iter().find(|(known, _)| *known == name).map(|(_, level)| level).ok_or_else(|| {
        Refusal::new("invalid_argument", "argument `level` must be a level")
            .hint("write error, warn, info, debug or trace")
    })
}

fn lines_max(asked: u64) -> Result<usize, Refusal> {
    let asked = usize::try_from(asked).unwrap_or(usize::MAX);
    if (1..=LOG_LINES_KEPT_MAX).contains(&asked) {
        Ok(asked)
    } else {
        let message = format!("argument `limit` must be a number from 1 to {LOG_LINES_KEPT_MAX}");
        Err(Refusal::new("invalid_argument", message).hint("go on from `next` with `since` for more"))
    }
}

pub(crate) fn line(line: &LogLine) -> Value {
    let at = Timestamp::try_from(line.at).unwrap_or_default();
    let level = LEVELS.into_iter().find(|(_, known)| *known == line.level).map(|(name, _)| name);
    json!({
        "number": line.number,
        "ts": at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "level": level,
        "generation": line.generation,
        "source": line.source,
        "text": line.text,
    })
}

fn stats(stats: &Stats) -> Value {
    let outcomes = |of: Outcomes| json!({"answered": of.answered, "failed": of.failed});
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    let latency = stats.latency.map(|of| json!({"p50": millis(of.p50), "p99": millis(of.p99), "max": millis(of.max)}));
    json!({
        "calls": {
            "answered": stats.calls.answered,
            "failed": stats.calls.failed,
            "last_minute": stats.calls_last_minute,
            "bytes_received": stats.calls_bytes.received,
            "bytes_sent": stats.calls_bytes.sent,
        },
        "latency_ms": latency,
        "ticks": outcomes(stats.ticks),
        "subscriptions": {
            "answered": stats.heard.answered,
            "failed": stats.heard.failed,
            "dropped": stats.unheard,
        },
        "losses": stats.losses,
        "refused": stats.refused,
        "events": {
            "done": stats.events.done,
            "last_minute": stats.events.last_minute,
            "refused": stats.events.refused,
            "dropped": stats.events_dropped,
            "bytes_sent": stats.events.bytes.sent,
        },
        "plugin_calls": {
            "done": stats.plugin_calls.done,
            "last_minute": stats.plugin_calls.last_minute,
            "bytes_sent": stats.plugin_calls.bytes.sent,
            "bytes_received": stats.plugin_calls.bytes.received,
        },
        "mesh_calls": two_way(stats.mesh_calls),
        "http": two_way(stats.http_requests),
        "state": {
            "entries": stats.state.size.map(|(entries, _)| entries),
            "bytes": stats.state.size.map(|(_, bytes)| bytes),
            "reads": stats.state.reads,
            "writes": stats.state.writes,
            "refused": stats.state.refused,
        },
        "disk": {"bytes": stats.disk.bytes, "refused": stats.disk.refused},
        "log_lines": {
            "done": stats.log_lines.done,
            "last_minute": stats.log_lines.last_minute,
            "refused": stats.log_lines.refused,
            "bytes_sent": stats.log_lines.bytes.sent,
        },
        "denied": stats.denied,
        "memory": {"bytes": stats.memory.bytes, "peak_bytes": stats.memory.peak_bytes},
        "cpu": {
            "used_ms": millis(stats.cpu.used),
            "last_minute_ms": millis(stats.cpu.last_minute),
            "waits": stats.cpu.waits,
        },
    })
}

fn two_way(of: Metering) -> Value {
    json!({
        "done": of.done,
        "last_minute": of.last_minute,
        "refused": of.refused,
        "bytes_sent": of.bytes.sent,
        "bytes_received": of.bytes.received,
    })
}
