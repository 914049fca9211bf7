//! `cargo xtask interop`: the published Python packages against the release binary.
//!
//! The suite in `interop/` marks each test `nats`, `zenoh` or neither. Python's Zenoh client scouts on every interface of
//! the machine and cannot be told otherwise, so the Zenoh half runs in a network namespace that has `lo` alone.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{command, environment, guest_toolchain, guests, packages, python, runners};

/// Gives `lo` what scouting needs, then becomes the program.
const IN_NAMESPACE: &str = r#"ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo && exec "$@""#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Everything that is not marked `zenoh`.
    Nats,
    Zenoh,
}

/// `cargo xtask interop [nats|zenoh] [-- args…]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let (own, pytest) = match arguments.iter().position(|argument| *argument == "--") {
        Some(at) => (arguments.get(..at).unwrap_or_default(), arguments.get(at + 1..).unwrap_or_default()),
        None => (arguments, &[][..]),
    };
    let halves: &[Half] = match own {
        [] => &[Half::Nats, Half::Zenoh],
        ["nats"] => &[Half::Nats],
        ["zenoh"] => &[Half::Zenoh],
        [other, ..] => bail!("`interop` knows no transport `{other}`: `nats` or `zenoh`"),
    };
    packages::ensure(&[packages::NATS, packages::IPROUTE, packages::UTIL_LINUX])?;
    if halves.contains(&Half::Zenoh) {
        packages::network_namespace()?;
    }
    let python = python::environment(workspace, python::INTEROP)?;
    guests::build(workspace, &guest_toolchain::find()?, &[])?;
    workspace.build_binaries(&["mortise"])?;
    runners::build(workspace)?;
    runners::compile(workspace)?;
    for half in halves {
        let mut suite = half.program(&python);
        suite
            .args(["-m", "pytest", "-q", "-m", half.marker()])
            .args(pytest)
            .current_dir(workspace.root.join("interop"))
            .env("MORTISE_BIN", workspace.binary("mortise"))
            .env("MORTISE_GUESTS", workspace.guests().join("plugins"))
            .env("MORTISE_RUNNERS", runners::folder(workspace))
            .env("NATS_SERVER", environment::find_program("nats-server").context("`nats-server` is missing")?)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command::run(&mut suite)?;
    }
    Ok(())
}

impl Half {
    /// The tests of this half, as a marker expression.
    fn marker(self) -> &'static str {
        match self {
            Self::Nats => "not zenoh",
            Self::Zenoh => "zenoh",
        }
    }

    /// The interpreter, ready for arguments.
    fn program(self, python: &std::path::Path) -> Command {
        match self {
            Self::Nats => command::new(python),
            Self::Zenoh => {
                let mut program = in_namespace(python);
                program.env("INTEROP_NETNS", "1");
                program
            }
        }
    }
}

/// The program in a network namespace that has `lo` alone, ready for arguments.
pub(crate) fn in_namespace(program: impl AsRef<OsStr>) -> Command {
    let mut unshare = command::new("unshare");
    // Without privilege, a user namespace in which we are root comes first.
    if !packages::is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "sh", "-c", IN_NAMESPACE, "sh"]).arg(program);
    unshare
}
