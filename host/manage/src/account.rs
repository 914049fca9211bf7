//! `get_plugin_logs` and `get_plugin_stats`: what a plugin said, and what it did.

use crate::follow::FOLLOW_SECONDS_MAX;
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::Refusal;
use crate::signature::Arguments;
use crate::versions::installed_id;
use jiff::Timestamp;
use mortise_model::PluginId;
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

    pub(crate) fn stats(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let mut plugins = Map::new();
        if arguments.has("plugin_id") {
            let id = installed_id(arguments)?;
            let mut stats = self.stats_of(&id).ok_or_else(|| not_tried(&id))?;
            if let Some(running) = self.running(&id) {
                insert(&mut stats, "limits", running.package().limits.to_json());
            }
            plugins.insert(id.to_string(), stats);
        } else {
            let all = self.registry.accounts().into_iter();
            plugins.extend(all.filter_map(|id| Some((id.to_string(), self.stats_of(&id)?))));
        }
        Ok(json!({"status": "success", "plugins": plugins}))
    }

    fn stats_of(&self, id: &PluginId) -> Option<Value> {
        let mut value = stats(&self.registry.stats(id)?);
        if let Some(running) = self.running(id) {
            let health = running.health();
            insert(&mut value, "generation", running.generation());
            insert(&mut value, "queue", json!({"waiting": health.queued, "running": health.running}));
            insert(&mut value, "stray_outcomes", health.stray_outcomes);
            insert(&mut value, "instances", health.instances);
            insert(&mut value, "memory", json!({"bytes": health.memory_bytes, "peak_bytes": health.memory_peak_bytes}));
            let cpu_ms = health.cpu.as_secs_f64() * 1e3;
            insert(&mut value, "cpu", json!({"used_ms": cpu_ms, "waits": health.cpu_waits}));
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
    let metering = |of: Metering| json!({"done": of.done, "refused": of.refused});
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    let latency = stats.latency.map(|of| json!({"p50": millis(of.p50), "p99": millis(of.p99), "max": millis(of.max)}));
    json!({
        "calls": outcomes(stats.calls),
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
            "refused": stats.events.refused,
            "dropped": stats.events_dropped,
        },
        "mesh_calls": metering(stats.mesh_calls),
        "http": {
            "done": stats.http_requests.done,
            "refused": stats.http_requests.refused,
            "bytes_sent": stats.http_bytes_sent,
            "bytes_received": stats.http_bytes_received,
        },
        "state": {
            "entries": stats.state.size.map(|(entries, _)| entries),
            "bytes": stats.state.size.map(|(_, bytes)| bytes),
            "reads": stats.state.reads,
            "writes": stats.state.writes,
            "refused": stats.state.refused,
        },
        "disk": {"bytes": stats.disk.bytes, "refused": stats.disk.refused},
        "log_lines": metering(stats.log_lines),
        "denied": stats.denied,
    })
}
