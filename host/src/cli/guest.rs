//! Builds a Rust plugin crate into a component.
//!
//! An ordinary `cargo build` for `wasm32-unknown-unknown` whose linker is `wasm-component-ld`, which comes with every
//! rustup toolchain. What machines may lack is that target's standard library; `MORTISE_GUEST_RUSTC` names a compiler
//! that has it.

use super::output::CommandError;
use super::progress::Progress;
use crate::config::env::{self, Environment};
use anyhow::{Context as _, anyhow};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-unknown-unknown";
const LINKER: &str = "wasm-component-ld";

/// Settings of a host build that must not leak into a guest build.
const HOST_ONLY: [&str; 13] = [
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "__CARGO_DEFAULT_LIB_METADATA",
];

/// The eight bytes that a component begins with; a core module has another version.
const COMPONENT_MAGIC: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// Builds the crate in `folder` and returns the component. Cargo's own output goes to stderr.
///
/// # Errors
/// [`CommandError`] with the cures when no compiler for guests is there, or when the crate does not build.
pub(super) fn build(folder: &Path, env: &dyn Environment, progress: &Progress) -> Result<PathBuf, CommandError> {
    let cargo = env.read(env::CARGO.name)?.unwrap_or_else(|| "cargo".to_owned());
    let rustc = compiler(folder, env)?;
    progress.stage(format!("building `{}`", folder.display()));
    let mut command = program(&cargo);
    command
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    for name in HOST_ONLY {
        command.env_remove(name);
    }
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER);
    if let Some(rustc) = rustc {
        command.env("RUSTC", rustc);
    }
    let mut child = progress.suspended(|| command.spawn()).context("failed to start cargo").map_err(|error| {
        CommandError::failed(error).hint("install Rust with rustup (https://rustup.rs), or name cargo in `CARGO`")
    })?;
    let component = child.stdout.take().and_then(|stdout| component_in(BufReader::new(stdout), folder));
    let status = child.wait().context("failed to wait for cargo")?;
    if !status.success() {
        return Err(CommandError::failed(anyhow!("failed to build `{}`: cargo ended with {status}", folder.display())));
    }
    let component = component.ok_or_else(|| {
        CommandError::failed(anyhow!("building `{}` made no WebAssembly file", folder.display()))
            .hint("its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`")
    })?;
    check_component(&component)?;
    Ok(component)
}

/// A child of this process: waited for where it is started, and interrupted by Ctrl-C together with it.
#[expect(clippy::disallowed_methods, reason = "building plugins is what this file is for")]
fn program(name: &str) -> Command {
    Command::new(name)
}

/// The last `.wasm` file of the crate in `folder` that cargo's messages name.
fn component_in(messages: impl std::io::BufRead, folder: &Path) -> Option<PathBuf> {
    let manifest = folder.canonicalize().ok()?.join("Cargo.toml");
    let mut component = None;
    // Read to the end in any case: cargo must not find its pipe closed.
    for line in messages.lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let of_crate = message.get("manifest_path").and_then(|path| path.as_str()).map(Path::new) == Some(&manifest);
        if !of_crate {
            continue;
        }
        let files = message.get("filenames").and_then(|files| files.as_array()).into_iter().flatten();
        let wasm = files.filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm"));
        component = wasm.map(PathBuf::from).or(component);
    }
    component
}

/// Refuses anything but a component; a core module above all.
pub(super) fn check_component(path: &Path) -> Result<(), CommandError> {
    use std::io::Read as _;
    let mut magic = [0; 8];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.with_context(|| format!("failed to read `{}`", path.display()))?;
    if magic == COMPONENT_MAGIC {
        return Ok(());
    }
    Err(CommandError::failed(anyhow!("`{}` is no WebAssembly component", path.display()))
        .hint("a crate has to use `#[tenon::plugin]` and be linked with `wasm-component-ld`, as `mortise pack` does"))
}

/// The compiler to set as `RUSTC`; none where the toolchain in use can build guests itself.
fn compiler(folder: &Path, env: &dyn Environment) -> Result<Option<String>, CommandError> {
    if let Some(rustc) = env.read(env::MORTISE_GUEST_RUSTC.name)? {
        if has_target(&rustc, folder) {
            return Ok(Some(rustc));
        }
        let error = anyhow!("the compiler `{rustc}` of `{}` cannot build for {TARGET}", env::MORTISE_GUEST_RUSTC.name);
        return Err(CommandError::failed(error).hint("name one whose standard library for that target is installed"));
    }
    if has_target("rustc", folder) {
        return Ok(None);
    }
    Err(CommandError::failed(anyhow!("no Rust compiler here can build for {TARGET}"))
        .hint(format!("with rustup: `rustup target add {TARGET}`"))
        .hint("on Debian 12, from a checkout of Mortise: `cargo xtask guests --print-env` sets up Debian's compiler and names it")
        .hint("otherwise: set `MORTISE_GUEST_RUSTC` to a compiler that has the target and `wasm-component-ld`"))
}

/// Whether `rustc`, started in `folder` as cargo will start it, has the target's standard library.
fn has_target(rustc: &str, folder: &Path) -> bool {
    let mut command = program(rustc);
    command.args(["--print", "target-libdir", "--target", TARGET]).current_dir(folder).stderr(Stdio::null());
    let Ok(output) = command.output() else { return false };
    let libraries = String::from_utf8_lossy(&output.stdout);
    let Ok(entries) = std::fs::read_dir(libraries.trim()) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_the_one_of_the_crate_itself() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().canonicalize().unwrap().join("Cargo.toml");
        let artifact = |manifest: &str, file: &str| {
            serde_json::json!({"reason": "compiler-artifact", "manifest_path": manifest, "filenames": [file]})
                .to_string()
        };
        let messages = [
            artifact("/elsewhere/Cargo.toml", "/t/dependency.wasm"),
            "not JSON".to_owned(),
            artifact(manifest.to_str().unwrap(), "/t/build-script"),
            artifact(manifest.to_str().unwrap(), "/t/plugin.wasm"),
            artifact("/elsewhere/Cargo.toml", "/t/late.wasm"),
        ]
        .join("\n");
        assert_eq!(component_in(messages.as_bytes(), folder.path()), Some(PathBuf::from("/t/plugin.wasm")));
        assert_eq!(component_in(&b""[..], folder.path()), None);
    }

    #[test]
    fn a_core_module_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.wasm");
        std::fs::write(&path, b"\0asm\x01\0\0\0").unwrap();
        assert!(check_component(&path).unwrap_err().chain().contains("is no WebAssembly component"));
        std::fs::write(&path, b"\0asm\x0d\0\x01\0...").unwrap();
        assert!(check_component(&path).is_ok());
    }

    #[test]
    fn a_compiler_without_the_target_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let env = std::collections::BTreeMap::from([("MORTISE_GUEST_RUSTC".to_owned(), "/bin/false".to_owned())]);
        let error = compiler(folder.path(), &env).unwrap_err();
        assert!(error.chain().contains("`/bin/false`"), "{}", error.chain());
        assert_eq!(error.hints.len(), 1);
    }
}
