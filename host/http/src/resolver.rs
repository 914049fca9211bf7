//! Names to addresses, of which only those remain that may be connected to.
//!
//! The check lies here and not before the request, because here it sees the very addresses that the connection uses: a
//! name that answers differently the next time it is asked gains nothing.

use crate::AddressClass;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A name has no use for more addresses than this.
const ADDRESSES_MAX: usize = 16;

/// Which addresses may be connected to, beside public ones. Those of [`AddressClass`]es for which no permission helps never are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    /// No others.
    #[default]
    Public,
    /// Those in these networks.
    Networks(Vec<IpNet>),
    /// All that only a private network has.
    Private,
}

impl Reach {
    /// Whether a connection to `address` is allowed.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        match AddressClass::of(address) {
            AddressClass::Global => true,
            class => class.needs_permission() && self.opens(address),
        }
    }

    fn opens(&self, address: IpAddr) -> bool {
        match self {
            Self::Public => false,
            // An address that stands for another one of IPv4 is that one.
            Self::Networks(networks) => networks.iter().any(|network| network.contains(&address.to_canonical())),
            Self::Private => true,
        }
    }
}

/// Why a name leads nowhere. The HTTP client hands it back by reference, hence `Clone`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// The system could not look it up.
    #[error("failed to look `{host}` up")]
    Lookup {
        /// The name.
        host: String,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// It is a name of nothing.
    #[error("`{host}` has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// None of its addresses may be connected to.
    #[error("`{host}` is at {address}, a {class} address")]
    Refused {
        /// The name.
        host: String,
        /// The first of them.
        address: IpAddr,
        /// Of that one.
        class: AddressClass,
    },
}

/// Looks names up, and keeps of their addresses those within reach.
pub(crate) struct GuardedResolver {
    reach: Arc<Reach>,
    fixed: Arc<[(String, SocketAddr)]>,
    look_ups: Arc<Semaphore>,
}

impl GuardedResolver {
    pub(crate) fn new(reach: Reach, fixed: &[(String, SocketAddr)]) -> Self {
        Self { reach: Arc::new(reach), fixed: fixed.into(), look_ups: Arc::new(Semaphore::new(LOOK_UPS_MAX)) }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::clone(&self.reach);
        let (fixed, look_ups) = (Arc::clone(&self.fixed), Arc::clone(&self.look_ups));
        Box::pin(async move {
            let addresses = look_up(name.as_str(), &fixed, look_ups).await?;
            let addresses = admitted(name.as_str(), &addresses, &reach)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Look-ups under way at once, all in all and of one client: each holds a thread for as long as the system takes, whoever
/// has given up waiting for it.
static LOOK_UPS: Semaphore = Semaphore::const_new(64);
const LOOK_UPS_MAX: usize = 4;

async fn look_up(
    host: &str,
    fixed: &[(String, SocketAddr)],
    look_ups: Arc<Semaphore>,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let given = fixed.iter().filter(|(name, _)| name.eq_ignore_ascii_case(host));
    let given: Vec<SocketAddr> = given.map(|&(_, address)| address).collect();
    if !given.is_empty() {
        return Ok(given);
    }
    // The semaphores are never closed. Its own first: whoever waits for that keeps nobody else from one.
    let places = (look_ups.acquire_owned().await, LOOK_UPS.acquire().await);
    let name = host.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let _places = places;
        // Port 0 stands for the URL's own.
        Ok((name.as_str(), 0).to_socket_addrs()?.take(ADDRESSES_MAX).collect())
    });
    let found = found.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    found.map_err(|source| ResolveError::Lookup { host: host.to_owned(), source: Arc::new(source) })
}

/// The addresses that may be connected to. Where none may, the first one says why.
fn admitted(host: &str, addresses: &[SocketAddr], reach: &Reach) -> Result<Vec<SocketAddr>, ResolveError> {
    let admits = |address: &SocketAddr| reach.admits(address.ip());
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

    fn networks(texts: &[&str]) -> Reach {
        Reach::Networks(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_name_keeps_the_addresses_that_are_allowed() {
        let both = ["10.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap()];
        assert_eq!(admitted("a.test", &both, &Reach::Public).unwrap(), &both[1..]);
        assert_eq!(admitted("a.test", &both, &Reach::Private).unwrap(), both);
        assert!(matches!(admitted("a.test", &[], &Reach::Private), Err(ResolveError::NoAddress { .. })));
        let error = admitted("a.test", &both[..1], &Reach::Public).unwrap_err();
        assert_eq!(error.to_string(), "`a.test` is at 10.0.0.1, a private address");
        let metadata = ["169.254.169.254:0".parse().unwrap()];
        let error = admitted("a.test", &metadata, &Reach::Private).unwrap_err();
        assert!(matches!(error, ResolveError::Refused { class: AddressClass::CloudMetadata, .. }));
    }

    #[test]
    fn a_network_that_is_named_is_within_reach_and_no_other() {
        let reach = networks(&["192.168.1.0/24", "fd00:1::/32", "169.254.0.0/16"]);
        for (address, expected) in [
            ("192.168.1.20", true),
            ("::ffff:192.168.1.20", true),
            ("192.168.2.20", false),
            ("127.0.0.1", false),
            ("fd00:1::7", true),
            ("fd00:2::7", false),
            ("8.8.8.8", true),
            ("169.254.1.1", true),
            ("169.254.169.254", false),
        ] {
            assert_eq!(reach.admits(address.parse().unwrap()), expected, "{address}");
        }
    }
}
