//! Gzip tars: one gzip member, one tar in it, and nothing behind either.
//!
//! The library finds the headers and checks their sums. What extended headers say is judged here, because readers
//! differ in it: where two of them give a member two names or two sizes, the archive is refused.

use super::budget::{Budget, METADATA_BYTES_MAX, Metered};
use super::{ArchiveError, ArchiveLimits, Sink};
use crate::member::shown;
use flate2::bufread::GzDecoder;
use std::io::Read;
use tar::{Archive, Entry, EntryType, PaxExtension, PaxExtensions};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How the keys begin that give a member's content another meaning than its bytes.
const SPARSE: &[u8] = b"GNU.sparse";

/// Unpacks into `sink`. Nothing is kept in memory but one block and one member's headers.
pub(super) fn unpack(bytes: &[u8], limits: &ArchiveLimits, sink: &mut Sink) -> Result<(), ArchiveError> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Err(ArchiveError::NotGzip);
    }
    let budget = Budget::new(*limits, bytes.len() as u64);
    let mut decoder = GzDecoder::new(bytes);
    let mut stream = Metered::new(&mut decoder, &budget);
    unpack_tar(&mut stream, &budget, limits.tree.members_max, sink)?;
    ensure_zeros(&mut stream, &budget)?;
    match decoder.into_inner() {
        [] => Ok(()),
        rest if rest.starts_with(&GZIP_MAGIC) => Err(ArchiveError::SeveralGzips),
        _ => Err(ArchiveError::TrailingData { after: "the gzip data" }),
    }
}

fn unpack_tar(
    stream: &mut impl Read,
    budget: &Budget,
    members_max: usize,
    sink: &mut Sink,
) -> Result<(), ArchiveError> {
    let mut archive = Archive::new(stream);
    let entries = archive.entries().map_err(|error| budget.explain(&error))?.raw(true);
    let (mut members, mut extended) = (0, Extended::default());
    for entry in entries {
        let mut entry = entry.map_err(|error| budget.explain(&error))?;
        let header = entry.header();
        // The oldest variety has no extended headers: to some readers these would be members.
        let is_extensible = header.as_ustar().is_some() || header.as_gnu().is_some();
        match header.entry_type() {
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
                if !is_extensible =>
            {
                return Err(ArchiveError::SpecialFile { name: shown(&entry.path_bytes()), kind: "of unknown type" });
            }
            EntryType::GNULongName => extended.long_name(&mut entry, budget)?,
            EntryType::GNULongLink => extended.long_link(&mut entry, budget)?,
            EntryType::XHeader => extended.records(&mut entry, budget)?,
            kind => {
                members += 1;
                if members > members_max {
                    return Err(ArchiveError::TooManyMembers { members_max });
                }
                if kind == EntryType::XGlobalHeader {
                    extended.ensure_none()?;
                    check_global(&mut entry, budget)?;
                } else {
                    unpack_member(&mut entry, std::mem::take(&mut extended), budget, sink)?;
                }
            }
        }
    }
    extended.ensure_none()
}

/// What comes before a member and says more about it than its header can.
#[derive(Debug, Default)]
struct Extended {
    long_name: Option<Vec<u8>>,
    /// Where a link leads; the link itself is refused.
    long_link: Option<Vec<u8>>,
    records: Option<Records>,
}

/// What counts of a POSIX extended header. Times, owners and the like do not.
#[derive(Debug, Default)]
struct Records {
    path: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    sparse: bool,
}

impl Extended {
    fn ensure_none(&self) -> Result<(), ArchiveError> {
        if self.long_name.is_none() && self.long_link.is_none() && self.records.is_none() {
            return Ok(());
        }
        Err(ArchiveError::Corrupt { reason: "an extended header is not followed by its member".to_owned() })
    }

    fn long_name(&mut self, entry: &mut Entry<'_, impl Read>, budget: &Budget) -> Result<(), ArchiveError> {
        let mut name = metadata(entry, budget)?;
        name.pop_if(|last| *last == 0);
        once(&mut self.long_name, name)
    }

    fn long_link(&mut self, entry: &mut Entry<'_, impl Read>, budget: &Budget) -> Result<(), ArchiveError> {
        once(&mut self.long_link, metadata(entry, budget)?)
    }

    fn records(&mut self, entry: &mut Entry<'_, impl Read>, budget: &Budget) -> Result<(), ArchiveError> {
        let mut said = Records::default();
        for record in records(&metadata(entry, budget)?, budget) {
            let record = record?;
            match record.key_bytes() {
                b"path" => once(&mut said.path, record.value_bytes().to_vec())?,
                b"size" => once(&mut said.size, record.value_bytes().to_vec())?,
                key => said.sparse |= key.starts_with(SPARSE),
            }
        }
        match self.records.replace(said) {
            None => Ok(()),
            Some(first) => Err(ArchiveError::RepeatedHeader { name: shown(&first.path.unwrap_or_default()) }),
        }
    }
}

/// Sets what may be said but once.
fn once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<(), ArchiveError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(first) => Err(ArchiveError::RepeatedHeader { name: shown(&first) }),
    }
}

/// A header of the archive as a whole, as `git archive` writes it. It may say nothing that changes members.
fn check_global(entry: &mut Entry<'_, impl Read>, budget: &Budget) -> Result<(), ArchiveError> {
    for record in records(&metadata(entry, budget)?, budget) {
        let key = record?.key_bytes();
        let changes_members = [b"path".as_slice(), b"linkpath", b"size", b"hdrcharset"].contains(&key);
        if changes_members || key.starts_with(SPARSE) {
            return Err(ArchiveError::GlobalHeader { key: shown(key) });
        }
    }
    Ok(())
}

fn records<'a>(bytes: &'a [u8], budget: &Budget) -> impl Iterator<Item = Result<PaxExtension<'a>, ArchiveError>> {
    PaxExtensions::new(bytes).map(|record| record.map_err(|error| budget.explain(&error)))
}

/// The content of an extended header, which is read into memory.
fn metadata(entry: &mut Entry<'_, impl Read>, budget: &Budget) -> Result<Vec<u8>, ArchiveError> {
    let (expected, mut content) = (entry.size(), Vec::new());
    if expected > METADATA_BYTES_MAX {
        return Err(ArchiveError::MetadataTooLarge { bytes_max: METADATA_BYTES_MAX });
    }
    entry.read_to_end(&mut content).map_err(|error| budget.explain(&error))?;
    let actual = content.len() as u64;
    if actual != expected {
        return Err(ArchiveError::Truncated { name: shown(&entry.path_bytes()), expected, actual });
    }
    Ok(content)
}

fn unpack_member(
    entry: &mut Entry<'_, impl Read>,
    extended: Extended,
    budget: &Budget,
    sink: &mut Sink,
) -> Result<(), ArchiveError> {
    let Records { path, size, sparse } = extended.records.unwrap_or_default();
    let disagree = |name: &[u8]| ArchiveError::HeadersDisagree { name: shown(name) };
    let raw = match (extended.long_name, path) {
        (Some(long), Some(path)) if long != path => return Err(disagree(&path)),
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => entry.path_bytes().into_owned(),
    };
    let expected = entry.size();
    if size.is_some_and(|size| size != expected.to_string().as_bytes()) {
        return Err(disagree(&raw));
    }
    let name = || shown(&raw);
    let special = |kind| Err(ArchiveError::SpecialFile { name: name(), kind });
    match entry.header().entry_type() {
        _ if sparse => return special("a sparse file"),
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Directory if expected == 0 => return sink.folder(&raw),
        EntryType::Directory => return special("a folder with content"),
        EntryType::Symlink => return Err(ArchiveError::SymbolicLink { name: name() }),
        EntryType::Link => return Err(ArchiveError::HardLink { name: name() }),
        EntryType::Char => return special("a character device"),
        EntryType::Block => return special("a block device"),
        EntryType::Fifo => return special("a pipe"),
        EntryType::GNUSparse => return special("a sparse file"),
        _ => return special("of unknown type"),
    }
    let mode = entry.header().mode().map_err(|error| budget.explain(&error))?;
    let actual = sink.file(&raw, mode, entry, &|error| budget.explain(&error))?;
    if actual != expected {
        return Err(ArchiveError::Truncated { name: name(), expected, actual });
    }
    Ok(())
}

/// Reads to the end, where the gzip checksum is. A tar ends with zeros; some readers look for members behind them.
fn ensure_zeros(stream: &mut impl Read, budget: &Budget) -> Result<(), ArchiveError> {
    let mut buffer = [0; 8 << 10];
    loop {
        match stream.read(&mut buffer).map_err(|error| budget.explain(&error))? {
            0 => return Ok(()),
            read if buffer.iter().take(read).any(|&byte| byte != 0) => {
                return Err(ArchiveError::TrailingData { after: "the end of the tar" });
            }
            _ => {}
        }
    }
}
