//! Where things are, and cargo as every command calls it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{command, environment, packages};

/// The checkout and its build folders.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The repository's top folder.
    pub(crate) root: PathBuf,
    /// Cargo's target folder for the host's crates; under the user's cache folder when the build cache is in use.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let manifest = environment::value("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let package = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let root = package.parent().context("xtask has no parent folder")?.to_path_buf();
        ensure!(root.join("xtask/Cargo.toml").is_file(), "`{}` is not the repository", root.display());
        let target = match environment::value("CARGO_TARGET_DIR").map(PathBuf::from) {
            Some(folder) => std::path::absolute(folder)?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Everything that guest builds leave behind: `build`, `out/<name>.wasm`, `plugins/<id>/`.
    pub(crate) fn guests(&self) -> PathBuf {
        self.root.join("target/guests")
    }

    /// The crate `tenon`.
    pub(crate) fn sdk(&self) -> PathBuf {
        self.root.join("sdk/tenon")
    }

    /// A binary that [`Self::build_binaries`] has built.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// Cargo in the repository's top folder, for the host's crates.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    /// Builds release binaries. Features are resolved for the whole workspace, as `cargo test --workspace` does, so that
    /// the large dependencies are compiled once for both.
    pub(crate) fn build_binaries(&self, names: &[&str]) -> Result<()> {
        packages::ensure(packages::BUILD)?;
        let mut cargo = self.cargo();
        cargo.args(["build", "--release", "--locked", "--workspace"]);
        for name in names {
            cargo.args(["--bin", name]);
        }
        command::run(&mut cargo)
    }

    /// `cargo metadata` of the workspace that `manifest` belongs to.
    pub(crate) fn metadata(&self, manifest: &Path, arguments: &[&str]) -> Result<Value> {
        let text = command::output(
            self.cargo()
                .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
                .arg(manifest)
                .args(arguments),
        )?;
        serde_json::from_str(&text).context("cargo metadata is not JSON")
    }
}

/// The cargo that runs us, else the one on `PATH`.
pub(crate) fn cargo() -> Command {
    command::new(environment::value("CARGO").unwrap_or_else(|| "cargo".into()))
}
