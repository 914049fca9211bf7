//! The rustls configuration of a NATS connection.

use crate::{MeshError, TlsConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// What async-nats is to use instead of its default, which trusts the system's authorities and shows no certificate;
/// none when `config` asks for just that.
pub(super) async fn client_config(config: &TlsConfig) -> Result<Option<ClientConfig>, MeshError> {
    let identity = config.identity()?;
    let Some(ca) = &config.ca else {
        if identity.is_none() && config.verify_hostname {
            return Ok(None);
        }
        return Err(MeshError::Setting {
            setting: "tls.ca",
            reason: "needed with a client certificate, and when the host name is not verified".to_owned(),
        });
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca", &ca.read("tls.ca").await?)? {
        roots.add(certificate).map_err(|error| invalid("tls.ca", error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("tls", error))?;
    let builder = if config.verify_hostname {
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(ChainVerifier { roots, provider }))
    };
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates("tls.cert", &cert.read("tls.cert").await?)?;
            let key = PrivateKeyDer::from_pem_slice(&key.read("tls.key").await?)
                .map_err(|error| invalid("tls.key", error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| invalid("tls.key", error))?
        }
    };
    Ok(Some(config))
}

fn invalid(setting: &'static str, error: impl std::fmt::Display) -> MeshError {
    MeshError::Setting { setting, reason: error.to_string() }
}

fn certificates(setting: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MeshError> {
    let certificates =
        CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| invalid(setting, error))?;
    if certificates.is_empty() {
        return Err(invalid(setting, "holds no certificate"));
    }
    Ok(certificates)
}

/// Checks the broker's chain and signatures, but not its name (`tls.verify_hostname` off).
#[derive(Debug)]
struct ChainVerifier {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
