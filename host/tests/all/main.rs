//! The built binary as its users meet it: hosts on a real broker or on Zenoh, driven over the mesh and over the control
//! socket, and the command line.
//!
//! Guests come from `target/guests` (`cargo xtask guests`), the broker is a `nats-server` on the search path
//! (`apt-get install nats-server`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may fail loudly, own processes, and poll for a condition"
)]

mod broker;
mod bundle;
mod host;
mod neighbour;
mod peer;
mod program;
mod shape;
mod web;

mod accounts;
mod artifacts;
mod audit;
mod bad_bundles;
mod bundled;
mod cli;
mod clock;
mod damage;
mod dev;
mod disk;
mod downloads;
mod drop_in;
mod early;
mod envelope;
mod events;
mod exclusive;
mod folders;
mod hearing;
mod hostile;
mod instances;
mod invoking;
mod javascript;
mod lifecycle;
mod losses;
mod names;
mod objects;
mod outage;
mod outgoing;
mod permissions;
mod plans;
mod process;
mod quarantine;
mod sources;
mod state;
mod swaps;
mod upgrades;
mod versions;
mod wasi_http;

use std::time::{Duration, Instant};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// Waits for a condition, for a minute at most.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many calls, or ticks, were answered, and how many of them failed.
fn ended(counted: &serde_json::Value) -> [u64; 2] {
    ["answered", "failed"].map(|key| counted[key].as_u64().unwrap())
}
