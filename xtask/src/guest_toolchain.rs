//! A Rust compiler that can build guests, wherever this machine has one.
//!
//! A plugin becomes a component with an ordinary `cargo build` for `wasm32-unknown-unknown` whose linker is
//! `wasm-component-ld`; what machines lack is that target's standard library. One guest of ours is built for
//! `wasm32-wasip2`, because plugins may be. In this order:
//!
//! 1. `MORTISE_GUEST_RUSTC`, if set;
//! 2. the toolchain in use, if it has both targets;
//! 3. `rustup target add`, unless `MORTISE_NO_RUSTUP=1` or `RUSTUP_AUTO_INSTALL=0`;
//! 4. Debian's own compiler, unpacked into the user's cache folder ([`crate::debian`]);
//! 5. otherwise an error that lists the cures.
//!
//! `mortise pack` and `mortise deploy install <crate>` build guests in the same way and honour the same variable.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, debian, environment, workspace};

/// The target that guests are built for, unless their `Cargo.toml` says otherwise.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The target of guests that use what `std` takes from WASI.
pub(crate) const WASI_TARGET: &str = "wasm32-wasip2";

/// All of them.
pub(crate) const TARGETS: [&str; 2] = [TARGET, WASI_TARGET];

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

/// A compiler that builds for [`TARGETS`].
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
        // For the target with WASI it is the linker anyway.
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
        if let Some(target) = missing_target(&rustc) {
            bail!("`MORTISE_GUEST_RUSTC={}` cannot build for {target}", rustc.display());
        }
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
        "no Rust compiler here can build for {TARGET} and {WASI_TARGET}\n\
         hint: with rustup: `rustup target add {TARGET} {WASI_TARGET}`\n\
         hint: on Debian 12: put `apt` in working order, and this command fetches `rustc-web` by itself\n\
         hint: otherwise: set `MORTISE_GUEST_RUSTC` to a compiler that has the targets and `wasm-component-ld`"
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
    pub(crate) fn find() -> Result<Self> {
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
    (missing_target(&rustc).is_none() && host.tools().join("wasm-component-ld").is_file())
        .then_some(GuestToolchain { rustc, origin: "the toolchain in use" })
}

fn added_by_rustup(host: &HostToolchain) -> Option<GuestToolchain> {
    if environment::is_on("MORTISE_NO_RUSTUP") || environment::is_off("RUSTUP_AUTO_INSTALL") {
        return None;
    }
    let rustup = environment::find_program("rustup")?;
    match command::run(command::new(rustup).args(["target", "add"]).args(TARGETS)) {
        Ok(()) => installed(host),
        Err(error) => {
            eprintln!("{error:#}; looking further");
            None
        }
    }
}

/// The first target whose standard library the compiler lacks.
pub(crate) fn missing_target(rustc: &Path) -> Option<&'static str> {
    TARGETS.into_iter().find(|target| !has_target(rustc, target))
}

fn has_target(rustc: &Path, target: &str) -> bool {
    let folder = command::try_output(command::new(rustc).args(["--print", "target-libdir", "--target", target]));
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
