//! The artifact store and its server, as callers and clients meet them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod fixture;
mod hostile;
mod http;
mod limits;
mod publish;
mod store;
