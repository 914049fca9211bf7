//! Digests of files, computed once for as long as a file stays what it is.

use mortise_model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Far more than a store holds; what does not fit is computed again.
const ENTRIES_MAX: usize = 4096;
/// The coarsest times that file systems in use keep, FAT's.
const SETTLING_SECONDS: i64 = 2;
const BLOCK_BYTES: usize = 128 << 10;

/// What says that a file is still the same: the store replaces files, and the reference host writes into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Fingerprint {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a further change would show. The times of files advance in ticks, and within one a file can be written
    /// twice, or make room for another with the same inode. A clock that was put back makes this false for longer.
    fn is_settled(&self, now: SystemTime) -> bool {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        i64::try_from(seconds).is_ok_and(|now| now.saturating_sub(self.changed.0) >= SETTLING_SECONDS)
    }
}

/// The digests that were computed so far.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// A std mutex: nothing is awaited or computed while it is held.
    known: Mutex<HashMap<Fingerprint, Digest>>,
}

impl Digests {
    /// The digest of the whole of `file`, whose position stays where it is. Blocks for as long as it takes to read the
    /// file once.
    pub(crate) fn of(&self, file: &File, metadata: &Metadata) -> io::Result<Digest> {
        self.of_at(file, metadata, SystemTime::now())
    }

    fn of_at(&self, file: &File, metadata: &Metadata, now: SystemTime) -> io::Result<Digest> {
        let fingerprint = Fingerprint::of(metadata);
        // A poisoned map is whole: its entries are written in one step.
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known().get(&fingerprint) {
            return Ok(*digest);
        }
        let digest = read(file)?;
        // A file that was written to while it was read has the digest of neither state.
        if fingerprint.is_settled(now) && Fingerprint::of(&file.metadata()?) == fingerprint {
            let mut known = known();
            if known.len() >= ENTRIES_MAX {
                known.clear();
            }
            known.insert(fingerprint, digest);
        }
        Ok(digest)
    }
}

fn read(file: &File) -> io::Result<Digest> {
    let (mut hash, mut block, mut position) = (Sha256::new(), vec![0; BLOCK_BYTES], 0);
    loop {
        let count = match file.read_at(&mut block, position) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let Some(filled) = block.get(..count).filter(|filled| !filled.is_empty()) else { break };
        hash.update(filled);
        position += count as u64;
    }
    Ok(Digest::from_bytes(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// When what is written now has settled.
    fn later() -> SystemTime {
        SystemTime::now() + std::time::Duration::from_secs(10)
    }

    #[test]
    fn what_was_just_written_is_not_remembered() {
        let (dir, digests) = (tempfile::tempdir().unwrap(), Digests::default());
        let path = dir.path().join("file");
        // Many times within one tick of the file system's clock, and of the same length.
        for count in 0..200u8 {
            fs::write(&path, [count]).unwrap();
            let file = File::open(&path).unwrap();
            assert_eq!(digests.of(&file, &file.metadata().unwrap()).unwrap(), Digest::of(&[count]));
        }
        assert!(digests.known.lock().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_changes_has_another_digest() {
        let dir = tempfile::tempdir().unwrap();
        let (path, digests) = (dir.path().join("file"), Digests::default());
        let of = |path| {
            let file = File::open(path).unwrap();
            digests.of_at(&file, &file.metadata().unwrap(), later()).unwrap()
        };
        let large = vec![7; BLOCK_BYTES * 2 + 1];
        fs::write(&path, &large).unwrap();
        assert_eq!((of(&path), of(&path)), (Digest::of(&large), Digest::of(&large)));
        assert_eq!(digests.known.lock().unwrap().len(), 1);
        // Replaced, as the store does, by a file of the same length.
        let other = vec![8; large.len()];
        fs::write(dir.path().join("new"), &other).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(of(&path), Digest::of(&other));
        // Written into, as the reference host does.
        fs::write(&path, b"short").unwrap();
        assert_eq!(of(&path), Digest::of(b"short"));
    }

    #[test]
    fn the_number_of_remembered_digests_is_bounded() {
        let (dir, digests) = (tempfile::tempdir().unwrap(), Digests::default());
        let path = dir.path().join("file");
        fs::write(&path, b"x").unwrap();
        let filler = Fingerprint::of(&fs::metadata(&path).unwrap());
        {
            let mut known = digests.known.lock().unwrap();
            for inode in 0..ENTRIES_MAX as u64 {
                known.insert(Fingerprint { device: 0, inode, ..filler }, Digest::of(b""));
            }
        }
        let file = File::open(&path).unwrap();
        assert_eq!(digests.of_at(&file, &file.metadata().unwrap(), later()).unwrap(), Digest::of(b"x"));
        assert_eq!(digests.known.lock().unwrap().len(), 1);
    }
}
