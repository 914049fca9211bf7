//! The folders of this machine that an instance sees. Those that the plugin was not granted it finds closed: what it does there is
//! refused with the cure, and remembered as a wish. Once one is granted, the same descriptor leads into it from the next turn on.

use crate::view::{Shared, State};
use mortise_model::{FileAccess, Folder, Permission};
use mortise_plugin::{Disk, Services};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Level;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::{FsPerms, OpenMode, WasiCtxBuilder};

/// How long an instance waits for folders to be opened. A disk that does not answer keeps them closed.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// When one that could not be opened is tried again at the earliest, if the guest tries it again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A folder without anything in it, into which nothing can be put: it has been removed.
static NOWHERE: LazyLock<std::io::Result<File>> = LazyLock::new(|| {
    let folder = tempfile::tempdir()?;
    let opened = File::open(folder.path())?;
    folder.close()?;
    Ok(opened)
});

/// The folders that an instance asked for and had not when it began.
pub(crate) struct Doors {
    doors: Vec<Door>,
    changes: watch::Receiver<u64>,
    /// When to try again to open what is granted.
    again_at: Option<Instant>,
    tried_at: Option<Instant>,
}

/// One of them.
struct Door {
    folder: Folder,
    /// Where its descriptors lead: nowhere, or into the folder.
    dir: Dir,
    is_open: bool,
}

impl Doors {
    /// None yet. To be made before anything is judged.
    pub(crate) fn none(services: &Services) -> Self {
        Self { doors: Vec::new(), changes: services.changes(), again_at: None, tried_at: None }
    }

    /// These, all of them closed. Blocks.
    pub(crate) fn close(&mut self, services: &Services, folders: &[&Folder]) {
        if folders.is_empty() {
            return;
        }
        let door = |folder: &&Folder| {
            let nowhere = NOWHERE.as_ref().map_err(ToString::to_string)?;
            let nowhere = nowhere.try_clone().map_err(|error| error.to_string())?;
            let dir = Dir::new(nowhere, FsPerms::ReadOnly, OpenMode::READ, false);
            Ok(Door { folder: (*folder).clone(), dir, is_open: false })
        };
        match folders.iter().map(door).collect::<Result<_, String>>() {
            Ok(doors) => self.doors = doors,
            // Then it finds no folder at all, and a grant is in effect with the next instance.
            Err(error) => {
                let line = format!("folders that are not granted are not there, instead of closed: {error}");
                services.log(Level::WARN, "host", &line);
            }
        }
    }

    /// Whether something was granted or taken back since the last look, or what is granted is to be tried again.
    pub(crate) fn have_news(&self, now: Instant) -> bool {
        // A closed channel tells of no more changes.
        let is_changed = || self.changes.has_changed().unwrap_or(false);
        !self.doors.is_empty() && (is_changed() || self.again_at.is_some_and(|at| at <= now))
    }

    /// What is granted is tried again, soon.
    fn try_again(&mut self) {
        self.again_at = Some(self.tried_at.map_or_else(Instant::now, |at| at + AGAIN_AFTER));
    }

    /// The folder that `dir` would lead into, were it granted.
    fn closed_by(&self, dir: &Dir) -> Option<&Folder> {
        let door = self.doors.iter().find(|door| Arc::ptr_eq(&door.dir.dir, &dir.dir))?;
        (!door.is_open).then_some(&door.folder)
    }
}

impl State {
    /// Descriptors of the folders that it asked for and had not when it began, and the paths under which it wants to see them.
    pub(crate) fn doors(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let Self { host, table, .. } = self;
        let doors = host.doors.doors.iter();
        doors.map(|door| Ok((table.push(Descriptor::Dir(door.dir.clone()))?, door.folder.seen_as.clone()))).collect()
    }

    /// Whether a descriptor leads into a folder that the plugin was not granted. It is told the cure in its log: WASI has no word
    /// for that.
    pub(crate) async fn is_closed(&mut self, descriptor: &Resource<Descriptor>) -> wasmtime::Result<bool> {
        let Descriptor::Dir(dir) = self.table.get(descriptor)? else { return Ok(false) };
        let Some(folder) = self.host.doors.closed_by(dir).cloned() else { return Ok(false) };
        let services = Arc::clone(&self.host.shared.services);
        match services.permit_folder(&folder).await {
            // A moment ago, or it could not be opened: then that is tried again before a turn to come, and told.
            Ok(()) => self.host.doors.try_again(),
            Err(failure) => services.log(Level::WARN, "wasi:filesystem", &failure.message),
        }
        Ok(true)
    }

    /// Opens what was granted meanwhile. What cannot be opened stays closed; the plugin's log tells why.
    pub(crate) async fn open_doors(&mut self) {
        self.host.doors.changes.mark_unchanged();
        let now = Instant::now();
        (self.host.doors.again_at, self.host.doors.tried_at) = (None, Some(now));
        for index in 0..self.host.doors.doors.len() {
            let Some(Door { folder, is_open: false, .. }) = self.host.doors.doors.get(index) else { continue };
            let (folder, services) = (folder.clone(), Arc::clone(&self.host.shared.services));
            let open = {
                let (folder, services) = (folder.clone(), Arc::clone(&services));
                // A folder may lie on a disk that does not answer.
                move || match services.may_see(&folder) {
                    Ok(granted) => granted.then(|| dir(&folder)).transpose(),
                    Err(failure) => Err(wasmtime::Error::msg(failure.message)),
                }
            };
            let opened = tokio::time::timeout_at(now + OPENING_MAX, tokio::task::spawn_blocking(open)).await;
            let opened = opened.map_err(|_| wasmtime::Error::msg("it does not answer"));
            match opened.and_then(|opened| opened.map_err(wasmtime::Error::new).flatten()) {
                Ok(Some(dir)) => self.lead_into(index, dir),
                Ok(None) => {}
                Err(error) => {
                    let line = format!("folder `{}` cannot be opened: {error:#}", folder.access.folder().display());
                    services.log(Level::WARN, "wasi:filesystem", &line);
                }
            }
        }
    }

    fn lead_into(&mut self, index: usize, dir: Dir) {
        let Self { host, table, .. } = self;
        let Some(door) = host.doors.doors.get_mut(index) else { return };
        for entry in table.iter_mut() {
            if let Some(Descriptor::Dir(nowhere)) = entry.downcast_mut()
                && Arc::ptr_eq(&nowhere.dir, &door.dir.dir)
            {
                *nowhere = dir.clone();
            }
        }
        (door.dir, door.is_open) = (dir, true);
        host.held.add(Permission::Files(door.folder.access.clone()));
        host.disk = disk(&host.shared, host.held.folders());
    }
}

/// The limit of what the folders that may be written to hold together; none without such a folder.
pub(crate) fn disk<'a>(shared: &Shared, seen: impl Iterator<Item = &'a FileAccess>) -> Option<Disk> {
    let writable = seen.filter(|access| access.is_writable());
    let writable: Vec<PathBuf> = writable.map(|access| access.folder().to_owned()).collect();
    (!writable.is_empty()).then(|| Disk::new(Arc::clone(&shared.services), writable))
}

/// Lets an instance that is yet to begin see a folder that was looked at a moment ago.
pub(crate) fn preopen(wasi: &mut WasiCtxBuilder, folder: &Folder) -> wasmtime::Result<()> {
    let opened = open(folder)?;
    wasi.preopened_dir(path_of(&opened), &folder.seen_as, perms(folder)).map(drop)
}

/// The same folder for one that has begun.
fn dir(folder: &Folder) -> wasmtime::Result<Dir> {
    let perms = perms(folder);
    let mode = if perms == FsPerms::ReadWrite { OpenMode::READ | OpenMode::WRITE } else { OpenMode::READ };
    Ok(Dir::new(File::open(path_of(&open(folder)?))?, perms, mode, false))
}

fn perms(folder: &Folder) -> FsPerms {
    if folder.access.is_writable() { FsPerms::ReadWrite } else { FsPerms::ReadOnly }
}

/// Opens a folder: a link that somebody put there since it was looked at is not followed.
#[cfg(target_os = "linux")]
fn open(folder: &Folder) -> wasmtime::Result<rustix::fd::OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, folder.access.folder(), flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(not_opened_safely)
}

#[cfg(target_os = "linux")]
fn path_of(opened: &rustix::fd::OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", opened.as_raw_fd()).into()
}

/// Why a folder was not opened. Without the system call there is no way to open one and be sure that no link is followed.
#[cfg(target_os = "linux")]
fn not_opened_safely(error: rustix::io::Errno) -> wasmtime::Error {
    use rustix::io::Errno;
    match error {
        // Profiles of seccomp say either.
        Errno::NOSYS | Errno::PERM => wasmtime::Error::msg(format!(
            "{error}; plugins are given folders only where the kernel has `openat2` (Linux 5.6) and no seccomp profile forbids it"
        )),
        error => error.into(),
    }
}

#[cfg(not(target_os = "linux"))]
fn open(folder: &Folder) -> wasmtime::Result<PathBuf> {
    Ok(folder.access.folder().to_owned())
}

#[cfg(not(target_os = "linux"))]
fn path_of(opened: &PathBuf) -> PathBuf {
    opened.clone()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn nowhere_is_empty_and_stays_so() {
        let nowhere = NOWHERE.as_ref().unwrap().try_clone().unwrap().into();
        let path = path_of(&nowhere);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        for made in [std::fs::write(path.join("file"), ""), std::fs::create_dir(path.join("folder"))] {
            assert_eq!(made.unwrap_err().kind(), std::io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_system_without_the_call_that_follows_no_links_is_named() {
        use rustix::io::Errno;
        for error in [Errno::NOSYS, Errno::PERM] {
            assert!(not_opened_safely(error).to_string().contains("`openat2` (Linux 5.6)"), "{error}");
        }
        assert!(!not_opened_safely(Errno::NOENT).to_string().contains("openat2"));
    }

    #[test]
    fn no_link_on_the_way_to_a_folder_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/inner")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        for (name, opens) in [("real/inner", true), ("link", false), ("link/inner", false)] {
            let access = FileAccess::new(root.join(name).to_str().unwrap(), false).unwrap();
            let folder = Folder { access, seen_as: "/in".to_owned() };
            let opened = preopen(&mut WasiCtxBuilder::new(), &folder);
            assert_eq!(opened.is_ok(), opens, "{name}");
        }
    }
}
