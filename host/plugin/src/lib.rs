//! Plugins: their generations, the routes they serve and the traits that runtimes implement.
//!
//! One task owns which generation of which plugin serves ([`Registry`]); everybody else reads snapshots.
#![forbid(unsafe_code)]

mod account;
mod alone;
mod authority;
mod disk;
mod generation;
mod job;
mod log;
mod losses;
mod operation;
mod outlook;
mod ownership;
mod rate;
mod recent;
mod redaction;
mod registry;
mod routines;
mod runtime;
mod services;
mod state;
mod subscriptions;
mod usage;
mod waiting;

pub use account::{Account, Latency, Metering, StateStats, Stats, Traffic};
pub use alone::describe_alone;
pub use authority::{Asker, Authority, Denied, Leave};
pub use disk::{DISK_BLOCK_BYTES, Disk, DiskStats};
pub use generation::Outcomes;
pub use job::{Job, JobKind, Ticket};
pub use log::{LOG_LINES_KEPT_MAX, LogLine, LogPage};
pub use losses::InstanceLoss;
pub use operation::{Busy, Operation, Prepared};
pub use outlook::Outlook;
pub use ownership::{NameClaims, Succession};
pub use registry::{
    ActivateError, Activated, Announced, FunctionStatus, NameOwner, PluginStatus, Quarantined, Registry,
    RegistryConfig, RegistryParts, Removed, RunningPlugin,
};
pub use runtime::{Health, Instance, Package, PrepareError, Runtime};
pub use services::{Backend, CALL_DEPTH_MAX, HOST_EVENTS, Invocation, PLUGIN_LOG_EVENT, Services};
pub use state::{StateChange, StateChanges, StateStore, StateStoreError};
pub use usage::{CpuStats, MemoryStats, Usage};
