//! One host on one state folder: `<state_dir>/lock`.

use mortise_model::DeviceId;
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another host runs on it.
    #[error("`{state_dir}` is in use by the host `{device}` (pid {pid})")]
    Held {
        /// The folder.
        state_dir: PathBuf,
        /// The other host's device id.
        device: String,
        /// The other host's process.
        pid: String,
    },
    /// It cannot be created, opened or written.
    #[error("failed to lock `{path}`")]
    Io {
        /// The folder or the lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "state_dir_in_use",
            Self::Io { .. } => "disk",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Held { .. } => "stop that host, or give this one a folder of its own with `--state-dir`",
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                    "move away what is there, or name another folder with `--state-dir`"
                }
                io::ErrorKind::ReadOnlyFilesystem => "mount it for writing, or name another folder with `--state-dir`",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
                _ => "the folder must belong to the user that runs the host; `--state-dir` names another",
            },
        };
        text.to_owned()
    }
}

/// Holds the state folder until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Creates `state_dir` (mode 0700) where it is missing, and locks it for `device`.
    ///
    /// # Errors
    /// [`LockError::Held`] names the host that has it.
    pub fn acquire(state_dir: &Path, device: &DeviceId) -> Result<Self, LockError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| LockError::Io { path, source }
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(io(state_dir))?;
        own(state_dir).map_err(io(state_dir))?;
        let path = state_dir.join("lock");
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io(&path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(io(&path))?;
                let (pid, device) = text.trim().split_once(' ').unwrap_or(("unknown", "unknown"));
                let (pid, device) = (pid.to_owned(), device.to_owned());
                return Err(LockError::Held { state_dir: state_dir.to_owned(), device, pid });
            }
            Err(error) => return Err(io(&path)(error.into())),
        }
        let text = format!("{} {device}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.flush())
            .map_err(io(&path))?;
        Ok(Self { _file: file })
    }
}

/// Closes the folder to everybody else: the control socket in it makes whoever reaches it the operator.
fn own(state_dir: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(state_dir)?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        let text = format!("it belongs to another user ({})", metadata.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(state_dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_enter_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        std::fs::set_permissions(&state_dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let _lock = StateLock::acquire(&state_dir, &DeviceId::new("host-1").unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&state_dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_second_host_is_refused_and_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("caps/.mortise");
        let first = StateLock::acquire(&state_dir, &DeviceId::new("host-1").unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&state_dir).unwrap().permissions().mode() & 0o777, 0o700);
        let error = StateLock::acquire(&state_dir, &DeviceId::new("host-2").unwrap()).unwrap_err();
        let LockError::Held { device, pid, .. } = error else { panic!("{error}") };
        assert_eq!((device.as_str(), pid), ("host-1", std::process::id().to_string()));
        drop(first);
        StateLock::acquire(&state_dir, &DeviceId::new("host-2").unwrap()).unwrap();
    }
}
