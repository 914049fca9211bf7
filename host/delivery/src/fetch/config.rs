//! From where archives may come, and how much of everything.

use super::HostPattern;
use mortise_http::Reach;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// The rules of downloads. The defaults are the reference host's where it has any (wire contract 10.6), and closed where
/// it is open: `https` only, and no addresses of private networks.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// The most bytes of an archive on the wire; exactly that many pass. 10 MiB.
    pub bytes_max: u64,
    /// Hosts that archives may come from. Empty, as by default, admits every host.
    pub allowlist: Vec<HostPattern>,
    /// Whether plain `http` is allowed. Off.
    pub allow_http: bool,
    /// Whether addresses that only a private network has are allowed: [`AddressClass::needs_permission`]. Off.
    ///
    /// [`AddressClass::needs_permission`]: super::AddressClass::needs_permission
    pub allow_private: bool,
    /// For each connection: name, TCP and TLS together. 10 s.
    pub connect_timeout: Duration,
    /// How long a connected server may send nothing. 30 s.
    pub idle_timeout: Duration,
    /// For all of a download: every redirect, every attempt, every pause. 120 s.
    pub total_timeout: Duration,
    /// How often a download is tried in all. 4.
    pub attempts_max: NonZeroU32,
    /// The longest first pause between attempts; each further one is up to twice as long. 250 ms.
    pub backoff_min: Duration,
    /// The longest pause. 8 s.
    pub backoff_max: Duration,
    /// The longest `Retry-After` (in seconds; dates are not understood) that is waited for. Servers that ask for more
    /// are not asked again. 30 s.
    pub retry_after_max: Duration,
    /// Redirects that are followed in one attempt. 5.
    pub redirects_max: u32,
    /// PEM files of authorities that are trusted beside the system's. None.
    pub ca_files: Vec<PathBuf>,
    /// Names that are not looked up: host and where it is, as with `curl --resolve`. These addresses have to be allowed
    /// like all others, and a port in the URL wins over the one here. None.
    pub resolve: Vec<(String, SocketAddr)>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            bytes_max: 10 * 1024 * 1024,
            allowlist: Vec::new(),
            allow_http: false,
            allow_private: false,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(120),
            attempts_max: NonZeroU32::MIN.saturating_add(3),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(8),
            retry_after_max: Duration::from_secs(30),
            redirects_max: 5,
            ca_files: Vec::new(),
            resolve: Vec::new(),
        }
    }
}

impl FetchConfig {
    /// Which addresses may be connected to.
    pub(super) fn reach(&self) -> Reach {
        if self.allow_private { Reach::Private } else { Reach::Public }
    }
}
