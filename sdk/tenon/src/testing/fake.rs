//! The other side of `host`, kept per thread.

use crate::host::{Failure, HttpRequest, Level, Op, OpOutcome, OpValue};
use crate::http::Response;
use crate::surroundings::Identity;
use crate::{Error, Result, ops};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// When the fake clock starts, since the Unix epoch: 2026-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// What the state may have, as the real host counts it where a manifest says nothing.
const STATE_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static FAKE: RefCell<Fake> = RefCell::new(Fake::new());
}

/// A call that the plugin makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// None: a function of another plugin on this host.
    pub device: Option<String>,
    /// As the plugin names it.
    pub function: String,
    /// A JSON object.
    pub parameters: Value,
}

/// One line of the plugin's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How grave.
    pub level: Level,
    /// Usually the module it comes from.
    pub target: String,
    /// One line.
    pub message: String,
}

/// What answers the plugin's invocations.
type Answer = Box<dyn FnMut(&Invocation) -> Result<Value>>;

/// What answers the plugin's requests over HTTP.
type Web = Box<dyn FnMut(&HttpRequest) -> Result<Response>>;

pub(crate) struct Fake {
    pub(super) config: Value,
    pub(super) devices: Vec<Value>,
    pub(super) answer: Answer,
    pub(super) web: Web,
    pub(super) env: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, String>,
    /// Since [`EPOCH`].
    pub(super) now: Duration,
    pub(super) ops: BTreeMap<u64, (Duration, Op)>,
    pub(super) outcomes: BTreeMap<u64, Result<String>>,
    pub(super) events: Vec<(String, Value)>,
    pub(super) logs: Vec<LogLine>,
    pub(super) state: BTreeMap<String, Vec<u8>>,
    random: u64,
}

impl Fake {
    fn new() -> Self {
        Self {
            config: json!({}),
            devices: Vec::new(),
            answer: Box::new(|invocation| {
                Err(Error::new("unreachable", format_args!("nothing answers `{}`", invocation.function)))
            }),
            web: Box::new(|request| {
                Err(Error::new("connection_failed", format_args!("nothing answers `{}`", request.url)))
            }),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            now: Duration::ZERO,
            ops: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            events: Vec::new(),
            logs: Vec::new(),
            state: BTreeMap::new(),
            random: 1,
        }
    }

    pub(super) fn reset() {
        Self::with(|fake| *fake = Self::new());
    }

    pub(super) fn with<T>(f: impl FnOnce(&mut Self) -> T) -> T {
        FAKE.with_borrow_mut(f)
    }

    /// Ends the op that is due first, if it is due by `until`, and moves the clock there.
    pub(super) fn deliver_next(until: Duration) -> bool {
        let Some((id, op)) = Self::with(|fake| {
            let (&id, &(due, _)) = fake.ops.iter().min_by_key(|(id, (due, _))| (*due, **id))?;
            if due > until {
                return None;
            }
            fake.now = fake.now.max(due);
            fake.ops.remove(&id).map(|(_, op)| (id, op))
        }) else {
            return false;
        };
        ops::deliver(id, Self::outcome(op));
        true
    }

    fn outcome(op: Op) -> OpOutcome {
        match op {
            Op::Sleep(_) | Op::StateFlush => Ok(OpValue::Done),
            Op::Env(name) => Ok(OpValue::Json(json!(Self::with(|fake| fake.env.get(&name).cloned())).to_string())),
            Op::Secret(name) => {
                Ok(OpValue::Json(json!(Self::with(|fake| fake.secrets.get(&name).cloned())).to_string()))
            }
            Op::Http(request) => {
                let mut web =
                    Self::with(|fake| std::mem::replace(&mut fake.web, Box::new(|_| Ok(Response::new(404, "")))));
                let answer = web(&request);
                Self::with(|fake| fake.web = web);
                Ok(OpValue::Http(answer?.into_parts()))
            }
            Op::Discover => Ok(OpValue::Json(Value::from(Self::with(|fake| fake.devices.clone())).to_string())),
            Op::Invoke(invocation) => {
                let invocation = Invocation {
                    device: invocation.device,
                    function: invocation.function,
                    parameters: serde_json::from_str(&invocation.parameters).map_err(Error::from)?,
                };
                // Taken out while it runs: the test's closure may itself look at the host.
                let mut answer = Self::with(|fake| std::mem::replace(&mut fake.answer, Box::new(|_| Ok(Value::Null))));
                let outcome = answer(&invocation);
                Self::with(|fake| fake.answer = answer);
                Ok(OpValue::Json(outcome?.to_string()))
            }
        }
    }
}

pub(crate) fn log(level: Level, target: &str, message: &str) {
    let line = LogLine { level, target: target.to_owned(), message: message.to_owned() };
    Fake::with(|fake| fake.logs.push(line));
}

pub(crate) fn emit(event: &str, payload: &str) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::from(Error::new("invalid_event", message)));
    if event.is_empty() || !event.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return refuse(format!("`{event}` is no event name"));
    }
    match serde_json::from_str(payload) {
        Ok(payload @ Value::Object(_)) => {
            Fake::with(|fake| fake.events.push((event.to_owned(), payload)));
            Ok(())
        }
        _ => refuse(format!("the payload of event `{event}` is not a JSON object")),
    }
}

pub(crate) fn config() -> String {
    Fake::with(|fake| fake.config.to_string())
}

pub(crate) fn identity() -> Identity {
    Identity { plugin: "plugin-under-test".into(), device: "test-device".into(), tenant: "default".into() }
}

pub(crate) fn wall_time_ns() -> u64 {
    nanos(EPOCH.saturating_add(Fake::with(|fake| fake.now)))
}

pub(crate) fn monotonic_time_ns() -> u64 {
    nanos(Fake::with(|fake| fake.now))
}

/// The same bytes in every run: tests should not depend on chance.
pub(crate) fn random(length: u32) -> Vec<u8> {
    Fake::with(|fake| {
        let mut next = || {
            // SplitMix64.
            fake.random = fake.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (fake.random ^ (fake.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 27)).to_le_bytes().into_iter().next().unwrap_or_default()
        };
        (0..length.min(65_536)).map(|_| next()).collect()
    })
}

pub(crate) fn state_get(key: &str) -> Result<Option<Vec<u8>>, Failure> {
    check_key(key)?;
    Ok(Fake::with(|fake| fake.state.get(key).cloned()))
}

pub(crate) fn state_set(key: &str, value: &[u8]) -> Result<(), Failure> {
    check_key(key)?;
    Fake::with(|fake| {
        let others = fake.state.iter().filter(|(other, _)| *other != key);
        let bytes =
            others.map(|(key, value)| 64 + key.len() + value.len()).sum::<usize>() + 64 + key.len() + value.len();
        if bytes > STATE_BYTES_MAX {
            let message = format_args!("the plugin's state would have {bytes} bytes, more than {STATE_BYTES_MAX}");
            return Err(Failure::from(Error::new("state_full", message)));
        }
        fake.state.insert(key.to_owned(), value.to_vec());
        Ok(())
    })
}

pub(crate) fn state_delete(key: &str) -> Result<(), Failure> {
    check_key(key)?;
    Fake::with(|fake| drop(fake.state.remove(key)));
    Ok(())
}

pub(crate) fn state_keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Failure> {
    let limit = limit.min(1000) as usize;
    let wanted = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
    Ok(Fake::with(|fake| fake.state.keys().filter(wanted).take(limit).cloned().collect()))
}

fn check_key(key: &str) -> Result<(), Failure> {
    if (1..=256).contains(&key.len()) && !key.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::from(Error::new("invalid_key", "a key has 1 to 256 bytes and no control characters")))
}

pub(crate) fn start_op(id: u64, op: &Op) {
    Fake::with(|fake| {
        let wait = match op {
            Op::Sleep(ns) => Duration::from_nanos(*ns),
            Op::Invoke(_) | Op::Discover | Op::Http(_) | Op::Env(_) | Op::Secret(_) | Op::StateFlush => Duration::ZERO,
        };
        let due = fake.now.saturating_add(wait);
        fake.ops.insert(id, (due, op.clone()));
    });
}

pub(crate) fn cancel_op(id: u64) {
    Fake::with(|fake| drop(fake.ops.remove(&id)));
}

pub(crate) fn complete(call: u64, outcome: &Result<String, Failure>) {
    let outcome = outcome.clone().map_err(Error::from);
    Fake::with(|fake| drop(fake.outcomes.insert(call, outcome)));
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
