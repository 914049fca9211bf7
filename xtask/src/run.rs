//! `cargo xtask run`: the host for real, on Zenoh, with the demo plugin and no infrastructure.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::guest_toolchain::{self, GuestToolchain};
use crate::workspace::Workspace;
use crate::{command, folder, guests};

/// The plugins that the host starts with.
const PLUGINS: &[&str] = &["demo"];

/// `cargo xtask run [-- args…]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let arguments = arguments.strip_prefix(&["--"]).unwrap_or(arguments);
    let toolchain = guest_toolchain::find();
    let capabilities = workspace.root.join("target/run/capabilities");
    for id in PLUGINS {
        let built = guest(workspace, &toolchain, id)?;
        seed(&built, &capabilities.join(id), &workspace.root.join("target/run/seeded").join(id))?;
    }
    workspace.build_binaries(&["mortise"])?;
    let mut host = command::new(workspace.binary("mortise"));
    host.args(["run", "--messaging-backend", "zenoh", "--discovery-mode", "d2d", "--capabilities-dir"])
        .arg(&capabilities)
        .args(arguments);
    let mut shell = format!("MORTISE_STATE_DIR={}", capabilities.join(".mortise").display());
    if let Ok(toolchain) = toolchain {
        shell += &format!(" MORTISE_GUEST_RUSTC={}", toolchain.rustc.display());
        host.env("MORTISE_GUEST_RUSTC", toolchain.rustc).env("MORTISE_SDK", workspace.sdk());
    }
    let binary = workspace.binary("mortise");
    let binary = binary.strip_prefix(&workspace.root).unwrap_or(&binary).display();
    eprintln!(
        "starting the host; in another shell:\n  export {shell}\n  {binary} deploy install examples/hello-world\n  {binary} deploy invoke hello_world --params '{{\"name\":\"plugin\"}}'\n"
    );
    // The host takes the place of this process, so that signals and the exit status are its own.
    Err(host.exec()).with_context(|| format!("failed to start `{}`", workspace.binary("mortise").display()))
}

/// The built plugin. Without a compiler for guests, one that was built earlier will do.
fn guest(workspace: &Workspace, toolchain: &Result<GuestToolchain>, id: &str) -> Result<PathBuf> {
    let built = workspace.guests().join("plugins").join(id);
    match toolchain {
        Ok(toolchain) => guests::build(workspace, toolchain, &[id])?,
        Err(error) if built.join("manifest.json").is_file() => eprintln!("{error:#}; using the `{id}` built earlier"),
        Err(error) => anyhow::bail!("{error:#}"),
    }
    Ok(built)
}

/// Puts the built plugin where the host finds it, unless somebody has edited it there since: `seeded` remembers what
/// was put last.
fn seed(built: &Path, working: &Path, seeded: &Path) -> Result<()> {
    let (new, there) = (contents(built)?, contents(working)?);
    if there == new {
        return Ok(());
    }
    if !there.is_empty() && there != contents(seeded)? {
        eprintln!("`{}` was edited: left as it is", working.display());
        return Ok(());
    }
    for copy in [seeded, working] {
        folder::remove(copy)?;
        for (name, content) in &new {
            folder::install_content(content, &copy.join(name))?;
        }
    }
    Ok(())
}

/// Every file of a folder by its path in it.
fn contents(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    folder::files(root)?
        .into_iter()
        .map(|file| {
            let content = std::fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
            Ok((file.strip_prefix(root)?.to_path_buf(), content))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuilt_plugin_replaces_an_untouched_copy_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let [built, working, seeded] = ["built", "working", "seeded"].map(|name| folder.path().join(name));
        let build = |content: &str| folder::install_content(content.as_bytes(), &built.join("plugin.wasm")).unwrap();
        let put = || {
            seed(&built, &working, &seeded).unwrap();
            std::fs::read_to_string(working.join("plugin.wasm")).unwrap()
        };
        build("one");
        assert_eq!(put(), "one");
        build("two");
        assert_eq!(put(), "two");
        std::fs::write(working.join("plugin.wasm"), "edited").unwrap();
        build("three");
        assert_eq!(put(), "edited");
        std::fs::remove_dir_all(&working).unwrap();
        assert_eq!(put(), "three");
    }
}
