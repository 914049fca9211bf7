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

/// How many versions a listing tells; replies have to fit into a message of the mesh.
const VERSIONS_LISTED_MAX: usize = 1_000;

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
        for plugin_id in plugins(&root)? {
            records.extend(listed(&plugin_id, self.listed(&root, &plugin_id)));
        }
        Ok(records)
    }

    /// A listing as replies and `GET /artifacts` show it: `artifacts`, which are those of [`Self::list`], and beside them
    /// `versions`, every archive of every plugin, sorted by plugin and file name (wire contract 11, T5). Of more than
    /// 1,000 of those the first are told, and in `versions_omitted` how many are not.
    ///
    /// # Errors
    /// As for [`Self::list`].
    pub fn listing(&self) -> Result<Map<String, Value>, ArtifactError> {
        let root = Folder::root(&self.inner.dir)?;
        let (mut versions, mut omitted) = (Vec::new(), 0);
        for plugin_id in plugins(&root)? {
            let room = VERSIONS_LISTED_MAX - versions.len();
            let found = root.child(plugin_id.as_str()).and_then(|folder| match folder {
                Some(folder) => self.folder_versions(&folder, &plugin_id, room),
                None => Ok((Vec::new(), 0)),
            });
            for (records, more) in listed(&plugin_id, found.map(|found| vec![found])) {
                versions.extend(records);
                omitted += more;
            }
        }
        let shown = |records: &[Record]| records.iter().map(|record| Value::Object(self.to_json(record))).collect();
        let mut listing = Map::new();
        listing.insert("artifacts".to_owned(), shown(&self.list()?));
        listing.insert("versions".to_owned(), shown(&versions));
        if omitted > 0 {
            listing.insert("versions_omitted".to_owned(), omitted.into());
        }
        Ok(listing)
    }

    fn listed(&self, root: &Folder, plugin_id: &PluginId) -> Result<Vec<Record>, DiskError> {
        let Some(folder) = root.child(plugin_id.as_str())? else { return Ok(Vec::new()) };
        match self.latest(&folder, plugin_id)? {
            Some(record) => Ok(vec![record]),
            None => {
                let records = archive_names(&folder)?.into_iter();
                let records = records.map(|file| self.record(&folder, plugin_id, file, Origin::Unknown));
                Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
        }
    }

    /// Every archive of one plugin, sorted by file name; none for a plugin that has none. The latest carries what its
    /// metadata tells, the others what their file's name does.
    ///
    /// # Errors
    /// [`ArtifactError::Disk`].
    pub fn versions(&self, plugin_id: &PluginId) -> Result<Vec<Record>, ArtifactError> {
        let Some(folder) = self.folder(plugin_id)? else { return Ok(Vec::new()) };
        Ok(self.folder_versions(&folder, plugin_id, usize::MAX)?.0)
    }

    /// The same, at most `records_max`, and how many more there are.
    fn folder_versions(
        &self,
        folder: &Folder,
        plugin_id: &PluginId,
        records_max: usize,
    ) -> Result<(Vec<Record>, usize), DiskError> {
        let latest = self.metadata(folder, plugin_id)?;
        let mut files = archive_names(folder)?;
        let omitted = files.len().saturating_sub(records_max);
        files.truncate(records_max);
        let mut records = Vec::new();
        for file in files {
            let Some(mut record) = self.record(folder, plugin_id, file, Origin::Unknown)? else { continue };
            record.origin = match &latest {
                Some(latest) if latest.filename == record.filename => latest.origin.clone(),
                _ if record.filename == FileName::of(None, &record.digest) => Origin::Unknown,
                _ => record.filename.version().map_or(Origin::Unknown, Origin::Version),
            };
            records.push(record);
        }
        Ok((records, omitted))
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

/// The folders of the store that are a plugin's, sorted.
fn plugins(root: &Folder) -> Result<impl Iterator<Item = PluginId>, DiskError> {
    Ok(root.names()?.into_iter().filter_map(|name| PluginId::new(&name).ok()))
}

/// The archives in a plugin's folder, sorted.
fn archive_names(folder: &Folder) -> Result<Vec<FileName>, DiskError> {
    let names = folder.names()?;
    Ok(names.iter().filter_map(|name| FileName::parse(name)).filter(FileName::is_archive).collect())
}

/// What was found in a plugin's folder. One that cannot be read is logged, and the others are listed.
fn listed<T>(plugin_id: &PluginId, found: Result<Vec<T>, DiskError>) -> Vec<T> {
    found.unwrap_or_else(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(plugin = %plugin_id, error, "cannot list the artifacts of a plugin");
        Vec::new()
    })
}
