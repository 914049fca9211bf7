//! Objects: what the mesh itself keeps for its members, larger than a message.

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The transport has no such thing.
    #[error("this mesh keeps no objects")]
    Unsupported,
    /// The host has not reached the mesh yet, or has left it.
    #[error("the mesh is not connected")]
    NotConnected,
    /// There is none, or no such bucket.
    #[error("there is no object `{name}` in bucket `{bucket}`")]
    NotFound {
        /// As asked for.
        bucket: String,
        /// As asked for.
        name: String,
    },
    /// More than the caller takes.
    #[error("object exceeds max size ({bytes_max} bytes)")]
    TooLarge {
        /// The caller's limit.
        bytes_max: u64,
    },
    /// Nothing came in time. A broker says nothing either to whom it does not let in.
    #[error("the object store did not answer in time")]
    Timeout,
    /// Anything else the transport reports.
    #[error("failed to read the object: {0}")]
    Transport(String),
}

impl ObjectError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsupported => "object_store_unsupported",
            Self::NotConnected => "not_connected",
            Self::NotFound { .. } => "object_not_found",
            Self::TooLarge { .. } => "artifact_too_large",
            Self::Timeout => "object_store_timeout",
            Self::Transport(_) => "object_store",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unsupported => "only NATS has an object store: send the archive in parts with `begin_plugin_upload`",
            Self::NotConnected => "try again when the host is on the mesh",
            Self::NotFound { .. } => "look for its bucket and name with `nats object ls`",
            Self::TooLarge { .. } => "leave out what is not needed to run, or raise `DC_PLUGIN_MAX_PLUGIN_BYTES`",
            Self::Timeout | Self::Transport(_) => {
                "see that the broker has JetStream and that the host's credential may read there, or send the archive \
                 in parts with `begin_plugin_upload`"
            }
        }
    }
}
