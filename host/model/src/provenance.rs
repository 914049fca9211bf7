//! Where a plugin's files came from.

use crate::Digest;
use url::Url;

/// What is known of where a plugin's files came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// Which way.
    pub source: Source,
    /// Of the archive they came in; a folder has none.
    pub archive: Option<Digest>,
    /// The public key by which the archive's signature was verified, as the policy writes it; none where it has none.
    pub signer: Option<String>,
    url: Option<Url>,
}

impl Provenance {
    /// From what is on record.
    #[must_use]
    pub fn new(source: Source, archive: Option<Digest>, signer: Option<String>) -> Self {
        let url = match &source {
            Source::Url { url } => Url::parse(url).ok(),
            _ => None,
        };
        Self { source, archive, signer, url }
    }

    /// The URL of [`Source::Url`], in its parts; none where it is none.
    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        self.url.as_ref()
    }
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
    /// A snapshot of the plugin's working copy: all that is known of files that nobody installed.
    #[default]
    WorkingCopy,
}
