//! A Rust compiler that can build guests, wherever this machine has one.
//!
//! A plugin becomes a component with an ordinary `cargo build` for `wasm32-unknown-unknown` whose linker is
//! `wasm-component-ld`; what machines lack is that target's standard library. In this order:
//!
//! 1. `MORTISE_GUEST_RUSTC`, if set;
//! 2. the toolchain in use, if it has the target;
//! 3. `rustup target add`, unless `MORTISE_NO_RUSTUP=1` or `RUSTUP_AUTO_INSTALL=0`;
//! 4. Debian's own compiler, unpacked into the user's cache folder ([`crate::debian`]);
//! 5. otherwise an error that lists the cures.
//!
//! `mortise pack` and `mortise deploy install <crate>` build guests in the same way and honour the same variable.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{command, debian, environment, workspace};

/// The target that guests are built for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Variables of a host build that must not leak into a guest build.
const HOST_ONLY: &[&str] = &[
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

/// A compiler that builds for [`TARGET`].
#[derive(Debug, Clone)]
pub(crate) struct GuestToolchain {
    /// The compiler, as an absolute path.
    pub(crate) rustc: PathBuf,
    /// Where it comes from, for people.
    pub(crate) origin: &'static str,
}

impl GuestToolchain {
    /// Cargo, set up to build guests with this compiler.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = clean_cargo();
        cargo.env("RUSTC", &self.rustc).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
        cargo
    }
}

/// Cargo without what a host build may have put into the environment.
pub(crate) fn clean_cargo() -> Command {
    let mut cargo = workspace::cargo();
    for name in HOST_ONLY {
        cargo.env_remove(name);
    }
    cargo
}

/// Finds a compiler for guests, or makes one.
pub(crate) fn find() -> Result<GuestToolchain> {
    if let Some(rustc) = environment::value("MORTISE_GUEST_RUSTC").map(PathBuf::from) {
        ensure!(has_target(&rustc), "`MORTISE_GUEST_RUSTC={}` cannot build for {TARGET}", rustc.display());
        return Ok(GuestToolchain { rustc, origin: "MORTISE_GUEST_RUSTC" });
    }
    let host = HostToolchain::find()?;
    if let Some(toolchain) = installed(&host) {
        return Ok(toolchain);
    }
    if let Some(toolchain) = added_by_rustup(&host) {
        return Ok(toolchain);
    }
    match debian::toolchain(&host) {
        Ok(Some(rustc)) => return Ok(GuestToolchain { rustc, origin: "Debian's rustc-web" }),
        Ok(None) => {}
        Err(error) => return Err(error.context("failed to set up Debian's compiler for guests")),
    }
    bail!(
        "no Rust compiler here can build for {TARGET}\n\
         hint: with rustup: `rustup target add {TARGET}`\n\
         hint: on Debian 12: put `apt` in working order, and this command fetches `rustc-web` by itself\n\
         hint: otherwise: set `MORTISE_GUEST_RUSTC` to a compiler that has the target and `wasm-component-ld`"
    )
}

/// The toolchain that builds the host.
#[derive(Debug)]
pub(crate) struct HostToolchain {
    /// `rustc --print sysroot`.
    pub(crate) sysroot: PathBuf,
    /// The machine's target triple.
    pub(crate) triple: String,
}

impl HostToolchain {
    fn find() -> Result<Self> {
        let sysroot = command::output(command::new("rustc").args(["--print", "sysroot"]))?;
        let version = command::output(command::new("rustc").arg("-vV"))?;
        let triple =
            version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host triple")?;
        Ok(Self { sysroot: PathBuf::from(sysroot.trim()), triple: triple.to_owned() })
    }

    fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// Where the toolchain keeps `rust-lld` and `wasm-component-ld`.
    pub(crate) fn tools(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.triple).join("bin")
    }
}

fn installed(host: &HostToolchain) -> Option<GuestToolchain> {
    let rustc = host.rustc();
    (has_target(&rustc) && host.tools().join("wasm-component-ld").is_file())
        .then_some(GuestToolchain { rustc, origin: "the toolchain in use" })
}

fn added_by_rustup(host: &HostToolchain) -> Option<GuestToolchain> {
    if environment::is_on("MORTISE_NO_RUSTUP") || environment::is_off("RUSTUP_AUTO_INSTALL") {
        return None;
    }
    let rustup = environment::find_program("rustup")?;
    match command::run(command::new(rustup).args(["target", "add", TARGET])) {
        Ok(()) => installed(host),
        Err(error) => {
            eprintln!("{error:#}; looking further");
            None
        }
    }
}

/// Whether the compiler has the target's standard library.
pub(crate) fn has_target(rustc: &Path) -> bool {
    let folder = command::try_output(command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    folder.is_some_and(|folder| {
        std::fs::read_dir(folder.trim()).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("libstd-") && name.ends_with(".rlib")
            })
        })
    })
}
