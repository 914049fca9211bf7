//! The host's state, embedded and transactional: `<state_dir>/state.redb`.
//!
//! What the host must not forget lies here: which plugins should run and in which generation, what each generation is,
//! what was granted to whom, who owns which function's name, how the last lifecycle operations ended, the hashes of compiled code, what was
//! downloaded, settings, and what plugins keep themselves.
//! Archives and unpacked files lie elsewhere; a record here is what makes them count.
//!
//! A change is one transaction: [`Store::write`] makes all of it or nothing, and it is on disk when that returns.
#![forbid(unsafe_code)]

mod codec;
mod connection;
mod database;
mod error;
#[cfg(test)]
mod fault;
mod kind;
mod query;
mod record;
mod repair;
mod store;
mod transaction;

pub use error::StoreError;
pub use record::{
    Desired, DownloadRecord, GenerationRecord, GrantRecord, NameClaims, OperationKey, OperationRecord, OperationStatus,
    PluginRecord,
};
pub use repair::{CorruptRecord, OpenReport, SetAside};
pub use store::Store;
pub use transaction::{DOWNLOADS_MAX, OPERATION_BYTES_MAX, OPERATIONS_MAX, RECORD_BYTES_MAX, Transaction};
