//! What a guest may ask of the host, one file for each interface.

mod config;
mod files;
pub(crate) mod http;
pub(crate) mod keyvalue;
mod listing;
pub(crate) mod plugin;
pub(crate) mod room;
pub(crate) mod stdio;
mod work;

use crate::bindings::Plugin;
use crate::bindings::config::wasi::config as wasi_config;
use crate::bindings::keyvalue::wasi::keyvalue as wasi_keyvalue;
use crate::view::{HasHostView, State};
use wasmtime::component::Linker;

/// Everything that a guest can import: our own interface, WASI 0.2 without any grant, and the ways of WASI to the web and to
/// the plugin's settings, secrets and state.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker: Linker<State> = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    files::bound(&mut linker)?;
    Plugin::add_to_linker::<_, HasHostView>(&mut linker, |state| &mut state.host)?;
    http::add_to_linker(&mut linker)?;
    wasi_config::store::add_to_linker::<_, HasHostView>(&mut linker, |state| &mut state.host)?;
    wasi_keyvalue::store::add_to_linker::<_, HasHostView>(&mut linker, |state| &mut state.host)?;
    wasi_keyvalue::atomics::add_to_linker::<_, HasHostView>(&mut linker, |state| &mut state.host)?;
    wasi_keyvalue::batch::add_to_linker::<_, HasHostView>(&mut linker, |state| &mut state.host)?;
    Ok(linker)
}

/// The packages of which [`linker`] provides interfaces.
pub(crate) const PACKAGES: [&str; 10] = [
    "mortise:plugin/",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:config/",
    "wasi:filesystem/",
    http::PACKAGE,
    "wasi:io/",
    "wasi:keyvalue/",
    "wasi:random/",
    "wasi:sockets/",
];

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::component::Component;

    fn links(import: &str) -> bool {
        let engine = wasmtime::Engine::default();
        let component = Component::new(&engine, wat::parse_str(format!("(component {import})")).unwrap()).unwrap();
        linker(&engine).unwrap().instantiate_pre(&component).is_ok()
    }

    #[test]
    fn components_that_import_wasi_link_and_others_do_not() {
        for version in ["0.2.0", "0.2.3", "0.2.6"] {
            let random = format!(
                r#"(import "wasi:random/random@{version}" (instance (export "get-random-u64" (func (result u64)))))"#
            );
            assert!(links(&random), "{random}");
        }
        assert!(links(
            r#"(import "wasi:cli/environment@0.2.3" (instance (export "get-arguments" (func (result (list string))))))"#
        ));
        for import in [
            r#""wasi:config/store@0.2.0-rc.1" (instance (export "get-all" (func (result (list string)))))"#,
            r#""wasi:keyvalue/store@0.2.0-draft2" (instance (export "open" (func)))"#,
        ] {
            assert!(!links(&format!("(import {import})")), "another shape, another version: {import}");
        }
        assert!(links(r#"(import "wasi:http/types@0.2.3" (instance (export "fields" (type (sub resource)))))"#));
        for interface in ["wasi:http/incoming-handler@0.2.3", "wasi:http/types@0.3.0", "wasi:http/handler@0.3.0"] {
            assert!(!links(&format!(r#"(import "{interface}" (instance (export "f" (func))))"#)), "{interface}");
        }
        assert!(!links(r#"(import "mortise:plugin/host@0.1.0" (instance (export "format-disk" (func))))"#));
    }
}
