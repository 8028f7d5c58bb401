//! The links between nodes: what is sent over one arrives late, twice, out of order, or not at all.
//!
//! Nodes are known by slot: the machine, whoever runs on it. Every link has a direction of its own.

use crate::counts::Counts;
use crate::prng::Prng;

/// What one direction between two slots does to a message.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Partitions that cut it: it carries nothing while there is one.
    cuts: u32,
    /// Slow-downs in force.
    slow: u32,
    /// When the newest in-order message arrives, in us.
    busy_until_us: u64,
}

/// How the network of one run behaves while nothing in particular is wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// A usual one-way delay in us.
    pub delay_us: u64,
    /// Messages lost, of a thousand.
    pub loss_per_mille: u64,
    /// Messages that arrive twice, of a thousand.
    pub twice_per_mille: u64,
    /// Messages that may overtake others, of a thousand.
    pub overtake_per_mille: u64,
}

/// All links of the cluster.
pub struct Network {
    slots: usize,
    links: Vec<Link>,
    /// In force until the faults stop.
    pub weather: Weather,
    prng: Prng,
}

impl Network {
    /// A network without faults between `slots` machines.
    pub fn new(slots: usize, weather: Weather, prng: Prng) -> Self {
        Self { slots, links: vec![Link::default(); slots * slots], weather, prng }
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.slots + to]
    }

    /// True if messages from one to the other arrive.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        self.links[from * self.slots + to].cuts == 0
    }

    /// Cuts (or heals) the given directions. A link that was cut twice is healed twice.
    pub fn cut(&mut self, directions: &[(usize, usize)], is_cut: bool) {
        for &(from, to) in directions {
            let link = self.link(from, to);
            link.cuts = if is_cut { link.cuts + 1 } else { link.cuts.saturating_sub(1) };
        }
    }

    /// Makes the given directions slow (or not).
    pub fn slow(&mut self, directions: &[(usize, usize)], is_slow: bool) {
        for &(from, to) in directions {
            let link = self.link(from, to);
            link.slow = if is_slow { link.slow + 1 } else { link.slow.saturating_sub(1) };
        }
    }

    /// Everything works from now on.
    pub fn calm(&mut self) {
        self.weather = Weather { delay_us: 300, ..Weather::default() };
        self.links.fill(Link::default());
    }

    /// When copies of a message sent now arrive; none if it is lost.
    pub fn carry(&mut self, from: usize, to: usize, now_us: u64, counts: &mut Counts) -> Vec<u64> {
        if !self.is_open(from, to) {
            counts.add("message stopped by a partition");
            return Vec::new();
        }
        let weather = self.weather;
        if self.prng.chance(weather.loss_per_mille) {
            counts.add("message lost");
            return Vec::new();
        }
        let is_slow = self.link(from, to).slow > 0;
        let typical_us = if is_slow { weather.delay_us * 40 } else { weather.delay_us };
        let mut at_us = now_us + self.prng.tailed(typical_us.max(2));
        if self.prng.chance(weather.overtake_per_mille) {
            at_us += self.prng.tailed(typical_us * 4);
            counts.add("message reordered");
        } else {
            let link = self.link(from, to);
            at_us = at_us.max(link.busy_until_us + 1);
            link.busy_until_us = at_us;
        }
        let mut arrivals = vec![at_us];
        if self.prng.chance(weather.twice_per_mille) {
            counts.add("message duplicated");
            arrivals.push(at_us + self.prng.tailed(typical_us * 4));
        }
        arrivals
    }

    /// How long a transfer of `bytes` takes, in us.
    pub fn transfer_us(&mut self, from: usize, to: usize, bytes: u64) -> u64 {
        let typical_us = 2_000 + bytes / 10;
        let is_slow = self.link(from, to).slow > 0;
        self.prng.tailed(if is_slow { typical_us * 20 } else { typical_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(weather: Weather) -> Network {
        Network::new(3, weather, Prng::new(1))
    }

    #[test]
    fn a_link_keeps_its_order_and_a_cut_has_a_direction() {
        let mut network = network(Weather { delay_us: 500, ..Weather::default() });
        let mut counts = Counts::default();
        let mut last_us = 0;
        for now_us in 0..200 {
            let at_us = network.carry(0, 1, now_us, &mut counts);
            assert!(at_us.len() == 1 && at_us[0] > last_us, "{at_us:?}");
            last_us = at_us[0];
        }
        network.cut(&[(0, 1)], true);
        network.cut(&[(0, 1), (1, 2)], true);
        network.cut(&[(0, 1)], false);
        assert!(!network.is_open(0, 1) && network.is_open(1, 0) && !network.is_open(1, 2));
        assert!(network.carry(0, 1, 0, &mut counts).is_empty());
        network.calm();
        assert!(network.is_open(0, 1));
    }

    #[test]
    fn the_weather_is_what_was_asked_for() {
        let weather =
            Weather { delay_us: 500, loss_per_mille: 100, twice_per_mille: 100, overtake_per_mille: 100 };
        let (mut network, mut counts) = (network(weather), Counts::default());
        let arrived: usize = (0..2_000).map(|now_us| network.carry(0, 1, now_us, &mut counts).len()).sum();
        assert!((1_800..2_200).contains(&arrived), "{arrived}");
        for name in ["message lost", "message duplicated", "message reordered"] {
            assert!((100..300).contains(&counts.of(name)), "{name}: {}", counts.of(name));
        }
    }
}
