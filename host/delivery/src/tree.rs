//! A plugin's folder as it lies on disk, read without trusting it: no link is followed, at any level, and nothing but
//! plain files is opened.

#[cfg(test)]
mod tests;

use crate::disk::{DiskError, failed};
use crate::member::{Clash, PathFault, PathSet, TreeLimits, parse, shown};
use mortise_model::{Digest, MANIFEST_BYTES_MAX};
use rustix::fd::OwnedFd;
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The file that makes a folder a plugin.
pub(crate) const MANIFEST: &str = "manifest.json";

/// A folder that is no plugin's folder.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Nothing is there.
    #[error("no such folder: {}", path.display())]
    NotFound {
        /// Where.
        path: PathBuf,
    },
    /// The folder itself is a file, or a link to a folder elsewhere.
    #[error("not a directory: {}", path.display())]
    NotAFolder {
        /// Where.
        path: PathBuf,
    },
    /// A symbolic link, wherever it leads.
    #[error("symbolic link in plugin folder: {name}")]
    SymbolicLink {
        /// Relative to the folder.
        name: String,
    },
    /// A device, a pipe or a socket.
    #[error("special file in plugin folder: {name}")]
    SpecialFile {
        /// Relative to the folder.
        name: String,
    },
    /// A name that no file of a plugin may have.
    #[error("unsafe path in plugin folder: {name}")]
    UnsafePath {
        /// Relative to the folder.
        name: String,
        /// Which rule it breaks.
        fault: PathFault,
    },
    /// Two files that are one where case does not count.
    #[error("paths in plugin folder differ in case only: {other} and {name}")]
    CaseCollision {
        /// Relative to the folder.
        name: String,
        /// The one before.
        other: String,
    },
    /// More files and folders than a plugin may have.
    #[error("plugin folder has more than {members_max} members")]
    TooManyMembers {
        /// [`TreeLimits::members_max`].
        members_max: usize,
    },
    /// More bytes than a plugin may have.
    #[error("plugin folder has more than {bytes_max} bytes")]
    TooLarge {
        /// [`TreeLimits::bytes_max`].
        bytes_max: u64,
    },
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl TreeError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "folder_not_found",
            Self::NotAFolder { .. } => "not_a_folder",
            Self::SymbolicLink { .. } => "folder_link",
            Self::SpecialFile { .. } => "folder_special_file",
            Self::UnsafePath { .. } | Self::CaseCollision { .. } => "folder_unsafe_path",
            Self::TooManyMembers { .. } | Self::TooLarge { .. } => "folder_too_large",
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => "check the path".to_owned(),
            Self::NotAFolder { .. } => "name the plugin's folder itself, not a file or a link".to_owned(),
            Self::SymbolicLink { .. } => "put the file itself in place of the link".to_owned(),
            Self::SpecialFile { .. } => "keep files and folders only".to_owned(),
            Self::UnsafePath { fault, .. } => format!("{fault}: rename it"),
            Self::CaseCollision { .. } => "rename one of the two".to_owned(),
            Self::TooManyMembers { .. } | Self::TooLarge { .. } => {
                "remove what the plugin does not need to run, like `target` or `node_modules`".to_owned()
            }
            Self::Disk(error) => error.hint(),
        }
    }
}

/// Which files of a folder are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of them.
    Everything,
    /// What an author means to ship: neither dot files nor what tools leave behind (`target` beside a `Cargo.toml`,
    /// `node_modules`, `__pycache__`).
    Authored,
}

/// One plain file of a folder, open.
pub(crate) struct Found<'a> {
    /// Relative to the folder, with `/` between components.
    pub(crate) path: &'a str,
    pub(crate) executable: bool,
    /// To be read to its end.
    pub(crate) content: &'a mut dyn Read,
}

/// Visits the files of `root` in a fixed order: folder by folder, names sorted by their bytes.
pub(crate) fn walk<E: From<TreeError>>(
    root: &Path,
    selection: Selection,
    limits: &TreeLimits,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = open_root(root)?;
    let paths = PathSet::new(limits);
    let mut walk = Walk { root, selection, limits, visit, paths, bytes_left: limits.bytes_max };
    walk.folder(&folder, "")
}

fn open_root(root: &Path) -> Result<OwnedFd, TreeError> {
    let path = || root.to_owned();
    open(root, FOLDER_FLAGS, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => TreeError::NotFound { path: path() },
        Errno::NOTDIR | Errno::LOOP => TreeError::NotAFolder { path: path() },
        errno => failed("open", root)(errno).into(),
    })
}

/// The last component is never followed when it is a link; opening a pipe does not wait for its other end.
const FILE_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
const FOLDER_FLAGS: OFlags = FILE_FLAGS.union(OFlags::DIRECTORY);

struct Walk<'a, E> {
    root: &'a Path,
    selection: Selection,
    limits: &'a TreeLimits,
    visit: &'a mut dyn FnMut(Found<'_>) -> Result<(), E>,
    paths: PathSet,
    bytes_left: u64,
}

impl<E: From<TreeError>> Walk<'_, E> {
    /// Each level holds one descriptor; `depth_max` bounds how many.
    fn folder(&mut self, folder: &OwnedFd, prefix: &str) -> Result<(), E> {
        let names = self.names(folder)?;
        let is_crate = names.iter().any(|name| name.as_bytes() == b"Cargo.toml");
        for name in &names {
            if self.selection == Selection::Authored && is_left_behind(name.to_bytes(), is_crate) {
                continue;
            }
            let raw = [prefix.as_bytes(), name.as_bytes()].concat();
            let path = match parse(&raw, self.limits) {
                Ok(Some(path)) => path,
                Ok(None) => continue,
                Err(fault) => return Err(TreeError::UnsafePath { name: shown(&raw), fault }.into()),
            };
            self.member(folder, name, path)?;
        }
        Ok(())
    }

    fn member(&mut self, folder: &OwnedFd, name: &CStr, path: &str) -> Result<(), E> {
        let full = self.root.join(path);
        let disk = |action| move |errno: Errno| TreeError::from(failed(action, &full)(errno));
        let opened = openat(folder, name, FILE_FLAGS, Mode::empty());
        let file = opened.map_err(|errno| match errno {
            Errno::LOOP => TreeError::SymbolicLink { name: path.to_owned() },
            // Sockets cannot be opened; nor can devices without a driver.
            Errno::NXIO | Errno::NODEV => TreeError::SpecialFile { name: path.to_owned() },
            errno => disk.clone()("open")(errno),
        })?;
        let stat = fstat(&file).map_err(disk("read"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.paths.insert_folder(path).map_err(|clash| self.clash(path, clash))?;
                self.folder(&file, &format!("{path}/"))
            }
            FileType::RegularFile => {
                self.paths.insert_file(path).map_err(|clash| self.clash(path, clash))?;
                self.file(file, path, stat.st_mode & 0o111 != 0, u64::try_from(stat.st_size).unwrap_or(0))
            }
            _ => Err(TreeError::SpecialFile { name: path.to_owned() }.into()),
        }
    }

    fn file(&mut self, file: OwnedFd, path: &str, executable: bool, bytes: u64) -> Result<(), E> {
        let too_large = || TreeError::TooLarge { bytes_max: self.limits.bytes_max };
        if bytes > self.bytes_left {
            return Err(too_large().into());
        }
        // One byte more than may be read tells a file that grew from one that just fits.
        let mut content = File::from(file).take(self.bytes_left.saturating_add(1));
        (self.visit)(Found { path, executable, content: &mut content })?;
        let read = self.bytes_left.saturating_add(1) - content.limit();
        self.bytes_left = self.bytes_left.checked_sub(read).ok_or_else(too_large)?;
        Ok(())
    }

    /// Sorted; not more than the limit, so that a huge folder does not fill the memory.
    fn names(&self, folder: &OwnedFd) -> Result<Vec<CString>, TreeError> {
        let disk = |errno| TreeError::from(failed("read", self.root)(errno));
        let mut names = Vec::new();
        for entry in Dir::read_from(folder).map_err(disk)? {
            let entry = entry.map_err(disk)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if names.len() >= self.limits.members_max {
                return Err(TreeError::TooManyMembers { members_max: self.limits.members_max });
            }
            names.push(name.to_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn clash(&self, path: &str, clash: Clash) -> TreeError {
        let name = path.to_owned();
        match clash {
            Clash::Case(other) | Clash::FileAsFolder(other) => TreeError::CaseCollision { name, other },
            // A folder lists a name once; whoever sees it twice sees it being changed.
            Clash::Duplicate => TreeError::CaseCollision { other: name.clone(), name },
            Clash::TooMany => TreeError::TooManyMembers { members_max: self.limits.members_max },
        }
    }
}

/// Whether a file or folder called `name` is no part of the plugin in whose folder it lies: a dot file, or what tools leave
/// behind. `is_crate`: there is a `Cargo.toml` beside it.
#[must_use]
pub fn is_left_behind(name: &[u8], is_crate: bool) -> bool {
    match name {
        b"node_modules" | b"__pycache__" => true,
        b"target" => is_crate,
        name => name.starts_with(b"."),
    }
}

/// How much a plugin's folder holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeSize {
    /// Plain files.
    pub files: u64,
    /// All their bytes.
    pub bytes: u64,
}

/// What a folder holds, summed up.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// Over path, mode and content of every file; empty folders do not count.
    pub(crate) digest: Digest,
    /// `manifest.json` of the same reading.
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) size: TreeSize,
    files: BTreeMap<String, TreeFile>,
}

#[derive(Debug, Clone)]
struct TreeFile {
    executable: bool,
    /// SHA-256.
    content: [u8; 32],
}

impl Tree {
    /// Reads the selected files of `root` once. Blocks.
    pub(crate) fn read(root: &Path, selection: Selection, limits: &TreeLimits) -> Result<Self, TreeError> {
        let (mut files, mut manifest, mut size) = (BTreeMap::new(), None, TreeSize::default());
        walk(root, selection, limits, &mut |found: Found<'_>| {
            let Found { path, executable, content } = found;
            // One byte over the manifest's own limit is enough for its refusal.
            let mut keep = if path == MANIFEST { MANIFEST_BYTES_MAX + 1 } else { 0 };
            let mut kept = Vec::new();
            let mut hash = Sha256::new();
            let mut buffer = [0; 16 << 10];
            loop {
                let read = content.read(&mut buffer).map_err(failed("read", &root.join(path)))?;
                let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
                hash.update(chunk);
                size.bytes += chunk.len() as u64;
                let part = chunk.get(..keep).unwrap_or(chunk);
                keep -= part.len();
                kept.extend_from_slice(part);
            }
            if path == MANIFEST {
                manifest = Some(kept);
            }
            size.files += 1;
            files.insert(path.to_owned(), TreeFile { executable, content: hash.finalize().into() });
            Ok::<(), TreeError>(())
        })?;
        Ok(Self { digest: digest(&files), manifest, size, files })
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }
}

/// The tree digest: SHA-256 over `mortise tree 1`, NUL, then for every file in order of its path's bytes: the path,
/// NUL, `x` for an executable or `-`, and the SHA-256 of its content. Paths hold no NUL, so no two trees read alike.
fn digest(files: &BTreeMap<String, TreeFile>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"mortise tree 1\0");
    for (path, file) in files {
        hash.update(path.as_bytes());
        hash.update(if file.executable { b"\0x" } else { b"\0-" });
        hash.update(file.content);
    }
    Digest::from_bytes(hash.finalize().into())
}
