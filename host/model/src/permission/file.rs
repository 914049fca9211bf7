//! Folders of the host that a plugin may see.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// A folder with all that lies below it, to read or to change as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileAccess {
    folder: PathBuf,
    writable: bool,
}

impl FileAccess {
    /// Of a folder by its absolute path, written without `.`, `..` and needless slashes. Whether links lie on it is for
    /// whoever opens it to see.
    ///
    /// # Errors
    /// What is wrong with the path.
    pub fn new(folder: &str, writable: bool) -> Result<Self, &'static str> {
        let path = Path::new(folder);
        if !path.is_absolute() {
            return Err("it is no absolute path");
        }
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let normal: PathBuf = path.components().collect();
        if !plain || normal.as_os_str() != folder {
            return Err("its path is not written plainly: without `.`, `..` and needless slashes");
        }
        if folder == "/" {
            return Err("nobody may have all of the machine's files");
        }
        if ["/proc", "/sys", "/dev"].iter().any(|system| normal.starts_with(system)) {
            return Err("what lies there is the system's, and the host's own process");
        }
        if folder.contains(|c: char| c == '*' || c.is_control()) {
            return Err("it holds a character that no path may have; a folder opens all that lies below it");
        }
        Ok(Self { folder: normal, writable })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it may be changed.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        (self.writable || !other.writable) && other.folder.starts_with(&self.folder)
    }
}

impl fmt::Display for FileAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", if self.writable { "rw" } else { "ro" }, self.folder.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_covers_what_lies_below_it() {
        let access = |folder, writable| FileAccess::new(folder, writable).unwrap();
        assert!(access("/srv", true).covers(&access("/srv/a/b", false)));
        assert!(access("/srv", false).covers(&access("/srv", false)));
        assert!(!access("/srv", false).covers(&access("/srv", true)));
        assert!(!access("/srv", true).covers(&access("/srvx", true)));
        assert!(!access("/srv/a", true).covers(&access("/srv", true)));
    }

    #[test]
    fn a_path_that_is_not_plain_is_refused() {
        for folder in [
            "",
            "srv",
            "/",
            "//",
            "/srv/",
            "/srv/../etc",
            "/srv/./a",
            "/srv//a",
            "/srv/*",
            "/srv\n",
            "/proc",
            "/proc/self",
            "/dev/shm",
        ] {
            assert!(FileAccess::new(folder, false).is_err(), "{folder}");
        }
    }
}
