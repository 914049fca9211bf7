//! Managing plugins: the host's own functions, the way from an archive to a serving plugin, and the operator's socket.
#![forbid(unsafe_code)]

mod authoring;
mod backend;
mod control;
mod function;
mod install;
mod lifecycle;
mod lock;
mod manager;
mod object;
mod refusal;
mod repeat;
mod signature;
mod status;
pub mod template;

pub use backend::HostBackend;
pub use control::{ControlError, ControlSocket};
pub use lock::{LockError, StateLock};
pub use manager::{ManageConfig, Manager};
