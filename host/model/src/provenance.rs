//! Where a plugin's files came from.

use crate::Digest;

/// What is known of where a plugin's files came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// Which way.
    pub source: Source,
    /// Of the archive they came in; a folder has none.
    pub archive: Option<Digest>,
    /// The public key by which the archive's signature was verified, as the policy writes it; none where it has none.
    pub signer: Option<String>,
}

/// Where a generation came from, as text for people and for the policy. Whoever makes it has taken out secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// A folder of this machine.
    Folder {
        /// Its path.
        path: String,
    },
    /// An archive inside the request.
    Bundle,
    /// An archive that was fetched.
    Url {
        /// From where, without user, password and query.
        url: String,
    },
    /// An archive that came in chunks.
    Upload,
    /// An object that the mesh kept.
    Object {
        /// Where.
        bucket: String,
        /// As its bucket has it.
        name: String,
    },
    /// An archive of the host's own artifact store.
    Artifact {
        /// The plugin it was published for.
        plugin: String,
        /// The version, where it has one.
        version: Option<String>,
    },
    /// A snapshot of the plugin's working copy: all that is known of files that nobody installed.
    #[default]
    WorkingCopy,
}
