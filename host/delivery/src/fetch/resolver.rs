//! Names to addresses, of which only those remain that may be connected to.
//!
//! The check lies here and not before the request, because here it sees the very addresses that the connection uses: a
//! name that answers differently the next time it is asked gains nothing.

use super::{AddressClass, FetchConfig, FetchError};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A name has no use for more addresses than this.
const ADDRESSES_MAX: usize = 16;

/// Why a name leads nowhere. The HTTP client hands it back by reference, hence `Clone`.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("failed to look `{host}` up")]
    Lookup { host: String, source: Arc<io::Error> },
    #[error("`{host}` has no address")]
    NoAddress { host: String },
    #[error("`{host}` is at {address}, a {class} address")]
    Refused { host: String, address: IpAddr, class: AddressClass },
}

impl From<ResolveError> for FetchError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Lookup { host, source } => Self::Resolve { host, source },
            ResolveError::NoAddress { host } => Self::NoAddress { host },
            ResolveError::Refused { host, address, class } => Self::Address { host, address, class },
        }
    }
}

pub(super) struct GuardedResolver {
    allow_private: bool,
    fixed: Arc<[(String, SocketAddr)]>,
}

impl GuardedResolver {
    pub(super) fn new(config: &FetchConfig) -> Self {
        Self { allow_private: config.allow_private, fixed: config.resolve.clone().into() }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        let fixed = Arc::clone(&self.fixed);
        Box::pin(async move {
            let addresses = look_up(name.as_str(), &fixed).await?;
            let addresses = admitted(name.as_str(), &addresses, allow_private)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

async fn look_up(host: &str, fixed: &[(String, SocketAddr)]) -> Result<Vec<SocketAddr>, ResolveError> {
    let given = fixed.iter().filter(|(name, _)| name.eq_ignore_ascii_case(host));
    let given: Vec<SocketAddr> = given.map(|&(_, address)| address).collect();
    if !given.is_empty() {
        return Ok(given);
    }
    // Port 0 stands for the URL's own.
    let found = tokio::net::lookup_host((host, 0)).await;
    let found = found.map_err(|source| ResolveError::Lookup { host: host.to_owned(), source: Arc::new(source) })?;
    Ok(found.take(ADDRESSES_MAX).collect())
}

/// The addresses that may be connected to. Where none may, the first one says why.
fn admitted(host: &str, addresses: &[SocketAddr], allow_private: bool) -> Result<Vec<SocketAddr>, ResolveError> {
    let admits = |address: &SocketAddr| AddressClass::of(address.ip()).admitted(allow_private);
    let admitted: Vec<SocketAddr> = addresses.iter().copied().filter(admits).collect();
    match addresses.first() {
        None => Err(ResolveError::NoAddress { host: host.to_owned() }),
        Some(first) if admitted.is_empty() => {
            let address = first.ip();
            Err(ResolveError::Refused { host: host.to_owned(), address, class: AddressClass::of(address) })
        }
        Some(_) => Ok(admitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_the_addresses_that_are_allowed() {
        let both = ["10.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap()];
        assert_eq!(admitted("a.test", &both, false).unwrap(), &both[1..]);
        assert_eq!(admitted("a.test", &both, true).unwrap(), both);
        assert!(matches!(admitted("a.test", &[], true), Err(ResolveError::NoAddress { .. })));
        let error = FetchError::from(admitted("a.test", &both[..1], false).unwrap_err());
        assert_eq!(error.to_string(), "`a.test` is at 10.0.0.1, a private address");
        let metadata = ["169.254.169.254:0".parse().unwrap()];
        let error = admitted("a.test", &metadata, true).unwrap_err();
        assert!(matches!(error, ResolveError::Refused { class: AddressClass::CloudMetadata, .. }));
    }
}
