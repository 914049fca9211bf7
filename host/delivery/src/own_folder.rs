//! Folders of the host's own state: made where there is none, and refused where a file or a link lies instead.

use crate::commit::sync_parent;
use crate::disk::{DiskError, failed};
use std::fs::{self, DirBuilder};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes the folder `dir` for the host's user alone, unless it is there. Its parent must exist.
pub(crate) fn make_private(dir: &Path) -> Result<(), DiskError> {
    make(dir, 0o700)
}

/// Makes the folder `dir` with `mode` less the process's mask, unless it is there. Its parent must exist.
pub(crate) fn make(dir: &Path, mode: u32) -> Result<(), DiskError> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(dir).map_err(failed("read", dir))?;
            if metadata.is_dir() {
                return Ok(());
            }
            Err(failed("open", dir)(Error::from(ErrorKind::NotADirectory)))
        }
        // What is put into it later must not be lost with its name.
        Ok(()) => sync_parent(dir),
        Err(error) => Err(failed("create", dir)(error)),
    }
}
