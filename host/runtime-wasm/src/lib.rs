//! Plugins that run in WebAssembly: components of the world `mortise:plugin/plugin@0.1.0` (`wit/0.1.0`), and source that a
//! runner interprets (`runner`): a component of the same world, or QuickJS, a core module (`javascript`).
//!
//! One way through the room: [`WasmRuntime`] has the component compiled or takes it from the cache (`code`), and
//! starts a `driver` task for each instance. The driver owns the queue, the turns, the deadlines and the ops; a `guest`
//! is one instance and the ways into it, of either form; `host` is what the guest may ask of us. Several instances of one generation share
//! the queue of their `pool`.
#![deny(unsafe_op_in_unsafe_fn)]

mod backlog;
mod backoff;
mod binary;
mod bindings;
mod burst;
mod cache;
mod code;
mod code_hashes;
mod describe;
mod desk;
mod driver;
mod engine;
mod folders;
mod guest;
mod held;
mod host;
mod instance;
mod javascript;
mod ledger;
mod limits;
mod loss;
mod ops;
mod outcome;
mod pool;
mod processor;
mod runner;
mod runtime;
mod view;

pub use code_hashes::{CodeHashError, CodeHashes};
pub use runner::{RunnerError, check_runners, compile_runners};
pub use runtime::{CacheConfig, WasmConfig, WasmError, WasmRuntime};
