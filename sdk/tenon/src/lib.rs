//! The guest side of [Mortise](https://github.com/mortise-host/mortise): plugins in Rust.
//!
//! A plugin is a type and one annotated impl block. This is a whole one:
//!
//! ```
//! use tenon::{Result, Value, json};
//!
//! #[derive(Default)]
//! struct Counter {
//!     value: i64,
//! }
//!
//! #[tenon::plugin]
//! impl Counter {
//!     /// Adds to the counter.
//!     #[function]
//!     fn increment(&mut self, #[default = 1] by: i64) -> Value {
//!         self.value += by;
//!         json!({"value": self.value})
//!     }
//! }
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown`, as `mortise pack` does, or for `wasm32-wasip2`. One component holds
//! one plugin. [`plugin`](macro@plugin) tells what the block may contain.
//!
//! # What a plugin can do
//!
//! | | |
//! | --- | --- |
//! | wait | [`sleep`], [`timeout`], and whatever else is a future: no runtime is needed, so `futures-util` works too |
//! | work beside its calls | [`spawn`] |
//! | call others | [`invoke`], [`invoke_local`], [`discover`] |
//! | reach the web | [`http::Request`] |
//! | keep something for good | [`state`] |
//! | tell others | `#[event]`, [`emit`] |
//! | hear others | `#[on]` |
//! | know where it is | [`config`], [`env`], [`secret`], [`identity`], [`context`](context()), [`now`], [`monotonic`], [`random`] |
//! | keep a log | the macros of `log` (feature `log`, on by default) or `tracing` (feature `tracing`), or [`log`](log()) |
//!
//! A panic is logged with its place and ends the instance: the host starts a fresh one, whose fields are new. What should
//! be there then lies in [`state`].
//!
//! `std::time::SystemTime` and `Instant` panic on `wasm32-unknown-unknown`, which has no clock; [`now`] and
//! [`monotonic`] work everywhere. There are no threads, no sockets and no files beyond what the host grants.
//!
//! On `wasm32-wasip2` `std` has clocks and random numbers, and what it prints becomes lines of the plugin's log; files,
//! sockets, arguments and variables are there and empty or denied. `std::thread::sleep` blocks every call of the
//! plugin and counts as computing: one that lasts longer than `limits.turn` costs the instance, as does
//! `std::process::exit`. Wait with [`sleep`].
//!
//! # Testing
//!
//! Methods are ordinary methods, and the whole plugin runs natively under `cargo test` in a host of its own: see
//! [`testing`]. Integration tests need `crate-type = ["cdylib", "rlib"]`; unit tests do not.

mod arguments;
#[doc(hidden)]
pub mod bindings;
mod clock;
mod context;
mod describe;
mod error;
mod executor;
mod guest;
mod heard;
mod host;
pub mod http;
mod ids;
mod logging;
mod mesh;
mod ops;
pub mod state;
mod surroundings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use clock::{TimedOut, monotonic, now, sleep, timeout};
pub use context::{Context, context};
pub use error::{Error, Result};
pub use executor::{Background, spawn};
pub use guest::Plugin;
pub use mesh::{discover, emit, invoke, invoke_local};
pub use surroundings::{Identity, Level, config, env, identity, log, random, secret};

pub use schemars::{self, JsonSchema};
pub use serde;
pub use serde_json::{self, Value, json};
/// Turns an impl block into the plugin of this component.
///
/// Methods without one of these attributes stay what they are.
///
/// | Attribute | What the method is |
/// | --- | --- |
/// | `#[function]` | a function that callers see |
/// | `#[routine(every = "5s")]` | run again and again, from begin to begin; `delay = "5s"` counts from end to begin |
/// | `#[event]` | an event that the plugin emits; declared without a body, which the macro writes |
/// | `#[on(device = "camera-*", event = "motion")]` | hears events of other devices: `fn saw(&self, device: String, event: String, payload: Value)`; left out, either means any. Needs the permission `mesh.subscribe` |
/// | `#[init]` | the constructor, `fn new() -> Self` or `fn new(config: Config) -> Result<Self, E>`; else `Default` |
/// | `#[start]`, `#[stop]` | run once before the first and after the last call; a failing `start` refuses the plugin |
/// | `#[self_test]` | run when a new version is to take over; a failure refuses it |
/// | `#[migrate]` | `fn migrate(from: String, to: String) -> Result<()>`: brings what another version kept up to date, see [`state`] |
///
/// Options of `#[function]` and `#[event]`: `name = "…"` where the name is no Rust identifier, `label("key", "value")`,
/// `tag("…")`. `#[routine]` takes `name` too. Times are whole numbers of `ms`, `s`, `m` or `h`.
///
/// # Parameters
///
/// Parameters are given by name. Their types implement `serde::Deserialize` and [`JsonSchema`], which become the
/// schema that callers see. `#[default = …]` makes one optional, with any expression (text for any type made from
/// text); so does `Option<T>`. The first paragraph of a doc comment is the description: of the method, and of a parameter
/// where it stands on that parameter or in a list under `# Arguments`.
///
/// Missing and unknown parameters, and ones of a wrong type, fail with code `invalid_parameters` and never reach the
/// method.
///
/// # Results
///
/// Anything that implements `serde::Serialize`, or a `Result` of it (the type must be called `Result`). An error may be
/// anything that implements `Display`; an [`Error`] also chooses the failure's code. Events return [`Result<()>`].
///
/// # Access to the plugin
///
/// Methods may take `&self`, `&mut self`, `self: Rc<Self>` or nothing. Methods that are `async` overlap: while one waits,
/// others run. So once a marked method is `async` or takes `self: Rc<Self>`, none may take `&mut self`, and what changes
/// lies in a `Cell` or a `RefCell` (whose borrow must not be held over an `.await`). A plugin without such methods has
/// its fields to itself in every call.
///
/// ```
/// use std::cell::Cell;
/// use std::time::Duration;
///
/// #[derive(Default)]
/// struct Door {
///     moves: Cell<u32>,
/// }
///
/// #[tenon::plugin]
/// impl Door {
///     /// Opens the door and closes it again.
///     ///
///     /// # Arguments
///     /// * `seconds` - how long it stays open
///     #[function(label("direction", "write"))]
///     async fn open(&self, #[default = 5] seconds: u64) -> tenon::Result<u32> {
///         self.moved(true, None)?;
///         tenon::sleep(Duration::from_secs(seconds)).await;
///         self.moves.set(self.moves.get() + 1);
///         self.moved(false, Some(self.moves.get()))?;
///         Ok(self.moves.get())
///     }
///
///     /// The door has moved.
///     #[event]
///     fn moved(&self, open: bool, moves: Option<u32>);
/// }
///
/// let mut host = tenon::testing::host::<Door>();
/// assert_eq!(host.call("open", tenon::json!({"seconds": 30})), Ok(tenon::json!(1)));
/// assert_eq!(host.events().len(), 2);
/// ```
///
/// # In the crate's own code
///
/// The macro adds the component's exports, which are `unsafe` by nature and exist in WebAssembly only.
pub use tenon_macros::plugin;

/// What the macro's output names. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::arguments::{Parameter, Signature};

    pub use crate::bindings::mortise::plugin::types::{Cadence, CallKind};
    pub use crate::describe::{About, Describer};
    pub use crate::executor::{CallFuture, Outcome};
    pub use crate::guest::{Component, Slot, Step, absent, error, result, used, value};
    pub use crate::heard::Heard;
    pub use serde_json::to_value;
}
