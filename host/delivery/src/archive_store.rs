//! Every archive that was accepted, under its digest: `<state_dir>/store/sha256/<hex>`.

mod error;
#[cfg(test)]
mod tests;

pub use error::{ArchiveStoreError, CorruptArchive};

use crate::commit::sync;
use crate::disk::{DiskError, failed};
use crate::own_folder;
use mortise_model::Digest;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::NamedTempFile;

/// The store. Clones share it; everything blocks.
///
/// An archive is written beside the store, synced, and renamed to its name, so that a name never shows half an archive.
/// Folders are made with mode 0700 and files with 0600. No link is followed.
#[derive(Debug, Clone)]
pub struct ArchiveStore {
    archives: PathBuf,
    incoming: PathBuf,
    /// Held while names of archives change, so that a corrupt one is not mistaken for the one that just replaced it.
    names: Arc<Mutex<()>>,
}

/// An archive of the store, open for reading. Nobody has looked at its content: see [`ArchiveStore::read_verified`].
#[derive(Debug)]
pub struct OpenArchive {
    /// At its beginning. It can be read to its end even if the archive is removed meanwhile.
    pub file: File,
    /// Its size.
    pub bytes: u64,
}

/// What reading an archive came to.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadArchive {
    /// Its bytes, which have the digest they are stored under.
    Intact(Vec<u8>),
    /// There is none.
    Absent,
    /// There was one, with other content; now there is none.
    Corrupt(CorruptArchive),
}

impl ArchiveStore {
    /// Makes the store's folders where there are none and removes what an earlier process was still writing. `state_dir`
    /// must exist. To be called once, while no other process uses the same state folder.
    ///
    /// # Errors
    /// [`DiskError`] when a folder cannot be made, or a file or a link lies in its place.
    pub fn open(state_dir: &Path) -> Result<Self, DiskError> {
        let store = state_dir.join("store");
        let (archives, incoming) = (store.join("sha256"), store.join("incoming"));
        for folder in [&store, &archives, &incoming] {
            own_folder::make_private(folder)?;
        }
        for entry in fs::read_dir(&incoming).map_err(failed("read", &incoming))? {
            let path = entry.map_err(failed("read", &incoming))?.path();
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(Self { archives, incoming, names: Arc::default() })
    }

    /// Stores `bytes`. Storing what is there already changes nothing; a corrupt one is replaced.
    ///
    /// # Errors
    /// [`ArchiveStoreError::Disk`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, ArchiveStoreError> {
        let digest = Digest::of(bytes);
        if !self.is_intact(&digest)? {
            let mut temporary = self.temporary()?;
            temporary.write_all(bytes).map_err(failed("write", temporary.path()))?;
            self.persist(temporary, &digest)?;
        }
        Ok(digest)
    }

    /// Stores a copy of the file at `staged` if its content has the digest `expected`. The file stays where it is: who
    /// still holds it open cannot change what is stored. Storing what is there already changes nothing.
    ///
    /// # Errors
    /// [`ArchiveStoreError`].
    pub fn put_file(&self, staged: &Path, expected: &Digest) -> Result<(), ArchiveStoreError> {
        let source = open_plain(staged)?.ok_or_else(|| ArchiveStoreError::NotFound { path: staged.to_owned() })?;
        let mut source = Hashed::new(source.file);
        let mut temporary = self.temporary()?;
        // Of the two, it is the disk that is written to which fails.
        io::copy(&mut source, &mut temporary).map_err(failed("write", temporary.path()))?;
        let actual = source.digest();
        if actual != *expected {
            let path = staged.to_owned();
            return Err(ArchiveStoreError::DigestMismatch { path, expected: *expected, actual });
        }
        if self.is_intact(expected)? { Ok(()) } else { self.persist(temporary, expected) }
    }

    /// Opens an archive; none where there is none.
    ///
    /// # Errors
    /// [`ArchiveStoreError::NotAFile`] and [`ArchiveStoreError::Disk`].
    pub fn open_archive(&self, digest: &Digest) -> Result<Option<OpenArchive>, ArchiveStoreError> {
        open_plain(&self.path(digest))
    }

    /// Reads an archive of at most `bytes_max` bytes and compares its content with its name. A corrupt one is removed.
    ///
    /// # Errors
    /// [`ArchiveStoreError`].
    pub fn read_verified(&self, digest: &Digest, bytes_max: u64) -> Result<ReadArchive, ArchiveStoreError> {
        let path = self.path(digest);
        let Some(archive) = open_plain(&path)? else { return Ok(ReadArchive::Absent) };
        let mut bytes = Vec::new();
        let limited = (&archive.file).take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        if limited.map_err(failed("read", &path))? as u64 > bytes_max {
            return Err(ArchiveStoreError::TooLarge { digest: *digest, bytes_max });
        }
        let actual = Digest::of(&bytes);
        if actual == *digest {
            return Ok(ReadArchive::Intact(bytes));
        }
        self.remove_same(&archive.file, &path)?;
        Ok(ReadArchive::Corrupt(CorruptArchive { expected: *digest, actual, path }))
    }

    /// Whether there is such an archive. Its content is not looked at.
    ///
    /// # Errors
    /// [`ArchiveStoreError::NotAFile`] and [`ArchiveStoreError::Disk`].
    pub fn contains(&self, digest: &Digest) -> Result<bool, ArchiveStoreError> {
        self.open_archive(digest).map(|archive| archive.is_some())
    }

    /// Removes an archive and returns whether there was one.
    ///
    /// # Errors
    /// [`ArchiveStoreError::Disk`].
    pub fn remove(&self, digest: &Digest) -> Result<bool, ArchiveStoreError> {
        let path = self.path(digest);
        let _names = self.names();
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => {
                removed.map_err(failed("remove", &path))?;
                sync(&self.archives)?;
                Ok(true)
            }
        }
    }

    /// Every archive with its size in bytes, sorted by digest. What is no archive's name, or no file, is left out.
    ///
    /// # Errors
    /// [`ArchiveStoreError::Disk`].
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, ArchiveStoreError> {
        let read = || failed("read", &self.archives);
        let mut archives = Vec::new();
        for entry in fs::read_dir(&self.archives).map_err(read())? {
            let entry = entry.map_err(read())?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| Digest::parse(name).ok().filter(|digest| digest.hex() == name));
            let Some(digest) = digest else { continue };
            match fs::symlink_metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => archives.push((digest, metadata.len())),
                Ok(_) => {}
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read", &entry.path())(error).into()),
            }
        }
        archives.sort_unstable();
        Ok(archives)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.archives.join(digest.hex())
    }

    fn names(&self) -> MutexGuard<'_, ()> {
        // It guards names on disk and no memory that a panic could have left half changed.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link in an archive's place counts as none, and is replaced by the archive.
    fn is_intact(&self, digest: &Digest) -> Result<bool, ArchiveStoreError> {
        let path = self.path(digest);
        let archive = match open_plain(&path) {
            Ok(Some(archive)) => archive,
            Ok(None) | Err(ArchiveStoreError::NotAFile { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut content = Hashed::new(archive.file);
        io::copy(&mut content, &mut io::sink()).map_err(failed("read", &path))?;
        Ok(content.digest() == *digest)
    }

    fn temporary(&self) -> Result<NamedTempFile, ArchiveStoreError> {
        let temporary = tempfile::Builder::new().prefix("").tempfile_in(&self.incoming);
        Ok(temporary.map_err(failed("create a file in", &self.incoming))?)
    }

    fn persist(&self, temporary: NamedTempFile, digest: &Digest) -> Result<(), ArchiveStoreError> {
        let path = self.path(digest);
        temporary.as_file().sync_all().map_err(failed("sync", temporary.path()))?;
        let _names = self.names();
        temporary.persist(&path).map_err(|error| failed("rename", &path)(error.error))?;
        sync(&self.archives)?;
        Ok(())
    }

    /// Removes the archive at `path` if it is still the one that is open as `file`.
    fn remove_same(&self, file: &File, path: &Path) -> Result<(), ArchiveStoreError> {
        let _names = self.names();
        let (Ok(named), opened) = (fs::symlink_metadata(path), file.metadata().map_err(failed("read", path))?) else {
            return Ok(());
        };
        if (named.dev(), named.ino()) == (opened.dev(), opened.ino()) {
            fs::remove_file(path).map_err(failed("remove", path))?;
            sync(&self.archives)?;
        }
        Ok(())
    }
}

/// Opens a plain file; none where nothing is. The last component is never followed when it is a link; opening a pipe
/// does not wait for its other end.
fn open_plain(path: &Path) -> Result<Option<OpenArchive>, ArchiveStoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let not_a_file = || ArchiveStoreError::NotAFile { path: path.to_owned() };
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Err(not_a_file()),
        Err(errno) => return Err(failed("open", path)(errno).into()),
    };
    let stat = fstat(&file).map_err(failed("read", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_a_file());
    }
    Ok(Some(OpenArchive { file: File::from(file), bytes: u64::try_from(stat.st_size).unwrap_or(0) }))
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn digest(self) -> Digest {
        Digest::from_bytes(self.hash.finalize().into())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
