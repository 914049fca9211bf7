//! The framing of a zip file: which bytes belong to which member.
//!
//! A zip file describes each member twice, may begin and end anywhere in a larger file, and may hold bytes that nobody
//! describes. Readers make different sense of all that, and attackers live on the difference. Here there is one reading:
//! members, directory and end record follow one another from the first byte to the last, without gap or overlap, and
//! both descriptions of a member agree. Everything else is refused.

use super::ArchiveError;
use crate::member::shown;

const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
/// Stands in front of the end record where there is a second, larger one.
const ZIP64_LOCATOR: &[u8] = b"PK\x06\x07";
const ZIP64_LOCATOR_BYTES: usize = 20;

/// Fields too small for their value.
const ZIP64_U16: u16 = u16::MAX;
const ZIP64_U32: u32 = u32::MAX;

/// Extra fields: larger sizes, and the name once more, in UTF-8.
const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_UNICODE_PATH: u16 = 0x7075;
/// AES of WinZip, in extra field and method.
const EXTRA_AES: u16 = 0x9901;
const METHOD_AES: u16 = 99;
pub(super) const METHOD_STORED: u16 = 0;
pub(super) const METHOD_DEFLATED: u16 = 8;

/// Flags: encrypted (plainly, strongly, with a masked directory), sizes behind the content, a patch, a name in UTF-8.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_PATCH: u16 = 1 << 5;
const FLAG_UTF8: u16 = 1 << 11;

/// Makers whose attributes hold a Unix mode, and the one bit of DOS that matters.
const SYSTEMS_UNIX: [u8; 2] = [3, 19];
const DOS_FOLDER: u32 = 0x10;

/// One member, as both of its headers describe it.
#[derive(Debug)]
pub(super) struct ZipMember<'a> {
    pub(super) name: &'a [u8],
    /// With the kind of file in its upper bits; none where the archive's maker had no modes.
    pub(super) mode: u32,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: &'a [u8],
    /// Unpacked, in bytes.
    pub(super) size: u32,
}

/// The members in the order of the directory, at most `members_max`.
pub(super) fn read(bytes: &[u8], members_max: usize) -> Result<Vec<ZipMember<'_>>, ArchiveError> {
    let end = find_end(bytes)?;
    let (mut directory, start) = (Cursor { bytes: bytes.get(end.start..end.at).unwrap_or_default() }, end.start);
    let (mut members, mut extents) = (Vec::new(), Vec::new());
    while !directory.bytes.is_empty() {
        if members.len() == members_max {
            return Err(ArchiveError::TooManyMembers { members_max });
        }
        let entry = Entry::read(&mut directory)?;
        let (member, extent) = entry.member(bytes.get(..start).unwrap_or_default())?;
        extents.push((extent, members.len()));
        members.push(member);
    }
    if members.len() != usize::from(end.count) {
        return Err(ArchiveError::MemberCount { expected: end.count.into(), actual: members.len() });
    }
    extents.sort_unstable_by_key(|(extent, _)| (extent.start, extent.end));
    let mut covered = 0;
    for (extent, member) in extents {
        if extent.start < covered {
            let name = members.get(member).map(|member| shown(member.name)).unwrap_or_default();
            return Err(ArchiveError::Overlap { name });
        }
        ensure_no_gap(covered, extent.start)?;
        covered = extent.end;
    }
    ensure_no_gap(covered, start)?;
    Ok(members)
}

fn ensure_no_gap(covered: usize, next: usize) -> Result<(), ArchiveError> {
    match covered {
        _ if covered == next => Ok(()),
        0 => Err(ArchiveError::LeadingData),
        offset => Err(ArchiveError::StrayData { offset: offset as u64 }),
    }
}

struct End {
    /// Where the end record begins, and with it the directory ends.
    at: usize,
    /// Where the directory begins.
    start: usize,
    count: u16,
}

fn find_end(bytes: &[u8]) -> Result<End, ArchiveError> {
    let tail_start = bytes.len().saturating_sub(END_BYTES + usize::from(u16::MAX));
    let tail = bytes.get(tail_start..).unwrap_or_default();
    // Where the record that begins at `at` ends: a comment of variable length is its last field.
    let ends_at = |at: usize| Some(at + END_BYTES + usize::from(u16_at(bytes, at + END_BYTES - 2)?));
    let mut found =
        tail.windows(END.len()).enumerate().rev().filter(|(_, window)| *window == END).map(|(at, _)| tail_start + at);
    let at = found.next().ok_or(ArchiveError::NotZip)?;
    match ends_at(at) {
        Some(end) if end == bytes.len() => {}
        Some(end) if end < bytes.len() => {
            return Err(ArchiveError::TrailingData { after: "the end of the zip file" });
        }
        _ => return Err(corrupt("the end record is cut short")),
    }
    if found.any(|other| ends_at(other) == Some(bytes.len())) {
        return Err(ArchiveError::AmbiguousEnd);
    }
    if at.checked_sub(ZIP64_LOCATOR_BYTES).and_then(|at| bytes.get(at..)).is_some_and(|b| b.starts_with(ZIP64_LOCATOR))
    {
        return Err(ArchiveError::Zip64);
    }
    let mut record = Cursor { bytes: bytes.get(at + END.len()..).unwrap_or_default() };
    let [disk, directory_disk, count_here, count] = [record.u16()?, record.u16()?, record.u16()?, record.u16()?];
    let (length, offset) = (record.u32()?, record.u32()?);
    if [count_here, count].contains(&ZIP64_U16) || [length, offset].contains(&ZIP64_U32) {
        return Err(ArchiveError::Zip64);
    }
    if disk != 0 || directory_disk != 0 || count_here != count {
        return Err(ArchiveError::SeveralDisks);
    }
    let start = at.checked_sub(length as usize).ok_or_else(|| corrupt("the directory is larger than the file"))?;
    match offset as usize {
        offset if offset < start => Err(ArchiveError::LeadingData),
        offset if offset > start => Err(corrupt("the directory is not where the end record says")),
        _ => Ok(End { at, start, count }),
    }
}

/// What both headers have in common.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Common {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
}

impl Common {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ArchiveError> {
        let (flags, method) = (cursor.u16()?, cursor.u16()?);
        let _time_and_date = cursor.u32()?;
        Ok(Self { flags, method, crc: cursor.u32()?, packed: cursor.u32()?, size: cursor.u32()? })
    }

    fn without_sums(self) -> Self {
        Self { crc: 0, packed: 0, size: 0, ..self }
    }

    /// As the descriptor behind the content has it.
    fn sums(&self) -> Vec<u8> {
        [self.crc, self.packed, self.size].iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }
}

/// An entry of the directory.
struct Entry<'a> {
    name: &'a [u8],
    common: Common,
    mode: u32,
    offset: u32,
}

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, ArchiveError> {
        cursor.expect(DIRECTORY_ENTRY)?;
        let [_version, system] = cursor.take(2)? else { return Err(corrupt("the directory is cut short")) };
        let _version_needed = cursor.u16()?;
        let common = Common::read(cursor)?;
        let [name, extra, comment, disk, _internal] =
            [cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?];
        let (attributes, offset) = (cursor.u32()?, cursor.u32()?);
        let name = cursor.take(name.into())?;
        check_extra(cursor.take(extra.into())?, name)?;
        cursor.take(comment.into())?;
        if [common.packed, common.size, offset].contains(&ZIP64_U32) || disk == ZIP64_U16 {
            return Err(ArchiveError::Zip64);
        }
        if disk != 0 {
            return Err(ArchiveError::SeveralDisks);
        }
        let mode = match system {
            system if SYSTEMS_UNIX.contains(system) => attributes >> 16,
            0 if attributes & DOS_FOLDER != 0 => 0o040_755,
            _ => 0,
        };
        let entry = Self { name, common, mode, offset };
        entry.check_variety()?;
        Ok(entry)
    }

    fn check_variety(&self) -> Result<(), ArchiveError> {
        let (Common { flags, method, packed, size, .. }, name) = (self.common, || shown(self.name));
        if flags & FLAGS_ENCRYPTED != 0 || method == METHOD_AES {
            return Err(ArchiveError::Encrypted { name: name() });
        }
        if flags & FLAG_PATCH != 0 || ![METHOD_STORED, METHOD_DEFLATED].contains(&method) {
            return Err(ArchiveError::Compression { name: name() });
        }
        if method == METHOD_STORED && packed != size {
            return Err(ArchiveError::HeadersDisagree { name: name() });
        }
        if flags & FLAG_UTF8 == 0 && !self.name.is_ascii() {
            return Err(ArchiveError::NameEncoding { name: name() });
        }
        Ok(())
    }

    /// The member and which bytes it takes, from its local header on. `bytes` ends where the directory begins.
    fn member(self, bytes: &'a [u8]) -> Result<(ZipMember<'a>, std::ops::Range<usize>), ArchiveError> {
        let disagree = || ArchiveError::HeadersDisagree { name: shown(self.name) };
        let start = self.offset as usize;
        let mut cursor = Cursor { bytes: bytes.get(start..).unwrap_or_default() };
        cursor.expect(LOCAL_HEADER)?;
        let _version_needed = cursor.u16()?;
        let local = Common::read(&mut cursor)?;
        let (name, extra) = (cursor.u16()?, cursor.u16()?);
        let name = cursor.take(name.into())?;
        check_extra(cursor.take(extra.into())?, name)?;
        let has_descriptor = self.common.flags & FLAG_DESCRIPTOR != 0;
        let sums_are_later = has_descriptor && local == self.common.without_sums();
        if name != self.name || !(local == self.common || sums_are_later) {
            return Err(disagree());
        }
        let packed = cursor.take(self.common.packed as usize)?;
        if has_descriptor {
            // Its signature is optional.
            let sums = self.common.sums();
            let rest = cursor.bytes.strip_prefix(DESCRIPTOR).and_then(|rest| rest.strip_prefix(sums.as_slice()));
            cursor.bytes = rest.or_else(|| cursor.bytes.strip_prefix(sums.as_slice())).ok_or_else(disagree)?;
        }
        let end = bytes.len() - cursor.bytes.len();
        let Common { method, crc, size, .. } = self.common;
        Ok((ZipMember { name: self.name, mode: self.mode, method, crc, packed, size }, start..end))
    }
}

/// Extra fields are times, owners and the like; some would change what the member is.
fn check_extra(extra: &[u8], name: &[u8]) -> Result<(), ArchiveError> {
    let mut cursor = Cursor { bytes: extra };
    while !cursor.bytes.is_empty() {
        let (id, length) = (cursor.u16()?, cursor.u16()?);
        let field = cursor.take(length.into())?;
        match id {
            EXTRA_ZIP64 => return Err(ArchiveError::Zip64),
            EXTRA_AES => return Err(ArchiveError::Encrypted { name: shown(name) }),
            // One byte of version, four of checksum, and the name.
            EXTRA_UNICODE_PATH if field.get(5..) != Some(name) => {
                return Err(ArchiveError::HeadersDisagree { name: shown(name) });
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is left to read.
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ArchiveError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(|| corrupt("a header is cut short"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn expect(&mut self, signature: &[u8]) -> Result<(), ArchiveError> {
        let found = self.take(signature.len())? == signature;
        found.then_some(()).ok_or_else(|| corrupt("a header is not where it is looked for"))
    }

    fn u16(&mut self) -> Result<u16, ArchiveError> {
        u16_at(self.take(2)?, 0).ok_or_else(|| corrupt("a header is cut short"))
    }

    fn u32(&mut self) -> Result<u32, ArchiveError> {
        let bytes = self.take(4)?.first_chunk().ok_or_else(|| corrupt("a header is cut short"))?;
        Ok(u32::from_le_bytes(*bytes))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn corrupt(reason: &str) -> ArchiveError {
    ArchiveError::Corrupt { reason: reason.to_owned() }
}
