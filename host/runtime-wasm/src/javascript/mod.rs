//! QuickJS, a core module, behind the same driver as components: what a component exports are functions of a boot script here,
//! and what it imports are one function, `__host`, which the boot script alone can see.
//!
//! `abi` is the module's own interface, `cells` the numbers that cross in its memory, `asked` what the boot script asks of the host, `interpreter` one instance and the ways
//! into it, `modules` the plugin's files.

mod abi;
mod asked;
mod cells;
mod interpreter;
mod modules;
mod wasi;
mod words;

pub(crate) use interpreter::{Interpreter, Program};
pub(crate) use modules::Modules;

use crate::view::{Source, State};
use abi::{Abi, Cx, Value};
use std::sync::Arc;
use wasmtime::{AsContextMut as _, Caller, Error, Linker, Result};

/// One script of the files of `runners/javascript/boot`, in the order of `boot.txt`. What they declare is nobody else's; what
/// they leave as `__guest` is taken away, and is what the script gives.
macro_rules! boot {
    ($($name:literal),* $(,)?) => {
        concat!(
            "(() => {\"use strict\";",
            $(include_str!(concat!("../../../../runners/javascript/boot/", $name, ".js")), "\n",)*
            "})(); (() => { const guest = globalThis.__guest; delete globalThis.__guest; return guest; })()"
        )
    };
}

/// The script that makes a plugin of an interpreter, and the module that plugins import from it.
const BOOT: &str = boot![
    "primordials",
    "crossing",
    "inspect",
    "console",
    "encoding",
    "calls",
    "tenon",
    "events",
    "host_name",
    "url_record",
    "url",
    "fetch",
    "clone",
    "signature",
    "jsdoc",
    "description",
    "guest",
];
const TENON: &str = include_str!("../../../../runners/javascript/tenon.js");

/// How traces name the boot script.
const BOOT_NAME: &str = "<boot>";

/// How many rejections without a handler are remembered within one turn.
const REJECTIONS_MAX: usize = 100;

/// What the host's functions know of the interpreter that calls them.
pub(crate) struct Session {
    abi: Arc<Abi>,
    rejections: Vec<Rejection>,
}

/// A promise that was rejected in this turn and that nobody handles yet.
struct Rejection {
    /// Kept until the turn ends: what was freed lends its identity to the next.
    promise: Value,
    identity: u32,
    reason: Value,
}

/// Everything that the module imports.
pub(crate) fn linker(engine: &wasmtime::Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi::add_to(&mut linker)?;
    linker.func_wrap_async(
        "env",
        "host_call",
        |caller: Caller<'_, State>, (_, _, _, count, at): (u32, u32, u32, u32, u32)| {
            Box::new(asked::call(caller, count, at))
        },
    )?;
    linker.func_wrap_async("env", "host_module_normalize", |caller: Caller<'_, State>, (base, name): (u32, u32)| {
        Box::new(normalise(caller, base, name))
    })?;
    linker.func_wrap_async("env", "host_module_load", |caller: Caller<'_, State>, (name, length): (u32, u32)| {
        Box::new(load(caller, name, length))
    })?;
    linker.func_wrap_async(
        "env",
        "host_promise_rejection",
        |caller: Caller<'_, State>, (promise, reason, is_handled): (u32, u32, i32)| {
            Box::new(note_rejection(caller, promise, reason, is_handled != 0))
        },
    )?;
    // Never set: epochs end whatever runs, native code of the interpreter's as well.
    linker.func_wrap("env", "host_interrupt", || 0)?;
    // The zone is UTC.
    linker.func_wrap("env", "host_get_timezone_offset", |_: i32, _: i32| 0)?;
    Ok(linker)
}

fn abi_of(cx: &Cx<'_>) -> Result<Arc<Abi>> {
    let session = cx.data().javascript.as_ref();
    session.map(|session| Arc::clone(&session.abi)).ok_or_else(|| Error::msg("the interpreter is not set up"))
}

/// Gives the name of the module that is meant, or throws.
async fn normalise(mut caller: Caller<'_, State>, base: u32, name: u32) -> Result<u32> {
    let cx = &mut caller.as_context_mut();
    let abi = abi_of(cx)?;
    let (base, name) = (abi.name(cx, base)?, abi.name(cx, name)?);
    let base = Some(base.as_str()).filter(|base| ![BOOT_NAME, modules::PLUGIN].contains(base));
    match modules::resolve(base, &name) {
        Ok(module) => abi.keep(cx, module.as_bytes()).await,
        Err(reason) => {
            abi.throw(cx, &reason).await?;
            Ok(0)
        }
    }
}

/// Gives a module's source, or throws.
async fn load(mut caller: Caller<'_, State>, name: u32, length: u32) -> Result<u32> {
    let cx = &mut caller.as_context_mut();
    let abi = abi_of(cx)?;
    let module = abi.name(cx, name)?;
    let source = match module.as_str() {
        modules::TENON => Ok(TENON.to_owned()),
        modules::PLUGIN => Ok(modules::importing(&modules_of(cx)?.entry_point)),
        _ => read(cx, module).await?,
    };
    match source {
        Ok(source) => {
            abi.set_word(cx, length, u32::try_from(source.len())?)?;
            abi.keep(cx, source.as_bytes()).await
        }
        Err(reason) => {
            abi.throw(cx, &reason).await?;
            Ok(0)
        }
    }
}

fn modules_of<'a>(cx: &'a Cx<'_>) -> Result<&'a Modules> {
    match &cx.data().host.shared.source {
        Source::Modules(modules) => Ok(modules),
        _ => Err(Error::msg("the plugin has no modules")),
    }
}

/// The text of one of the plugin's modules, or why there is none.
async fn read(cx: &mut Cx<'_>, module: String) -> Result<Result<String, String>> {
    let root = modules_of(cx)?.root.clone();
    Ok(tokio::task::spawn_blocking(move || modules::read(&root, &module)).await?)
}

/// Remembers a rejection until the turn ends, or forgets one that is handled after all.
async fn note_rejection(mut caller: Caller<'_, State>, promise: u32, reason: u32, is_handled: bool) -> Result<()> {
    let cx = &mut caller.as_context_mut();
    let abi = abi_of(cx)?;
    let (promise, reason) = (Value::new(promise)?, Value::new(reason)?);
    let identity = abi.identity(cx, promise).await?;
    let unneeded = match &mut cx.data_mut().javascript {
        Some(Session { rejections, .. }) if is_handled => {
            let known = rejections.iter().position(|rejection| rejection.identity == identity);
            let known = known.map(|index| rejections.swap_remove(index));
            known.into_iter().flat_map(|known| [known.promise, known.reason]).chain([promise, reason]).collect()
        }
        Some(Session { rejections, .. }) if rejections.len() < REJECTIONS_MAX => {
            rejections.push(Rejection { promise, identity, reason });
            Vec::new()
        }
        _ => vec![promise, reason],
    };
    for value in unneeded {
        abi.free(cx, value).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_script_is_of_the_files_that_its_list_names() {
        let runner = concat!(env!("CARGO_MANIFEST_DIR"), "/../../runners/javascript");
        let read = |path: &str| std::fs::read_to_string(format!("{runner}/{path}")).unwrap();
        let files: String = read("boot.txt").lines().map(|name| read(&format!("boot/{name}")) + "\n").collect();
        assert!(BOOT.starts_with(&format!("(() => {{\"use strict\";{files}}})();")));
    }
}
