//! Folders and files, with errors that name their path.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("failed to create `{}`", path.display()))
}

/// Removes a folder with all it holds; that it is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
}

pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("failed to write `{}`", path.display()))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("failed to rename `{}` to `{}`", from.display(), to.display()))
}

/// The entries of a folder in order of name; none if there is no such folder.
pub(crate) fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let read = match fs::read_dir(path) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("failed to list `{}`", path.display())),
    };
    let mut entries = read
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
        .with_context(|| format!("failed to list `{}`", path.display()))?;
    entries.sort();
    Ok(entries)
}

/// Every file under a folder, in order of path; links are not followed.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in entries(path)? {
        let kind =
            entry.symlink_metadata().with_context(|| format!("failed to read `{}`", entry.display()))?.file_type();
        if kind.is_dir() {
            files.extend(self::files(&entry)?);
        } else if kind.is_file() {
            files.push(entry);
        }
    }
    Ok(files)
}

/// Puts a copy of `from` at `to` in one step, so that no reader ever sees half a file. An equal file is left alone.
pub(crate) fn install(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("failed to read `{}`", from.display()))?;
    install_content(&content, to)
}

/// Like [`install`], from memory.
pub(crate) fn install_content(content: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|existing| existing == content) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        create(parent)?;
    }
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = to.with_file_name(name);
    write(&temporary, content)?;
    rename(&temporary, to)
}

/// Holds the lock file until it is dropped. Says so when it has to wait.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = open_lock(path)?;
    if file.try_lock().is_err() {
        eprintln!("waiting for `{}`, which another process holds", path.display());
        file.lock().with_context(|| format!("failed to lock `{}`", path.display()))?;
    }
    Ok(file)
}

/// The lock if it is free now.
pub(crate) fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = open_lock(path)?;
    Ok(file.try_lock().is_ok().then_some(file))
}

fn open_lock(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        create(parent)?;
    }
    File::options().create(true).append(true).open(path).with_context(|| format!("failed to open `{}`", path.display()))
}

/// A short stable name for some content: 64-bit FNV-1a in hexadecimal. Not for anything that someone may attack.
pub(crate) fn fingerprint(content: &[u8]) -> String {
    let hash = content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_fnv_1a() {
        assert_eq!(fingerprint(b""), "cbf29ce484222325");
        assert_eq!(fingerprint(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn install_replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("deep/file");
        install_content(b"one", &to).unwrap();
        install_content(b"two", &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        assert_eq!(files(folder.path()).unwrap(), [to]);
    }

    #[test]
    fn a_held_lock_is_not_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = try_lock(&path).unwrap();
        assert!(held.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }
}
