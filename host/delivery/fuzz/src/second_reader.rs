//! What the libraries make of an archive, all by themselves: an archive that is accepted must be the same to them.

use crate::ArchiveFormat;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

/// Content by path, of files alone.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// # Panics
/// When a library refuses the archive.
pub(crate) fn read(bytes: &[u8], format: ArchiveFormat) -> Files {
    match format {
        ArchiveFormat::TarGz => read_tar(bytes),
        ArchiveFormat::Zip => read_zip(bytes),
    }
}

fn read_tar(bytes: &[u8]) -> Files {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes));
    let mut files = Files::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("a member");
        if !entry.header().entry_type().is_file() && !entry.header().entry_type().is_contiguous() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("a name in UTF-8");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        assert!(files.insert(plain(&name), content).is_none(), "{name:?} twice");
    }
    files
}

fn read_zip(bytes: &[u8]) -> Files {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a zip file");
    assert_eq!(archive.offset(), 0, "something stands before the first member");
    let mut files = Files::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).expect("a member");
        if member.is_dir() {
            continue;
        }
        let name = member.name().expect("a name").into_owned();
        let mut content = Vec::new();
        member.read_to_end(&mut content).expect("its content");
        assert!(files.insert(plain(&name), content).is_none(), "{name:?} twice");
    }
    files
}

fn plain(name: &str) -> String {
    format!("/{}", name.strip_prefix("./").unwrap_or(name))
}
