//! Whom a download trusts: the system's authorities, and those that the operator names.

use super::FetchError;
use crate::disk::failed;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// The provider is named, so that it does not matter what the process has as its default.
pub(super) fn client_config(ca_files: &[PathBuf]) -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that rustls cannot use, and a file that cannot be read hides no other: what matters
    // is whether any authority remains.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in ca_files {
        let pem = std::fs::read(path).map_err(|error| FetchError::CaFile(failed("read", path)(error)))?;
        let invalid = || FetchError::CaFileInvalid { path: path.clone() };
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
        return Err(FetchError::NoAuthorities);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| FetchError::TlsSetup { source })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
