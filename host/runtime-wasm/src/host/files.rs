//! `wasi:filesystem` under `limits.disk`: what makes a folder hold more asks first. All else is as wasmtime has it, but for
//! [`listing`]s, files that are none, and folders that are closed.

use super::listing;
use crate::view::State;
use async_trait::async_trait;
use bytes::Bytes;
use mortise_plugin::{DISK_BLOCK_BYTES, Disk};
use std::fs::File;
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as Preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, HostDescriptor as _, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynOutputStream, FsResult, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

pub(super) type Store<'a> = StoreContextMut<'a, State>;
pub(super) type Fd = Resource<Descriptor>;
pub(super) type Told<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Puts ours in place of wasmtime's functions.
pub(super) fn bound(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:filesystem/preopens@0.2.12")?.func_wrap("get-directories", get_directories)?;
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.func_wrap_async("[method]descriptor.write", |store, asked| Box::new(write(store, asked)))?;
    types.func_wrap_async("[method]descriptor.set-size", |store, asked| Box::new(set_size(store, asked)))?;
    types.func_wrap_async("[method]descriptor.open-at", |store, asked| Box::new(open_at(store, asked)))?;
    types.func_wrap_async("[method]descriptor.stat-at", |store, asked| Box::new(stat_at(store, asked)))?;
    types.func_wrap_async("[method]descriptor.create-directory-at", |store, asked| {
        Box::new(create_directory_at(store, asked))
    })?;
    types.func_wrap_async("[method]descriptor.symlink-at", |store, asked| Box::new(symlink_at(store, asked)))?;
    types.func_wrap_async("[method]descriptor.link-at", |store, asked| Box::new(link_at(store, asked)))?;
    types.func_wrap_async("[method]descriptor.rename-at", |store, asked| Box::new(rename_at(store, asked)))?;
    types
        .func_wrap_async("[method]descriptor.unlink-file-at", |store, asked| Box::new(unlink_file_at(store, asked)))?;
    types.func_wrap_async("[method]descriptor.remove-directory-at", |store, asked| {
        Box::new(remove_directory_at(store, asked))
    })?;
    types.func_wrap_async("[method]descriptor.readlink-at", |store, asked| Box::new(readlink_at(store, asked)))?;
    types.func_wrap_async("[method]descriptor.set-times-at", |store, asked| Box::new(set_times_at(store, asked)))?;
    types.func_wrap("[method]descriptor.write-via-stream", write_via_stream)?;
    types.func_wrap("[method]descriptor.append-via-stream", append_via_stream)?;
    listing::bound(&mut types)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn get_directories(mut store: Store<'_>, (): ()) -> wasmtime::Result<(Vec<(Fd, String)>,)> {
    let state = store.data_mut();
    let mut folders = Preopens::get_directories(&mut state.filesystem())?;
    folders.extend(state.doors()?);
    Ok((folders,))
}

async fn stat_at(mut store: Store<'_>, (fd, path_flags, path): (Fd, PathFlags, String)) -> Told<DescriptorStat> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    told(store.data_mut().filesystem().stat_at(fd, path_flags, path).await)
}

async fn write(mut store: Store<'_>, (fd, bytes, offset): (Fd, Vec<u8>, u64)) -> Told<u64> {
    if let Some((disk, file)) = writable(&mut store, &fd)? {
        let size = bytes.len() as u64;
        let most = Disk::growth_max(Some(offset), size);
        if !disk.admit(most, move || Disk::growth(&file, Some(offset), size)).await {
            return Ok((Err(ErrorCode::InsufficientSpace),));
        }
    }
    told(store.data_mut().filesystem().write(fd, bytes, offset).await)
}

async fn set_size(mut store: Store<'_>, (fd, size): (Fd, u64)) -> Told<()> {
    if let Some((disk, file)) = writable(&mut store, &fd)? {
        let look = move || Disk::growth(&file, Some(0), size);
        let growth = tokio::task::spawn_blocking(look.clone()).await.unwrap_or(size);
        // To shorten a file is always possible.
        if growth > 0 && !disk.admit(growth, look).await {
            return Ok((Err(ErrorCode::InsufficientSpace),));
        }
    }
    told(store.data_mut().filesystem().set_size(fd, size).await)
}

async fn open_at(
    mut store: Store<'_>,
    (fd, path_flags, path, open, flags): (Fd, PathFlags, String, OpenFlags, DescriptorFlags),
) -> Told<Fd> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    let host = &store.data().host;
    let may_be_full =
        open.contains(OpenFlags::CREATE) && host.disk.as_ref().is_some_and(|disk| !disk.admit_now(DISK_BLOCK_BYTES));
    if may_be_full || host.held.has_folders() {
        let there =
            store.data_mut().filesystem().stat_at(Resource::new_borrow(fd.rep()), path_flags, path.clone()).await;
        match there {
            // To open a pipe waits for whoever is at its other end, on a thread that nobody can call back.
            Ok(found) if !is_plain(found.type_) => return Ok((Err(ErrorCode::NotPermitted),)),
            Ok(_) => {}
            Err(_) if may_be_full && !entry_admitted(&mut store).await => {
                return Ok((Err(ErrorCode::InsufficientSpace),));
            }
            Err(_) => {}
        }
    }
    let opened = store.data_mut().filesystem().open_at(fd, path_flags, path, open, flags).await;
    if let Ok(fd) = &opened
        && let Some(disk) = store.data().host.disk.clone()
        && let Descriptor::File(file) = store.data_mut().table.get(fd)?
    {
        disk.opened(&file.file);
    }
    told(opened)
}

async fn create_directory_at(mut store: Store<'_>, (fd, path): (Fd, String)) -> Told<()> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    if !entry_admitted(&mut store).await {
        return Ok((Err(ErrorCode::InsufficientSpace),));
    }
    told(store.data_mut().filesystem().create_directory_at(fd, path).await)
}

async fn symlink_at(mut store: Store<'_>, (fd, from, to): (Fd, String, String)) -> Told<()> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    if !entry_admitted(&mut store).await {
        return Ok((Err(ErrorCode::InsufficientSpace),));
    }
    told(store.data_mut().filesystem().symlink_at(fd, from, to).await)
}

async fn link_at(
    mut store: Store<'_>,
    (fd, path_flags, from, new_fd, to): (Fd, PathFlags, String, Fd, String),
) -> Told<()> {
    if store.data_mut().is_closed(&fd).await? || store.data_mut().is_closed(&new_fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    if !entry_admitted(&mut store).await {
        return Ok((Err(ErrorCode::InsufficientSpace),));
    }
    let _unwalked = unwalked(store.data().host.disk.clone()).await;
    told(store.data_mut().filesystem().link_at(fd, path_flags, from, new_fd, to).await)
}

async fn rename_at(mut store: Store<'_>, (fd, from, new_fd, to): (Fd, String, Fd, String)) -> Told<()> {
    if store.data_mut().is_closed(&fd).await? || store.data_mut().is_closed(&new_fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    let _unwalked = unwalked(store.data().host.disk.clone()).await;
    told(store.data_mut().filesystem().rename_at(fd, from, new_fd, to).await)
}

async fn unlink_file_at(mut store: Store<'_>, (fd, path): (Fd, String)) -> Told<()> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    told(store.data_mut().filesystem().unlink_file_at(fd, path).await)
}

async fn remove_directory_at(mut store: Store<'_>, (fd, path): (Fd, String)) -> Told<()> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    told(store.data_mut().filesystem().remove_directory_at(fd, path).await)
}

async fn readlink_at(mut store: Store<'_>, (fd, path): (Fd, String)) -> Told<String> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    told(store.data_mut().filesystem().readlink_at(fd, path).await)
}

async fn set_times_at(
    mut store: Store<'_>,
    (fd, path_flags, path, accessed, modified): (Fd, PathFlags, String, NewTimestamp, NewTimestamp),
) -> Told<()> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    told(store.data_mut().filesystem().set_times_at(fd, path_flags, path, accessed, modified).await)
}

fn write_via_stream(mut store: Store<'_>, (fd, offset): (Fd, u64)) -> Told<Resource<DynOutputStream>> {
    let of = writable(&mut store, &fd)?;
    let stream = store.data_mut().filesystem().write_via_stream(fd, offset);
    bounded(&mut store, of, Some(offset), stream)
}

fn append_via_stream(mut store: Store<'_>, (fd,): (Fd,)) -> Told<Resource<DynOutputStream>> {
    let of = writable(&mut store, &fd)?;
    let stream = store.data_mut().filesystem().append_via_stream(fd);
    bounded(&mut store, of, None, stream)
}

/// The same stream, under the limit.
fn bounded(
    store: &mut Store<'_>,
    of: Option<(Disk, Arc<File>)>,
    at: Option<u64>,
    stream: FsResult<Resource<DynOutputStream>>,
) -> Told<Resource<DynOutputStream>> {
    let (Some((disk, file)), Ok(stream)) = (of, &stream) else { return told(stream) };
    let table = &mut store.data_mut().table;
    let inner = table.delete(Resource::<DynOutputStream>::new_own(stream.rep()))?;
    let bounded: DynOutputStream = Box::new(Bounded { inner, disk, file, at, room: 0, state: Passage::Open });
    Ok((Ok(table.push(bounded)?),))
}

/// The file, and under which limit it may be written to; none where it may not.
fn writable(store: &mut Store<'_>, fd: &Fd) -> wasmtime::Result<Option<(Disk, Arc<File>)>> {
    let Some(disk) = store.data().host.disk.clone() else { return Ok(None) };
    Ok(match store.data().table.get(fd)? {
        Descriptor::File(file) if !file.perms.write_not_permitted() => Some((disk, Arc::clone(&file.file))),
        _ => None,
    })
}

/// Whether there is room for one file or folder more.
async fn entry_admitted(store: &mut Store<'_>) -> bool {
    match store.data().host.disk.clone() {
        Some(disk) => disk.admit(DISK_BLOCK_BYTES, || DISK_BLOCK_BYTES).await,
        None => true,
    }
}

/// Holds walks through the folders off.
async fn unwalked(disk: Option<Disk>) -> Option<impl Sized> {
    Some(disk?.unwalked().await)
}

/// What can be opened without waiting for anybody.
fn is_plain(kind: DescriptorType) -> bool {
    matches!(kind, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink)
}

fn told<T>(result: FsResult<T>) -> Told<T> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error.downcast()?),
    },))
}

/// What wasmtime's streams into files say that they take at once.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// A stream into a file, which is let as much as the limit lets.
struct Bounded {
    inner: DynOutputStream,
    disk: Disk,
    file: Arc<File>,
    /// Where the next byte goes; none at the end.
    at: Option<u64>,
    /// What is left of the last block that was counted, in bytes: pieces that follow one another share their blocks.
    room: u64,
    state: Passage,
}

enum Passage {
    Open,
    /// These are written once it is known that there is room for them.
    Waiting(AbortOnDropJoinHandle<bool>, Bytes),
    /// There was none, and nobody knows it yet.
    Refused,
    Closed,
}

impl Bounded {
    /// Counts as many bytes, if they are certainly within the limit.
    fn admit_now(&mut self, bytes: u64) -> bool {
        let beyond = bytes.saturating_sub(self.room);
        // Where there is room it ends at the end of a block.
        let at = if self.room > 0 { None } else { self.at };
        let most = Disk::growth_max(at, beyond);
        let admitted = most == 0 || self.disk.admit_now(most);
        if admitted {
            let lead = at.unwrap_or_default() % DISK_BLOCK_BYTES;
            self.room = (self.room + most).saturating_sub(bytes + if most > 0 { lead } else { 0 });
        }
        admitted
    }

    /// Whether there is room for that much. On its own, for the stream may be dropped meanwhile.
    fn ask(&mut self, bytes: u64) -> impl Future<Output = bool> + Send + 'static {
        let (disk, file, at) = (self.disk.clone(), Arc::clone(&self.file), self.at);
        self.room = 0;
        async move { disk.admit(Disk::growth_max(at, bytes), move || Disk::growth(&file, at, bytes)).await }
    }

    fn pass(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.at = self.at.map(|at| at.saturating_add(bytes.len() as u64));
        self.inner.write(bytes)
    }

    /// Tells once that there was no room.
    fn told(&mut self) -> Option<StreamError> {
        match self.state {
            Passage::Refused => {
                self.state = Passage::Closed;
                Some(no_space())
            }
            Passage::Closed => Some(StreamError::Closed),
            Passage::Open | Passage::Waiting(..) => None,
        }
    }
}

fn no_space() -> StreamError {
    StreamError::LastOperationFailed(std::io::Error::from(rustix::io::Errno::NOSPC).into())
}

#[async_trait]
impl OutputStream for Bounded {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // wasmtime takes more than it says it does.
        if !matches!(self.state, Passage::Open) || bytes.len() > PIECE_BYTES_MAX {
            return Err(StreamError::trap("write not permitted: check-write allows nothing, or less than that"));
        }
        if self.admit_now(bytes.len() as u64) {
            return self.pass(bytes);
        }
        self.state = Passage::Waiting(spawn(self.ask(bytes.len() as u64)), bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        match self.told() {
            Some(error) => Err(error),
            None => self.inner.flush(),
        }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match (self.told(), &self.state) {
            (Some(error), _) => Err(error),
            (None, Passage::Waiting(..)) => Ok(0),
            (None, _) => self.inner.check_write(),
        }
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        if let Some(error) = self.told() {
            return Err(error);
        }
        let size = bytes.len() as u64;
        if !self.admit_now(size) && !self.ask(size).await {
            self.state = Passage::Closed;
            return Err(no_space());
        }
        self.at = self.at.map(|at| at.saturating_add(bytes.len() as u64));
        self.inner.blocking_write_and_flush(bytes).await
    }

    async fn cancel(&mut self) {
        // What was taken is written, if there is room for it.
        self.ready().await;
        self.state = Passage::Closed;
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for Bounded {
    async fn ready(&mut self) {
        if let Passage::Waiting(room, bytes) = &mut self.state {
            let (room, bytes) = (room.await, bytes.clone());
            self.state = if room { Passage::Open } else { Passage::Refused };
            // It may be told of the failure at its next step.
            if room && self.pass(bytes).is_err() {
                self.state = Passage::Closed;
            }
        }
        self.inner.ready().await;
    }
}
