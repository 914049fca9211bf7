//! Listings of folders in `wasi:filesystem`. wasmtime reads a whole folder and keeps its names as long as the guest holds the
//! listing, however many there are; here they are within a quota of the instance's.

use super::files::{Fd, Store, Told};
use super::room::Room;
use crate::view::State;
use rustix::fs::{AtFlags, Dir, FileType, statat};
use std::fs::File;
use std::sync::Arc;
use tracing::Level;
use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, Resource, ResourceType};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

/// What an entry takes besides its name, in bytes.
const ENTRY_BYTES: usize = 64;

/// The names that were found and not read yet.
struct Listing {
    entries: std::vec::IntoIter<Result<DirectoryEntry, ErrorCode>>,
    _room: Room,
}

/// Puts ours in place of wasmtime's.
pub(super) fn bound(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.resource("directory-entry-stream", ResourceType::host::<Listing>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Listing>::new_own(rep))?;
        Ok(())
    })?;
    types
        .func_wrap_async("[method]descriptor.read-directory", |store, asked| Box::new(read_directory(store, asked)))?;
    types.func_wrap("[method]directory-entry-stream.read-directory-entry", read_entry)
}

async fn read_directory(mut store: Store<'_>, (fd,): (Fd,)) -> Told<Resource<Listing>> {
    if store.data_mut().is_closed(&fd).await? {
        return Ok((Err(ErrorCode::NotPermitted),));
    }
    let state = store.data_mut();
    let folder = match state.table.get(&fd)? {
        Descriptor::Dir(folder) => Arc::clone(&folder.dir),
        Descriptor::File(_) => return Ok((Err(ErrorCode::NotDirectory),)),
    };
    let room = state.host.names.room();
    let read = tokio::task::spawn_blocking(move || read(&folder, room)).await;
    match read.unwrap_or(Err(ErrorCode::Io)) {
        Ok(listing) => Ok((Ok(state.table.push(listing)?),)),
        Err(code) => {
            if matches!(code, ErrorCode::InsufficientMemory) {
                let services = &state.host.shared.services;
                services.count_refusal("listing_too_large");
                services.log(
                    Level::WARN,
                    "host",
                    "a folder was not listed: with those that are open it has too many names",
                );
            }
            Ok((Err(code),))
        }
    }
}

fn read_entry(mut store: StoreContextMut<'_, State>, (listing,): (Resource<Listing>,)) -> Told<Option<DirectoryEntry>> {
    Ok((store.data_mut().table.get_mut(&listing)?.entries.next().transpose(),))
}

fn read(folder: &File, mut room: Room) -> Result<Listing, ErrorCode> {
    let failed = |error: rustix::io::Errno| ErrorCode::from(std::io::Error::from(error));
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if !room.grow(name.to_bytes().len() + ENTRY_BYTES) {
            return Err(ErrorCode::InsufficientMemory);
        }
        let kind = match entry.file_type() {
            // Not every file system tells.
            FileType::Unknown => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => FileType::from_raw_mode(found.st_mode),
                // It is gone.
                Err(_) => continue,
            },
            kind => kind,
        };
        entries.push(match name.to_str() {
            Ok(name) => Ok(DirectoryEntry { type_: descriptor_type(kind), name: name.to_owned() }),
            Err(_) => Err(ErrorCode::IllegalByteSequence),
        });
    }
    Ok(Listing { entries: entries.into_iter(), _room: room })
}

fn descriptor_type(kind: FileType) -> DescriptorType {
    match kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::Unknown => DescriptorType::Unknown,
    }
}
