//! What a generation emits before it serves, and under which names.

use crate::fake::{Events, Plan, host, json, package, plugin};
use mortise_model::{DeviceId, Failure, Json, Permission, Tenant};
use mortise_plugin::{Account, Backend, Invocation, Services};
use mortise_rpc::CallChain;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Level;

fn services() -> (Services, Arc<Events>) {
    let events = Arc::new(Events::default());
    let (device, tenant) = (DeviceId::new("host-1").unwrap(), Tenant::new("lab").unwrap());
    let backend: Arc<dyn Backend> = Arc::<Events>::clone(&events);
    let (authority, account) = (Arc::<Events>::clone(&events), Arc::new(Account::new(plugin("a"))));
    (Services::new(&package("a"), device, tenant, backend, authority, account), events)
}

fn text_of(bytes: usize) -> Json {
    json(&format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes - 8)))
}

fn code(result: Result<(), Failure>) -> String {
    result.unwrap_err().code.into_owned()
}

#[test]
fn a_thousand_events_are_held_and_go_out_in_order() {
    let (services, events) = services();
    for n in 0..1000 {
        services.emit(&format!("e{n}"), json("{}")).unwrap();
    }
    assert_eq!(code(services.emit("one-more", json("{}"))), "too_many_events");
    assert!(events.names().is_empty());
    services.activate();
    assert!(events.names().iter().enumerate().all(|(n, name)| *name == format!("e{n}")));
    assert_eq!(events.names().len(), 1000);
    services.emit("one-more", json("{}")).unwrap();
    assert_eq!(events.names().last().unwrap(), "one-more");
}

#[test]
fn a_mebibyte_of_events_is_held() {
    let (services, events) = services();
    let largest = text_of(256 << 10);
    assert_eq!(code(services.emit("e", text_of((256 << 10) + 1))), "event_too_large");
    for _ in 0..4 {
        services.emit("e", largest.clone()).unwrap();
    }
    assert_eq!(code(services.emit("e", text_of(8))), "too_many_events");
    services.activate();
    assert_eq!(events.names().len(), 4);
    services.emit("e", largest).unwrap();
}

/// A start hook may wait for the answer, and what it lacks is known once the plugin serves.
#[tokio::test]
async fn a_call_goes_out_before_the_plugin_serves_and_what_is_denied_then_is_a_wish_afterwards() {
    let (services, events) = services();
    let invoke = async |function: &str| {
        let (function, params) = (function.to_owned(), json(r#"{"x":1}"#));
        let deadline = Instant::now() + Duration::from_secs(5);
        services
            .invoke(Invocation {
                device: None,
                function,
                params,
                deadline,
                trace: None,
                chain: CallChain::default(),
                may_wait: true,
            })
            .await
    };
    events.forbidden.lock().unwrap().push(Permission::Plugins("secret_plans".to_owned()));
    assert_eq!(invoke("b.level").await.unwrap().as_str(), r#"{"x":1}"#);
    for _ in 0..2 {
        assert_eq!(invoke("secret_plans").await.unwrap_err().code, "permission_denied");
    }
    assert_eq!(*events.wishes.lock().unwrap(), Vec::<String>::new());
    services.activate();
    assert_eq!(*events.wishes.lock().unwrap(), ["plugins:secret_plans"]);
}

/// Wire contract 1.3 and 8.1.
#[test]
fn a_name_keeps_its_prefix_and_is_judged_without_it() {
    let (services, events) = services();
    services.activate();
    services.emit("event/motion", json("{}")).unwrap();
    assert_eq!(events.names(), ["event/motion"]);
    for bad in ["event/", "event/a/b", "a.b", ""] {
        assert_eq!(code(services.emit(bad, json("{}"))), "invalid_event", "{bad}");
    }
    // The host's own, under whatever prefix.
    for own in ["plugin_log", "plugin_loaded", "plugin_unloaded", "event/plugin_log"] {
        assert_eq!(code(services.emit(own, json("{}"))), "reserved_event", "{own}");
    }
}

#[tokio::test]
async fn a_line_of_log_tells_no_secret_whichever_part_holds_it() {
    let host = host();
    host.load("a", Plan::default()).await;
    let services = Arc::clone(&host.instance(0).services);
    services.secret("token").await.unwrap();
    services.log(Level::INFO, "at s3cret-token", "with s3cret-token");
    let page = host.registry.log(&plugin("a"), None, Level::INFO, 10).unwrap();
    assert_eq!(page.lines.len(), 1);
    assert!(!format!("{page:?}").contains("s3cret-token"), "{page:?}");
}
