//! Client addresses: as the lists compare them, and as buckets are kept for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The low half of an IPv6 address: a host chooses it; it was given the network above (RFC 4291, 2.5.1).
const HOST_BITS: u32 = 64;
/// What carries an IPv4 address inside IPv6 (RFC 4291, 2.5.5.2).
const V4_MAPPED: u128 = 0xffff << 32;
const UNKNOWN: u128 = u128::MAX;

/// An address a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4, also when it came inside IPv6.
    V4(u32),
    /// IPv6.
    V6(u128),
    /// Nothing that is an address: all of these are one client.
    Unknown,
}

impl Address {
    /// Reads an address; a zone (`%eth0`) is no part of it.
    pub fn read(text: &str) -> Self {
        let text = text.split_once('%').map_or(text, |(address, _)| address);
        match text.parse() {
            Ok(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(inside) => Self::V4(inside.to_bits()),
                None => Self::V6(address.to_bits()),
            },
            Err(_) => Self::Unknown,
        }
    }

    /// For whom the bucket is kept: the address, or of IPv6 its /64.
    pub fn client(self) -> u128 {
        match self {
            Self::V4(bits) => V4_MAPPED | u128::from(bits),
            Self::V6(bits) => bits >> HOST_BITS << HOST_BITS,
            Self::Unknown => UNKNOWN,
        }
    }
}

/// A client as text: `10.0.0.1`, `2001:db8::/64`, or `unknown`.
pub fn client_text(client: u128) -> String {
    match client {
        UNKNOWN => "unknown".into(),
        bits if bits >> 32 == V4_MAPPED >> 32 => Ipv4Addr::from_bits(bits as u32).to_string(),
        bits => format!("{}/{HOST_BITS}", Ipv6Addr::from_bits(bits)),
    }
}

/// The client that a text names: an address, or what [`client_text`] writes.
pub fn read_client(text: &str) -> Option<u128> {
    if text == "unknown" {
        return Some(UNKNOWN);
    }
    let address = text.strip_suffix("/64").filter(|rest| rest.contains(':')).unwrap_or(text);
    match Address::read(address) {
        Address::Unknown => None,
        found => Some(found.client()),
    }
}

/// A network: the first and the last address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Of IPv4.
    V4(u32, u32),
    /// Of IPv6.
    V6(u128, u128),
}

impl Network {
    /// Reads an address or a network in CIDR form (RFC 4632); bits of the host part are ignored. Networks of
    /// IPv4 inside IPv6 (`::ffff:10.0.0.0/104`) are networks of IPv4.
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(length.parse::<u32>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(found) => Self::v4(found.to_bits(), length.unwrap_or(32)),
            IpAddr::V6(found) => match (found.to_ipv4_mapped(), length.unwrap_or(128)) {
                (Some(inside), length @ 96..) => Self::v4(inside.to_bits(), length - 96),
                (_, length) => Self::v6(found.to_bits(), length),
            },
        }
    }

    fn v4(bits: u32, length: u32) -> Option<Self> {
        let host = u32::MAX.checked_shr(length).unwrap_or(0);
        (length <= 32).then_some(Self::V4(bits & !host, bits | host))
    }

    fn v6(bits: u128, length: u32) -> Option<Self> {
        let host = u128::MAX.checked_shr(length).unwrap_or(0);
        (length <= 128).then_some(Self::V6(bits & !host, bits | host))
    }
}

/// A network as it is kept: one address without a length, else its first address and the length.
pub fn network_text(network: Network) -> String {
    match network {
        Network::V4(first, last) => match (first ^ last).count_ones() {
            0 => Ipv4Addr::from_bits(first).to_string(),
            host => format!("{}/{}", Ipv4Addr::from_bits(first), 32 - host),
        },
        Network::V6(first, last) => match (first ^ last).count_ones() {
            0 => Ipv6Addr::from_bits(first).to_string(),
            host => format!("{}/{}", Ipv6Addr::from_bits(first), 128 - host),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_one_client_however_its_address_is_written() {
        let v4 = Address::read("10.0.0.1").client();
        assert_eq!(Address::read("::ffff:10.0.0.1").client(), v4);
        assert_eq!(client_text(v4), "10.0.0.1");
        let v6 = Address::read("2001:db8:0:1::1").client();
        assert_eq!(Address::read("2001:0db8:0:1:ffff::%eth0").client(), v6);
        assert_ne!(Address::read("2001:db8:0:2::1").client(), v6);
        assert_eq!(client_text(v6), "2001:db8:0:1::/64");
        assert_eq!(client_text(Address::read("a socket").client()), "unknown");
    }

    #[test]
    fn a_client_is_found_by_its_text_and_by_its_addresses() {
        for text in ["10.0.0.1", "2001:db8::/64", "unknown"] {
            assert_eq!(read_client(text).map(client_text).as_deref(), Some(text));
        }
        assert_eq!(read_client("2001:db8::9"), read_client("2001:db8::/64"));
        assert_eq!((read_client("10.0.0.1/64"), read_client("x")), (None, None));
    }

    #[test]
    fn networks_are_read_from_their_first_address_to_their_last() {
        let written = |text| Network::read(text).map(network_text);
        assert_eq!(Network::read("10.1.2.3/8"), Some(Network::V4(0x0a00_0000, 0x0aff_ffff)));
        assert_eq!(written("::ffff:10.9.9.9/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(written("2001:db8::1/128").as_deref(), Some("2001:db8::1"));
        assert_eq!(written("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(written("::/0").as_deref(), Some("::/0"));
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "x", "", "fe80::1%a"] {
            assert_eq!(Network::read(wrong), None, "{wrong}");
        }
    }
}
