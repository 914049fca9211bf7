//! `limits.disk`: what a plugin holds in the folders that it may change.
//!
//! What is written is added to what was last measured, and measured anew where that could be more than the limit: then it is
//! known how much was replaced, removed, or put there by others. So most writes cost an addition.

use crate::services::Services;
use mortise_model::ByteSize;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::Instant;
use tracing::Level;

/// What each file and folder takes at least, and in multiples of which files do: a block of usual file systems.
pub const DISK_BLOCK_BYTES: u64 = 4096;

/// The unit of `st_blocks`, whatever the file system's is.
const STAT_BLOCK_BYTES: u64 = 512;

/// The names of folders that one walk keeps in mind at a time, in bytes.
const WALK_BYTES_MAX: usize = 16 << 20;

/// Between two measurements passes this many times what the last one took, and no more than the longest pause.
const PAUSE_TIMES: u32 = 10;
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a plugin holds, of all its instances and generations together.
#[derive(Debug, Default)]
pub(crate) struct DiskUse {
    /// The std mutex is held for an addition.
    counted: Mutex<Counted>,
    /// Held by whose turn it is to measure, until the walk is really at its end.
    measuring: Arc<AsyncMutex<()>>,
    /// Held during a walk, and by who moves something.
    walking: Arc<AsyncMutex<()>>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Counted {
    measured: Option<Measured>,
    /// Let since the last measurement began.
    since: u64,
    /// Files that are open: one that was removed takes its room until it is closed.
    open: Vec<Weak<File>>,
}

#[derive(Debug, Clone)]
struct Measured {
    /// Where: another grant may have brought others since.
    folders: Arc<[PathBuf]>,
    bytes: u64,
    began: Instant,
    ended: Instant,
}

/// What a plugin holds in folders that it may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// What was last measured, and written since; none as long as nothing was written.
    pub bytes: Option<u64>,
    /// What was refused for want of room.
    pub refused: u64,
}

impl DiskUse {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> DiskStats {
        let counted = self.counted();
        DiskStats {
            bytes: counted.measured.as_ref().map(|measured| measured.bytes.saturating_add(counted.since)),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

impl Counted {
    /// Whether as many bytes more in these folders are certainly within the limit. They are counted then.
    fn admit(&mut self, folders: &[PathBuf], bytes: u64, limit: ByteSize) -> bool {
        let Some(measured) = self.measured.as_ref().filter(|measured| *measured.folders == *folders) else {
            return false;
        };
        let sum = measured.bytes.saturating_add(self.since).saturating_add(bytes);
        let fits = sum <= limit.0;
        if fits {
            self.since += bytes;
        }
        fits
    }
}

/// The folders that one instance may change, under the limit of its plugin. Clones share them.
#[derive(Clone)]
pub struct Disk {
    services: Arc<Services>,
    // A std mutex: held for a look.
    folders: Arc<Mutex<Arc<[PathBuf]>>>,
}

impl Disk {
    /// Of an instance that may change these folders.
    #[must_use]
    pub fn new(services: Arc<Services>, folders: Vec<PathBuf>) -> Self {
        Self { services, folders: Arc::new(Mutex::new(outermost(folders).into())) }
    }

    /// The instance may change this folder as well.
    pub fn also(&self, folder: PathBuf) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let all = folders.iter().cloned().chain([folder]).collect();
        *folders = outermost(all).into();
    }

    fn folders(&self) -> Arc<[PathBuf]> {
        Arc::clone(&self.folders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts bytes that are about to be written, if they are certainly within the limit. Never blocks.
    #[must_use]
    pub fn admit_now(&self, bytes: u64) -> bool {
        let account = self.services.account();
        account.disk.counted().admit(&self.folders(), bytes, self.services.limits().disk)
    }

    /// Counts bytes that are about to be written. Where it is not certain that they are within the limit, the folders are
    /// measured first, on a thread that may block; `growth` then tells how much more there will be. Writes that are
    /// under way during a measurement may be missed by it. False where there is no room, which the plugin's log tells and its
    /// account counts. Cancel safe.
    pub async fn admit(&self, bytes: u64, growth: impl FnOnce() -> u64 + Send + 'static) -> bool {
        if self.admit_now(bytes) {
            return true;
        }
        let (came, account, limit) = (Instant::now(), self.services.account(), self.services.limits().disk);
        let turn = Arc::clone(&account.disk.measuring).lock_owned().await;
        let last = account.disk.counted().measured.clone();
        if let Some(last) = &last {
            if self.admit_now(bytes) {
                return true;
            }
            if last.began < came {
                let pause = ((last.ended - last.began) * PAUSE_TIMES).min(PAUSE_MAX);
                tokio::time::sleep_until(last.ended + pause).await;
            }
        }
        let walking = Arc::clone(&account.disk.walking).lock_owned().await;
        let (folders, measured) = (self.folders(), Arc::clone(&account));
        let looked = tokio::task::spawn_blocking(move || {
            // Nobody else measures before this has ended, whoever gives up waiting for it.
            let _turn = (turn, walking);
            if last.is_none_or(|last| last.began < came || last.folders != folders) {
                measured.disk.measure(&folders, limit);
            }
            let growth = growth();
            measured.disk.counted().admit(&folders, growth, limit)
        });
        let admitted = looked.await.unwrap_or(false);
        if !admitted {
            account.disk.refused.fetch_add(1, Ordering::Relaxed);
            let line = format!("the folders that it may change would hold more than `limits.disk` ({limit})");
            self.services.log(Level::WARN, "disk", &line);
        }
        admitted
    }

    /// The most that a file takes more when it is written to at `at`, or else at its end: a block where only a byte is new.
    #[must_use]
    pub fn growth_max(at: Option<u64>, bytes: u64) -> u64 {
        if bytes == 0 { 0 } else { in_blocks(at.unwrap_or_default() % DISK_BLOCK_BYTES + bytes) }
    }

    /// By how much more a file counts that is written to at `at`, or else at its end. Blocks for a look.
    #[must_use]
    pub fn growth(file: &File, at: Option<u64>, bytes: u64) -> u64 {
        let length = file.metadata().map_or(0, |found| found.len());
        in_blocks(at.unwrap_or(length).saturating_add(bytes)).saturating_sub(in_blocks(length))
    }

    /// Holds walks off until it is dropped: what is moved from folder to folder while they are walked could be in none of
    /// them. Cancel safe.
    pub async fn unwalked(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.services.account().disk.walking).lock_owned().await
    }

    /// Keeps a file in mind that was opened: it counts even where it is removed, as long as it is open.
    pub fn opened(&self, file: &Arc<File>) {
        let account = self.services.account();
        let mut counted = account.disk.counted();
        counted.open.retain(|file| file.strong_count() > 0);
        counted.open.push(Arc::downgrade(file));
    }
}

impl DiskUse {
    fn measure(&self, folders: &Arc<[PathBuf]>, limit: ByteSize) {
        let began = Instant::now();
        let before = self.counted().since;
        let found = walk(folders, limit.0);
        let open = {
            let mut counted = self.counted();
            counted.open.retain(|file| file.strong_count() > 0);
            counted.open.clone()
        };
        // After the walk: what is removed during it counts twice rather than not at all.
        let removed = open.iter().filter_map(Weak::upgrade).filter_map(|file| file.metadata().ok());
        let removed: u64 = removed.filter(|file| file.nlink() == 0).map(|file| in_blocks(file.len())).sum();
        let bytes = removed.saturating_add(found);
        let mut counted = self.counted();
        counted.since -= before;
        let folders = Arc::clone(folders);
        counted.measured = Some(Measured { folders, bytes, began, ended: Instant::now() });
    }
}

/// What lies in the folders. It ends as soon as that is more than is asked for, and follows no links.
fn walk(folders: &[PathBuf], enough: u64) -> u64 {
    let (mut left, mut bytes, mut kept) = (folders.to_vec(), 0_u64, 0_usize);
    while let Some(folder) = left.pop() {
        kept = kept.saturating_sub(folder.as_os_str().len());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match open(&folder, flags, Mode::empty()) {
            Ok(opened) => opened,
            // It is gone, or a link now. And the plugin writes as the host's user does: it has nothing in a folder that is
            // closed to it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => continue,
            // So deep that it has no name, above all: nobody can tell what is in there.
            Err(_) => return u64::MAX,
        };
        let Ok(entries) = Dir::read_from(&opened) else { return u64::MAX };
        for entry in entries {
            let Ok(entry) = entry else { return u64::MAX };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // Of a link itself, not of what it leads to. What has gone meanwhile is nothing.
            let Ok(found) = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_folder = FileType::from_raw_mode(found.st_mode).is_dir();
            bytes = bytes.saturating_add(match is_folder {
                // It keeps the room of all the names that it ever had.
                true => in_blocks(found.st_blocks.cast_unsigned().saturating_mul(STAT_BLOCK_BYTES)),
                false => in_blocks(found.st_size.cast_unsigned()),
            });
            if bytes > enough {
                return bytes;
            }
            if is_folder {
                let path = folder.join(OsStr::from_bytes(name.to_bytes()));
                kept += path.as_os_str().len();
                if kept > WALK_BYTES_MAX {
                    return u64::MAX;
                }
                left.push(path);
            }
        }
    }
    bytes
}

/// In whole blocks, and one at least.
fn in_blocks(bytes: u64) -> u64 {
    bytes.max(1).div_ceil(DISK_BLOCK_BYTES).saturating_mul(DISK_BLOCK_BYTES)
}

/// Without those that lie in another.
fn outermost(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    folders.sort_unstable();
    let mut outermost: Vec<PathBuf> = Vec::new();
    for folder in folders {
        if !outermost.iter().any(|outer| folder.starts_with(outer)) {
            outermost.push(folder);
        }
    }
    outermost
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mkdirat, openat};
    use std::path::Path;

    fn folder_with(files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; *bytes]).unwrap();
        }
        folder
    }

    fn folders_of(folder: &tempfile::TempDir) -> Arc<[PathBuf]> {
        Arc::from([folder.path().to_owned()])
    }

    #[test]
    fn a_byte_here_and_there_counts_as_the_block_that_it_takes() {
        assert_eq!(Disk::growth_max(Some(40_960), 1), 4096);
        assert_eq!(Disk::growth_max(Some(4095), 2), 8192);
        assert_eq!(Disk::growth_max(None, 4097), 8192);
        assert_eq!(Disk::growth_max(Some(1), 0), 0);
        assert_eq!(Disk::growth_max(Some(u64::MAX), 1), 4096);
    }

    #[test]
    fn files_and_folders_count_in_blocks_and_links_as_themselves() {
        let folder = folder_with(&[("empty", 0), ("small", 1), ("large", 4097), ("in/it", 10)]);
        let elsewhere = folder_with(&[("huge", 1 << 20)]);
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        let folders = [folder.path().to_owned()];
        assert_eq!(walk(&folders, u64::MAX), 4096 * (1 + 1 + 2 + 2 + 1));
        assert_eq!(walk(&[PathBuf::from("/nowhere/at/all")], u64::MAX), 0);
        let stopped = walk(&folders, 5000);
        assert!(stopped > 5000 && stopped <= 4096 * 3, "no further than it has to: {stopped}");
    }

    #[test]
    fn a_folder_counts_as_large_as_it_has_become() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let paths: Vec<PathBuf> = (0..500).map(|n| inner.join(format!("{n:0>250}"))).collect();
        paths.iter().for_each(|path| std::fs::write(path, "").unwrap());
        paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let blocks = std::fs::metadata(&inner).unwrap().blocks() * 512;
        assert_eq!(walk(&[folder.path().to_owned()], u64::MAX), blocks.max(4096), "not every file system keeps it");
    }

    #[test]
    fn a_folder_too_deep_to_be_named_counts_as_full() {
        let folder = tempfile::tempdir().unwrap();
        let name = "d".repeat(250);
        let mut at = open(folder.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..20 {
            mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(walk(&[folder.path().to_owned()], u64::MAX), u64::MAX);
    }

    #[test]
    fn what_was_removed_counts_as_long_as_it_is_open() {
        let (disk, folder) = (DiskUse::default(), folder_with(&[("file", 8192)]));
        let path = folder.path().join("file");
        let file = Arc::new(File::open(&path).unwrap());
        disk.counted().open.push(Arc::downgrade(&file));
        let measure = || {
            disk.measure(&folders_of(&folder), ByteSize::mib(1));
            disk.stats().bytes
        };
        assert_eq!(measure(), Some(8192), "and once");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(measure(), Some(8192));
        drop(file);
        assert_eq!(measure(), Some(0));
    }

    #[test]
    fn what_is_let_is_added_until_it_could_be_too_much() {
        let (disk, folder) = (DiskUse::default(), folder_with(&[("file", 4096)]));
        let folders = folders_of(&folder);
        let admit = |bytes| disk.counted().admit(&folders, bytes, ByteSize::kib(8));
        assert!(!admit(0), "nobody has measured");
        disk.measure(&folders, ByteSize::kib(8));
        assert!(admit(4000));
        assert!(!admit(97));
        assert!(admit(96));
        assert_eq!(disk.stats().bytes, Some(8192));
        // What was let is forgotten where it is not there.
        disk.measure(&folders, ByteSize::kib(8));
        assert_eq!(disk.stats().bytes, Some(4096));
        let others = [folder.path().to_owned(), PathBuf::from("/other")];
        assert!(!disk.counted().admit(&others, 1, ByteSize::kib(8)), "nobody has measured the other one");
    }

    #[test]
    fn folders_within_others_are_not_counted_twice() {
        let folders = ["/b/c", "/a", "/b", "/bc"].map(PathBuf::from);
        assert_eq!(outermost(folders.to_vec()), ["/a", "/b", "/bc"].map(Path::new));
    }
}
