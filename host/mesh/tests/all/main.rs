//! Every mesh against one contract, and each with the faults that only it can have.
//!
//! The NATS tests start a real `nats-server`, found on the search path; install it with `apt-get install nats-server`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, own a broker, and leave tasks to its runtime"
)]

mod authority;
mod contract;
mod memory;
mod nats;
mod nats_server;
mod nats_tls;
mod probe;
mod zenoh_client;
mod zenoh_peer;
