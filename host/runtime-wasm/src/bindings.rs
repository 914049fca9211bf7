//! The generated side of the contract in `wit/0.1.0`; behaviour lies in [`crate::host`] and [`crate::guest`].
#![allow(missing_docs, unreachable_pub, reason = "generated code; the WIT files document it")]
#![allow(clippy::all, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../../wit/0.1.0",
    world: "plugin",
    imports: {
        "mortise:plugin/host.start-op": trappable,
        "mortise:plugin/host.perform": async,
        "mortise:plugin/host.state-get": async,
        "mortise:plugin/host.state-set": async,
        "mortise:plugin/host.state-delete": async,
        "mortise:plugin/host.state-keys": async,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: false },
});

/// `wasi:config`, for components that know no host of ours.
pub(crate) mod config {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/config",
        world: "imports",
        imports: { default: async },
    });
}

/// `wasi:keyvalue`, likewise.
pub(crate) mod keyvalue {
    /// The one bucket that a plugin has.
    pub struct Bucket;

    wasmtime::component::bindgen!({
        path: "../../wit/deps/keyvalue",
        world: "imports",
        imports: { default: async },
        with: { "wasi:keyvalue/store.bucket": Bucket },
    });
}
