//! Who had what changed, and what came of it: `<state_dir>/audit.jsonl`, one object a line, never rewritten.
//!
//! A line is written before its caller is answered and outlives the process; the last ones may go with the power.

use crate::manager::Manager;
use crate::signature::Arguments;
use jiff::Timestamp;
use mortise_model::{Permission, PluginId, cut};
use mortise_rpc::Origin;
use serde_json::{Map, Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tracing::warn;

const FILE: &str = "audit.jsonl";

/// A file that would become longer than so many bytes is put aside.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Files that are kept beside the one that is written: `audit.1.jsonl` is the newest of them.
const ASIDE_MAX: u32 = 4;

/// Lines about what failed: so many at once, and one more each second. Whoever is refused cannot push out what others did.
const FAILURES_AT_ONCE: f64 = 60.0;

/// The longest text of a caller's own that a line holds, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The trail of one host. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct AuditLog(Arc<Mutex<Trail>>);

#[derive(Debug)]
struct Trail {
    folder: PathBuf,
    bytes_max: u64,
    /// None until it is needed, and after a failure.
    open: Option<(File, u64)>,
    /// Lines about failures that may be written now, and since when.
    failures: (f64, Instant),
    /// Lines about failures that were not.
    left_out: u64,
}

/// What somebody asks for, before it is done.
pub(crate) struct Deed {
    line: Map<String, Value>,
}

impl Deed {
    /// A call of a host function. `caller` is what it claims to be; nobody has read the arguments of one that is barred.
    pub(crate) fn call(
        function: &str,
        origin: Origin,
        caller: Option<&str>,
        request: &str,
        arguments: Option<&Arguments>,
    ) -> Self {
        let origin = match origin {
            Origin::Mesh => "mesh",
            Origin::Control => "control",
            Origin::Plugin => "plugin",
        };
        let mut deed = Self::new(function, origin);
        deed.set("claimed_caller", caller.map(short));
        deed.set("request_id", Some(short(request)));
        let Some(arguments) = arguments else { return deed };
        for key in ["plugin_id", "permission", "expires_in", "digest"] {
            deed.set(key, arguments.optional_text(key).ok().flatten().map(short));
        }
        for key in ["once", "this_version"] {
            deed.set(key, arguments.optional_flag(key).ok().flatten());
        }
        deed
    }

    /// What the host does by itself.
    pub(crate) fn own(what: &str) -> Self {
        Self::new(what, "host")
    }

    fn new(what: &str, origin: &str) -> Self {
        Self { line: Map::from_iter([("what".to_owned(), json!(what)), ("origin".to_owned(), json!(origin))]) }
    }

    fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.line.insert(key.to_owned(), value.into());
        }
    }

    /// With what came of it. What the answer tells is more than what was asked for.
    fn into_line(mut self, answer: &Value) -> Map<String, Value> {
        let loaded = answer.get("load_result").and_then(|load| load.get("plugin"));
        let plugin = answer.get("plugin").or(loaded).and_then(|plugin| plugin.get("id"));
        self.set("plugin_id", answer.get("plugin_id").or(plugin).cloned());
        for key in ["permission", "digest", "signer", "generation", "code", "detail"] {
            self.set(key, answer.get(key).filter(|value| !value.is_null()).cloned());
        }
        if let Some(Value::String(detail)) = self.line.get_mut("detail") {
            *detail = short(detail);
        }
        self.set("outcome", answer.get("status").cloned());
        let mut line = Map::from_iter([("ts".to_owned(), json!(Timestamp::now().to_string()))]);
        line.append(&mut self.line);
        line
    }
}

fn short(text: &str) -> String {
    cut(text, TEXT_BYTES_MAX).to_owned()
}

impl AuditLog {
    /// In `state_dir`, which nobody else uses.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self::with_bound(state_dir, FILE_BYTES_MAX)
    }

    fn with_bound(state_dir: &Path, bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Trail {
            folder: state_dir.to_owned(),
            bytes_max,
            open: None,
            failures: (FAILURES_AT_ONCE, Instant::now()),
            left_out: 0,
        })))
    }

    /// Adds a line. A disk that refuses keeps nothing from being done. Blocks.
    fn add(&self, deed: Deed, answer: &Value) {
        if let Err(error) = self.write(deed.into_line(answer)) {
            warn!(%error, "failed to write the audit log");
        }
    }

    /// Adds that a plugin has a grant no longer. Blocks.
    pub(crate) fn grant_ended(&self, what: &str, plugin: &PluginId, permission: &Permission) {
        let answer = json!({"status": "success", "plugin_id": plugin, "permission": permission.to_string()});
        self.add(Deed::own(what), &answer);
    }

    fn write(&self, mut line: Map<String, Value>) -> io::Result<()> {
        let mut trail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.get("outcome").is_none_or(|outcome| outcome != "success") && !trail.may_tell_of_failure() {
            trail.left_out += 1;
            return Ok(());
        }
        if trail.left_out > 0 {
            line.insert("failures_left_out".to_owned(), trail.left_out.into());
        }
        let line = Value::Object(line).to_string() + "\n";
        let (mut file, bytes) = trail.file_for(line.len() as u64)?;
        if let Err(error) = file.write_all(line.as_bytes()) {
            // No half line, which would spoil the next.
            file.set_len(bytes)?;
            return Err(error);
        }
        trail.open = Some((file, bytes + line.len() as u64));
        trail.left_out = 0;
        Ok(())
    }
}

impl Trail {
    fn may_tell_of_failure(&mut self) -> bool {
        let (left, since) = self.failures;
        let now = Instant::now();
        let left = (left + now.duration_since(since).as_secs_f64()).min(FAILURES_AT_ONCE);
        let may = left >= 1.0;
        self.failures = (if may { left - 1.0 } else { left }, now);
        may
    }

    fn file_for(&mut self, more: u64) -> io::Result<(File, u64)> {
        let (file, bytes) = match self.open.take() {
            Some(open) => open,
            None => self.open_file()?,
        };
        if bytes == 0 || bytes + more <= self.bytes_max {
            return Ok((file, bytes));
        }
        drop(file);
        self.put_aside()?;
        self.open_file()
    }

    fn open_file(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.folder.join(FILE))?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    fn put_aside(&self) -> io::Result<()> {
        let aside = |number: u32| self.folder.join(format!("audit.{number}.jsonl"));
        // The oldest is overwritten.
        for number in (1..ASIDE_MAX).rev() {
            match fs::rename(aside(number), aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(self.folder.join(FILE), aside(1))
    }
}

impl Manager {
    /// Writes down what was done, before anybody is told.
    pub(crate) async fn audit(&self, deed: Deed, answer: &Value) {
        let (answer, audit) = (answer.clone(), self.authority.audit().clone());
        // A panic within it is in the log.
        let _ = tokio::task::spawn_blocking(move || audit.add(deed, &answer)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    fn line(number: u32, outcome: &str) -> Map<String, Value> {
        let line = json!({"number": format!("{number:04}"), "outcome": outcome});
        line.as_object().unwrap().clone()
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..14 {
            // Each time as after a restart.
            AuditLog::with_bound(folder.path(), 80).write(line(number, "success")).unwrap();
        }
        let kept = ["audit.1.jsonl", "audit.2.jsonl", "audit.3.jsonl", "audit.4.jsonl", "audit.jsonl"];
        assert_eq!(names(folder.path()), kept);
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let two = |first: u32| {
            let numbers = [first, first + 1].map(|number| Value::Object(line(number, "success")).to_string() + "\n");
            numbers.concat()
        };
        assert_eq!(text("audit.jsonl"), two(12));
        assert_eq!(text("audit.4.jsonl"), two(4));
    }

    #[test]
    fn who_is_refused_again_and_again_does_not_push_out_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let audit = AuditLog::new(folder.path());
        for number in 0..1000 {
            audit.write(line(number, "error")).unwrap();
        }
        audit.write(line(1000, "success")).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // One more for each second that this took.
        assert!((61..100).contains(&lines.len()), "{}", lines.len());
        let last = lines.last().unwrap();
        assert_eq!(last["outcome"], "success");
        assert!(last["failures_left_out"].as_u64().unwrap() > 0, "{last}");
    }

    #[test]
    fn a_line_tells_what_was_asked_and_what_came_of_it() {
        let arguments = json!({"plugin_id": "asked", "digest": "x".repeat(1000), "bundle_b64": "secret"});
        let Value::Object(arguments) = arguments else { unreachable!() };
        let deed =
            Deed::call("install_plugin", Origin::Mesh, Some("ops-1"), "\"r-1\"", Some(&Arguments::of(arguments)));
        let answer = json!({"status": "error", "plugin_id": "known", "code": "busy", "generation": null});
        let line = Value::Object(deed.into_line(&answer));
        assert!(line["ts"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!(line["digest"].as_str().unwrap().len(), TEXT_BYTES_MAX);
        for (key, expected) in [
            ("what", "install_plugin"),
            ("origin", "mesh"),
            ("claimed_caller", "ops-1"),
            ("request_id", "\"r-1\""),
            ("plugin_id", "known"),
            ("code", "busy"),
            ("outcome", "error"),
        ] {
            assert_eq!(line[key], expected, "{line}");
        }
        assert!(line.get("bundle_b64").is_none() && line.get("generation").is_none(), "{line}");
    }
}
