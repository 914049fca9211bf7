//! What a plugin keeps, in the host of a test.

use std::collections::BTreeMap;
use tenon::{Result, Value, json, state};

#[derive(Default)]
struct Keeper {
    /// How often this instance was asked.
    asked: u64,
}

#[tenon::plugin]
impl Keeper {
    #[function]
    fn asked(&mut self) -> Result<Value> {
        self.asked += 1;
        let total = state::get::<u64>("asked")?.unwrap_or(0) + 1;
        state::set("asked", &total)?;
        Ok(json!({"here": self.asked, "in_all": total}))
    }

    #[function]
    fn keep(&self, entries: BTreeMap<String, Value>) -> Result<()> {
        entries.iter().try_for_each(|(key, value)| state::set(key, value))
    }

    #[function]
    fn fill(&self, count: usize, bytes: usize) -> Result<usize> {
        (0..count).try_for_each(|n| state::set_bytes(&format!("fill/{n:05}"), &vec![7; bytes]))?;
        Ok(state::get_bytes("fill/00000")?.map_or(0, |value| value.len()))
    }

    #[function]
    fn keys(&self, #[default = ""] prefix: String) -> Result<Vec<String>> {
        state::keys(&prefix)
    }

    #[function]
    fn forget(&self, key: String) -> Result<()> {
        state::delete(&key)
    }
}

#[derive(Default)]
struct Flushing;

#[tenon::plugin]
impl Flushing {
    #[function]
    async fn flush(&self) -> Result<u64> {
        state::set("n", &1)?;
        state::flush().await?;
        Ok(state::get("n")?.unwrap_or_default())
    }
}

/// Made of what is migrated.
struct Migrated {
    names: Vec<String>,
}

#[tenon::plugin]
impl Migrated {
    #[init]
    fn new() -> Result<Self> {
        Ok(Self { names: state::get("names")?.unwrap_or_default() })
    }

    #[migrate]
    fn migrate(from: String, to: String) -> Result<()> {
        if from == "0" {
            return Err(tenon::Error::new("too_old", format!("{to} knows nothing of {from}")));
        }
        let name: Option<String> = state::get("names")?;
        state::set("names", &name.as_slice())
    }

    #[function]
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }
}

#[test]
fn a_plugin_is_made_of_what_was_migrated() {
    let mut host = tenon::testing::host::<Migrated>().state("names", &json!("Ann"));
    let error = host.migrate("0", "2").expect_err("too old");
    assert_eq!((error.code(), error.message()), ("too_old", "2 knows nothing of 0"));
    assert_eq!(host.call("names", json!({})).expect_err("not migrated").code(), "invalid_json");
    assert_eq!(host.migrate("1", "2"), Ok(()));
    assert_eq!(host.call("names", json!({})), Ok(json!(["Ann"])));
    let mut other = tenon::testing::host::<Keeper>();
    assert_eq!(other.migrate("1", "2").expect_err("nothing to migrate").code(), "unknown_function");
}

#[test]
fn fields_go_with_a_restart_and_state_stays() {
    let mut host = tenon::testing::host::<Keeper>().state("asked", &json!(10));
    assert_eq!(host.call("asked", json!({})), Ok(json!({"here": 1, "in_all": 11})));
    host.restart();
    assert_eq!(host.call("asked", json!({})), Ok(json!({"here": 1, "in_all": 12})));
    assert_eq!(tenon::testing::host::<Keeper>().call("keys", json!({})), Ok(json!([])), "another test's host is empty");
}

#[test]
fn all_keys_are_found_however_many_there_are() {
    let mut host = tenon::testing::host::<Keeper>();
    assert_eq!(host.call("fill", json!({"count": 2500, "bytes": 3})), Ok(json!(3)));
    host.call("keep", json!({"entries": {"other": null}})).expect("done");
    assert_eq!(host.call("keys", json!({"prefix": "fill/"})).expect("listed").as_array().expect("a list").len(), 2500);
    host.call("forget", json!({"key": "fill/00000"})).expect("done");
    host.call("forget", json!({"key": "nothing"})).expect("done");
    let keys = host.call("keys", json!({})).expect("listed");
    assert_eq!((&keys[0], keys.as_array().expect("a list").len()), (&json!("fill/00001"), 2500));
}

#[test]
fn what_the_host_refuses_the_test_host_refuses() {
    let mut host = tenon::testing::host::<Keeper>();
    for key in ["", "a\nb", &"x".repeat(257)] {
        assert_eq!(host.call("keep", json!({"entries": {key: 1}})).expect_err("refused").code(), "invalid_key");
    }
    assert_eq!(host.call("fill", json!({"count": 2, "bytes": 600_000})).expect_err("refused").code(), "state_full");
    host.call("keep", json!({"entries": {"asked": "no number"}})).expect("done");
    assert_eq!(host.call("asked", json!({})).expect_err("refused").code(), "invalid_json");
}

#[test]
fn a_flush_is_waited_for() {
    let mut host = tenon::testing::host::<Flushing>();
    let call = host.begin("flush", json!({}));
    assert_eq!((host.waiting(), host.outcome(call)), (1, None));
    host.advance(std::time::Duration::ZERO);
    assert_eq!(host.outcome(call), Some(Ok(json!(1))));
}
