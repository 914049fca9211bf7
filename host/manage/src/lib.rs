//! Managing plugins: the host's own functions, the way from an archive to a serving plugin, and the operator's socket.
#![forbid(unsafe_code)]

mod account;
mod arrival;
mod artifact;
mod audit;
mod authoring;
mod authority;
mod backend;
mod blocking;
mod bundled;
mod change;
mod control;
mod depot;
mod download;
mod exclusive;
mod function;
mod install;
mod lifecycle;
mod lock;
mod manager;
mod object;
mod operations;
mod outgoing;
mod permissions;
mod plan;
mod probation;
mod quarantine;
mod refusal;
mod repeat;
mod signature;
mod startup;
mod status;
mod surroundings;
pub mod template;
mod told;
mod upload;
mod versions;

pub use authority::Authority;
pub use backend::{BackendParts, HostBackend};
pub use control::{ControlError, ControlSocket};
pub use depot::{Depot, DepotError, RETENTION, Recovered};
pub use function::function_names;
pub use lock::{LockError, StateLock};
pub use manager::{ManageConfig, Manager, ManagerParts};
pub use probation::ProbationConfig;
pub use surroundings::Surroundings;
