//! Whom a request trusts: the system's authorities, and those that the operator names.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why nobody could be trusted, or not those who should be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// An authority's file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An authority's file holds no certificate, or one that cannot be used.
    #[error("`{}` is no PEM file of certificates", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
    },
    /// Neither the system nor the configuration names an authority to trust.
    #[error("no certificate authority to trust")]
    NoAuthorities,
    /// The rustls configuration cannot be made.
    #[error("failed to set up TLS")]
    Setup {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

impl TlsError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Invalid { .. } => "ca_file",
            Self::NoAuthorities => "no_authorities",
            Self::Setup { .. } => "tls_setup",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("let the host's user read it; the system says: {source}"),
            Self::Invalid { .. } => "name a file with `-----BEGIN CERTIFICATE-----` blocks of authorities".to_owned(),
            Self::NoAuthorities => {
                "install the system's certificates (`ca-certificates`), or name a file of authorities".to_owned()
            }
            Self::Setup { source } => format!("rustls says: {source}"),
        }
    }
}

/// Whether requests could trust the authorities in `ca_files` beside the system's. Blocks.
///
/// # Errors
/// What is wrong with the first of no use.
pub fn check_authorities(ca_files: &[PathBuf]) -> Result<(), TlsError> {
    if ca_files.is_empty() { Ok(()) } else { client_config(ca_files).map(drop) }
}

/// The provider is named, so that it does not matter what the process has as its default.
pub(crate) fn client_config(ca_files: &[PathBuf]) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that rustls cannot use, and a file that cannot be read hides no other: what matters
    // is whether any authority remains.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in ca_files {
        let pem = std::fs::read(path).map_err(|source| TlsError::Read { path: path.clone(), source })?;
        let invalid = || TlsError::Invalid { path: path.clone() };
        let certificates =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| invalid())?;
        if certificates.is_empty() {
            return Err(invalid());
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|_| invalid())?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Setup { source })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
