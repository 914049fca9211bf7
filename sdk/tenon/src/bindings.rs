//! What `wit/` generates; no behaviour.

#![expect(
    unsafe_code,
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated: the crossing between guest and host is raw memory, and the contract is documented in `wit/`"
)]

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "tenon::bindings",
});
