//! Folders of the store, held open: what is below one is opened name by name and no link is followed, so that nothing
//! outside the store can be read or written through it.

use mortise_delivery::DiskError;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a file is called until it is whole. Only the holder of the lock writes it, so one name is enough, and what a
/// crash leaves behind is gone with the next publication.
const INCOMPLETE: &str = ".incomplete";
/// Locked by whoever publishes, in this process or another. The reference host does not look at dot files.
const LOCK: &str = ".lock";
/// How often a lock that somebody else holds is tried again.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Without `NONBLOCK`, opening a named pipe would wait for somebody who writes to it.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// Held until it is dropped; a process that dies lets go of it.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "closing the file is what unlocks it")] OwnedFd);

impl Folder {
    /// Opens the store itself. The operator may have put a link there.
    pub(crate) fn root(path: &Path) -> Result<Self, DiskError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed("open", path))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Where it was opened: for messages, and for nothing else.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder `name`, which is one component; `None` when there is no such folder, or something else.
    pub(crate) fn child(&self, name: &str) -> Result<Option<Self>, DiskError> {
        let path = self.path.join(name);
        let opened = rustix::fs::openat(&self.fd, name, FOLDER, Mode::empty());
        Ok(unless_absent(opened, "open", &path)?.map(|fd| Self { fd, path }))
    }

    /// The folder `name`, made if there is none.
    pub(crate) fn make_child(&self, name: &str) -> Result<Self, DiskError> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("create", &path)(errno)),
        }
        let fd = rustix::fs::openat(&self.fd, name, FOLDER, Mode::empty()).map_err(failed("open", &path))?;
        Ok(Self { fd, path })
    }

    /// The regular file `name`, opened to be read; `None` when there is no such file, or something else.
    pub(crate) fn file(&self, name: &str) -> Result<Option<(File, Metadata)>, DiskError> {
        let path = self.path.join(name);
        let opened = rustix::fs::openat(&self.fd, name, FILE | OFlags::RDONLY, Mode::empty());
        let Some(fd) = unless_absent(opened, "open", &path)? else { return Ok(None) };
        let file = File::from(fd);
        let metadata = file.metadata().map_err(failed("read", &path))?;
        Ok(metadata.is_file().then_some((file, metadata)))
    }

    /// The names in it, sorted; those that are not UTF-8 are nobody's.
    pub(crate) fn names(&self) -> Result<Vec<String>, DiskError> {
        let read = || failed("read", &self.path);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(read())? {
            let entry = entry.map_err(read())?;
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        names.retain(|name| name != "." && name != "..");
        names.sort_unstable();
        Ok(names)
    }

    /// Waits until nobody else publishes here, at most `patience`; `None` when somebody still does. Blocks.
    pub(crate) fn lock(&self, patience: Duration) -> Result<Option<FolderLock>, DiskError> {
        let path = self.path.join(LOCK);
        let flags = FILE | OFlags::RDWR | OFlags::CREATE;
        let fd =
            rustix::fs::openat(&self.fd, LOCK, flags, Mode::from_raw_mode(0o644)).map_err(failed("open", &path))?;
        let deadline = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(FolderLock(fd))),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => wait(),
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
                Err(errno) => return Err(failed("lock", &path)(errno)),
            }
        }
    }

    /// Puts a file in place in one step, replacing what is there: it is on disk before it gets its name, and the name
    /// is on disk before this returns. Whoever has the old file open keeps reading that one.
    pub(crate) fn replace(&self, _lock: &FolderLock, name: &str, content: &[u8]) -> Result<(), DiskError> {
        let (incomplete, path) = (self.path.join(INCOMPLETE), self.path.join(name));
        match rustix::fs::unlinkat(&self.fd, INCOMPLETE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("remove", &incomplete)(errno)),
        }
        let flags = FILE | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::from_raw_mode(0o644);
        let created = rustix::fs::openat(&self.fd, INCOMPLETE, flags, mode).map_err(failed("create", &incomplete))?;
        let mut file = File::from(created);
        let written = file.write_all(content).and_then(|()| file.sync_all());
        let placed = written.map_err(failed("write", &incomplete)).and_then(|()| {
            rustix::fs::renameat(&self.fd, INCOMPLETE, &self.fd, name).map_err(failed("replace", &path))
        });
        if placed.is_err() {
            // A disk that is full needs the room; what stays nevertheless goes with the next publication.
            let _ = rustix::fs::unlinkat(&self.fd, INCOMPLETE, AtFlags::empty());
        }
        placed?;
        self.sync()
    }

    fn sync(&self) -> Result<(), DiskError> {
        rustix::fs::fsync(&self.fd).map_err(failed("sync", &self.path))
    }
}

/// `None` for a name that nothing has, or something of another kind: a link, a file for a folder, a socket.
fn unless_absent(
    opened: Result<OwnedFd, Errno>,
    action: &'static str,
    path: &Path,
) -> Result<Option<OwnedFd>, DiskError> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::NAMETOOLONG) => Ok(None),
        Err(errno) => Err(failed(action, path)(errno)),
    }
}

#[expect(clippy::disallowed_methods, reason = "`flock` waits without a limit or not at all")]
fn wait() {
    std::thread::sleep(LOCK_INTERVAL);
}

/// Makes a [`DiskError`] of what the system says.
pub(crate) fn failed<E: Into<std::io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> DiskError {
    move |source| DiskError { action, path: path.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_is_locked_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (Folder::root(dir.path()).unwrap(), Folder::root(dir.path()).unwrap());
        let lock = first.lock(Duration::ZERO).unwrap().unwrap();
        assert!(second.lock(Duration::ZERO).unwrap().is_none());
        assert!(second.lock(LOCK_INTERVAL * 3).unwrap().is_none());
        drop(lock);
        assert!(second.lock(Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn what_an_earlier_crash_left_behind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        fs::write(dir.path().join(INCOMPLETE), "half").unwrap();
        fs::write(dir.path().join("file"), "old").unwrap();
        let lock = folder.lock(Duration::ZERO).unwrap().unwrap();
        folder.replace(&lock, "file", b"new").unwrap();
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"new");
        assert_eq!(folder.names().unwrap(), [LOCK, "file"]);
    }

    #[test]
    fn a_file_that_cannot_be_put_in_place_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::root(dir.path()).unwrap();
        fs::create_dir(dir.path().join("file")).unwrap();
        let lock = folder.lock(Duration::ZERO).unwrap().unwrap();
        let error = folder.replace(&lock, "file", b"new").unwrap_err();
        assert_eq!((error.action, error.path), ("replace", dir.path().join("file")));
        assert_eq!(folder.names().unwrap(), [LOCK, "file"]);
    }

    #[test]
    fn only_folders_and_files_are_found() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::root(dir.path()).unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("folder-link")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("file-link")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(&folder.fd, "fifo", fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(folder.child("folder").unwrap().is_some());
        assert!(folder.file("file").unwrap().is_some());
        for name in ["file", "folder-link", "file-link", "fifo", "gone", &"x".repeat(300)] {
            assert!(folder.child(name).unwrap().is_none(), "{name}");
        }
        for name in ["folder", "folder-link", "file-link", "fifo", "gone", &"x".repeat(300)] {
            assert!(folder.file(name).unwrap().is_none(), "{name}");
        }
        assert_eq!(folder.make_child("folder-link").unwrap_err().action, "open");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
