//! The folders of this machine that an instance sees. Those that the plugin was not granted it finds closed: what it does there is
//! refused with the cure, and remembered as a wish. Once one is granted, the same descriptor leads into it from the next turn on.

use crate::view::{Shared, State};
use mortise_model::{FileAccess, Folder, Permission};
use mortise_plugin::{Disk, Services};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Level;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::{FsPerms, OpenMode, WasiCtxBuilder};

/// How long an instance waits for folders to be opened. A disk that does not answer keeps them closed.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// When one that could not be opened is tried again at the earliest, if the guest tries it again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often a plugin is told of one closed folder.
const TOLD_EACH: Duration = Duration::from_secs(10);

/// A folder without anything in it, into which nothing can be put: it has been removed. None yet.
static NOWHERE: Mutex<Option<File>> = Mutex::new(None);

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
    /// A folder may lie on a disk that does not answer: it has one thread of its own, and no other begins before that has ended.
    opening: Option<JoinHandle<wasmtime::Result<Dir>>>,
    /// When the plugin's log was told of it last.
    told_at: Option<Instant>,
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
            let dir = Dir::new(nowhere()?, FsPerms::ReadOnly, OpenMode::READ, false);
            Ok(Door { folder: (*folder).clone(), dir, is_open: false, opening: None, told_at: None })
        };
        match folders.iter().map(door).collect::<std::io::Result<_>>() {
            Ok(doors) => self.doors = doors,
            // Then it finds no folder at all, and a grant is in effect with the next instance.
            Err(error) => {
                let line = format!("folders that are not granted are not there, instead of closed: {error}");
                services.log(Level::WARN, "host", &line);
            }
        }
    }

    /// Whether something was granted or taken back since the last look, is open now, or is to be tried again.
    pub(crate) fn have_news(&self, now: Instant) -> bool {
        // A closed channel tells of no more changes.
        let is_changed = || self.changes.has_changed().unwrap_or(false);
        let is_opened = |door: &Door| door.opening.as_ref().is_some_and(JoinHandle::is_finished);
        !self.doors.is_empty()
            && (is_changed() || self.again_at.is_some_and(|at| at <= now) || self.doors.iter().any(is_opened))
    }

    /// What is granted is tried again, soon.
    fn try_again(&mut self) {
        self.again_at = Some(self.tried_at.map_or_else(Instant::now, |at| at + AGAIN_AFTER));
    }

    /// The door that `dir` is, if it is closed.
    fn closed(&mut self, dir: &Dir) -> Option<&mut Door> {
        self.doors.iter_mut().find(|door| Arc::ptr_eq(&door.dir.dir, &dir.dir) && !door.is_open)
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
        let Some(door) = self.host.doors.closed(dir) else { return Ok(false) };
        let (folder, now) = (door.folder.clone(), Instant::now());
        let is_told = door.told_at.is_some_and(|at| now < at + TOLD_EACH);
        if !is_told {
            door.told_at = Some(now);
        }
        let services = Arc::clone(&self.host.shared.services);
        match services.permit_folder(&folder).await {
            // A moment ago, or it could not be opened: then that is tried again before a turn to come, and told.
            Ok(()) => self.host.doors.try_again(),
            Err(_) if is_told => {}
            Err(failure) => services.log(Level::WARN, "wasi:filesystem", &failure.message),
        }
        Ok(true)
    }

    /// Opens what was granted meanwhile. What cannot be opened stays closed; the plugin's log tells why.
    pub(crate) async fn open_doors(&mut self) {
        let services = Arc::clone(&self.host.shared.services);
        let is_granted =
            |door: &Door| !door.is_open && services.has_still(&[Permission::Files(door.folder.access.clone())]);
        self.host.doors.changes.mark_unchanged();
        self.host.doors.again_at = None;
        let mut end = Instant::now();
        for door in self.host.doors.doors.iter_mut().filter(|door| is_granted(door) && door.opening.is_none()) {
            end = Instant::now() + OPENING_MAX;
            let (folder, services) = (door.folder.clone(), Arc::clone(&services));
            door.opening = Some(tokio::task::spawn_blocking(move || {
                services.check_folder(&folder).map_err(|failure| wasmtime::Error::msg(failure.message))?;
                dir(&folder)
            }));
        }
        for index in 0..self.host.doors.doors.len() {
            let Some(door) = self.host.doors.doors.get_mut(index) else { continue };
            let Some(opening) = &mut door.opening else { continue };
            let opened = match tokio::time::timeout_at(end, opening).await {
                Ok(opened) => {
                    door.opening = None;
                    opened.map_err(wasmtime::Error::new).flatten()
                }
                Err(_) => Err(wasmtime::Error::msg("it does not answer yet")),
            };
            match opened {
                Ok(dir) if is_granted(door) => self.lead_into(index, dir),
                // Taken back meanwhile.
                Ok(_) => {}
                Err(error) => {
                    let line =
                        format!("folder `{}` cannot be opened: {error:#}", door.folder.access.folder().display());
                    services.log(Level::WARN, "wasi:filesystem", &line);
                }
            }
        }
        self.host.doors.tried_at = Some(Instant::now());
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
        match &host.disk {
            // Streams that are open keep to the same limit.
            Some(disk) if door.folder.access.is_writable() => disk.also(door.folder.access.folder().to_owned()),
            Some(_) => {}
            None => host.disk = disk(&host.shared, host.held.folders()),
        }
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

fn nowhere() -> std::io::Result<File> {
    let mut kept = NOWHERE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(nowhere) = &*kept {
        return nowhere.try_clone();
    }
    let folder = tempfile::tempdir()?;
    let opened = File::open(folder.path())?;
    folder.close()?;
    *kept = Some(opened.try_clone()?);
    Ok(opened)
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
        let nowhere = nowhere().unwrap().into();
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
