//! `cargo xtask test`: everything that is checked, in phases, the quick ones first.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{
    bench, build_cache, command, dependencies, environment, fixtures, folder, fuzz, guest_toolchain, guests, interop,
    layers, limits, packages, runners,
};

struct Phase {
    name: &'static str,
    about: &'static str,
    run: fn(&Workspace) -> Result<()>,
}

const PHASES: &[Phase] = &[
    Phase {
        name: "packages",
        about: "what the other phases need; packages are installed as root on Debian, the rest is named",
        run: |_| packages::ensure_all(),
    },
    Phase { name: "fmt", about: "rustfmt over the host, the SDK and the plugins", run: fmt },
    Phase { name: "layers", about: "crates against the layer table of docs/ARCHITECTURE.md", run: layers::check },
    Phase { name: "limits", about: "a test for each limit that a manifest may set", run: limits::check },
    Phase { name: "dependencies", about: "licences and versions against deny.toml", run: dependencies::check },
    Phase { name: "guests", about: "every guest plugin; no fixture that no test runs", run: build_guests },
    Phase {
        name: "runners",
        about: "what runs plugins in Python and JavaScript, and its own tests",
        run: runners::test,
    },
    Phase { name: "sdk", about: "native tests and clippy of the SDK and the plugins", run: sdk },
    Phase { name: "clippy", about: "clippy over the host, warnings denied", run: clippy },
    Phase { name: "unit", about: "unit and integration tests of the host", run: unit },
    Phase { name: "docs", about: "rustdoc, warnings denied", run: docs },
    Phase {
        name: "fuzz",
        about: "the fuzzers of archives and manifests, a few seconds each",
        run: |workspace| fuzz::run(workspace, &[]),
    },
    Phase {
        name: "interop",
        about: "the published Python packages, over NATS and Zenoh",
        run: |workspace| interop::run(workspace, &[]),
    },
    Phase {
        name: "bench",
        about: "the short benches, to see that they run; nothing is timed against a limit",
        run: |workspace| bench::run(workspace, &["--quick"]),
    },
];

/// `cargo xtask test [phase…]`.
pub(crate) fn run(mut workspace: Workspace, arguments: &[&str]) -> Result<()> {
    if arguments == ["--list"] {
        for phase in PHASES {
            println!("{:<14} {}", phase.name, phase.about);
        }
        return Ok(());
    }
    let phases = chosen(arguments)?;
    let lockfile = folder::read(&workspace.root.join("Cargo.lock"))?;
    let _cache = build_cache::enter(&mut workspace)?;
    let mut times = Vec::new();
    let mut outcome = Ok(());
    for phase in phases {
        eprintln!("\n== {}: {}", phase.name, phase.about);
        let started = Instant::now();
        outcome = (phase.run)(&workspace).with_context(|| format!("phase `{}` failed", phase.name));
        times.push((phase.name, started.elapsed(), outcome.is_ok()));
        if outcome.is_err() {
            break;
        }
    }
    eprint!("\n{}", table(&times));
    outcome?;
    if lockfile != folder::read(&workspace.root.join("Cargo.lock"))? {
        bail!("`Cargo.lock` changed while the tests ran");
    }
    Ok(())
}

/// The phases named, in the order of the list; all if none is named.
fn chosen(names: &[&str]) -> Result<Vec<&'static Phase>> {
    if let Some(unknown) = names.iter().find(|name| !PHASES.iter().any(|phase| phase.name == **name)) {
        let known: Vec<&str> = PHASES.iter().map(|phase| phase.name).collect();
        bail!("no phase `{unknown}`; there are {}", known.join(", "));
    }
    Ok(PHASES.iter().filter(|phase| names.is_empty() || names.contains(&phase.name)).collect())
}

fn table(times: &[(&str, Duration, bool)]) -> String {
    let mut text = String::from("phase               time  result\n");
    for (name, time, passed) in times {
        text += &format!("{name:<14} {:>7.1} s  {}\n", time.as_secs_f64(), if *passed { "ok" } else { "FAILED" });
    }
    let total: Duration = times.iter().map(|(_, time, _)| *time).sum();
    text + &format!("{:<14} {:>7.1} s\n", "total", total.as_secs_f64())
}

fn fmt(workspace: &Workspace) -> Result<()> {
    command::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    command::run(fuzz::cargo(workspace).args(["fmt", "--check"]))?;
    for mut cargo in native_cargos(workspace)? {
        command::run(cargo.args(["fmt", "--all", "--check"]))?;
    }
    Ok(())
}

fn build_guests(workspace: &Workspace) -> Result<()> {
    guests::build(workspace, &guest_toolchain::find()?, &[])?;
    fixtures::check(workspace)
}

fn sdk(workspace: &Workspace) -> Result<()> {
    for mut cargo in native_cargos(workspace)? {
        command::run(cargo.args(["test", "--quiet", "--locked", "--workspace"]))?;
    }
    for mut cargo in native_cargos(workspace)? {
        command::run(cargo.args([
            "clippy",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))?;
    }
    Ok(())
}

/// Cargo for the SDK's workspace and for each plugin that is a workspace of its own, as their authors run it: natively.
fn native_cargos(workspace: &Workspace) -> Result<Vec<Command>> {
    let sdk = workspace.root.join("sdk");
    let plugins =
        guests::all(workspace)?.into_iter().map(|guest| guest.folder).filter(|folder| !folder.starts_with(&sdk));
    let folders = std::iter::once(sdk.clone()).filter(|folder| folder.join("Cargo.toml").is_file()).chain(plugins);
    Ok(folders
        .map(|folder| {
            let mut cargo = guest_toolchain::clean_cargo();
            cargo.current_dir(folder).env("CARGO_TARGET_DIR", workspace.root.join("target/sdk"));
            cargo
        })
        .collect())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    command::run(workspace.cargo().args([
        "clippy",
        "--release",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn unit(workspace: &Workspace) -> Result<()> {
    let toolchain = guest_toolchain::find()?;
    guests::build(workspace, &toolchain, &[])?;
    runners::fetch(workspace)?;
    let mut cargo = workspace.cargo();
    cargo
        .args(["test", "--release", "--locked", "--workspace"])
        .env("MORTISE_GUEST_RUSTC", &toolchain.rustc)
        // The rooms' tests look for components in the checkout's own `target/guests/out`, wherever cargo builds, and for QuickJS in
        // its `target/runners`.
        .env_remove("MORTISE_GUESTS")
        .env_remove("MORTISE_RUNNERS");
    if let Some(server) = environment::find_program("nats-server") {
        cargo.env("NATS_SERVER", server);
    }
    command::run(&mut cargo)
}

fn docs(workspace: &Workspace) -> Result<()> {
    // The release profile, so that the check of dependencies that clippy has made serves again.
    command::run(
        workspace
            .cargo()
            .args(["doc", "--release", "--locked", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_names_of_their_own() {
        for (at, phase) in PHASES.iter().enumerate() {
            assert!(PHASES.iter().skip(at + 1).all(|other| other.name != phase.name), "`{}` twice", phase.name);
        }
    }

    #[test]
    fn named_phases_run_in_the_order_of_the_list() {
        let names = |arguments: &[&str]| chosen(arguments).unwrap().iter().map(|phase| phase.name).collect::<Vec<_>>();
        assert_eq!(names(&["unit", "fmt"]), ["fmt", "unit"]);
        assert_eq!(names(&[]).len(), PHASES.len());
        assert!(
            chosen(&["unt"])
                .is_err_and(|error| error.to_string().starts_with("no phase `unt`; there are packages, fmt,"))
        );
    }

    #[test]
    fn the_table_tells_times_and_the_failure() {
        let times = [("fmt", Duration::from_millis(1_500), true), ("unit", Duration::from_secs(100), false)];
        assert_eq!(
            table(&times),
            "phase               time  result\nfmt                1.5 s  ok\nunit             100.0 s  FAILED\ntotal            101.5 s\n"
        );
    }
}
