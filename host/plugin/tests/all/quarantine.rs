//! Plugins that are taken out of service: everything of them goes but the answer to their callers.

use crate::fake::{Plan, host, plugin};
use crate::serving;
use mortise_model::{FunctionName, PluginState};
use mortise_plugin::Quarantined;

fn functions(names: &[&str]) -> Vec<FunctionName> {
    names.iter().map(|name| FunctionName::new(name).unwrap()).collect()
}

fn quarantined(reason: &str) -> PluginState {
    PluginState::Quarantined { reason: reason.to_owned() }
}

#[tokio::test]
async fn its_names_pass_on_and_its_callers_are_told_until_it_is_loaded() {
    let host = host();
    host.load("a", serving("a1", &["ping", "own"])).await;
    host.load("b", serving("b1", &["ping"])).await;
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    operation.quarantine("it trapped".to_owned(), functions(&["ping", "own"])).await.unwrap();
    assert_eq!(host.state("a"), Some(quarantined("it trapped")));
    assert_eq!(host.advertised(), ["ping"]);
    assert_eq!(host.text("ping").await, "b1 ping", "what waited for the name has it");
    for method in ["own", "a.own", "a.ping"] {
        let error = host.call(method).await.unwrap_err();
        assert_eq!((error.code.as_ref(), error.retryable), ("quarantined", false));
        assert_eq!(
            error.message,
            "plugin `a` is in quarantine: it trapped; `load_plugin` or `reload_plugin` takes it out"
        );
    }
    let events = host.events.seen.lock().unwrap().clone();
    let passed = serde_json::json!([{"function": "ping", "owner": "b"}]);
    let told = serde_json::json!({"plugin_id": "a", "reason": "it trapped", "names_passed": passed});
    assert_eq!(events.last().unwrap(), &("plugin_unloaded".to_owned(), told));
    crate::fake::until(&host.instance(0).shut_down, |shut_down| *shut_down).await;

    // A load that fails leaves it where it is.
    host.plan(Plan { fails: true, ..Plan::default() });
    operation.prepare(crate::fake::package("a")).await.unwrap_err();
    operation.fail(Some("it will not start".to_owned())).await;
    assert_eq!(host.state("a"), Some(quarantined("it trapped")));

    drop(operation);
    host.load("a", serving("a2", &["ping", "own"])).await;
    assert_eq!((host.text("own").await, host.text("a.ping").await), ("a2 own".to_owned(), "a2 ping".to_owned()));
    assert_eq!(host.text("ping").await, "b1 ping");
    assert_eq!(host.state("a"), Some(PluginState::Running));
}

#[tokio::test]
async fn what_is_kept_from_before_is_told_of_and_can_be_taken_away() {
    let host = host();
    let kept = Quarantined { id: plugin("a"), reason: "it trapped".to_owned(), functions: functions(&["ping"]) };
    host.registry.keep_in_quarantine(vec![kept]).await;
    assert_eq!(host.state("a"), Some(quarantined("it trapped")));
    assert_eq!(host.call("ping").await.unwrap_err().code, "quarantined");
    assert!(host.events.names().is_empty(), "nothing was unloaded");
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    assert!(operation.remove().await.unwrap().is_none());
    assert_eq!(host.state("a"), None);
    assert_eq!(host.call("ping").await.unwrap_err().code, "unknown_method");
}
