//! The environment variables that xtask reads, all in one place.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The variable's value; set but empty counts as unset.
pub(crate) fn value(name: &str) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "the one place of xtask that reads the environment")]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The names of all variables.
pub(crate) fn names() -> impl Iterator<Item = String> {
    #[expect(clippy::disallowed_methods, reason = "the one place of xtask that reads the environment")]
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// Whether a switch is on: `1` or `true`.
pub(crate) fn is_on(name: &str) -> bool {
    value(name).is_some_and(|value| value == "1" || value == "true")
}

/// Whether a switch is set, and set to off: `0` or `false`.
pub(crate) fn is_off(name: &str) -> bool {
    value(name).is_some_and(|value| value == "0" || value == "false")
}

/// `$XDG_CACHE_HOME/mortise`, or `~/.cache/mortise`. Everything in it can be deleted at any time.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let base = match value("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(folder) => folder,
        None => PathBuf::from(value("HOME").context("neither `XDG_CACHE_HOME` nor `HOME` is set")?).join(".cache"),
    };
    Ok(base.join("mortise"))
}

/// Where the shell would find `program`: the first executable of that name on `PATH`, or in the folders of system
/// programs that a user's `PATH` may lack.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = value("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
