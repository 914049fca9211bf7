//! Disks that fail. Each of these is there only where the test may make one: who is not root may not mount, and who is
//! root is stopped by no mode.

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use std::ffi::CString;
use std::path::Path;
use tempfile::TempDir;

/// A file system in memory that holds very little.
pub(crate) struct TinyDisk {
    folder: TempDir,
}

impl TinyDisk {
    pub(crate) fn mount(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = CString::new(format!("size={bytes},mode=0755")).unwrap();
        mount("none", folder.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).ok()?;
        Some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn set_read_only(&self, read_only: bool) {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(self.path(), flags, "").unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // What is left of the mount is gone with the machine's next start.
        let _ = unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}
