//! Delivery from the outside: what callers see, and what must not have happened on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod archive;
mod archive_store;
mod dependencies;
mod faults;
mod fetch;
mod fetch_faults;
mod fetch_redirects;
mod fetch_server;
mod fixture;
mod generations;
mod hostile_corpus;
mod hostile_seeds;
mod hostile_tar;
mod hostile_zip;
mod install;
mod pack;
mod plugin_host;
mod upload;
mod validate;
mod working_copy;
