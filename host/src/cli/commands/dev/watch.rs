//! What an author has on disk, looked at again and again.
//!
//! A plugin is a few files, so looking costs less than being told: it works on network file systems and on folders that are
//! mounted into containers, and an editor that saves by renaming is no special case (docs/decisions/0028).

use mortise_delivery::{TreeLimits, is_left_behind};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Written by the build itself.
const LOCK_FILE: &[u8] = b"Cargo.lock";

/// The files of a plugin as they are at one moment; what a pack leaves out is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look(BTreeMap<PathBuf, Seen>);

/// How a changed file is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    modified: SystemTime,
    mode: u32,
    inode: u64,
}

impl Look {
    /// Looks at `folder`. Blocks; reads no file.
    ///
    /// # Errors
    /// A folder that cannot be listed, or has more members than a plugin may have.
    pub(super) fn at(folder: &Path) -> io::Result<Self> {
        let mut look = Self::default();
        let mut folders = vec![folder.to_owned()];
        let members_max = TreeLimits::default().members_max;
        while let Some(folder) = folders.pop() {
            let is_crate = folder.join("Cargo.toml").is_file();
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if is_left_behind(name.as_bytes(), is_crate) || (is_crate && name.as_bytes() == LOCK_FILE) {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    let modified = metadata.modified()?;
                    let (bytes, mode, inode) = (metadata.len(), metadata.mode(), metadata.ino());
                    look.0.insert(entry.path(), Seen { bytes, modified, mode, inode });
                }
                if look.0.len() + folders.len() > members_max {
                    return Err(io::Error::other(format!("it has more than {members_max} members")));
                }
            }
        }
        Ok(look)
    }
}

/// Tells when a folder has changed and come to rest.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Option<Look>,
    told: Option<Look>,
    /// Whether what was told last is news once more.
    again: bool,
}

/// Why a plugin is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is other than what was told last.
    Changed,
    /// It is what was told last, which was forgotten.
    Again,
}

impl Watch {
    /// Whether `now` is news: forgotten, or other than what was told last, and the same as a moment ago, so that nobody is in the midst of
    /// saving. The first look at all is news.
    pub(super) fn news(&mut self, now: Look) -> Option<News> {
        let is_first = self.last.is_none();
        let rests = is_first || self.last.as_ref() == Some(&now);
        let news =
            if self.told.as_ref() != Some(&now) { Some(News::Changed) } else { self.again.then_some(News::Again) };
        let news = news.filter(|_| rests);
        if news.is_some() {
            self.told = Some(now.clone());
            self.again = false;
        }
        self.last = Some(now);
        news
    }

    /// What was told last is news once more.
    pub(super) fn forget(&mut self) {
        self.again = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn look(folder: &Path) -> Look {
        Look::at(folder).unwrap()
    }

    #[test]
    fn a_change_is_news_once_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut watch = Watch::default();
        assert_eq!(watch.news(look(path)), Some(News::Changed), "the first look");
        assert_eq!(watch.news(look(path)), None);
        fs::write(path.join("a"), "1").unwrap();
        let first = look(path);
        assert_eq!(watch.news(first), None, "somebody may be in the midst of it");
        fs::write(path.join("b"), "1").unwrap();
        assert_eq!(watch.news(look(path)), None);
        assert_eq!(watch.news(look(path)), Some(News::Changed));
        assert_eq!(watch.news(look(path)), None);
        watch.forget();
        assert_eq!(watch.news(look(path)), Some(News::Again));
        assert_eq!(watch.news(look(path)), None);
    }

    #[test]
    fn whatever_is_saved_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/a"), "1").unwrap();
        let mut before = look(path);
        let mut changed = |what: &str| {
            let now = look(path);
            assert_ne!(now, before, "{what}");
            before = now;
        };
        fs::write(path.join("sub/a"), "12").unwrap();
        changed("it is longer");
        fs::write(path.join("new"), "1x").unwrap();
        fs::rename(path.join("new"), path.join("sub/a")).unwrap();
        changed("another took its place, of the same size");
        fs::rename(path.join("sub/a"), path.join("sub/b")).unwrap();
        changed("it has another name");
        fs::remove_file(path.join("sub/b")).unwrap();
        changed("it is gone");
    }

    #[test]
    fn what_is_not_packed_and_what_a_build_writes_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("Cargo.toml"), "").unwrap();
        let before = look(path);
        for name in ["target", "__pycache__", ".git"] {
            fs::create_dir(path.join(name)).unwrap();
            fs::write(path.join(name).join("x"), "").unwrap();
        }
        fs::write(path.join("Cargo.lock"), "").unwrap();
        fs::write(path.join(".a.swp"), "").unwrap();
        assert_eq!(look(path), before);
        fs::remove_file(path.join("Cargo.toml")).unwrap();
        let names: Vec<_> = look(path).0.into_keys().collect();
        assert_eq!(names, [path.join("Cargo.lock"), path.join("target/x")]);
    }
}
