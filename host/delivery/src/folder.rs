//! Installed plugins: the folders of `capabilities_dir`.

use crate::disk::{DiskError, failed};
use crate::member::TreeLimits;
use crate::tree::{MANIFEST, Selection, Tree, TreeError};
use mortise_model::{Digest, IdError, Manifest, ManifestError, PluginId, RuntimeKind};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// No manifest (wire contract 10.12).
    #[error("missing manifest.json")]
    NoManifest,
    /// The manifest names a file that is not there.
    #[error("entry point not found: {entry_point}")]
    NoEntryPoint {
        /// As the manifest writes it.
        entry_point: String,
    },
    /// See [`ManifestError`].
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// See [`TreeError`].
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl FolderError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoManifest => "missing_manifest",
            Self::NoEntryPoint { .. } => "missing_entry_point",
            Self::Manifest(error) => error.code(),
            Self::Tree(error) => error.code(),
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoManifest => "put a manifest.json at the top of the plugin's folder".to_owned(),
            Self::NoEntryPoint { entry_point } => {
                format!("add `{entry_point}` to the plugin's folder (build it first?), or correct \"entry_point\"")
            }
            Self::Manifest(error) => error.hint(),
            Self::Tree(error) => error.hint(),
        }
    }
}

/// A plugin's folder, read and checked.
#[derive(Debug, Clone)]
pub struct PluginFolder {
    /// The folder's name.
    pub id: PluginId,
    /// The folder.
    pub root: PathBuf,
    /// Read together with the files that `tree` covers.
    pub manifest: Arc<Manifest>,
    /// Tree digest: over path, mode and content of every file.
    pub tree: Digest,
}

impl PluginFolder {
    /// Reads the folder `id` of `capabilities_dir`: manifest, entry point, tree digest. Blocks for as long as it takes
    /// to read every file, at most [`TreeLimits::bytes_max`].
    ///
    /// A folder that is a link, or that holds one, is refused: what a plugin is lies in its own folder.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(capabilities_dir: &Path, id: &PluginId, limits: &TreeLimits) -> Result<Self, FolderError> {
        let root = capabilities_dir.join(id.as_str());
        let (manifest, tree) =
            read(&root, Selection::Everything, limits, &|bytes| Manifest::parse_installed(bytes, id))?;
        Ok(Self { id: id.clone(), root, manifest: Arc::new(manifest), tree: tree.digest })
    }
}

/// Reads and checks a plugin's files, whichever folder they are in.
pub(crate) fn read(
    root: &Path,
    selection: Selection,
    limits: &TreeLimits,
    parse: &dyn Fn(&[u8]) -> Result<Manifest, ManifestError>,
) -> Result<(Manifest, Tree), FolderError> {
    let tree = Tree::read(root, selection, limits)?;
    Ok((check(&tree, parse)?, tree))
}

/// Checks what was read: manifest and entry point.
pub(crate) fn check(
    tree: &Tree,
    parse: &dyn Fn(&[u8]) -> Result<Manifest, ManifestError>,
) -> Result<Manifest, FolderError> {
    let manifest = parse(tree.manifest.as_deref().ok_or(FolderError::NoManifest)?)?;
    // A container is run from its image.
    if manifest.runtime != RuntimeKind::Docker && !tree.has(&manifest.entry_point) {
        return Err(FolderError::NoEntryPoint { entry_point: manifest.entry_point });
    }
    Ok(manifest)
}

/// One folder of `capabilities_dir`, whether or not it can be loaded.
#[derive(Debug)]
pub struct ListedFolder {
    /// The folder's name, which may be no plugin id.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Its manifest, or why there is none to show.
    pub manifest: Result<Box<Manifest>, ListedError>,
}

/// Why a listed folder has no manifest to show.
#[derive(Debug, thiserror::Error)]
pub enum ListedError {
    /// The folder's name is no plugin id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The folder is a link.
    #[error("is a symbolic link")]
    Link,
    /// No manifest (wire contract 10.3, `list_plugins`).
    #[error("missing manifest.json")]
    NoManifest,
    /// See [`ManifestError`].
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The folders of `capabilities_dir`, sorted by name, each with its manifest (wire contract 10.3, `list_plugins`).
/// Dot folders are never plugins; files are not looked at. Blocks.
///
/// # Errors
/// [`DiskError`] when `capabilities_dir` itself cannot be read.
pub fn list_folders(capabilities_dir: &Path) -> Result<Vec<ListedFolder>, DiskError> {
    let read = || failed("read", capabilities_dir);
    let mut folders = Vec::new();
    for entry in fs::read_dir(capabilities_dir).map_err(read())? {
        let entry = entry.map_err(read())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let kind = entry.file_type().map_err(read())?;
        let is_folder = kind.is_dir() || (kind.is_symlink() && path.is_dir());
        if name.starts_with('.') || !is_folder {
            continue;
        }
        let manifest = if kind.is_symlink() { Err(ListedError::Link) } else { listed_manifest(&name, &path) };
        folders.push(ListedFolder { name, path, manifest });
    }
    folders.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(folders)
}

fn listed_manifest(name: &str, path: &Path) -> Result<Box<Manifest>, ListedError> {
    let id = PluginId::new(name)?;
    let path = path.join(MANIFEST);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("read", &path)(error).into()),
        _ => return Err(ListedError::NoManifest),
    }
    let bytes = read_manifest(&path)?;
    Ok(Box::new(Manifest::parse_installed(&bytes, &id)?))
}

/// Not more of the file than shows that it is too large.
fn read_manifest(path: &Path) -> Result<Vec<u8>, DiskError> {
    use std::io::Read as _;
    let file = fs::File::open(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    file.take(mortise_model::MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(bytes)
}
