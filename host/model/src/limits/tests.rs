use super::*;

fn lowered(asked: Value) -> Result<Limits, LimitError> {
    Limits::default().given(&Limits::default(), asked.as_object().unwrap())
}

#[test]
fn every_supported_limit_can_be_lowered() {
    let asked = json!({
        "memory": "32MiB", "stack": "512KiB", "tables": 10, "instances": 1, "concurrency": 1, "queue": 7,
        "call_timeout": "30s", "routine_timeout": "1s", "turn": "100ms", "cpu_per_minute": "3s",
        "start_timeout": "2s", "stop_timeout": "1s", "drain_timeout": "3s",
        "result": "1KiB", "event": "2KiB", "log_line": "80B", "events_per_second": 5, "log_lines_per_second": 6,
        "mesh_calls_per_second": 7, "http_requests": 2, "http_requests_per_second": 9, "state": "4KiB", "disk": "2MiB",
    });
    let mut named: Vec<&str> = asked.as_object().unwrap().keys().map(String::as_str).collect();
    let mut supported = SUPPORTED.to_vec();
    named.sort_unstable();
    supported.sort_unstable();
    assert_eq!(named, supported);
    let expected = Limits {
        memory: ByteSize::mib(32),
        stack: ByteSize::kib(512),
        tables: 10,
        instances: Instances::UpTo(1),
        queue: 7,
        concurrency: Some(1),
        call_timeout: Duration::from_secs(30),
        routine_timeout: Duration::from_secs(1),
        turn: Duration::from_millis(100),
        cpu_per_minute: Duration::from_secs(3),
        start_timeout: Duration::from_secs(2),
        stop_timeout: Duration::from_secs(1),
        drain_timeout: Some(Duration::from_secs(3)),
        result: ByteSize::kib(1),
        event: ByteSize::kib(2),
        log_line: ByteSize(80),
        events_per_second: 5,
        log_lines_per_second: 6,
        mesh_calls_per_second: 7,
        http_requests: 2,
        http_requests_per_second: 9,
        state: ByteSize::kib(4),
        disk: ByteSize::mib(2),
    };
    assert_eq!(expected.to_json(), asked);
    assert_eq!(lowered(asked), Ok(expected));
}

#[test]
fn the_default_itself_passes_and_more_is_refused() {
    assert_eq!(lowered(json!({"memory": "64MiB", "queue": 1000, "turn": "5s"})), Ok(Limits::default()));
    for (asked, name, ceiling, got) in [
        (json!({"memory": "65MiB"}), "memory", "64MiB", "65MiB"),
        (json!({"call_timeout": "61s"}), "call_timeout", "1m", "61s"),
        (json!({"queue": 1001}), "queue", "1000", "1001"),
        (json!({"tables": 1_u64 << 40}), "tables", "20000", "1099511627776"),
    ] {
        let error = LimitError::Raised { name, ceiling: ceiling.to_owned(), asked: got.to_owned() };
        assert_eq!(lowered(asked), Err(error));
    }
    let python = Limits::for_runtime(RuntimeKind::Python);
    let asked = json!({"memory": "256MiB", "stack": "32MiB"});
    assert!(python.given(&python, asked.as_object().unwrap()).is_ok());
}

#[test]
fn a_ceiling_raises_what_may_be_asked_for_and_lowers_what_is_not() {
    let defaults = Limits::default();
    let of = |ceilings: Value, asked: Value| {
        let ceilings = Limits::MOST.given(&defaults, ceilings.as_object().unwrap())?;
        ceilings.given(&defaults, asked.as_object().unwrap())
    };
    let ceilings = json!({"memory": "256MiB", "queue": 10, "concurrency": 5});
    let plain = of(ceilings.clone(), json!({})).unwrap();
    assert_eq!((plain.memory, plain.queue, plain.concurrency), (ByteSize::mib(64), 10, Some(5)));
    assert_eq!(of(ceilings.clone(), json!({"memory": "200MiB"})).unwrap().memory, ByteSize::mib(200));
    for asked in [json!({"memory": "257MiB"}), json!({"queue": 11}), json!({"concurrency": 6})] {
        assert!(matches!(of(ceilings.clone(), asked), Err(LimitError::Raised { .. })));
    }
    assert!(of(json!({"result": "9MiB"}), json!({})).is_err(), "more than a policy may raise it to");
    assert_eq!(defaults.at_most(&Limits::MOST), defaults);
    for kind in RuntimeKind::ALL {
        assert_eq!(Limits::for_runtime(kind).at_most(&Limits::MOST), Limits::for_runtime(kind));
    }
}

fn within_ceilings(asked: Value) -> Result<Limits, LimitError> {
    let ceilings = Limits::ceilings(RuntimeKind::Wasm);
    ceilings.given(&Limits::default(), asked.as_object().unwrap())
}

#[test]
fn instances_are_a_number_or_one_for_each_call_and_shown_as_they_were_written() {
    let pool = within_ceilings(json!({"instances": 4})).unwrap();
    assert_eq!((pool.instances, pool.concurrency, pool.instances_at_once()), (Instances::UpTo(4), None, 4));
    assert_eq!(pool.to_json()["instances"], 4);
    let each = within_ceilings(json!({"instances": "per-call"})).unwrap();
    assert_eq!((each.instances, each.concurrency, each.instances_at_once()), (Instances::PerCall, Some(4), 4));
    assert_eq!(each.to_json()["instances"], "per-call");
    let few = within_ceilings(json!({"instances": "per-call", "concurrency": 2})).unwrap();
    assert_eq!(few.instances_at_once(), 2);
    assert_eq!(within_ceilings(json!({})).unwrap(), Limits::default(), "one, where nobody asks for more");
    for (asked, name, got) in [
        (json!({"instances": 5}), "instances", "5"),
        (json!({"instances": "per-call", "concurrency": 5}), "concurrency", "5"),
    ] {
        let error = LimitError::Raised { name, ceiling: "4".to_owned(), asked: got.to_owned() };
        assert_eq!(within_ceilings(asked), Err(error));
    }
    assert_eq!(within_ceilings(json!({"instances": 0})), Err(LimitError::Zero { name: "instances" }));
    for (got, per_call) in [
        (json!("per_call"), true),
        (json!("percall"), true),
        (json!("Per Call"), true),
        (json!("per-cal"), true),
        (json!("4"), false),
        (json!(1.0), false),
        (json!(-1), false),
        (json!(null), false),
    ] {
        let error = within_ceilings(json!({"instances": got})).unwrap_err();
        assert_eq!(error, LimitError::Instances { got: got.to_string(), per_call });
        assert_eq!(error.hint().starts_with("did you mean"), per_call);
    }
}

#[test]
fn a_policy_says_how_many_instances_there_may_be_in_either_form() {
    let named = |value: Value| Limits::ceilings_named(RuntimeKind::Wasm, value.as_object().unwrap());
    for (ceilings, most) in [(json!({}), 4), (json!({"instances": 8}), 8), (json!({"instances": 1}), 1)] {
        let ceilings = named(ceilings).unwrap();
        let of = |asked: Value| ceilings.given(&Limits::default(), asked.as_object().unwrap());
        assert_eq!(of(json!({"instances": most})).unwrap().instances, Instances::UpTo(most));
        assert!(matches!(of(json!({"instances": most + 1})), Err(LimitError::Raised { name: "instances", .. })));
        assert_eq!(of(json!({"instances": "per-call"})).unwrap().instances_at_once(), most);
        assert_eq!(of(json!({})).unwrap().instances, Instances::UpTo(1));
    }
    let ceilings = named(json!({"concurrency": 3})).unwrap();
    let each = ceilings.given(&Limits::default(), json!({"instances": "per-call"}).as_object().unwrap()).unwrap();
    assert_eq!(each.concurrency, Some(3), "what is not asked for is as high as it may be");
    assert!(matches!(named(json!({"instances": 65})), Err(LimitError::Raised { .. })));
    for value in [json!("per-call"), json!(-1), json!(1.5)] {
        let error = named(json!({"instances": value})).unwrap_err();
        assert_eq!(error.hint(), "write a whole number", "{error}");
    }
}

#[test]
fn a_plugin_in_python_has_one_instance_at_once_unless_a_policy_says_otherwise() {
    let python = Limits::for_runtime(RuntimeKind::Python);
    let of = |named: Value, asked: Value| {
        let ceilings = Limits::ceilings_named(RuntimeKind::Python, named.as_object().unwrap()).unwrap();
        ceilings.given(&python, asked.as_object().unwrap()).map(|limits| limits.instances_at_once())
    };
    assert_eq!(of(json!({}), json!({"instances": "per-call"})), Ok(1));
    assert!(matches!(of(json!({}), json!({"instances": 2})), Err(LimitError::Raised { name: "instances", .. })));
    assert_eq!(of(json!({"instances": 3}), json!({"instances": 3})), Ok(3));
}

#[test]
fn malformed_limits_name_themselves() {
    let unknown = |name: &str, suggestion| LimitError::Unknown { name: name.to_owned(), suggestion };
    assert_eq!(lowered(json!({"memmory": "1MiB"})), Err(unknown("memmory", Some("memory"))));
    assert_eq!(lowered(json!({"colour": 1})), Err(unknown("colour", None)));
    assert_eq!(lowered(json!({"turn": "0ms"})), Err(LimitError::Zero { name: "turn" }));
    assert_eq!(lowered(json!({"concurrency": 0})), Err(LimitError::Zero { name: "concurrency" }));
    for (asked, name) in
        [(json!({"memory": 64}), "memory"), (json!({"queue": "9"}), "queue"), (json!({"queue": -1}), "queue")]
    {
        let error = lowered(asked).unwrap_err();
        assert!(matches!(error, LimitError::WrongType { name: n, .. } if n == name), "{error}");
    }
    let error = lowered(json!({"memory": "64"})).unwrap_err();
    assert!(matches!(error, LimitError::Value { name: "memory", source: QuantityError::NoUnit { .. } }), "{error}");
}
