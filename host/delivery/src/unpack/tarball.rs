//! Gzip tars.

use super::budget::{Budget, Metered};
use super::{ArchiveError, ArchiveLimits, Sink};
use crate::member::shown;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, Read};
use tar::{Archive, Entry, EntryType};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks into `sink`. Nothing is kept in memory but one block and one member's header.
pub(super) fn unpack(bytes: &[u8], limits: &ArchiveLimits, sink: &mut Sink) -> Result<(), ArchiveError> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Err(ArchiveError::NotGzip);
    }
    let budget = Budget::new(*limits, bytes.len() as u64);
    let mut stream = Metered::new(MultiGzDecoder::new(bytes), &budget);
    let mut archive = Archive::new(&mut stream);
    let mut entries = archive.entries().map_err(|error| budget.explain(&error))?;
    let mut members = 0;
    while let Some(entry) = budget.metadata(|| entries.next()) {
        let mut entry = entry.map_err(|error| budget.explain(&error))?;
        members += 1;
        if members > limits.tree.members_max {
            return Err(ArchiveError::TooManyMembers { members_max: limits.tree.members_max });
        }
        unpack_member(&mut entry, &budget, sink)?;
    }
    // The gzip checksum lies behind whatever follows the archive's end.
    io::copy(&mut stream, &mut io::sink()).map_err(|error| budget.explain(&error))?;
    Ok(())
}

fn unpack_member(entry: &mut Entry<'_, impl Read>, budget: &Budget, sink: &mut Sink) -> Result<(), ArchiveError> {
    let raw = entry.path_bytes().into_owned();
    let name = || shown(&raw);
    let special = |kind| Err(ArchiveError::SpecialFile { name: name(), kind });
    let size = entry.size();
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Directory if size == 0 => return sink.folder(&raw),
        EntryType::Directory => return special("a folder with content"),
        // Describes the archive as a whole, as `git archive` writes it; nothing of it is used.
        EntryType::XGlobalHeader => return Ok(()),
        EntryType::Symlink => return Err(ArchiveError::SymbolicLink { name: name() }),
        EntryType::Link => return Err(ArchiveError::HardLink { name: name() }),
        EntryType::Char => return special("a character device"),
        EntryType::Block => return special("a block device"),
        EntryType::Fifo => return special("a pipe"),
        EntryType::GNUSparse => return special("a sparse file"),
        _ => return special("of unknown type"),
    }
    if is_sparse(entry).map_err(|error| budget.explain(&error))? {
        return special("a sparse file");
    }
    let mode = entry.header().mode().map_err(|error| budget.explain(&error))?;
    let actual = sink.file(&raw, mode & 0o111 != 0, entry, &|error| budget.explain(&error))?;
    if actual != size {
        return Err(ArchiveError::Truncated { name: name(), expected: size, actual });
    }
    Ok(())
}

/// Whether extended headers give the content another meaning than its bytes.
fn is_sparse(entry: &mut Entry<'_, impl Read>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(false);
    };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse") {
            return Ok(true);
        }
    }
    Ok(false)
}
