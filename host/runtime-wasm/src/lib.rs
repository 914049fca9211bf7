//! runtime-wasm
mod bindings;
