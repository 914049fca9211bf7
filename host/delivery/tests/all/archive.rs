//! Archives written byte by byte: libraries refuse to write what attackers send.

use crate::fixture::MANIFEST;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::Write as _;

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

    pub(crate) fn member(mut self, name: impl AsRef<[u8]>, kind: u8, link: &str, content: &[u8]) -> Self {
        self.header(name, kind, link, content.len());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A header alone, whatever follows.
    pub(crate) fn header(&mut self, name: impl AsRef<[u8]>, kind: u8, link: &str, size: usize) {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_ref());
        put(100, b"0000644\0");
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
    pub(crate) size: Option<u32>,
}

impl ZipMember {
    pub(crate) fn new(name: impl AsRef<[u8]>, mode: u32, content: &[u8]) -> Self {
        let (name, content) = (name.as_ref().to_vec(), content.to_vec());
        Self { name, local_name: None, mode, flags: 0, method: 0, content, size: None }
    }
}

/// A zip file whose headers say whatever the test wants.
pub(crate) struct RawZip(Vec<ZipMember>);

impl RawZip {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// A valid plugin to which something is added.
    pub(crate) fn plugin() -> Self {
        Self::new().file("manifest.json", MANIFEST.as_bytes()).file("plugin.wasm", b"\0asm")
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        self.with(ZipMember::new(name, 0o100_644, content))
    }

    pub(crate) fn with(mut self, member: ZipMember) -> Self {
        self.0.push(member);
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        let count = self.0.len();
        for member in self.0 {
            let offset = bytes.len();
            let (common, packed) = common(&member);
            let local_name = member.local_name.as_ref().unwrap_or(&member.name);
            bytes.extend_from_slice(b"PK\x03\x04");
            bytes.extend_from_slice(&common);
            bytes.extend_from_slice(&(local_name.len() as u16).to_le_bytes());
            bytes.extend_from_slice(&[0; 2]);
            bytes.extend_from_slice(local_name);
            bytes.extend_from_slice(&packed);
            // Made by Unix, so that the upper half of the attributes is a mode.
            directory.extend_from_slice(b"PK\x01\x02\x14\x03");
            directory.extend_from_slice(&common);
            directory.extend_from_slice(&(member.name.len() as u16).to_le_bytes());
            directory.extend_from_slice(&[0; 8]);
            directory.extend_from_slice(&(member.mode << 16).to_le_bytes());
            directory.extend_from_slice(&(offset as u32).to_le_bytes());
            directory.extend_from_slice(&member.name);
        }
        let start = bytes.len();
        bytes.extend_from_slice(&directory);
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        bytes.extend_from_slice(&(count as u16).to_le_bytes());
        bytes.extend_from_slice(&(count as u16).to_le_bytes());
        bytes.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(start as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes
    }
}

/// The 22 bytes that both headers share, and the content as it is stored.
fn common(member: &ZipMember) -> (Vec<u8>, Vec<u8>) {
    let packed = if member.method == 8 {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&member.content).unwrap();
        encoder.finish().unwrap()
    } else {
        member.content.clone()
    };
    let mut crc = flate2::Crc::new();
    crc.update(&member.content);
    let size = member.size.unwrap_or(member.content.len() as u32);
    let mut common = vec![20, 0];
    common.extend_from_slice(&member.flags.to_le_bytes());
    common.extend_from_slice(&member.method.to_le_bytes());
    common.extend_from_slice(&[0, 0, 0x21, 0]);
    common.extend_from_slice(&crc.sum().to_le_bytes());
    common.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    common.extend_from_slice(&size.to_le_bytes());
    (common, packed)
}
