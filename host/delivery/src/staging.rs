//! The folder in which plugins are put together before they are put in place.

use crate::disk::{DiskError, failed};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// `<state_dir>/staging`. It must lie on the file system of the plugins, where a rename is one step.
#[derive(Debug, Clone)]
pub struct Staging {
    dir: PathBuf,
}

/// What [`Staging::sweep`] did.
#[derive(Debug, Default)]
pub struct SweptStaging {
    /// How many things were removed.
    pub removed: usize,
    /// One for each that could not be removed.
    pub failed: Vec<DiskError>,
}

impl Staging {
    /// Makes the folder if there is none. `state_dir` must exist.
    ///
    /// # Errors
    /// [`DiskError`] when it cannot be made, or is a link or a file.
    pub fn open(state_dir: &Path) -> Result<Self, DiskError> {
        let dir = state_dir.join("staging");
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let metadata = fs::symlink_metadata(&dir).map_err(failed("read", &dir))?;
                if !metadata.is_dir() {
                    return Err(failed("open", &dir)(std::io::Error::from(std::io::ErrorKind::NotADirectory)));
                }
            }
            result => result.map_err(failed("create", &dir))?,
        }
        Ok(Self { dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Removes whatever an earlier process left behind. To be called while no other process uses the same state folder
    /// and before this one stages anything. Links are removed, not followed. What cannot be removed is in nobody's way:
    /// no name in staging is used twice.
    ///
    /// # Errors
    /// [`DiskError`] when the folder cannot be read.
    pub fn sweep(&self) -> Result<SweptStaging, DiskError> {
        let mut swept = SweptStaging::default();
        for entry in fs::read_dir(&self.dir).map_err(failed("read", &self.dir))? {
            let path = entry.map_err(failed("read", &self.dir))?.path();
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
            let result = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match result {
                Ok(()) => swept.removed += 1,
                Err(error) => swept.failed.push(failed("remove", &path)(error)),
            }
        }
        Ok(swept)
    }

    /// A folder of a new name with an empty folder `content` in it. Dropping the guard removes both.
    pub(crate) fn fresh(&self) -> Result<(TempDir, PathBuf), DiskError> {
        let guard = tempfile::Builder::new().prefix("").tempdir_in(&self.dir);
        let guard = guard.map_err(failed("create a folder in", &self.dir))?;
        let content = guard.path().join("content");
        fs::create_dir(&content).map_err(failed("create", &content))?;
        Ok((guard, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeping_removes_everything_and_follows_no_link() {
        let state = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("canary"), "alive").unwrap();
        let staging = Staging::open(state.path()).unwrap();
        let (guard, content) = staging.fresh().unwrap();
        fs::write(content.join("a"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), content.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), staging.path().join("link")).unwrap();
        fs::write(staging.path().join("file"), "x").unwrap();
        // As if the process had died here.
        let _left_behind = guard.keep();
        assert_eq!(Staging::open(state.path()).unwrap().sweep().unwrap().removed, 3);
        assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(outside.path().join("canary")).unwrap(), "alive");
    }

    #[test]
    fn a_staging_folder_that_is_a_link_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), state.path().join("staging")).unwrap();
        assert!(Staging::open(state.path()).is_err());
    }
}
