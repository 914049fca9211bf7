//! CI's build cache: cargo's target folder under the user's cache folder, so that a fresh clone compiles our crates and
//! not the five hundred they stand on.
//!
//! Used with `CI=true` only, unless `MORTISE_NO_BUILD_CACHE=1` or `CARGO_TARGET_DIR` is set. Nothing depends on it: with
//! the cache gone, held by another run or switched off, everything is built in `./target`.
//!
//! Cargo tells whether a crate of ours is fresh by the age of its files, which says nothing between two clones: an older
//! checkout of other content would pass for fresh. So one run at a time holds the folder, and what our crates left there
//! is removed first. The code of others never changes under its version.

use std::fs::File;
use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{command, environment, folder};

/// Beyond this the folder is emptied: old versions of dependencies are never removed otherwise.
const SIZE_MAX_GIB: u64 = 16;

/// Moves the workspace's target folder into the cache for as long as the guard lives.
pub(crate) fn enter(workspace: &mut Workspace) -> Result<Option<File>> {
    let wanted = environment::is_on("CI") && !environment::is_on("MORTISE_NO_BUILD_CACHE");
    if !wanted || environment::value("CARGO_TARGET_DIR").is_some() {
        return Ok(None);
    }
    let compiler = command::output(command::new("rustc").arg("-vV"))?;
    let cache = environment::cache_folder()?;
    let home = cache.join(format!("target-{}", folder::fingerprint(compiler.as_bytes())));
    let Some(lock) = folder::try_lock(&home.with_extension("lock"))? else {
        eprintln!("another run holds the build cache: building in `{}`", workspace.target.display());
        return Ok(None);
    };
    if size_gib(&home)? > SIZE_MAX_GIB {
        folder::remove(&home)?;
    }
    let before = std::mem::replace(&mut workspace.target, home);
    if let Err(error) = remove_our_crates(workspace) {
        eprintln!("{error:#}; building in `{}`", before.display());
        workspace.target = before;
        return Ok(None);
    }
    eprintln!("build cache: `{}`", workspace.target.display());
    Ok(Some(lock))
}

fn remove_our_crates(workspace: &Workspace) -> Result<()> {
    folder::create(&workspace.target)?;
    command::run(workspace.cargo().args(["clean", "--release", "--workspace", "--locked"]))
}

fn size_gib(path: &Path) -> Result<u64> {
    let bytes: u64 =
        folder::files(path)?.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    Ok(bytes >> 30)
}
