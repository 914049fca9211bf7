//! Archives (wire contract 10.5): gzip tars and zip files, unpacked member by member within limits.

mod budget;
mod error;
mod sink;
mod tarball;
mod zip_directory;
mod zipfile;

pub use error::ArchiveError;
pub(crate) use sink::Sink;

use crate::member::TreeLimits;
use crate::{Staging, disk::failed};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How much one archive may bring. Its packed size is limited where it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Unpacked.
    pub tree: TreeLimits,
    /// Unpacked bytes per packed byte, once more than 1 MiB is unpacked.
    pub ratio_max: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        // Source and WebAssembly shrink to a fifth; deflate alone reaches a thousandth with zeros.
        Self { tree: TreeLimits::default(), ratio_max: 200 }
    }
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// A tar, compressed with gzip.
    TarGz,
    /// A zip file.
    Zip,
}

impl ArchiveFormat {
    /// Finds out (wire contract 10.5): the caller's word, else the name's ending, else the first bytes.
    ///
    /// `format` is `auto`, `tar.gz`, `tgz` or `zip`; anything else means `auto`, as with the reference host. `name` is
    /// a URL or file name; bundles have none.
    #[must_use]
    pub fn detect(format: &str, name: Option<&str>, bytes: &[u8]) -> Self {
        match format.trim().to_ascii_lowercase().as_str() {
            "tar.gz" | "tgz" => return Self::TarGz,
            "zip" => return Self::Zip,
            _ => {}
        }
        let name = name.unwrap_or_default().to_ascii_lowercase();
        if name.ends_with(".zip") {
            Self::Zip
        } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") || !bytes.starts_with(b"PK") {
            Self::TarGz
        } else {
            Self::Zip
        }
    }
}

/// An archive's content in a folder of its own, which is removed on drop.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Where the manifest lies.
    pub(crate) root: PathBuf,
    /// The name of the only top-level folder, where the manifest lies in one.
    pub(crate) top: Option<String>,
    pub(crate) guard: TempDir,
}

/// Unpacks `bytes` into a fresh folder of `staging`. Blocks. On any error nothing of it is left.
pub(crate) fn unpack(
    bytes: &[u8],
    format: ArchiveFormat,
    limits: &ArchiveLimits,
    staging: &Staging,
) -> Result<Unpacked, ArchiveError> {
    let (guard, content) = staging.fresh()?;
    let mut sink = Sink::new(content.clone(), limits.tree);
    match format {
        ArchiveFormat::TarGz => tarball::unpack(bytes, limits, &mut sink)?,
        ArchiveFormat::Zip => zipfile::unpack(bytes, limits, &mut sink)?,
    }
    sink.finish()?;
    let (root, top) = find_root(&content)?;
    Ok(Unpacked { root, top, guard })
}

/// The folder that has the manifest: the top one, or the only folder in it. Files beside that folder do not count.
fn find_root(content: &Path) -> Result<(PathBuf, Option<String>), ArchiveError> {
    if is_file(&content.join("manifest.json")) {
        return Ok((content.to_owned(), None));
    }
    let mut only = None;
    for entry in std::fs::read_dir(content).map_err(failed("read", content))? {
        let entry = entry.map_err(failed("read", content))?;
        if entry.file_type().map_err(failed("read", content))?.is_dir() && only.replace(entry).is_some() {
            return Err(ArchiveError::NoManifest);
        }
    }
    let only = only.ok_or(ArchiveError::NoManifest)?;
    if !is_file(&only.path().join("manifest.json")) {
        return Err(ArchiveError::NoManifest);
    }
    Ok((only.path(), Some(only.file_name().to_string_lossy().into_owned())))
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::ArchiveFormat::{self, TarGz, Zip};

    #[test]
    fn the_format_is_found_as_the_reference_finds_it() {
        for (format, name, bytes, expected) in [
            ("auto", None, &b"PK\x03\x04"[..], Zip),
            ("auto", None, b"\x1f\x8b", TarGz),
            ("auto", None, b"", TarGz),
            ("auto", Some("http://a/B.ZIP"), b"\x1f\x8b", Zip),
            ("auto", Some("a.tgz"), b"PK", TarGz),
            ("auto", Some("a.tar.gz"), b"PK", TarGz),
            ("auto", Some("http://a/b.tgz?x=1"), b"PK", Zip),
            ("zip", Some("a.tgz"), b"\x1f\x8b", Zip),
            ("tgz", Some("a.zip"), b"PK", TarGz),
            (" TAR.GZ", None, b"PK", TarGz),
            ("rar", None, b"PK", Zip),
        ] {
            assert_eq!(ArchiveFormat::detect(format, name, bytes), expected, "{format} {name:?}");
        }
    }
}
