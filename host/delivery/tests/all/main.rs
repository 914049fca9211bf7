//! Delivery from the outside: what callers see, and what must not have happened on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod archive;
mod fixture;
mod hostile_tar;
mod hostile_zip;
mod install;
mod pack;
mod validate;
