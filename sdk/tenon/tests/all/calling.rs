//! What callers get: results, failures, and the words of the reference.

use std::fmt;
use std::rc::Rc;
use tenon::{Error, Result, Value, json};

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lamp is broken")
    }
}

#[derive(serde::Deserialize)]
struct Config {
    unit: String,
}

struct Lamp {
    unit: String,
    level: i64,
}

#[tenon::plugin]
impl Lamp {
    #[init]
    fn new(config: Config) -> Result<Self, Broken> {
        if config.unit == "broken" { Err(Broken) } else { Ok(Self { unit: config.unit, level: 0 }) }
    }

    #[start]
    fn start(&mut self) -> Result<()> {
        self.level = 10;
        Ok(())
    }

    #[stop]
    fn stop(&mut self) {
        self.level = -1;
    }

    #[self_test]
    fn self_test(&self) -> Result<(), &'static str> {
        if self.level < 0 { Err("off") } else { Ok(()) }
    }

    #[function]
    fn dim(&mut self, level: i64, #[default = "hall"] zone: String, fade: Option<u8>) -> Value {
        self.level = level;
        json!({"level": level, "zone": zone, "fade": fade, "unit": self.unit})
    }

    #[function]
    fn fail_by_text(&self) -> Result<(), String> {
        Err("no lamp".to_owned())
    }

    #[function]
    fn fail_by_type(&self) -> Result<(), Broken> {
        Err(Broken)
    }

    #[function]
    fn fail_by_error(&self) -> Result<()> {
        Err(Error::new("too_hot", "let it cool").retryable())
    }

    #[function]
    fn r#type() -> &'static str {
        "needs no lamp"
    }

    #[function(name = "say-hi")]
    fn hi(&self, r#in: String) -> String {
        format!("hi from {in}", in = r#in)
    }

    #[event]
    fn dimmed(level: i64, zone: Option<String>);

    #[function]
    fn tell(&self, zone: Option<String>) -> Result<()> {
        Self::dimmed(self.level, zone)
    }

    #[function]
    fn tell_wrongly(&self) -> Result<()> {
        tenon::emit("no name", &json!({}))
    }
}

fn lamp() -> tenon::testing::Host<Lamp> {
    tenon::testing::host::<Lamp>().config(json!({"unit": "%"}))
}

fn message(outcome: Result<Value>) -> String {
    outcome.expect_err("refused").to_string()
}

#[test]
fn defaults_fill_in_and_null_is_none() {
    let mut lamp = lamp();
    let expected = json!({"level": 3, "zone": "hall", "fade": null, "unit": "%"});
    assert_eq!(lamp.call("dim", json!({"level": 3})), Ok(expected.clone()));
    assert_eq!(lamp.call("dim", json!({"zone": null, "fade": null, "level": 3})), Ok(expected));
    let expected = json!({"level": 3, "zone": "attic", "fade": 2, "unit": "%"});
    assert_eq!(lamp.call("dim", json!({"fade": 2, "zone": "attic", "level": 3})), Ok(expected));
}

#[test]
fn wrong_parameters_are_told_as_the_reference_tells_them() {
    let mut lamp = lamp();
    for (function, parameters, expected) in [
        ("dim", json!({}), "Lamp.dim() missing 1 required positional argument: 'level'"),
        ("dim", json!({"bad": 1}), "Lamp.dim() got an unexpected keyword argument 'bad'"),
        ("dim", json!({"level": "x"}), "Lamp.dim() argument 'level': invalid type: string \"x\", expected i64"),
        ("say-hi", json!({}), "Lamp.say-hi() missing 1 required positional argument: 'in'"),
        ("fail_by_text", json!({"x": 1}), "Lamp.fail_by_text() got an unexpected keyword argument 'x'"),
    ] {
        assert_eq!(message(lamp.call(function, parameters)), expected);
    }
    let error = lamp.call("nothing", json!({})).expect_err("refused");
    assert_eq!((error.code(), error.message()), ("unknown_function", "Lamp has no function `nothing`"));
    assert!(lamp.tick("nothing").is_err(), "nor a routine");
}

#[test]
fn any_error_becomes_a_failure() {
    let mut lamp = lamp();
    let mut failure = |function| {
        let error = lamp.call(function, json!({})).expect_err("fails");
        (error.code().to_owned(), error.message().to_owned(), error.is_retryable())
    };
    assert_eq!(failure("fail_by_text"), ("error".into(), "no lamp".into(), false));
    assert_eq!(failure("fail_by_type"), ("error".into(), "the lamp is broken".into(), false));
    assert_eq!(failure("fail_by_error"), ("too_hot".into(), "let it cool".into(), true));
}

#[test]
fn names_that_are_no_identifiers_work() {
    let mut lamp = lamp();
    assert_eq!(lamp.call("type", json!({})), Ok(json!("needs no lamp")));
    assert_eq!(lamp.call("say-hi", json!({"in": "here"})), Ok(json!("hi from here")));
}

#[test]
fn an_event_leaves_out_what_is_not_there() {
    let mut lamp = lamp();
    lamp.start().expect("started");
    lamp.call("tell", json!({})).expect("told");
    lamp.call("tell", json!({"zone": "hall"})).expect("told");
    assert_eq!(
        lamp.events(),
        [("dimmed".to_owned(), json!({"level": 10})), ("dimmed".to_owned(), json!({"level": 10, "zone": "hall"})),]
    );
    assert_eq!(lamp.call("tell_wrongly", json!({})).expect_err("refused").code(), "invalid_event");
}

#[test]
fn hooks_run_and_refuse() {
    let mut lamp = lamp();
    assert_eq!(lamp.start(), Ok(()));
    assert_eq!(lamp.self_test(), Ok(()));
    assert_eq!(lamp.stop(), Ok(()));
    assert_eq!(lamp.self_test().expect_err("refused").message(), "off");
}

#[test]
fn a_constructor_refuses_bad_settings() {
    let mut broken = tenon::testing::host::<Lamp>().config(json!({"unit": "broken"}));
    assert_eq!(broken.start().expect_err("refused").message(), "the lamp is broken");
    let mut missing = tenon::testing::host::<Lamp>();
    let error = missing.start().expect_err("refused");
    assert_eq!(error.code(), "invalid_config");
    assert!(error.message().contains("missing field `unit`"), "{error}");
}

/// A plugin that can be held for longer than a call, and has no hooks.
#[derive(Default)]
struct Counted;

#[tenon::plugin]
impl Counted {
    #[function]
    fn count(self: Rc<Self>) -> usize {
        let _another = Rc::clone(&self);
        Rc::strong_count(&self)
    }
}

#[test]
fn a_plugin_can_be_counted() {
    let mut host = tenon::testing::host::<Counted>();
    assert_eq!(host.start(), Ok(()), "a hook that is not there succeeds");
    assert_eq!(host.call("count", json!({})), Ok(json!(3)), "the host's, the call's, and its own");
}

#[derive(Default)]
struct Hygiene;

/// As the host's own words would be, were they not out of the way.
fn schema() -> u8 {
    4
}

#[tenon::plugin]
impl Hygiene {
    #[function]
    fn at_once(
        &self,
        this: u8,
        arguments: u8,
        parameters: u8,
        #[default = 1 + schema()] payload: u8,
        kind: u8,
    ) -> Value {
        json!([this, arguments, parameters, payload, kind])
    }

    #[function]
    async fn later(self: Rc<Self>, this: u8, arguments: u8, parameters: u8, schema: u8, name: u8) -> Result<Value> {
        self.told(u64::from(this), Some(schema), name, arguments)?;
        Ok(json!([this, arguments, parameters, schema, name]))
    }

    #[event]
    fn told(&self, payload: u64, value: Option<u8>, event: u8, this: u8);
}

#[test]
fn parameters_may_have_any_name() {
    let mut host = tenon::testing::host::<Hygiene>();
    let answer = host.call("at_once", json!({"this": 1, "arguments": 2, "parameters": 3, "kind": 4}));
    assert_eq!(answer.expect("answered"), json!([1, 2, 3, 5, 4]));
    let later = json!({"this": 1, "arguments": 2, "parameters": 3, "schema": 4, "name": 5});
    assert_eq!(host.call("later", later).expect("answered"), json!([1, 2, 3, 4, 5]));
    let payload = json!({"payload": 1, "value": 4, "event": 5, "this": 2});
    assert_eq!(host.events(), [("told".to_owned(), payload)]);
}

#[test]
fn hooks_that_are_not_written_go_well_and_state_is_not_said_to_be_migrated() {
    use tenon::__private::{CallKind, absent};
    assert_eq!(absent::<Lamp>(CallKind::Stop, "stop").unwrap(), "null");
    let refused = absent::<Lamp>(CallKind::Migrate, "migrate").unwrap_err();
    assert!(format!("{refused:?}").contains("unknown_function"), "{refused:?}");
}
