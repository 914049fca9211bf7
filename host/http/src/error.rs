//! Why there is no answer.

use crate::{AddressClass, ResolveError, TlsError};
use std::error::Error;
use std::io;
use std::net::IpAddr;

/// A request that brought no answer. None of them tells the URL, which may carry secrets.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The client cannot be made.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// No URL, or one without a host.
    #[error("it is no URL of a host")]
    Url,
    /// No method.
    #[error("its method is none")]
    Method,
    /// Of the header fields of the request one may not be sent.
    #[error("header `{name}`: {reason}")]
    Header {
        /// Its beginning.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// The request has too many header fields.
    #[error("the request has more than {fields_max} header fields, or {bytes_max} bytes of them")]
    Headers {
        /// The limit.
        fields_max: usize,
        /// The limit of all together.
        bytes_max: usize,
    },
    /// The answer has too many header fields.
    #[error("the answer has more than {fields_max} header fields, or {bytes_max} bytes of them")]
    AnswerHeaders {
        /// The limit.
        fields_max: usize,
        /// The limit of all together.
        bytes_max: usize,
    },
    /// The answer is too large.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The address may not be connected to.
    #[error("`{host}` is at {address}, a {class} address")]
    Address {
        /// The name, or the address itself.
        host: String,
        /// Of the host.
        address: IpAddr,
        /// Of the address.
        class: AddressClass,
    },
    /// The name leads nowhere.
    #[error(transparent)]
    Resolve(ResolveError),
    /// Nobody vouches for the server, or it speaks no TLS.
    #[error("no secure connection")]
    Insecure(#[source] rustls::Error),
    /// Nobody listens there.
    #[error("failed to connect")]
    Connect(#[source] reqwest::Error),
    /// The connection was lost, or what came over it is no HTTP.
    #[error("the connection broke off")]
    Interrupted(#[source] reqwest::Error),
}

impl HttpError {
    /// What the client's error means. It knows the URL, which must not be shown.
    pub(crate) fn of(error: reqwest::Error) -> Self {
        let source = error.without_url();
        match find_cause::<ResolveError>(&source).cloned() {
            Some(ResolveError::Refused { host, address, class }) => return Self::Address { host, address, class },
            Some(error) => return Self::Resolve(error),
            None => {}
        }
        if source.is_builder() {
            return Self::Url;
        }
        if !source.is_connect() {
            return Self::Interrupted(source);
        }
        match find_cause::<rustls::Error>(&source) {
            Some(error) => Self::Insecure(error.clone()),
            None => Self::Connect(source),
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tls(_) | Self::Client(_) => "http_unavailable",
            Self::Url | Self::Method | Self::Header { .. } | Self::Headers { .. } => "invalid_request",
            Self::AnswerHeaders { .. } | Self::TooLarge { .. } => "response_too_large",
            Self::Address { .. } => "address_not_allowed",
            Self::Resolve(_) => "host_not_found",
            Self::Insecure(_) => "tls",
            Self::Connect(_) | Self::Interrupted(_) => "connection_failed",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Resolve(ResolveError::Lookup { .. }) | Self::Connect(_) | Self::Interrupted(_))
    }
}

/// The first cause of this type. `io::Error` names what it wraps as itself, not as its source.
pub fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
