//! Archives written byte by byte: libraries refuse to write what attackers send.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::Write as _;

pub(crate) const MANIFEST: &str = r#"{"id": "demo", "entry_point": "plugin.wasm"}"#;

/// A tar whose headers say whatever the test wants.
#[derive(Default)]
pub(crate) struct RawTar(Vec<u8>);

impl RawTar {
    /// A valid plugin to which something is added.
    pub(crate) fn plugin() -> Self {
        Self::default().file("manifest.json", MANIFEST.as_bytes()).file("plugin.wasm", b"\0asm")
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        self.member(name, b'0', "", content)
    }

    pub(crate) fn member(self, name: impl AsRef<[u8]>, kind: u8, link: &str, content: &[u8]) -> Self {
        self.member_with_mode(name, kind, link, content, 0o644)
    }

    pub(crate) fn member_with_mode(
        mut self,
        name: impl AsRef<[u8]>,
        kind: u8,
        link: &str,
        content: &[u8],
        mode: u32,
    ) -> Self {
        self.header_with_mode(name, kind, link, content.len(), mode);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A header alone, whatever follows.
    pub(crate) fn header(&mut self, name: impl AsRef<[u8]>, kind: u8, link: &str, size: usize) {
        self.header_with_mode(name, kind, link, size, 0o644);
    }

    fn header_with_mode(&mut self, name: impl AsRef<[u8]>, kind: u8, link: &str, size: usize, mode: u32) {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_ref());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        if kind == b'S' {
            // Sparse files are GNU's own: its magic, and the real size.
            put(257, b"ustar  \0");
            put(483, b"00000000000\0");
        } else {
            put(257, b"ustar\x0000");
            put(329, b"0000000\0");
            put(337, b"0000000\0");
        }
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
    }

    /// A header without the magic of any later variety.
    pub(crate) fn old_header(&mut self, name: impl AsRef<[u8]>, kind: u8, size: usize) {
        let start = self.0.len();
        self.header(name, kind, "", size);
        let block = &mut self.0[start..];
        block[257..].fill(0);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    /// One record of an extended header.
    pub(crate) fn pax(self, kind: u8, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        self.member("pax", kind, "", format!("{length}{rest}").as_bytes())
    }

    /// Without an end, and without gzip.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn gz(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        gzip(&self.0)
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One member of a [`RawZip`]; fields that differ between its two headers tell a lie.
#[derive(Clone)]
pub(crate) struct ZipMember {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) mode: u32,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) content: Vec<u8>,
    /// What both headers say of the size, when it is not so.
    pub(crate) size: Option<u32>,
    /// What the local header says of the size, when it says something else than the directory.
    pub(crate) local_size: Option<u32>,
    /// What both headers say of the checksum, when it is not so.
    pub(crate) crc: Option<u32>,
    /// Extra fields of the directory, and of the local header.
    pub(crate) extra: Vec<u8>,
    pub(crate) local_extra: Vec<u8>,
    /// Sizes and checksum behind the content, none in the local header.
    pub(crate) descriptor: bool,
    /// The same without the signature in front of them.
    pub(crate) bare_descriptor: bool,
    /// Where the directory says that the local header is, when it is not.
    pub(crate) offset: Option<u32>,
    /// The system that the directory says made it: 3 is Unix, 0 is DOS.
    pub(crate) system: u8,
    /// The lower half of the attributes.
    pub(crate) dos: u8,
    /// Behind the packed content, and counted with it.
    pub(crate) packed_extra: Vec<u8>,
    /// Whether the directory has it, and whether the file has it.
    pub(crate) listed: bool,
    pub(crate) written: bool,
}

impl ZipMember {
    pub(crate) fn new(name: impl AsRef<[u8]>, mode: u32, content: &[u8]) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            local_name: None,
            mode,
            flags: 0,
            method: 0,
            content: content.to_vec(),
            size: None,
            local_size: None,
            crc: None,
            extra: Vec::new(),
            local_extra: Vec::new(),
            descriptor: false,
            bare_descriptor: false,
            offset: None,
            system: 3,
            dos: 0,
            packed_extra: Vec::new(),
            listed: true,
            written: true,
        }
    }

    fn packed(&self) -> Vec<u8> {
        if self.method != 8 {
            return [self.content.as_slice(), &self.packed_extra].concat();
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.content).unwrap();
        [encoder.finish().unwrap(), self.packed_extra.clone()].concat()
    }

    fn local(&self) -> Vec<u8> {
        let packed = self.packed();
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.extend(self.common(true, packed.len()));
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend((self.local_extra.len() as u16).to_le_bytes());
        bytes.extend(name);
        bytes.extend(&self.local_extra);
        bytes.extend(&packed);
        if self.descriptor {
            bytes.extend(if self.bare_descriptor { b"".as_slice() } else { b"PK\x07\x08" });
            bytes.extend(&self.common(false, packed.len())[10..]);
        }
        bytes
    }

    fn directory_entry(&self, offset: u32) -> Vec<u8> {
        let mut bytes = b"PK\x01\x02\x14".to_vec();
        bytes.push(self.system);
        bytes.extend(self.common(false, self.packed().len()));
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend((self.extra.len() as u16).to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend((self.mode << 16 | u32::from(self.dos)).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend(&self.name);
        bytes.extend(&self.extra);
        bytes
    }

    /// The 22 bytes that both headers share.
    fn common(&self, local: bool, packed: usize) -> Vec<u8> {
        let mut crc = flate2::Crc::new();
        crc.update(&self.content);
        let size = self.size.unwrap_or(self.content.len() as u32);
        let mut sums = [self.crc.unwrap_or(crc.sum()), packed as u32, size];
        if local && self.descriptor {
            sums = [0; 3];
        }
        if let Some(size) = self.local_size.filter(|_| local) {
            sums[2] = size;
        }
        let mut common = vec![20, 0];
        common.extend_from_slice(&(self.flags | u16::from(self.descriptor) << 3).to_le_bytes());
        common.extend_from_slice(&self.method.to_le_bytes());
        common.extend_from_slice(&[0, 0, 0x21, 0]);
        common.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
        common
    }
}

/// A zip file whose headers say whatever the test wants.
#[derive(Default)]
pub(crate) struct RawZip {
    pub(crate) members: Vec<ZipMember>,
    /// Where offsets say that the first member begins.
    pub(crate) first_at: usize,
    /// Between the last member and the directory.
    pub(crate) between: Vec<u8>,
    /// Between the directory and the end record, and counted with the directory.
    pub(crate) before_end: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    /// The number of members that the end claims, when it is not so.
    pub(crate) count: Option<u16>,
}

impl RawZip {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A valid plugin to which something is added.
    pub(crate) fn plugin() -> Self {
        Self::new().file("manifest.json", MANIFEST.as_bytes()).file("plugin.wasm", b"\0asm")
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        self.with(ZipMember::new(name, 0o100_644, content))
    }

    pub(crate) fn with(mut self, member: ZipMember) -> Self {
        self.members.push(member);
        self
    }

    /// What the members take, up to the directory.
    pub(crate) fn local_length(&self) -> usize {
        self.members.iter().map(|member| member.local().len()).sum()
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        let listed = self.members.iter().filter(|member| member.listed).count();
        let count = self.count.unwrap_or(listed as u16);
        for member in self.members {
            if member.listed {
                let offset = member.offset.unwrap_or((self.first_at + bytes.len()) as u32);
                directory.extend(member.directory_entry(offset));
            }
            if member.written {
                bytes.extend(member.local());
            }
        }
        bytes.extend(self.between);
        directory.extend(self.before_end);
        let start = (self.first_at + bytes.len()) as u32;
        bytes.extend_from_slice(&directory);
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&start.to_le_bytes());
        bytes.extend_from_slice(&(self.comment.len() as u16).to_le_bytes());
        bytes.extend(self.comment);
        bytes
    }
}
