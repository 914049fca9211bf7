//! TLS settings that NATS and Zenoh share.

use crate::{MeshError, Secret};
use std::path::PathBuf;

/// PEM text, or the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// Read when the mesh connects.
    File(PathBuf),
    /// The text itself, as portal credentials carry it (wire contract 9.2).
    Inline(Secret),
}

impl Pem {
    /// The PEM text.
    ///
    /// # Errors
    /// [`MeshError::Setting`] naming `setting` when the file can't be read.
    pub(crate) async fn read(&self, setting: &'static str) -> Result<Vec<u8>, MeshError> {
        match self {
            Self::Inline(text) => Ok(text.expose().as_bytes().to_vec()),
            Self::File(path) => tokio::fs::read(path).await.map_err(|error| MeshError::Setting {
                setting,
                reason: format!("failed to read `{}`: {error}", path.display()),
            }),
        }
    }
}

/// How a broker is checked, and how this device proves itself to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The authorities that may have signed the broker's certificate. Without any, the system's are trusted.
    pub ca: Option<Pem>,
    /// This device's certificate chain; goes with `key`.
    pub cert: Option<Pem>,
    /// The private key of `cert`.
    pub key: Option<Pem>,
    /// Whether the broker's certificate must bear the name that was dialled. On unless an operator says otherwise
    /// (wire contract S10); the chain is checked either way.
    pub verify_hostname: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { ca: None, cert: None, key: None, verify_hostname: true }
    }
}

impl TlsConfig {
    /// The certificate and its key.
    ///
    /// # Errors
    /// [`MeshError::Setting`] when one of them is missing.
    pub(crate) fn identity(&self) -> Result<Option<(&Pem, &Pem)>, MeshError> {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(MeshError::Setting { setting: "tls.key", reason: "`tls.cert` is set without its key".to_owned() })
            }
            (None, Some(_)) => Err(MeshError::Setting {
                setting: "tls.cert",
                reason: "`tls.key` is set without its certificate".to_owned(),
            }),
        }
    }
}
