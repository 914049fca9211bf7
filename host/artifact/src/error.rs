//! Everything that the store refuses.

use crate::name::VersionError;
use mortise_delivery::{DiskError, StageError, TreeError};
use mortise_model::PluginId;
use std::path::PathBuf;

/// What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Wire contract 10.3, `get_plugin_artifact_url`.
    #[error("artifact not found for {plugin_id}")]
    NotFound {
        /// Of which plugin.
        plugin_id: PluginId,
    },
    /// Wire contract 10.3, `publish_plugin_artifact`: neither file nor link.
    #[error("plugin not found: {}", path.display())]
    PluginNotFound {
        /// As given.
        path: PathBuf,
    },
    /// See [`VersionError`].
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Its name would be `<version>.tgz`, and those who download it would take it for a tar.
    #[error("the bundle is a zip file: artifacts are gzip tars")]
    Zip,
    /// Wire contract 10.6. Exactly the limit passes.
    #[error("artifact exceeds max size ({bytes_max} bytes)")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// Somebody else has been publishing the same plugin for longer than anybody should.
    #[error("another publication of `{plugin_id}` is under way")]
    Busy {
        /// Which.
        plugin_id: PluginId,
    },
    /// Not a plugin that could be installed; see [`StageError`].
    #[error(transparent)]
    Stage(#[from] StageError),
    /// See [`TreeError`].
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl ArtifactError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "artifact_not_found",
            Self::PluginNotFound { .. } => "plugin_not_found",
            Self::Version(_) => "invalid_version",
            Self::Zip => "not_a_gzip_tar",
            Self::TooLarge { .. } => "artifact_too_large",
            Self::Busy { .. } => "busy",
            Self::Stage(error) => error.code(),
            Self::Tree(error) => error.code(),
            Self::Disk(_) => "disk",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => "`list_plugin_artifacts` shows what is published".to_owned(),
            Self::PluginNotFound { .. } => "name the folder of a plugin, or send `bundle_b64`".to_owned(),
            Self::Version(_) => "pass a `version` of letters, digits, `.`, `_`, `+` and `-`".to_owned(),
            Self::Zip => "pack the plugin as `.tar.gz`".to_owned(),
            Self::TooLarge { .. } => "leave out what the plugin does not need to run".to_owned(),
            Self::Busy { .. } => "try again".to_owned(),
            Self::Stage(error) => error.hint(),
            Self::Tree(error) => error.hint(),
            Self::Disk(error) => error.hint(),
        }
    }
}
