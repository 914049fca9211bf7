//! Putting a staged tree in place of, or beside, what is there: in one step, or not at all.

use crate::disk::{DiskError, failed};
use mortise_model::PluginId;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What to do when the plugin's folder exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Refuse.
    Refuse,
    /// Put the new tree in its place.
    Replace,
}

/// A tree that was not put in place. What was there is there still.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// [`IfExists::Refuse`], and there is one (wire contract 10.3, `install_plugin`).
    #[error("Plugin '{id}' already exists at {}", path.display())]
    Exists {
        /// The plugin.
        id: PluginId,
        /// Where it is.
        path: PathBuf,
    },
    /// Where the plugin's folder should be is something else, perhaps a link to a folder elsewhere.
    #[error("not a directory: {}", path.display())]
    NotAFolder {
        /// Where.
        path: PathBuf,
    },
    /// One step is only possible within one file system.
    #[error("`{}` and `{}` are not on the same file system", staging.display(), path.display())]
    OtherFileSystem {
        /// Where the tree was staged.
        staging: PathBuf,
        /// Where it should go.
        path: PathBuf,
    },
    /// One device, and still the system refuses: the folder to be replaced is part of a container's image (a lower
    /// layer of overlayfs), or the two lie in different mounts of the device.
    #[error("`{}` and `{}` are on one device, but nothing can be renamed from one to the other", staging.display(), path.display())]
    NoRename {
        /// Where the tree was staged.
        staging: PathBuf,
        /// Where it should go.
        path: PathBuf,
    },
    /// There is an older tree, and no way to replace it that a crash could not turn into its loss.
    #[error("the file system of `{}` cannot exchange folders in one step", path.display())]
    NoExchange {
        /// Where the older tree is.
        path: PathBuf,
    },
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl CommitError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "plugin_exists",
            Self::NotAFolder { .. } => "not_a_folder",
            Self::OtherFileSystem { .. } => "other_file_system",
            Self::NoRename { .. } => "no_rename",
            Self::NoExchange { .. } => "no_exchange",
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { .. } => "install it from a bundle to replace it, or under another `plugin_id`".to_owned(),
            Self::NotAFolder { .. } => "move away what is there".to_owned(),
            Self::OtherFileSystem { .. } => {
                "keep the state folder on the file system of the capabilities folder".to_owned()
            }
            Self::NoRename { .. } => {
                "mount the capabilities folder as a volume, and keep the state folder inside it".to_owned()
            }
            Self::NoExchange { .. } => "keep the capabilities folder on ext4, xfs, btrfs or tmpfs".to_owned(),
            Self::Disk(error) => error.hint(),
        }
    }
}

/// A tree that is in place. What it replaced still exists, out of the way, until this is dropped.
#[derive(Debug)]
pub struct Committed {
    path: PathBuf,
    /// Where the old tree lies now, or where the new one came from.
    aside: PathBuf,
    replaced: bool,
    /// Removes `aside` with everything in it; what it cannot remove is swept at the next start.
    _guard: TempDir,
}

impl Committed {
    /// The plugin's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was an older tree.
    #[must_use]
    pub fn replaced(&self) -> bool {
        self.replaced
    }

    /// Puts things back as they were: the older tree in its place, or nothing where nothing was. Blocks.
    ///
    /// # Errors
    /// [`CommitError`]. Where renaming failed, the new tree is still in place; where syncing did, the older one is back,
    /// and a crash may undo that.
    pub fn rollback(self) -> Result<(), CommitError> {
        if self.replaced {
            exchange(&self.aside, &self.path)?;
        } else {
            fs::rename(&self.path, &self.aside).map_err(failed("rename", &self.path))?;
        }
        sync_parent(&self.path)?;
        Ok(())
    }
}

/// Puts the folder `staged`, which lies below `guard`, at `<capabilities_dir>/<id>`.
///
/// Everything is synced before it gets its name, and the name is synced before this returns. Callers serialise the
/// commits of one plugin.
pub(crate) fn commit(
    staged: PathBuf,
    guard: TempDir,
    capabilities_dir: &Path,
    id: &PluginId,
    if_exists: IfExists,
) -> Result<Committed, CommitError> {
    let path = capabilities_dir.join(id.as_str());
    let old = match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => return Err(CommitError::NotAFolder { path }),
        Ok(_) if if_exists == IfExists::Refuse => return Err(CommitError::Exists { id: id.clone(), path }),
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed("read", &path)(error).into()),
    };
    sync_tree(&staged)?;
    if old {
        exchange(&staged, &path)?
    } else {
        place(&staged, &path)?
    }
    let committed = Committed { path, aside: staged, replaced: old, _guard: guard };
    if let Err(error) = sync_parent(&committed.path) {
        // Whether the new name would survive a crash is unknown: back to what is known to.
        committed.rollback()?;
        return Err(error.into());
    }
    Ok(committed)
}

/// Renames a folder to a name that nothing has.
pub(crate) fn place(staged: &Path, path: &Path) -> Result<(), CommitError> {
    let renamed = match renameat_with(CWD, staged, CWD, path, RenameFlags::NOREPLACE) {
        // A plain rename replaces nothing but an empty folder.
        Err(errno) if is_unsupported(errno) => rustix::fs::rename(staged, path),
        renamed => renamed,
    };
    renamed.map_err(|errno| refused(errno, staged, path))
}

/// Makes two folders change names, at once. Steps in its place would leave moments in which a crash loses the plugin.
pub(crate) fn exchange(staged: &Path, path: &Path) -> Result<(), CommitError> {
    renameat_with(CWD, staged, CWD, path, RenameFlags::EXCHANGE).map_err(|errno| {
        if is_unsupported(errno) {
            return CommitError::NoExchange { path: path.to_owned() };
        }
        refused(errno, staged, path)
    })
}

fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

fn refused(errno: Errno, staged: &Path, path: &Path) -> CommitError {
    match errno {
        Errno::XDEV if on_one_device(staged, path) => {
            CommitError::NoRename { staging: staged.to_owned(), path: path.to_owned() }
        }
        Errno::XDEV => CommitError::OtherFileSystem { staging: staged.to_owned(), path: path.to_owned() },
        errno => failed("rename", path)(errno).into(),
    }
}

/// Whether the folders that hold the two are on one device; `path` itself may not exist.
fn on_one_device(staged: &Path, path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path.parent()?).ok().map(|metadata| metadata.dev());
    device(staged).is_some_and(|staging| device(path) == Some(staging))
}

/// Files first, then the folders that name them. The tree is ours: it holds files and folders only.
pub(crate) fn sync_tree(folder: &Path) -> Result<(), DiskError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let entry = entry.map_err(failed("read", folder))?;
        let path = entry.path();
        if entry.file_type().map_err(failed("read", &path))?.is_dir() {
            sync_tree(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(folder)
}

pub(crate) fn sync_parent(path: &Path) -> Result<(), DiskError> {
    path.parent().map_or(Ok(()), sync)
}

pub(crate) fn sync(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Staging;
    use std::os::unix::fs::symlink;

    struct Fixture {
        capabilities: TempDir,
        staging: Staging,
    }

    impl Fixture {
        fn new() -> Self {
            let capabilities = tempfile::tempdir().unwrap();
            let state = capabilities.path().join(".mortise");
            fs::create_dir(&state).unwrap();
            let staging = Staging::open(&state).unwrap();
            Self { capabilities, staging }
        }

        fn path(&self) -> PathBuf {
            self.capabilities.path().join("demo")
        }

        fn commit(&self, content: &str, if_exists: IfExists) -> Result<Committed, CommitError> {
            let (guard, staged) = self.staging.fresh().unwrap();
            fs::create_dir(staged.join("sub")).unwrap();
            fs::write(staged.join("sub/file"), content).unwrap();
            commit(staged, guard, self.capabilities.path(), &PluginId::new("demo").unwrap(), if_exists)
        }

        fn content(&self) -> Option<String> {
            fs::read_to_string(self.path().join("sub/file")).ok()
        }

        /// Nothing but what is in place may exist once every guard is gone.
        fn assert_clean(&self) {
            assert_eq!(fs::read_dir(self.staging.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_new_plugin_is_put_in_place_and_taken_back() {
        let fixture = Fixture::new();
        let committed = fixture.commit("one", IfExists::Refuse).unwrap();
        assert_eq!((committed.path(), committed.replaced()), (fixture.path().as_path(), false));
        assert_eq!(fixture.content().as_deref(), Some("one"));
        committed.rollback().unwrap();
        assert!(!fixture.path().exists());
        fixture.assert_clean();
    }

    #[test]
    fn the_old_tree_lives_until_the_new_one_is_kept() {
        let fixture = Fixture::new();
        drop(fixture.commit("one", IfExists::Replace).unwrap());
        fs::write(fixture.path().join("stray"), "").unwrap();
        let committed = fixture.commit("two", IfExists::Replace).unwrap();
        assert!(committed.replaced());
        assert_eq!(fixture.content().as_deref(), Some("two"));
        assert!(!fixture.path().join("stray").exists());
        committed.rollback().unwrap();
        assert_eq!(fixture.content().as_deref(), Some("one"));
        assert!(fixture.path().join("stray").exists());
        drop(fixture.commit("three", IfExists::Replace).unwrap());
        assert_eq!(fixture.content().as_deref(), Some("three"));
        fixture.assert_clean();
    }

    #[test]
    fn an_existing_plugin_is_kept_when_asked_to() {
        let fixture = Fixture::new();
        drop(fixture.commit("one", IfExists::Refuse).unwrap());
        let error = fixture.commit("two", IfExists::Refuse).unwrap_err();
        assert_eq!(error.to_string(), format!("Plugin 'demo' already exists at {}", fixture.path().display()));
        assert_eq!(fixture.content().as_deref(), Some("one"));
        fixture.assert_clean();
    }

    #[test]
    fn neither_files_nor_links_are_replaced() {
        let fixture = Fixture::new();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("canary"), "alive").unwrap();
        symlink(outside.path(), fixture.path()).unwrap();
        let error = fixture.commit("two", IfExists::Replace).unwrap_err();
        assert!(matches!(error, CommitError::NotAFolder { .. }), "{error}");
        assert!(fixture.path().is_symlink());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        fs::remove_file(fixture.path()).unwrap();
        fs::write(fixture.path(), "a file").unwrap();
        let error = fixture.commit("two", IfExists::Replace).unwrap_err();
        assert!(matches!(error, CommitError::NotAFolder { .. }), "{error}");
        assert_eq!(fs::read_to_string(fixture.path()).unwrap(), "a file");
        fixture.assert_clean();
    }

    #[test]
    fn a_capabilities_folder_that_is_gone_changes_nothing() {
        let fixture = Fixture::new();
        let (guard, staged) = fixture.staging.fresh().unwrap();
        let gone = fixture.capabilities.path().join("gone");
        let result = commit(staged, guard, &gone, &PluginId::new("demo").unwrap(), IfExists::Replace);
        assert!(matches!(result, Err(CommitError::Disk(DiskError { action: "rename", .. }))));
        assert!(!gone.exists());
        fixture.assert_clean();
    }

    #[test]
    fn without_an_exchange_nothing_is_replaced() {
        let fixture = Fixture::new();
        drop(fixture.commit("one", IfExists::Refuse).unwrap());
        // A folder cannot change names with its parent: the system refuses that as it does where it has no exchange.
        let refused = exchange(&fixture.path().join("sub"), &fixture.path()).unwrap_err();
        assert_eq!(refused.code(), "no_exchange");
        let path = fixture.path().display().to_string();
        assert_eq!(refused.to_string(), format!("the file system of `{path}` cannot exchange folders in one step"));
        assert_eq!(fixture.content().as_deref(), Some("one"));
    }

    #[test]
    fn a_rename_refused_on_one_device_is_no_matter_of_file_systems() {
        let fixture = Fixture::new();
        let (_guard, staged) = fixture.staging.fresh().unwrap();
        let refused = refused(Errno::XDEV, &staged, &fixture.path());
        assert_eq!(refused.code(), "no_rename");
        assert!(refused.hint().contains("as a volume"), "{}", refused.hint());
    }

    #[test]
    fn another_file_system_is_named_as_the_reason() {
        let fixture = Fixture::new();
        let refused = refused(Errno::XDEV, &fixture.staging.path().join("a"), Path::new("/proc/demo"));
        assert_eq!(refused.code(), "other_file_system");
        let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
        let (guard, staged) = fixture.staging.fresh().unwrap();
        match commit(staged, guard, other.path(), &PluginId::new("demo").unwrap(), IfExists::Replace) {
            Err(CommitError::OtherFileSystem { .. }) => assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0),
            // Where both are one file system there is nothing to refuse.
            other => assert!(other.is_ok()),
        }
        fixture.assert_clean();
    }
}
