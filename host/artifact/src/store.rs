//! The folder of published archives (wire contract 10.8).

use crate::address::UrlBase;
use crate::error::ArtifactError;
use crate::folder::{Folder, failed};
use crate::measure::Digests;
use crate::name::{ArtifactRef, FileName, METADATA, Version};
use crate::record::{Metadata, Origin, Record};
use mortise_delivery::DiskError;
use mortise_model::{Digest, PluginId};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Many times what the store writes; a larger `artifact.json` is not one.
const METADATA_BYTES_MAX: u64 = 64 << 10;

/// Published archives: `<dir>/<plugin id>/<version>.tgz` and, for the latest one, `artifact.json` beside it. The layout
/// is the reference host's: either reads what the other wrote. Clones share the store. Every method that touches the
/// disk blocks: for callers on threads that may.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    base: UrlBase,
    digests: Digests,
}

/// One artifact, opened. Whatever is published afterwards, it stays what it was.
#[derive(Debug)]
pub struct OpenArtifact {
    /// At its beginning.
    pub file: File,
    /// Bytes.
    pub size: u64,
    /// Of the content.
    pub digest: Digest,
    /// When the content was last written.
    pub modified: SystemTime,
}

impl ArtifactStore {
    /// Opens the store at `dir`, which is made if there is none.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(dir: &Path, base: UrlBase) -> Result<Self, DiskError> {
        std::fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let inner = Inner { dir: dir.to_owned(), base, digests: Digests::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where it is: `artifact_dir` of the replies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The URL under which clients find an artifact.
    #[must_use]
    pub fn url(&self, record: &Record) -> String {
        self.inner.base.url(&ArtifactRef { plugin_id: record.plugin_id.clone(), file: record.filename.clone() })
    }

    /// A record as replies and `GET /artifacts` show it: its own keys, and `url` (wire contract 10.3).
    #[must_use]
    pub fn to_json(&self, record: &Record) -> Map<String, Value> {
        let mut object = record.to_json();
        object.insert("url".to_owned(), self.url(record).into());
        object
    }

    /// The latest record of each plugin, sorted by plugin; of a folder without metadata one record for each archive
    /// (wire contract 10.8). Folders and files whose names the store would not give are passed over, and so are metadata
    /// that name no archive. A folder that cannot be read is logged, and the others are listed.
    ///
    /// # Errors
    /// [`ArtifactError::Disk`], when the store itself cannot be read.
    pub fn list(&self) -> Result<Vec<Record>, ArtifactError> {
        let root = Folder::root(&self.inner.dir)?;
        let mut records = Vec::new();
        for name in root.names()? {
            let Ok(plugin_id) = PluginId::new(&name) else { continue };
            match self.listed(&root, &plugin_id) {
                Ok(listed) => records.extend(listed),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(plugin = %plugin_id, error, "cannot list the artifacts of a plugin");
                }
            }
        }
        Ok(records)
    }

    fn listed(&self, root: &Folder, plugin_id: &PluginId) -> Result<Vec<Record>, DiskError> {
        let Some(folder) = root.child(plugin_id.as_str())? else { return Ok(Vec::new()) };
        match self.latest(&folder, plugin_id)? {
            Some(record) => Ok(vec![record]),
            None => self.archives(&folder, plugin_id, |_| Origin::Unknown),
        }
    }

    /// Every archive of one plugin, sorted by file name; none for a plugin that has none. The latest carries what its
    /// metadata tells.
    ///
    /// # Errors
    /// [`ArtifactError::Disk`].
    pub fn versions(&self, plugin_id: &PluginId) -> Result<Vec<Record>, ArtifactError> {
        let Some(folder) = self.folder(plugin_id)? else { return Ok(Vec::new()) };
        let latest = self.metadata(&folder, plugin_id)?;
        Ok(self.archives(&folder, plugin_id, |file| match &latest {
            Some(latest) if latest.filename == *file => latest.origin.clone(),
            _ => Origin::Unknown,
        })?)
    }

    /// The record of one version, or the latest one (wire contract 10.3, `get_plugin_artifact_url`).
    ///
    /// # Errors
    /// [`ArtifactError::NotFound`], [`ArtifactError::Version`], [`ArtifactError::Disk`].
    pub fn get(&self, plugin_id: &PluginId, version: Option<&str>) -> Result<Record, ArtifactError> {
        let version = Version::chosen(version)?;
        let absent = || ArtifactError::NotFound { plugin_id: plugin_id.clone() };
        let folder = self.folder(plugin_id)?.ok_or_else(absent)?;
        match version {
            None => self.latest(&folder, plugin_id)?.ok_or_else(absent),
            Some(version) => {
                let file = FileName::of_version(&version);
                self.record(&folder, plugin_id, file, Origin::Version(version))?.ok_or_else(absent)
            }
        }
    }

    /// Which artifact of this store a URL names, if it is one of ours; see [`UrlBase::resolve`]. The artifact need not
    /// exist: [`Self::read`] says so.
    #[must_use]
    pub fn resolve_local(&self, url: &str) -> Option<ArtifactRef> {
        self.inner.base.resolve(url)
    }

    /// Opens one artifact. Links are not followed, and only regular files are artifacts.
    ///
    /// # Errors
    /// [`ArtifactError::NotFound`], [`ArtifactError::Disk`].
    pub fn open_artifact(&self, artifact: &ArtifactRef) -> Result<OpenArtifact, ArtifactError> {
        let absent = || ArtifactError::NotFound { plugin_id: artifact.plugin_id.clone() };
        let folder = self.folder(&artifact.plugin_id)?.ok_or_else(absent)?;
        self.open_in(&folder, &artifact.file)?.ok_or_else(absent)
    }

    /// The whole of one artifact, at most `bytes_max`: for installing from a URL of our own without HTTP.
    ///
    /// # Errors
    /// [`ArtifactError::NotFound`], [`ArtifactError::TooLarge`], [`ArtifactError::Disk`].
    pub fn read(&self, artifact: &ArtifactRef, bytes_max: u64) -> Result<Vec<u8>, ArtifactError> {
        let absent = || ArtifactError::NotFound { plugin_id: artifact.plugin_id.clone() };
        let folder = self.folder(&artifact.plugin_id)?.ok_or_else(absent)?;
        let name = artifact.file.as_str();
        let (file, metadata) = folder.file(name)?.ok_or_else(absent)?;
        let mut bytes = Vec::new();
        if metadata.len() <= bytes_max {
            // One byte more than allowed shows a file that grew.
            let read = file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(failed("read", &folder.path().join(name)))?;
        }
        if metadata.len().max(bytes.len() as u64) > bytes_max {
            return Err(ArtifactError::TooLarge { bytes_max });
        }
        Ok(bytes)
    }

    fn folder(&self, plugin_id: &PluginId) -> Result<Option<Folder>, DiskError> {
        Folder::root(&self.inner.dir)?.child(plugin_id.as_str())
    }

    fn latest(&self, folder: &Folder, plugin_id: &PluginId) -> Result<Option<Record>, DiskError> {
        let Some(Metadata { filename, origin }) = self.metadata(folder, plugin_id)? else { return Ok(None) };
        self.record(folder, plugin_id, filename, origin)
    }

    fn metadata(&self, folder: &Folder, plugin_id: &PluginId) -> Result<Option<Metadata>, DiskError> {
        let Some((file, _)) = folder.file(METADATA)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(METADATA_BYTES_MAX).read_to_end(&mut bytes).map_err(failed("read", &folder.path().join(METADATA)))?;
        let metadata = Metadata::parse(&bytes, plugin_id);
        if metadata.is_none() {
            tracing::warn!(plugin = %plugin_id, "`{METADATA}` of a published plugin is not what was written there");
        }
        Ok(metadata)
    }

    fn archives(
        &self,
        folder: &Folder,
        plugin_id: &PluginId,
        origin: impl Fn(&FileName) -> Origin,
    ) -> Result<Vec<Record>, DiskError> {
        let mut records = Vec::new();
        for file in folder.names()?.iter().filter_map(|name| FileName::parse(name)).filter(FileName::is_archive) {
            let origin = origin(&file);
            records.extend(self.record(folder, plugin_id, file, origin)?);
        }
        Ok(records)
    }

    fn record(
        &self,
        folder: &Folder,
        plugin_id: &PluginId,
        filename: FileName,
        origin: Origin,
    ) -> Result<Option<Record>, DiskError> {
        let Some(OpenArtifact { size, digest, .. }) = self.open_in(folder, &filename)? else { return Ok(None) };
        Ok(Some(Record { plugin_id: plugin_id.clone(), filename, digest, size, origin }))
    }

    fn open_in(&self, folder: &Folder, name: &FileName) -> Result<Option<OpenArtifact>, DiskError> {
        let Some((file, metadata)) = folder.file(name.as_str())? else { return Ok(None) };
        let measure = || -> io::Result<_> { Ok((self.inner.digests.of(&file, &metadata)?, metadata.modified()?)) };
        let (digest, modified) = measure().map_err(failed("read", &folder.path().join(name.as_str())))?;
        Ok(Some(OpenArtifact { file, size: metadata.len(), digest, modified }))
    }
}
