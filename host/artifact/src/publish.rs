//! Publishing: an archive is checked, then put in place, and its record last.

use crate::error::ArtifactError;
use crate::folder::Folder;
use crate::name::{FileName, METADATA, Version};
use crate::record::{Origin, Record};
use crate::store::ArtifactStore;
use jiff::Timestamp;
use mortise_delivery::{ArchiveFormat, ArchiveLimits, StagedPlugin, Staging, pack};
use mortise_model::{Digest, PluginId};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// How long a publication waits for another of the same plugin: many times what writing the largest one takes.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

impl ArtifactStore {
    /// Packs the plugin in `folder` and publishes that. The same files give the same bytes.
    ///
    /// Its id is `id`, or else what its manifest says, or else the folder's name; its version is `version`, or else the
    /// manifest's, or else none. A manifest that disagrees with `id` is an error. Blocks.
    ///
    /// # Errors
    /// [`ArtifactError`]; what was published before is published still.
    pub fn publish_folder(
        &self,
        folder: &Path,
        id: Option<&PluginId>,
        version: Option<&str>,
        staging: &Staging,
    ) -> Result<Record, ArtifactError> {
        if !std::fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(ArtifactError::PluginNotFound { path: folder.to_owned() });
        }
        let limits = ArchiveLimits::default();
        // The copy is what is checked and what is packed, whatever happens to the folder meanwhile.
        let staged = StagedPlugin::from_folder(folder, id, &limits.tree, staging)?;
        let version = Version::chosen(version)?
            .map_or_else(|| Version::chosen(staged.manifest.version.as_deref()), |given| Ok(Some(given)))?;
        let bytes = pack(staged.root(), &staged.id, &limits.tree)?;
        self.put(&staged.id, &bytes, version)
    }

    /// Publishes an archive as it is, after a check that it could be installed as `id`. Without `version` it has none,
    /// whatever its manifest says (wire contract 10.3). Blocks.
    ///
    /// # Errors
    /// [`ArtifactError`]; what was published before is published still.
    pub fn publish_bytes(
        &self,
        id: &PluginId,
        bytes: &[u8],
        version: Option<&str>,
        staging: &Staging,
    ) -> Result<Record, ArtifactError> {
        let version = Version::chosen(version)?;
        if ArchiveFormat::detect("auto", None, bytes) == ArchiveFormat::Zip {
            return Err(ArtifactError::Zip);
        }
        StagedPlugin::from_archive(bytes, ArchiveFormat::TarGz, Some(id), &ArchiveLimits::default(), staging)?;
        self.put(id, bytes, version)
    }

    fn put(&self, id: &PluginId, bytes: &[u8], version: Option<Version>) -> Result<Record, ArtifactError> {
        let folder = Folder::root(self.dir())?.make_child(id.as_str())?;
        let lock = folder.lock(LOCK_PATIENCE)?.ok_or_else(|| ArtifactError::Busy { plugin_id: id.clone() })?;
        let digest = Digest::of(bytes);
        let record = Record {
            plugin_id: id.clone(),
            filename: FileName::of(version.as_ref(), &digest),
            digest,
            size: bytes.len() as u64,
            origin: Origin::Published { version, created_at: Timestamp::now() },
        };
        folder.replace(&lock, record.filename.as_str(), bytes)?;
        let metadata = format!("{:#}\n", Value::Object(record.to_json()));
        folder.replace(&lock, METADATA, metadata.as_bytes())?;
        Ok(record)
    }
}
