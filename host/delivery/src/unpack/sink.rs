//! Where members are written: one fresh folder that nobody else knows.

use super::ArchiveError;
use crate::disk::failed;
use crate::member::{Clash, PathSet, TreeLimits, parse, shown};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Writes the members of one plugin below a folder that was empty and private when it began.
///
/// Only files and folders are ever made there, so no path can lead out of it by a link.
#[derive(Debug)]
pub(crate) struct Sink {
    root: PathBuf,
    paths: PathSet,
    limits: TreeLimits,
}

impl Sink {
    pub(crate) fn new(root: PathBuf, limits: TreeLimits) -> Self {
        Self { root, paths: PathSet::new(&limits), limits }
    }

    /// Makes a folder.
    pub(crate) fn folder(&mut self, raw: &[u8]) -> Result<(), ArchiveError> {
        let Some(path) = self.checked(raw)? else { return Ok(()) };
        self.paths.insert_folder(path).map_err(|clash| self.clash(raw, clash))?;
        let folder = self.root.join(path);
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        Ok(())
    }

    /// Writes a file and returns its size. Of its mode only the owner's right to execute counts. `explain` says what a
    /// failed read means.
    pub(crate) fn file(
        &mut self,
        raw: &[u8],
        mode: u32,
        content: &mut dyn Read,
        explain: &dyn Fn(std::io::Error) -> ArchiveError,
    ) -> Result<u64, ArchiveError> {
        let fault = crate::PathFault::EmptyComponent;
        let unsafe_path = || ArchiveError::UnsafePath { name: shown(raw), fault };
        let path = self.checked(raw)?.filter(|_| !raw.ends_with(b"/")).ok_or_else(unsafe_path)?;
        self.paths.insert_file(path).map_err(|clash| self.clash(raw, clash))?;
        let target = self.root.join(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
        }
        let mode = if mode & 0o100 != 0 { 0o755 } else { 0o644 };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&target)
            .map_err(failed("create", &target))?;
        // The mode given at creation is cut by the process's mask.
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed("set the mode of", &target))?;
        copy(content, &mut file, &target, explain)
    }

    /// Gives every folder its mode.
    pub(crate) fn finish(&self) -> Result<(), ArchiveError> {
        let set = |folder: &Path| {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed("set the mode of", folder))
        };
        set(&self.root)?;
        self.paths.folders().try_for_each(|folder| set(&self.root.join(folder)))?;
        Ok(())
    }

    fn checked<'a>(&self, raw: &'a [u8]) -> Result<Option<&'a str>, ArchiveError> {
        parse(raw, &self.limits).map_err(|fault| ArchiveError::UnsafePath { name: shown(raw), fault })
    }

    fn clash(&self, raw: &[u8], clash: Clash) -> ArchiveError {
        let name = shown(raw);
        match clash {
            Clash::Duplicate => ArchiveError::Duplicate { name },
            Clash::Case(other) => ArchiveError::CaseCollision { name, other },
            Clash::FileAsFolder(other) => ArchiveError::FileAsFolder { name, other },
            Clash::TooMany => ArchiveError::TooManyMembers { members_max: self.limits.members_max },
        }
    }
}

/// Tells a failure of the source, which is the archive's, from one of the target, which is the disk's.
fn copy(
    content: &mut dyn Read,
    file: &mut File,
    target: &Path,
    explain: &dyn Fn(std::io::Error) -> ArchiveError,
) -> Result<u64, ArchiveError> {
    let mut buffer = [0; 16 << 10];
    let mut total = 0;
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(explain(error)),
        };
        file.write_all(buffer.get(..read).unwrap_or_default()).map_err(failed("write", target))?;
        total += read as u64;
    }
}
