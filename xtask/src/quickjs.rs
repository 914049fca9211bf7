//! QuickJS, compiled to WebAssembly, which plugins in JavaScript run in: a package of npm, pinned by the lock file with its
//! digest, and never committed. It is kept under the user's cache folder.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{command, environment, folder};

/// What plugins in JavaScript run in, relative to the repository: the sources of the boot set, and the lock file.
pub(crate) const RUNNER: &str = "runners/javascript";

/// The package.
pub(crate) const PACKAGE: &str = "quickjs-wasi";

/// The module, in the package and in `target/runners`.
pub(crate) const MODULE: &str = "quickjs.wasm";

/// The folder of the package. npm compares what it fetches with the lock file's digest.
pub(crate) fn package(workspace: &Workspace) -> Result<PathBuf> {
    let runner = workspace.root.join(RUNNER);
    let pinned = ["package.json", "package-lock.json"].map(|name| (name, runner.join(name)));
    let mut key = String::new();
    for (_, file) in &pinned {
        key += &folder::read(file)?;
    }
    let cache = environment::cache_folder()?;
    let home = cache.join(format!("npm-{}", folder::fingerprint(key.as_bytes())));
    let _lock = folder::lock(&home.with_extension("lock"))?;
    if !home.is_dir() {
        let unfinished = home.with_extension("unfinished");
        folder::remove(&unfinished)?;
        folder::create(&unfinished)?;
        for (name, file) in &pinned {
            folder::install(file, &unfinished.join(name))?;
        }
        let mut npm = command::new(program("npm")?);
        npm.args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&unfinished);
        command::run(&mut npm).context("failed to fetch the interpreter of JavaScript")?;
        folder::rename(&unfinished, &home)?;
    }
    Ok(home.join("node_modules").join(PACKAGE))
}

/// The boot set passes its tests on Node, in the very module that plugins run in.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let package = package(workspace)?;
    let tests = workspace.root.join(RUNNER).join("tests");
    let files = folder::files(&tests)?.into_iter().filter(|file| file.to_string_lossy().ends_with(".test.mjs"));
    let mut suite = command::new(program("node")?);
    suite.args(["--test", "--test-reporter=spec"]).args(files).current_dir(&tests).env("MORTISE_QUICKJS", package);
    command::run(&mut suite)
}

/// Makes sure that Node and npm are there.
pub(crate) fn ensure() -> Result<()> {
    program("node").and(program("npm")).map(|_| ())
}

fn program(name: &str) -> Result<PathBuf> {
    environment::find_program(name)
        .with_context(|| format!("`{name}` was not found\nhint: put Node 20 or later, with npm, on `PATH`"))
}
