//! Events of other devices: every handler that asked for one gets it.

use std::cell::RefCell;
use std::time::Duration;
use tenon::testing::Subscription;
use tenon::{Error, Result, Value, json};

#[derive(serde::Deserialize)]
struct Motion {
    zone: String,
}

#[derive(Default)]
struct Watch {
    seen: RefCell<Vec<String>>,
}

#[tenon::plugin]
impl Watch {
    #[on(device = "camera-*", event = "motion")]
    fn moved(&self, device: String, event: String, payload: Motion) {
        self.seen.borrow_mut().push(format!("moved {device} {event} {}", payload.zone));
    }

    #[on(device = "camera-1")]
    async fn slowly(&self, device: String, _event: String, _payload: Value) {
        tenon::sleep(Duration::from_secs(1)).await;
        self.seen.borrow_mut().push(format!("slowly {device}"));
    }

    #[on(event = "broken")]
    fn breaks(&self, device: String, _event: String, _payload: Value) -> Result<()> {
        Err(Error::new("broken", device))
    }
}

/// One whose calls have the plugin to themselves.
#[derive(Default)]
struct Counter {
    heard: u32,
}

#[tenon::plugin]
impl Counter {
    #[on]
    fn any(&mut self, _device: String, _event: String, payload: u32) {
        self.heard += payload;
    }

    #[function]
    fn heard(&self) -> u32 {
        self.heard
    }
}

#[test]
fn an_event_goes_to_every_handler_that_asked_for_it() {
    let mut host = tenon::testing::host::<Watch>();
    let Subscription { name, device, event } = &host.describe().subscriptions[0];
    assert_eq!((name.as_str(), device.as_str(), event.as_str()), ("moved", "camera-*", "motion"));
    let Subscription { name, device, event } = &host.describe().subscriptions[1];
    assert_eq!((name.as_str(), device.as_str(), event.as_str()), ("slowly", "camera-1", "*"));

    assert_eq!(host.hear("camera-2", "motion", json!({"zone": "A"})), Ok(()));
    assert_eq!(host.hear("camera-1", "event/motion", json!({"zone": "B"})), Ok(()));
    assert_eq!(
        host.hear("door-1", "motion", json!({"zone": "C"})).expect_err("not asked for").code(),
        "unknown_function"
    );
    let error = host.hear("camera-2", "motion", json!({})).expect_err("no zone");
    assert_eq!(error.code(), "invalid_event");
    assert!(error.message().starts_with("event `motion` of device `camera-2` cannot be read: missing field `zone`"));
    // The failure of one handler is the outcome, and no other misses the event for it.
    assert_eq!(host.hear("camera-1", "broken", json!({})).expect_err("it breaks").code(), "broken");
    assert_eq!(host.waiting(), 0);
}

#[test]
fn handlers_may_have_the_plugin_to_themselves() {
    let mut host = tenon::testing::host::<Counter>();
    assert_eq!(host.hear("a", "b", json!(2)).and(host.hear("c", "d", json!(3))), Ok(()));
    assert_eq!(host.call("heard", json!({})), Ok(json!(5)));
}
