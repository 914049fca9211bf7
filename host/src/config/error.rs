//! What can be wrong with a configuration, each with its cure.

use super::env::NotUnicode;
use super::setting::Origin;
use mortise_model::IdError;
use std::fmt;
use std::path::PathBuf;

/// One thing wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable that is no text.
    #[error(transparent)]
    NotUnicode(#[from] NotUnicode),
    /// A value that does not parse or lies outside its bounds.
    #[error("invalid value `{value}` for {origin}: expected {expected}")]
    Value {
        /// Where it was set.
        origin: Origin,
        /// As set.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A whole number, size or duration that does not parse (wire contract 9.1: exit 2).
    #[error("invalid value `{value}` for {origin}: expected {expected}")]
    Number {
        /// Where it was set.
        origin: Origin,
        /// As set.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A device id or tenant that breaks its rule.
    #[error("invalid value for {origin}")]
    Id {
        /// Where it was set.
        origin: Origin,
        /// The rule.
        #[source]
        source: IdError,
    },
    /// A log level, format or directive that does not parse.
    #[error("invalid value for {origin}")]
    Log {
        /// Where it was set.
        origin: Origin,
        /// What is wrong.
        #[source]
        source: mortise_telemetry::LogError,
    },
    /// `~` without a home folder, or no working directory.
    #[error("failed to make `{path}` from {origin} absolute: {reason}")]
    Path {
        /// Where it was set.
        origin: Origin,
        /// As set.
        path: String,
        /// What is missing.
        reason: String,
    },
    /// The file cannot be read.
    #[error("failed to read credentials file `{path}` named by {origin}")]
    CredentialsRead {
        /// Of the file.
        path: PathBuf,
        /// Who names it.
        origin: Origin,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Neither a portal's JSON nor NATS text (wire contract 9.2).
    #[error("Invalid .creds file format: {path}")]
    CredentialsText {
        /// Of the file.
        path: PathBuf,
    },
    /// JSON, but not of the right form.
    #[error("invalid credentials file `{path}`: {reason}")]
    CredentialsForm {
        /// Of the file.
        path: PathBuf,
        /// Where it goes wrong; never its content.
        reason: String,
    },
    /// Portal mode without a file (wire contract 9.5: exit 2).
    #[error("portal mode found no credentials file matching `{glob}` in `{folder}`")]
    CredentialsMissing {
        /// Searched.
        folder: PathBuf,
        /// Searched for.
        glob: String,
    },
    /// Wire contract 9.2.
    #[error("device id `{configured}` from {origin} differs from `{credentials}` in `{path}`")]
    DeviceIdMismatch {
        /// Asked for.
        configured: String,
        /// By whom.
        origin: Origin,
        /// The file's.
        credentials: String,
        /// The file.
        path: PathBuf,
    },
    /// A broker that the backend cannot reach.
    #[error("`{url}` from {origin} is no {backend} URL")]
    BrokerUrl {
        /// With user information masked.
        url: String,
        /// Where it was set.
        origin: Origin,
        /// Chosen backend.
        backend: &'static str,
    },
    /// NATS without a server (wire contract 9.1).
    #[error("backend `nats` needs a broker URL")]
    BrokerMissing,
    /// Wire contract 9.3.
    #[error("NATS needs credentials: no JWT and no credentials file")]
    AuthenticationMissing,
    /// Wire contract 9.3.
    #[error("credentials file `{path}` holds no NATS JWT and NKey seed")]
    AuthenticationNotInFile {
        /// Of the file.
        path: PathBuf,
    },
    /// Wire contract 9.3.
    #[error("a NATS JWT and an NKey seed belong together: {missing} is missing")]
    AuthenticationHalf {
        /// Which one.
        missing: &'static str,
    },
    /// Wire contract 9.3.
    #[error("`{url}` asks for TLS, but no certificate authority is configured")]
    TlsAuthorityMissing {
        /// With user information masked.
        url: String,
    },
    /// Only one half of a client certificate.
    #[error("a TLS client certificate and its key belong together: {missing} is missing")]
    TlsHalf {
        /// Which one.
        missing: &'static str,
    },
    /// A flag that would change nothing beside the other settings.
    #[error("{origin} has no effect: {reason}")]
    WithoutEffect {
        /// The flag.
        origin: Origin,
        /// Why.
        reason: &'static str,
    },
    /// A host in the list of those that archives may be fetched from that no URL could ever have.
    #[error("invalid value for {origin}")]
    Allowlist {
        /// Where it was set.
        origin: Origin,
        /// Which entry.
        #[source]
        source: mortise_delivery::HostPatternError,
    },
    /// A file of authorities that no download could use.
    #[error("invalid value for {origin}")]
    Authorities {
        /// Where it was set.
        origin: Origin,
        /// Which file, and what is wrong with it.
        #[source]
        source: Box<mortise_delivery::FetchError>,
    },
    /// A policy that cannot be used.
    #[error("invalid value for {origin}")]
    Policy {
        /// Where it was set.
        origin: Origin,
        /// Which file, and what is wrong with it.
        #[source]
        source: crate::policy::PolicyFileError,
    },
    /// A deployment under the reference's name that says no host (wire contract 10.11: exit 2).
    #[error("`--host` is missing")]
    HostMissing,
    /// A public URL of the artifact server that is none.
    #[error("invalid value for {origin}")]
    ArtifactUrl {
        /// Where it was set.
        origin: Origin,
        /// What is wrong; never the URL itself.
        #[source]
        source: mortise_artifact::UrlBaseError,
    },
    /// Something the reference host has and Mortise does not have yet.
    #[error("{feature} is not supported yet (asked for by {origin})")]
    Unsupported {
        /// In words.
        feature: &'static str,
        /// Who asks.
        origin: Origin,
        /// What to do instead.
        cure: &'static str,
    },
}

impl ConfigError {
    /// What to do about it, where that is not plain from the message.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::CredentialsMissing { .. } => {
                "name the file with `--portal-credentials FILE`, or leave `--portal` out".into()
            }
            Self::DeviceIdMismatch { credentials, .. } => {
                format!("use `--device-id {credentials}`, or leave the device id to the credentials file")
            }
            Self::BrokerUrl { .. } => {
                "give a URL such as `nats://host:4222`, `zenoh://host:7447` or `tcp/host:7447`, or name the backend with \
                 `--messaging-backend`"
                    .into()
            }
            Self::BrokerMissing => "give one with `--messaging-url nats://host:4222` or `NATS_URL`".into(),
            Self::AuthenticationMissing => "give `--nats-credentials-file FILE`; for a server without authentication \
                                            set `DEVICE_CONNECT_ALLOW_INSECURE=1` or pass `--allow-insecure`"
                .into(),
            Self::AuthenticationHalf { .. } => "set both `NATS_JWT` and `NATS_NKEY_SEED`, or use a credentials file".into(),
            Self::TlsAuthorityMissing { .. } => "set `MESSAGING_TLS_CA_FILE` to the broker's CA certificate".into(),
            Self::TlsHalf { .. } => "set both `MESSAGING_TLS_CERT_FILE` and `MESSAGING_TLS_KEY_FILE`".into(),
            Self::WithoutEffect { origin: Origin::Flag(flag), .. } => format!("leave `{flag}` out"),
            Self::WithoutEffect { .. } => "leave it out".into(),
            Self::Unsupported { cure, .. } => (*cure).to_owned(),
            Self::ArtifactUrl { source, .. } => source.hint(),
            Self::Authorities { source, .. } => source.hint(),
            Self::Policy { source, .. } => source.hint(),
            Self::HostMissing => {
                "say which host with `--host ID`; `mortise deploy` without it asks the one of this machine".into()
            }
            Self::AuthenticationNotInFile { .. } => "name a file with a `nats` section, or NATS `.creds` text".into(),
            Self::NotUnicode(_)
            | Self::Value { .. }
            | Self::Number { .. }
            | Self::Id { .. }
            | Self::Log { .. }
            | Self::Allowlist { .. }
            | Self::Path { .. }
            | Self::CredentialsRead { .. }
            | Self::CredentialsText { .. }
            | Self::CredentialsForm { .. } => return None,
        };
        Some(text)
    }

    /// Whether this is a wrong call of the program (exit 2) and not a bad configuration (exit 64).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Number { .. }
            | Self::CredentialsMissing { .. }
            | Self::HostMissing
            | Self::WithoutEffect { .. }
            | Self::Unsupported { .. } => true,
            Self::Value { origin, .. } | Self::Id { origin, .. } | Self::Log { origin, .. } => {
                matches!(origin, Origin::Flag(_))
            }
            _ => false,
        }
    }
}

/// Everything wrong with a configuration, found in one go. Never empty.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn of(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Whether all of them are wrong calls of the program.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.0.iter().all(ConfigError::is_usage)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something allowed that the operator should know; `run` logs each at start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigWarning {
    /// Wire contract 1.1.
    #[error(
        "device id `{0}` holds dots: peers and the registry never discover such a device; it answers only to its exact name"
    )]
    DottedDeviceId(String),
    /// Wire contract 9.3.
    #[error("running INSECURE: authentication and the device id are not checked at start; not for production")]
    Insecure,
    /// Whoever installs a plugin decides what it may do.
    #[error("running with the policy profile `development`: plugins get whatever they ask for; not for production")]
    DevelopmentPolicy,
    /// Wire contract 9.3.
    #[error("a TLS certificate authority is configured, but no broker URL begins with `tls://`")]
    AuthorityWithoutTls,
    /// Wire contract 9.3.
    #[error("TLS without a NATS JWT works only with a server that takes anonymous clients")]
    TlsWithoutAuthentication,
    /// Wire contract 9.1: `ZENOH_CONNECT` forces the backend.
    #[error("`ZENOH_CONNECT` selects the backend `zenoh`, although {0} says `nats`")]
    BackendOverruled(Origin),
    /// Wire contract 10.9: the artifact server asks nobody who they are.
    #[error("the artifact server listens on `{host}`: whoever reaches it can fetch every published plugin")]
    ArtifactsOpen {
        /// As configured.
        host: String,
    },
    /// The credentials file has no section for the chosen backend.
    #[error("credentials file `{path}` has no section `{backend}`")]
    SectionMissing {
        /// Of the file.
        path: PathBuf,
        /// Chosen.
        backend: &'static str,
    },
    /// A variable that changes nothing: one of the reference host's that means nothing here, or one that means nothing
    /// beside the other settings.
    #[error("`{name}` has no effect: {reason}")]
    WithoutEffect {
        /// The variable.
        name: &'static str,
        /// Why.
        reason: &'static str,
    },
}
