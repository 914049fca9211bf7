//! What kind of place an IP address is.
//!
//! The registries of special addresses at IANA are the source. Whatever is not plainly a public unicast address is
//! refused, so that a range that is missing here is closed and not open.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Reachable from everywhere.
    Global,
    /// This machine.
    Loopback,
    /// A private network's: 10/8, 172.16/12, 192.168/16; unique local and site-local in IPv6; local NAT64 prefixes.
    Private,
    /// Shared by a provider's customers behind carrier-grade NAT: 100.64/10.
    Shared,
    /// The cable's own: 169.254/16, `fe80::/10`.
    LinkLocal,
    /// For benchmarks of network devices: 198.18/15.
    Benchmark,
    /// Where clouds hand out a machine's credentials to whoever asks from it.
    CloudMetadata,
    /// "This host on this network", which connects to loopback: 0/8, `::`.
    Unspecified,
    /// Many at once.
    Multicast,
    /// All at once.
    Broadcast,
    /// For examples in documents.
    Documentation,
    /// Anything else that is no place for a server: protocol assignments, tunnels, future use.
    Reserved,
}

impl AddressClass {
    /// The class of an address. IPv6 addresses that stand for an IPv4 address (mapped, translated, NAT64, 6to4) have
    /// the class of that.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether the operator's permission is what admits an address of this class.
    #[must_use]
    pub fn needs_permission(self) -> bool {
        match self {
            Self::Loopback | Self::Private | Self::Shared | Self::LinkLocal | Self::Benchmark => true,
            Self::Global
            | Self::CloudMetadata
            | Self::Unspecified
            | Self::Multicast
            | Self::Broadcast
            | Self::Documentation
            | Self::Reserved => false,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link-local",
            Self::Benchmark => "benchmark",
            Self::CloudMetadata => "cloud metadata",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Reserved => "reserved",
        })
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        [169, 254, 169 | 170, _] | [169, 254, 42, 42] | [168, 63, 129, 16] | [100, 100, 100, 200] => {
            AddressClass::CloudMetadata
        }
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::Shared,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [198, 18 | 19, ..] => AddressClass::Benchmark,
        // Protocol assignments, and the relays that 6to4 once had.
        [192, 0, 0, _] | [192, 88, 99, _] => AddressClass::Reserved,
        [224..=239, ..] => AddressClass::Multicast,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Global,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0xfd00, 0xec2, 0, 0, 0, 0, ..]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42] => AddressClass::CloudMetadata,
        // Mapped; translated (RFC 2765); NAT64.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => of_v4(embedded(high, low)),
        // NAT64 within a network: where the IPv4 address lies in it is the network's own affair.
        [0x64, 0xff9b, 1, ..] => AddressClass::Private,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Documentation,
        [0x2001, 2, 0, ..] => AddressClass::Benchmark,
        // Protocol assignments, Teredo among them, which carries an IPv4 address in a disguise.
        [0x2001, 0..=0x1ff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Global,
        _ => AddressClass::Reserved,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests;
