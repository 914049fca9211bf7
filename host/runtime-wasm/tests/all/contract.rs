//! Guests that break the contract.

use crate::harness::{load, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_json_is_a_result() {
    let plugin = load("raw", json!({})).await;
    for function in ["nan", "trailing", "empty", "nan_later"] {
        let error = plugin.err(function, json!({})).await;
        assert_eq!(error.code, "invalid_result", "{function}: {error}");
    }
    assert_eq!(plugin.ok("fine", json!({})).await, json!(true));
    assert_eq!(plugin.ok("later", json!({})).await, json!(true));
    assert_eq!(plugin.mishaps(), Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_outcome_counts_and_every_other_is_dropped_and_counted() {
    let plugin = load("raw", json!({})).await;
    assert_eq!(plugin.ok("twice_later", json!({})).await, json!("first"));
    until("the second outcome was counted", || plugin.instance.health().stray_outcomes == 1).await;
    assert_eq!(plugin.ok("unknown", json!({})).await, json!(true));
    assert_eq!(plugin.instance.health().stray_outcomes, 2);
    assert_eq!(plugin.ok("twice", json!({})).await, json!("first"));
    // The guest's third outcome comes with the turn of its loop that the next open call brings.
    assert_eq!(plugin.ok("later", json!({})).await, json!(true));
    until("the others were counted", || plugin.instance.health().stray_outcomes == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_op_id_in_use_is_the_end_of_the_instance() {
    let plugin = load("raw", json!({})).await;
    let error = plugin.err("same_op", json!({})).await;
    assert_eq!(error.code, "trap");
    assert!(error.message.contains("op 1 is under way already"), "{error}");
    assert_eq!(plugin.ok("fine", json!({})).await, json!(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_always_wants_to_be_turned_leaves_room_for_others() {
    let plugin = load("raw", json!({})).await;
    let restless = plugin.begin("restless", json!({}));
    plugin.running(1).await;
    let neighbour = load("behave", json!({})).await;
    for n in 0..100 {
        assert_eq!(plugin.ok("fine", json!({})).await, json!(true));
        assert_eq!(neighbour.ok("echo", json!({"message": n})).await, json!(n));
    }
    drop(restless);
}
