//! Zip files.

use super::budget::{Budget, Metered};
use super::{ArchiveError, ArchiveLimits, Sink};
use crate::member::{TreeLimits, shown};
use memchr::memmem;
use std::collections::HashSet;
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive};

/// The bits of a Unix mode that tell files from folders, links and the rest.
const FILE_TYPE: u32 = 0o170_000;

/// How each entry of the directory begins.
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";

/// How the end of the directory begins, and how far from the file's end at most: 22 bytes and a comment.
const DIRECTORY_END: &[u8] = b"PK\x05\x06";
const DIRECTORY_END_BYTES_MAX: usize = 22 + 0xffff;

/// Unpacks into `sink`.
///
/// The directory at the end is what counts, and only if everything before it agrees: a local header that names another
/// file, content that two members share, a member that the directory does not list are all refused.
pub(super) fn unpack(bytes: &[u8], limits: &ArchiveLimits, sink: &mut Sink) -> Result<(), ArchiveError> {
    let end = bytes.get(bytes.len().saturating_sub(DIRECTORY_END_BYTES_MAX)..).unwrap_or_default();
    if !end.windows(DIRECTORY_END.len()).any(|window| window == DIRECTORY_END) {
        return Err(ArchiveError::NotZip);
    }
    let TreeLimits { members_max, .. } = limits.tree;
    // The directory is read into memory whole, so its length is bounded first.
    if memmem::find_iter(bytes, DIRECTORY_ENTRY).take(members_max + 1).count() > members_max {
        return Err(ArchiveError::TooManyMembers { members_max });
    }
    let budget = Budget::new(*limits, bytes.len() as u64);
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| budget.explain(&error))?;
    if archive.has_duplicate_names() {
        let name = duplicate_name(bytes, archive.central_directory_start()).unwrap_or_default();
        return Err(ArchiveError::Duplicate { name: shown(name) });
    }
    archive.validate_header_consistency().map_err(|error| budget.explain(&error))?;
    for index in 0..archive.len() {
        unpack_member(&mut archive, index, &budget, sink)?;
    }
    Ok(())
}

/// The name that the directory at `at` lists twice. The archive's own table has dropped one of the two.
fn duplicate_name(bytes: &[u8], at: u64) -> Option<&[u8]> {
    let mut names = HashSet::new();
    let mut rest = bytes.get(usize::try_from(at).ok()?..)?;
    while rest.starts_with(DIRECTORY_ENTRY) {
        let length = |at: usize| Some(usize::from(u16::from_le_bytes(*rest.get(at..)?.first_chunk()?)));
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let name = rest.get(46..46 + name)?;
        if !names.insert(name) {
            return Some(name);
        }
        rest = rest.get(46 + name.len() + extra + comment..)?;
    }
    None
}

fn unpack_member(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    index: usize,
    budget: &Budget,
    sink: &mut Sink,
) -> Result<(), ArchiveError> {
    let member = archive.by_index_raw(index).map_err(|error| budget.explain(&error))?;
    let raw = member.name_raw().to_vec();
    let (mode, expected) = (member.unix_mode().unwrap_or(0o644), member.size());
    let name = || shown(&raw);
    if member.encrypted() {
        return Err(ArchiveError::Encrypted { name: name() });
    }
    if !matches!(member.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(ArchiveError::Compression { name: name() });
    }
    let special = |kind| Err(ArchiveError::SpecialFile { name: name(), kind });
    let is_folder = raw.ends_with(b"/");
    match mode & FILE_TYPE {
        0 | 0o100_000 if !is_folder => {}
        0 | 0o040_000 if is_folder && expected == 0 => return sink.folder(&raw),
        0 | 0o040_000 | 0o100_000 => return special("a folder with content, or a file named like a folder"),
        0o120_000 => return Err(ArchiveError::SymbolicLink { name: name() }),
        0o020_000 => return special("a character device"),
        0o060_000 => return special("a block device"),
        0o010_000 => return special("a pipe"),
        0o140_000 => return special("a socket"),
        _ => return special("of unknown type"),
    }
    drop(member);
    let member = archive.by_index(index).map_err(|error| budget.explain(&error))?;
    let mut content = Metered::new(member, budget);
    let actual = sink.file(&raw, mode & 0o111 != 0, &mut content as &mut dyn Read, &|error| budget.explain(&error))?;
    if actual != expected {
        return Err(ArchiveError::Truncated { name: name(), expected, actual });
    }
    Ok(())
}
