//! `cargo xtask bench`: prints figures, judges none. CI runs the short form to see that it still works.

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{command, environment, guest_toolchain, guests, packages, runners};

/// `cargo xtask bench [--quick] [--noisy]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    if let Some(other) = arguments.iter().find(|argument| !["--quick", "--noisy"].contains(argument)) {
        bail!("`bench` has no option `{other}`");
    }
    let quick: &[&str] = if arguments.contains(&"--quick") { &["--quick"] } else { &[] };
    let is_noisy = arguments.contains(&"--noisy");
    packages::ensure(&[packages::NATS])?;
    guests::build(workspace, &guest_toolchain::find()?, &[])?;
    workspace.build_binaries(&["mortise", "mortise-bench"])?;
    runners::build(workspace)?;
    runners::compile(workspace)?;
    let mut bench = command::new(workspace.binary("mortise-bench"));
    bench
        .args(is_noisy.then_some("noisy"))
        .args(quick)
        .current_dir(&workspace.root)
        .env("MORTISE_BIN", workspace.binary("mortise"))
        .env("MORTISE_GUESTS", workspace.guests().join("plugins"))
        .env("MORTISE_RUNNERS", runners::folder(workspace))
        .env("NATS_SERVER", environment::find_program("nats-server").context("`nats-server` is missing")?);
    command::run(&mut bench)?;
    if is_noisy {
        return Ok(());
    }
    // The release profile: that of benches would compile every dependency once more.
    let mut warm_call = workspace.cargo();
    warm_call
        .args(["bench", "--profile", "release", "--locked", "--workspace", "--bench", "warm_call", "--"])
        .args(quick)
        .env_remove("MORTISE_GUESTS");
    command::run(&mut warm_call)
}
