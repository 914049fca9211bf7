//! Why there is no archive.

use super::AddressClass;
use crate::DiskError;
use mortise_http::TlsError;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A download that failed, or a [`crate::FetchConfig`] with which none could succeed. URLs are shown without user information,
/// query and fragment.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Whom to trust cannot be told.
    #[error(transparent)]
    Authorities(#[from] TlsError),
    /// The HTTP client cannot be made.
    #[error("failed to set up the HTTP client")]
    Client {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Not a URL, or one without a host.
    #[error("invalid URL: {url}")]
    InvalidUrl {
        /// As given.
        url: String,
    },
    /// A user name or password in the URL would end up in logs and records.
    #[error("`{url}` was given with a user name or password")]
    UserInfo {
        /// Without them.
        url: String,
    },
    /// Neither `https` nor `http`.
    #[error("`{url}` cannot be fetched over `{scheme}`")]
    Scheme {
        /// Of the URL.
        scheme: String,
        /// What was asked for.
        url: String,
    },
    /// `http` is not allowed here.
    #[error("`{url}` is not https")]
    PlainHttp {
        /// What was asked for.
        url: String,
    },
    /// A redirect from `https` to `http`, which is refused whatever is allowed.
    #[error("`{from}` redirects to `{to}`, which is not https")]
    Downgrade {
        /// What was asked for.
        from: String,
        /// Where it led.
        to: String,
    },
    /// The operator's list does not name it.
    #[error("URL host '{host}' is not in DC_PLUGIN_INSTALL_URL_ALLOWLIST")]
    HostNotAllowed {
        /// The URL's.
        host: String,
    },
    /// The host is at a place that may not be connected to.
    #[error("`{host}` is at {address}, a {class} address")]
    Address {
        /// A name, or the address itself.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
        /// What kind of place that is.
        class: AddressClass,
    },
    /// The name cannot be looked up.
    #[error("failed to look `{host}` up")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The name exists and has no address.
    #[error("`{host}` has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// More redirects than are followed.
    #[error("`{url}` redirects more than {redirects_max} times")]
    TooManyRedirects {
        /// The first one.
        url: String,
        /// [`crate::FetchConfig::redirects_max`].
        redirects_max: u32,
    },
    /// A redirect to nowhere.
    #[error("`{url}` redirects without saying where to")]
    RedirectMalformed {
        /// Whose answer it is.
        url: String,
    },
    /// An answer other than success.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// Whose answer it is.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// More bytes, announced or received, than an archive may have.
    #[error("artifact exceeds max size ({bytes_max} bytes)")]
    TooLarge {
        /// [`crate::FetchConfig::bytes_max`].
        bytes_max: u64,
    },
    /// No connection in time.
    #[error("failed to connect to `{url}` within {} s", limit.as_secs_f64())]
    ConnectTimeout {
        /// Where to.
        url: String,
        /// [`crate::FetchConfig::connect_timeout`].
        limit: Duration,
    },
    /// Connected, and then nothing.
    #[error("`{url}` sent nothing for {} s", limit.as_secs_f64())]
    Stalled {
        /// Who.
        url: String,
        /// [`crate::FetchConfig::idle_timeout`].
        limit: Duration,
    },
    /// All attempts together took too long.
    #[error("failed to fetch `{url}` within {} s", limit.as_secs_f64())]
    TotalTimeout {
        /// The first one.
        url: String,
        /// [`crate::FetchConfig::total_timeout`].
        limit: Duration,
    },
    /// No connection.
    #[error("failed to connect to `{url}`")]
    Connect {
        /// Where to.
        url: String,
        /// Whether it was lost while it was being made, rather than refused.
        reset: bool,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server's certificate is not to be trusted, or the two sides found no common ground.
    #[error("failed to establish TLS with `{url}`")]
    Tls {
        /// With whom.
        url: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The connection was lost, or what came over it was not HTTP.
    #[error("lost the connection to `{url}`")]
    Interrupted {
        /// To whom.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The archive cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl FetchError {
    /// Whether the same download may well succeed in a moment.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status == 429 || (500..600).contains(status),
            Self::Connect { reset, .. } => *reset,
            Self::ConnectTimeout { .. }
            | Self::Stalled { .. }
            | Self::TotalTimeout { .. }
            | Self::Interrupted { .. } => true,
            Self::Authorities(_)
            | Self::Client { .. }
            | Self::InvalidUrl { .. }
            | Self::UserInfo { .. }
            | Self::Scheme { .. }
            | Self::PlainHttp { .. }
            | Self::Downgrade { .. }
            | Self::HostNotAllowed { .. }
            | Self::Address { .. }
            | Self::Resolve { .. }
            | Self::NoAddress { .. }
            | Self::TooManyRedirects { .. }
            | Self::RedirectMalformed { .. }
            | Self::TooLarge { .. }
            | Self::Tls { .. }
            | Self::Disk(_) => false,
        }
    }

    /// How long the server asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Authorities(error) => error.code(),
            Self::Client { .. } => "fetch_setup",
            Self::InvalidUrl { .. } => "invalid_url",
            Self::UserInfo { .. } => "url_credentials",
            Self::Scheme { .. } | Self::PlainHttp { .. } | Self::Downgrade { .. } => "url_not_https",
            Self::HostNotAllowed { .. } => "host_not_allowed",
            Self::Address { .. } => "address_not_allowed",
            Self::Resolve { .. } | Self::NoAddress { .. } => "host_not_found",
            Self::TooManyRedirects { .. } | Self::RedirectMalformed { .. } => "bad_redirect",
            Self::Status { .. } => "http_status",
            Self::TooLarge { .. } => "artifact_too_large",
            Self::ConnectTimeout { .. } | Self::Stalled { .. } | Self::TotalTimeout { .. } => "fetch_timeout",
            Self::Connect { .. } | Self::Interrupted { .. } => "fetch_connection",
            Self::Tls { .. } => "fetch_tls",
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Disk(error) => return error.hint(),
            Self::Authorities(error) => return error.hint(),
            Self::Client { source } => return format!("the HTTP client says: {source}"),
            Self::InvalidUrl { .. } => "write it as `https://host/path`",
            Self::UserInfo { .. } => "offer the archive without a password, or send it as a bundle",
            Self::Scheme { .. } | Self::Downgrade { .. } => "offer the archive over https",
            Self::PlainHttp { .. } => {
                "offer the archive over https; the operator may allow http with `--install-allow-http`"
            }
            Self::HostNotAllowed { host } => {
                return format!("the operator may add `{host}` to DC_PLUGIN_INSTALL_URL_ALLOWLIST");
            }
            Self::Address { class, .. } if class.needs_permission() => {
                "the operator may allow addresses of private networks with `--install-allow-private`"
            }
            Self::Address { .. } => "no archive is ever fetched from such an address: use a host that others can reach",
            Self::Resolve { source, .. } => return format!("check the name; the system says: {source}"),
            Self::NoAddress { .. } => "check the name",
            Self::TooManyRedirects { .. } | Self::RedirectMalformed { .. } => "give the URL that the redirects end at",
            Self::Status { retry_after: Some(pause), .. } => {
                return format!("the server asks to try again in {} s", pause.as_secs());
            }
            Self::Status { status: 401 | 403, .. } => "offer the archive without a login, or send it as a bundle",
            Self::Status { status: 404 | 410, .. } => "check the path: the server has nothing there",
            Self::Status { status: 500.., .. } => "the server is in trouble: try again later",
            Self::Status { .. } => "check the URL",
            Self::TooLarge { .. } => "leave out what the plugin does not need to run; the operator may raise the limit",
            Self::ConnectTimeout { .. } => "check that the server runs and that nothing between drops its packets",
            Self::Stalled { .. } | Self::TotalTimeout { .. } => "try again, or offer the archive nearer to this host",
            Self::Connect { .. } => "check host and port, and that the server runs",
            Self::Tls { source, .. } => {
                return format!("{source}; authorities of your own go into a file that `--install-ca-file` names");
            }
            Self::Interrupted { .. } => "try again; check that the server speaks HTTP/1.1",
        };
        text.to_owned()
    }
}
