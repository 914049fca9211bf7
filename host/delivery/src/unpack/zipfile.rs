//! Zip files.

use super::budget::{Budget, Metered};
use super::zip_directory::{self, METHOD_DEFLATED, ZipMember};
use super::{ArchiveError, ArchiveLimits, Sink};
use crate::member::shown;
use crc32fast::Hasher;
use flate2::bufread::DeflateDecoder;
use std::io::{self, Read};

/// The bits of a Unix mode that tell files from folders, links and the rest.
const FILE_TYPE: u32 = 0o170_000;

/// Unpacks into `sink`.
pub(super) fn unpack(bytes: &[u8], limits: &ArchiveLimits, sink: &mut Sink) -> Result<(), ArchiveError> {
    let budget = Budget::new(*limits, bytes.len() as u64);
    let members = zip_directory::read(bytes, limits.tree.members_max)?;
    members.iter().try_for_each(|member| unpack_member(member, &budget, sink))
}

fn unpack_member(member: &ZipMember<'_>, budget: &Budget, sink: &mut Sink) -> Result<(), ArchiveError> {
    let (raw, mode, expected) = (member.name, member.mode, u64::from(member.size));
    let name = || shown(raw);
    let special = |kind| Err(ArchiveError::SpecialFile { name: name(), kind });
    let is_folder = raw.ends_with(b"/");
    match mode & FILE_TYPE {
        0 | 0o100_000 if !is_folder => {}
        0 | 0o040_000 if is_folder && expected == 0 => {}
        0 | 0o040_000 | 0o100_000 => return special("a folder with content, or a file named like a folder"),
        0o120_000 => return Err(ArchiveError::SymbolicLink { name: name() }),
        0o020_000 => return special("a character device"),
        0o060_000 => return special("a block device"),
        0o010_000 => return special("a pipe"),
        0o140_000 => return special("a socket"),
        _ => return special("of unknown type"),
    }
    // One byte more than the header says is enough to see that it lies.
    let mut content = Content::new(member).take(expected.saturating_add(1));
    let mut metered = Metered::new(&mut content, budget);
    let actual = if is_folder {
        sink.folder(raw)?;
        // Some archivers deflate even this, and nothing takes two bytes then.
        io::copy(&mut metered, &mut io::sink()).map_err(|error| budget.explain(&error))?
    } else {
        sink.file(raw, mode, &mut metered, &|error| budget.explain(&error))?
    };
    if actual != expected {
        return Err(ArchiveError::Truncated { name: name(), expected, actual });
    }
    let content = content.into_inner();
    if content.unread() != 0 {
        return Err(ArchiveError::HiddenData { name: name() });
    }
    if content.crc.finalize() != member.crc {
        return Err(ArchiveError::Checksum { name: name() });
    }
    Ok(())
}

/// A member's content, unpacked and summed up as it is read.
struct Content<'a> {
    source: Source<'a>,
    crc: Hasher,
}

enum Source<'a> {
    Stored(&'a [u8]),
    Deflated(DeflateDecoder<&'a [u8]>),
}

impl<'a> Content<'a> {
    fn new(member: &ZipMember<'a>) -> Self {
        let source = match member.method {
            METHOD_DEFLATED => Source::Deflated(DeflateDecoder::new(member.packed)),
            _ => Source::Stored(member.packed),
        };
        Self { source, crc: Hasher::new() }
    }

    /// Packed bytes behind the content's own end.
    fn unread(&self) -> usize {
        match &self.source {
            Source::Stored(rest) => rest.len(),
            Source::Deflated(decoder) => decoder.get_ref().len(),
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Stored(rest) => rest.read(buffer)?,
            Source::Deflated(decoder) => decoder.read(buffer)?,
        };
        self.crc.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
