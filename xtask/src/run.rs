//! `cargo xtask run`: the host for real, on Zenoh, with the demo plugin and no infrastructure.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::guest_toolchain::{self, GuestToolchain};
use crate::workspace::Workspace;
use crate::{command, folder, guests, runners};

/// The plugins that come with the host.
const PLUGINS: &[&str] = &["demo"];

/// `cargo xtask run [-- args…]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let arguments = arguments.strip_prefix(&["--"]).unwrap_or(arguments);
    let toolchain = guest_toolchain::find();
    let capabilities = workspace.root.join("target/run/capabilities");
    let bundled = workspace.root.join("target/run/bundled");
    for id in PLUGINS {
        bundle(&guest(workspace, &toolchain, id)?, &bundled.join(id))?;
    }
    workspace.build_binaries(&["mortise"])?;
    let mut host = command::new(workspace.binary("mortise"));
    host.args(["run", "--messaging-backend", "zenoh", "--discovery-mode", "d2d", "--capabilities-dir"])
        .arg(&capabilities)
        .arg("--bundled-plugins")
        .arg(&bundled)
        .args(arguments);
    // Without them, plugins in source form cannot load, and everything else can.
    match runners::build(workspace).and_then(|()| runners::compile(workspace)) {
        Ok(()) => drop(host.env("MORTISE_RUNNERS_DIR", runners::folder(workspace))),
        Err(error) => eprintln!("{error:#}; plugins in Python and JavaScript will not load"),
    }
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

/// Copies the built plugin to where the host takes it from: what is built beside it is not the host's.
fn bundle(built: &Path, to: &Path) -> Result<()> {
    folder::remove(to)?;
    for file in folder::files(built)? {
        let content = std::fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        folder::install_content(&content, &to.join(file.strip_prefix(built)?))?;
    }
    Ok(())
}
