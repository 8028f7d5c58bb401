//! A list of clients: addresses, networks and names, each until a time.

use std::collections::BTreeMap;

use crate::address::{Address, Network};

/// Until when something holds that has no end, in Unix ms.
pub const FOR_EVER: u64 = u64::MAX;

/// Disjoint spans of addresses, ascending. Networks lie inside each other or apart, never across: so those of
/// a list become spans once, and a question is one binary search however many there are.
#[derive(Debug, Default)]
struct Spans {
    /// First address, last address, Unix ms until which it holds.
    spans: Vec<(u128, u128, u64)>,
}

impl Spans {
    fn of(mut networks: Vec<(u128, u128, u64)>) -> Self {
        networks.sort_by_key(|&(first, last, _)| (first, u128::MAX - last));
        let mut found = Self::default();
        let mut around: Vec<(u128, u64)> = Vec::new();
        // The first address that no span has yet; None behind the last there is.
        let mut next = Some(0);
        for (first, last, until_ms) in networks {
            while let Some(&(end, until_ms)) = around.last()
                && end < first
            {
                found.add(next, end, until_ms);
                next = end.checked_add(1);
                around.pop();
            }
            let outer_ms = around.last().map_or(0, |&(_, outer_ms)| outer_ms);
            if outer_ms > 0 && first > 0 {
                found.add(next, first - 1, outer_ms);
            }
            next = Some(first);
            around.push((last, until_ms.max(outer_ms)));
        }
        while let Some((end, until_ms)) = around.pop() {
            found.add(next, end, until_ms);
            next = end.checked_add(1);
        }
        found
    }

    fn add(&mut self, first: Option<u128>, last: u128, until_ms: u64) {
        if let Some(first) = first
            && first <= last
        {
            self.spans.push((first, last, until_ms));
        }
    }

    fn has(&self, address: u128, unix_ms: u64) -> bool {
        let after = self.spans.partition_point(|&(first, _, _)| first <= address);
        let Some(&(_, last, until_ms)) = after.checked_sub(1).and_then(|at| self.spans.get(at)) else {
            return false;
        };
        address <= last && unix_ms < until_ms
    }
}

/// One white or black list.
#[derive(Debug, Default)]
pub struct List {
    v4: Spans,
    v6: Spans,
    keys: BTreeMap<Box<str>, u64>,
    users: BTreeMap<Box<str>, u64>,
}

impl List {
    /// Of networks and of the names of API keys and users, each until a Unix time in ms.
    pub fn new(networks: &[(Network, u64)], keys: &[(&str, u64)], users: &[(&str, u64)]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for &(network, until_ms) in networks {
            match network {
                Network::V4(first, last) => v4.push((first.into(), last.into(), until_ms)),
                Network::V6(first, last) => v6.push((first, last, until_ms)),
            }
        }
        let named = |names: &[(&str, u64)]| names.iter().map(|&(name, until)| (name.into(), until)).collect();
        Self { v4: Spans::of(v4), v6: Spans::of(v6), keys: named(keys), users: named(users) }
    }

    /// True if the address is on it at `unix_ms`.
    pub fn has_address(&self, address: Address, unix_ms: u64) -> bool {
        match address {
            Address::V4(bits) => self.v4.has(bits.into(), unix_ms),
            Address::V6(bits) => self.v6.has(bits, unix_ms),
            Address::Unknown => false,
        }
    }

    /// True if the API key is on it at `unix_ms`.
    pub fn has_key(&self, id: &str, unix_ms: u64) -> bool {
        self.keys.get(id).is_some_and(|until_ms| unix_ms < *until_ms)
    }

    /// True if the user is on it at `unix_ms`.
    pub fn has_user(&self, id: &str, unix_ms: u64) -> bool {
        self.users.get(id).is_some_and(|until_ms| unix_ms < *until_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(networks: &[(&str, u64)]) -> List {
        let read: Vec<_> =
            networks.iter().filter_map(|&(text, until)| Some((Network::read(text)?, until))).collect();
        assert_eq!(read.len(), networks.len());
        List::new(&read, &[], &[])
    }

    #[test]
    fn an_address_is_on_the_list_by_itself_or_by_its_network() {
        let found = list(&[("10.0.0.0/8", FOR_EVER), ("192.0.2.7", FOR_EVER), ("2001:db8::/32", FOR_EVER)]);
        for (address, is_on) in [
            ("10.255.0.1", true),
            ("11.0.0.0", false),
            ("::ffff:10.1.1.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("not an address", false),
        ] {
            assert_eq!(found.has_address(Address::read(address), 5), is_on, "{address}");
        }
    }

    #[test]
    fn a_network_that_ends_leaves_the_one_around_it() {
        let found = list(&[("10.0.0.0/8", 100), ("10.1.0.0/16", 10), ("0.0.0.0/0", 5), ("::/0", 7)]);
        let on = |text, unix_ms| found.has_address(Address::read(text), unix_ms);
        assert_eq!((on("10.1.0.1", 50), on("10.1.0.1", 100), on("9.9.9.9", 4)), (true, false, true));
        assert_eq!((on("9.9.9.9", 5), on("::1", 6), on("1.1.1.1", 6)), (false, true, false));
    }

    #[test]
    fn names_are_exact_and_end() {
        let found = List::new(&[], &[("k1", 10)], &[("alice", FOR_EVER)]);
        assert_eq!((found.has_key("k1", 9), found.has_key("k1", 10)), (true, false));
        assert_eq!((found.has_user("alice", 1), found.has_user("k1", 1)), (true, false));
    }

    proptest! {
        #[test]
        fn spans_answer_as_the_networks_themselves(
            networks in prop::collection::vec((any::<u32>(), 0u32..=32, 0u64..4), 0..24),
            asked in prop::collection::vec(any::<u32>(), 1..32),
            unix_ms in 0u64..4,
        ) {
            // Few distinct bits, so that networks nest and touch.
            let thin = |bits: u32| bits & 0xc000_000f;
            let read: Vec<(Network, u64)> = networks
                .iter()
                .filter_map(|&(bits, length, until)| {
                    let text = format!("{}/{length}", std::net::Ipv4Addr::from_bits(thin(bits)));
                    Some((Network::read(&text)?, until))
                })
                .collect();
            let built = List::new(&read, &[], &[]);
            let edges = read.iter().flat_map(|(network, _)| match *network {
                Network::V4(first, last) => [first, last, first.wrapping_sub(1), last.wrapping_add(1)],
                Network::V6(..) => [0; 4],
            });
            for bits in asked.iter().map(|bits| thin(*bits)).chain(edges) {
                let naive = read.iter().any(|(network, until)| {
                    matches!(*network, Network::V4(first, last) if first <= bits && bits <= last)
                        && unix_ms < *until
                });
                prop_assert_eq!(built.has_address(Address::V4(bits), unix_ms), naive);
            }
        }
    }
}
