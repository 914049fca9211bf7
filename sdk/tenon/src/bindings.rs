//! What `wit/` generates; no behaviour.

wit_bindgen::generate!({
    path: "../../wit/0.1.0",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "tenon::bindings",
});
