//! The store from the outside: what comes back, what a crash and a bad disk leave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod change;
mod crash;
mod damage;
mod disk;
mod fixture;
mod operation;
mod round_trip;
