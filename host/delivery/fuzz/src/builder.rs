//! Archives put together from a script, so that mutations change what members say and not how they are packed.

#[path = "../../tests/all/archive.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod archive;

use arbitrary::Arbitrary;
use archive::{MANIFEST, RawTar, RawZip, ZipMember};

/// An archive to be made.
#[derive(Debug, Arbitrary)]
pub struct Script {
    top_folder: bool,
    no_manifest: bool,
    members: Vec<Member>,
}

#[derive(Debug, Arbitrary)]
struct Member {
    name: Name,
    kind: Kind,
    mode: u16,
    content: Content,
    lie: Option<Lie>,
}

#[derive(Debug, Arbitrary)]
struct Name {
    absolute: bool,
    parts: Vec<Part>,
    folder: bool,
}

#[derive(Debug, Arbitrary)]
enum Part {
    Lower(u8),
    Upper(u8),
    Manifest,
    Dot,
    Parent,
    Empty,
    Composed,
    Decomposed,
    SharpS,
    Long(u8),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
enum Kind {
    File,
    Folder,
    SymbolicLink,
    HardLink,
    Sparse,
    Other(u8),
}

#[derive(Debug, Arbitrary)]
enum Content {
    Bytes(Vec<u8>),
    Zeros(u16),
}

#[derive(Debug, Arbitrary)]
enum Lie {
    /// Another name in an extended header, or in the other of a zip's two headers.
    Name(Name),
    Pax {
        global: bool,
        key: String,
        value: String,
    },
    Size(u32),
    Flags(u16),
    Method(u16),
}

impl Name {
    fn bytes(&self) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = self.parts.iter().take(40).map(Part::bytes).collect();
        let mut bytes = if self.absolute { b"/".to_vec() } else { Vec::new() };
        bytes.extend(parts.join(&b'/'));
        bytes.extend(self.folder.then_some(b'/'));
        bytes
    }
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Lower(letter) => vec![b'a' + letter % 26],
            Self::Upper(letter) => vec![b'A' + letter % 26],
            Self::Manifest => b"manifest.json".to_vec(),
            Self::Dot => b".".to_vec(),
            Self::Parent => b"..".to_vec(),
            Self::Empty => Vec::new(),
            Self::Composed => "\u{e9}".into(),
            Self::Decomposed => "e\u{301}".into(),
            Self::SharpS => "\u{df}".into(),
            Self::Long(length) => vec![b'n'; usize::from(*length)],
            Self::Text(text) => text.clone().into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Zeros(length) => vec![0; usize::from(*length)],
        }
    }
}

impl Member {
    fn name(&self, script: &Script) -> Vec<u8> {
        let prefix: &[u8] = if script.top_folder { b"top/" } else { b"" };
        [prefix, &self.name.bytes()].concat()
    }
}

impl Script {
    fn manifest_name(&self) -> &'static str {
        if self.top_folder { "top/manifest.json" } else { "manifest.json" }
    }

    /// Without gzip.
    #[must_use]
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = RawTar::default();
        if !self.no_manifest {
            tar = tar.file(self.manifest_name(), MANIFEST.as_bytes());
        }
        for member in &self.members {
            let kind = match member.kind {
                Kind::File => b'0',
                Kind::HardLink => b'1',
                Kind::SymbolicLink => b'2',
                Kind::Folder => b'5',
                Kind::Sparse => b'S',
                Kind::Other(kind) => kind,
            };
            let (mut name, mut content) = (member.name(self), member.content.bytes());
            match &member.lie {
                Some(Lie::Name(other)) => tar = tar.member("long", b'L', "", &other.bytes()),
                Some(Lie::Pax { global, key, value }) => {
                    tar = tar.pax(if *global { b'g' } else { b'x' }, key, value);
                }
                Some(Lie::Size(size)) => {
                    tar.header("size", kind, "", *size as usize);
                    content.truncate(1024);
                }
                _ => {}
            }
            if name.len() > 100 {
                tar = tar.member("long", b'L', "", &name);
                name.truncate(100);
            }
            if matches!(member.kind, Kind::Folder | Kind::SymbolicLink | Kind::HardLink) {
                content.clear();
            }
            tar = tar.member_with_mode(name, kind, "/etc/passwd", &content, u32::from(member.mode));
        }
        tar.bytes()
    }

    /// The same members as a zip file.
    #[must_use]
    pub fn zip(&self) -> Vec<u8> {
        let mut zip = RawZip::new();
        if !self.no_manifest {
            zip = zip.file(self.manifest_name(), MANIFEST.as_bytes());
        }
        for member in &self.members {
            let kind = match member.kind {
                Kind::File | Kind::HardLink | Kind::Sparse => 0o100_000,
                Kind::Folder => 0o040_000,
                Kind::SymbolicLink => 0o120_000,
                Kind::Other(kind) => u32::from(kind) << 9,
            };
            let mut raw =
                ZipMember::new(member.name(self), kind | u32::from(member.mode & 0o7777), &member.content.bytes());
            raw.method = if member.mode & 1 == 0 { 8 } else { 0 };
            match &member.lie {
                Some(Lie::Name(other)) => raw.local_name = Some(other.bytes()),
                Some(Lie::Size(size)) => raw.size = Some(*size),
                Some(Lie::Flags(flags)) => raw.flags = *flags,
                Some(Lie::Method(method)) => raw.method = *method,
                Some(Lie::Pax { key, .. }) => raw.extra = key.clone().into_bytes(),
                None => {}
            }
            zip = zip.with(raw);
        }
        zip.bytes()
    }
}
