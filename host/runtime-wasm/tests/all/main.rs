//! The runtime with real guests: `sdk/fixtures`, built by `cargo xtask guests`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod calls;
mod code_file;
mod contract;
mod deadlines;
mod fairness;
mod harness;
mod instances;
mod javascript;
mod lifecycle;
mod loading;
mod log;
mod losses;
mod ops;
mod runners;
mod wasi;
