//! QuickJS, which runs plugins in JavaScript: a package of npm's that is kept under the user's cache folder. Its version and its
//! digest are in the lockfile, and npm checks what it fetches against them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{command, environment, folder, packages};

/// Where the lockfile is, relative to the repository.
const FOLDER: &str = "runners/javascript";

/// What npm reads there.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// The one package that is fetched.
pub(crate) const PACKAGE: &str = "quickjs-wasi";

/// The unpacked package, fetched on first use and again when the lockfile changes.
pub(crate) fn package(workspace: &Workspace) -> Result<PathBuf> {
    let files = FILES.map(|name| workspace.root.join(FOLDER).join(name));
    let key = files.iter().map(|file| folder::read(file)).collect::<Result<String>>()?;
    let cache = environment::cache_folder()?;
    let home = cache.join(format!("npm-{}", folder::fingerprint(key.as_bytes())));
    let _lock = folder::lock(&home.with_extension("lock"))?;
    if !home.is_dir() {
        packages::ensure(&[packages::NPM])?;
        let unfinished = home.with_extension("unfinished");
        folder::remove(&unfinished)?;
        for (file, name) in files.iter().zip(FILES) {
            folder::install(file, &unfinished.join(name))?;
        }
        fetch(&unfinished)?;
        folder::rename(&unfinished, &home)?;
    }
    Ok(home.join("node_modules").join(PACKAGE))
}

/// Installs what the lockfile in a folder says and nothing else. No script of a package is run.
fn fetch(into: &Path) -> Result<()> {
    let mut npm = command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(into);
    command::run(&mut npm).context("QuickJS was not fetched")
}

/// The version that the lockfile names, as text.
pub(crate) fn version(workspace: &Workspace) -> Result<String> {
    let lock = folder::read(&workspace.root.join(FOLDER).join("package-lock.json"))?;
    let lock: serde_json::Value = serde_json::from_str(&lock).context("`package-lock.json` is no JSON")?;
    let version = lock["packages"][format!("node_modules/{PACKAGE}")]["version"].as_str();
    Ok(version.with_context(|| format!("`package-lock.json` names no version of `{PACKAGE}`"))?.to_owned())
}
