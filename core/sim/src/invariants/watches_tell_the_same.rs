//! Watches Tell The Same: a watch is told every change above the index it began with, in index order, each
//! once, with the same text on every node; or it is told from which index on it goes on. Across restarts a
//! watch goes on from where it was, as a client that comes back does. (docs/concepts/watches.md.)

use std::collections::BTreeMap;

use konsul_node::Seen;
use konsul_views::ItemKind;

use super::Fallen;

/// What was told at an index: the texts, in order.
type Texts = Vec<Vec<u8>>;

/// One watch of everything in a table, and the client behind it.
#[derive(Default)]
pub struct Follower {
    /// Its number in the process that runs now.
    pub watch: u64,
    /// It was told everything up to here.
    pub told_to: u64,
    /// Told above that, perhaps not all of it yet.
    pending: BTreeMap<u64, Texts>,
}

impl Follower {
    /// One that knows everything up to an index.
    pub fn new(told_to: u64) -> Self {
        Self { told_to, ..Self::default() }
    }

    /// It goes on in another process with what it is sure of.
    pub fn restart(&mut self, watch: u64) {
        self.watch = watch;
        self.pending.clear();
    }
}

/// What any watch of a table was told.
#[derive(Default)]
struct Known {
    told: BTreeMap<u64, Texts>,
    /// Ranges `(from, to]` in which `told` is all there is, by `from`; they do not touch.
    covered: BTreeMap<u64, u64>,
}

/// What was told, by table.
#[derive(Default)]
pub struct WatchesTellTheSame {
    tables: BTreeMap<u16, Known>,
}

fn fallen(why: String) -> Fallen {
    Fallen { invariant: "watches tell the same", why }
}

impl WatchesTellTheSame {
    /// What the watch of `table` on a node saw since the last look, and its position after that.
    pub fn see(
        &mut self,
        slot: usize,
        table: u16,
        follower: &mut Follower,
        seen: &Seen,
        position: u64,
    ) -> Result<(), Fallen> {
        let known = self.tables.entry(table).or_default();
        for (_, kind, index, place) in seen.items.iter().filter(|item| item.0 == follower.watch) {
            match kind {
                ItemKind::Event => {
                    let last = follower.pending.keys().next_back().copied().unwrap_or(0);
                    if *index <= follower.told_to || *index < last {
                        let to = follower.told_to.max(last);
                        return Err(fallen(format!("node {slot} tells index {index} after index {to}")));
                    }
                    let text = seen.changes[*place].1.to_vec();
                    follower.pending.entry(*index).or_default().push(text);
                }
                ItemKind::Behind => {}
                ItemKind::Compacted => {
                    if *index < follower.told_to {
                        let to = follower.told_to;
                        return Err(fallen(format!("node {slot} goes back from index {to} to {index}")));
                    }
                    // What came right before it may be cut off anywhere.
                    follower.pending.clear();
                    follower.told_to = *index;
                }
            }
        }
        if position > follower.told_to {
            let later = follower.pending.split_off(&(position + 1));
            let told = std::mem::replace(&mut follower.pending, later);
            known.add(slot, (follower.told_to, position), told)?;
            follower.told_to = position;
        }
        Ok(())
    }

    /// How many changes are known.
    pub fn told(&self) -> u64 {
        self.tables.values().map(|known| known.told.len() as u64).sum()
    }
}

impl Known {
    /// A watch was told `told`, and nothing else in the range.
    fn add(&mut self, slot: usize, (from, to): (u64, u64), told: BTreeMap<u64, Texts>) -> Result<(), Fallen> {
        for (index, texts) in self.told.range(from + 1..=to) {
            if told.get(index) != Some(texts) {
                let mine = told.get(index).map_or(0, Vec::len);
                return Err(fallen(format!(
                    "at index {index} node {slot} tells {mine} changes, others told {} or other texts",
                    texts.len()
                )));
            }
        }
        for (index, texts) in told {
            let is_covered = self.covered.range(..index).next_back().is_some_and(|(_, end)| index <= *end);
            if is_covered && !self.told.contains_key(&index) {
                return Err(fallen(format!("node {slot} tells index {index}, of which others told nothing")));
            }
            self.told.insert(index, texts);
        }
        self.cover(from, to);
        Ok(())
    }

    fn cover(&mut self, mut from: u64, mut to: u64) {
        if let Some((start, end)) = self.covered.range(..=from).next_back()
            && *end >= from
        {
            (from, to) = (*start, to.max(*end));
        }
        while let Some((start, end)) = self.covered.range(from..=to).next() {
            let start = *start;
            to = to.max(*end);
            self.covered.remove(&start);
        }
        self.covered.insert(from, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn seen(events: &[(ItemKind, u64, &str)]) -> Seen {
        let changes = events.iter().map(|(_, _, text)| (Bytes::new(), Bytes::from(text.to_string())));
        let items = events.iter().enumerate().map(|(place, (kind, index, _))| (1, *kind, *index, place));
        Seen { changes: changes.collect(), items: items.collect() }
    }

    const E: ItemKind = ItemKind::Event;
    const C: ItemKind = ItemKind::Compacted;

    fn follower(told_to: u64) -> Follower {
        Follower { watch: 1, told_to, ..Follower::default() }
    }

    #[test]
    fn the_same_in_pieces_and_from_another_place_on_is_fine() {
        let mut all = WatchesTellTheSame::default();
        let (mut one, mut two) = (follower(0), follower(4));
        all.see(0, 1, &mut one, &seen(&[(E, 3, "a"), (E, 5, "b")]), 4).unwrap();
        all.see(0, 1, &mut one, &seen(&[(E, 5, "c"), (E, 8, "d")]), 9).unwrap();
        all.see(1, 1, &mut two, &seen(&[(E, 5, "b"), (E, 5, "c"), (E, 8, "d")]), 9).unwrap();
        assert_eq!(all.told(), 3);
        let mut three = follower(0);
        all.see(2, 1, &mut three, &seen(&[(E, 3, "a"), (C, 7, ""), (E, 8, "d")]), 12).unwrap();
        assert_eq!(three.told_to, 12);
    }

    #[test]
    fn what_is_lost_doubled_changed_or_out_of_order_falls() {
        let wrong: [&[(ItemKind, u64, &str)]; 6] = [
            &[(E, 3, "a"), (E, 5, "b")],
            &[(E, 3, "a"), (E, 5, "b"), (E, 5, "b"), (E, 5, "c")],
            &[(E, 3, "a"), (E, 5, "c"), (E, 5, "b")],
            &[(E, 5, "b"), (E, 5, "c"), (E, 3, "a")],
            &[(E, 3, "a"), (E, 4, "new"), (E, 5, "b"), (E, 5, "c")],
            &[(C, 2, ""), (E, 3, "a"), (E, 5, "b"), (E, 5, "c"), (E, 9, "d"), (E, 9, "d")],
        ];
        for events in wrong {
            let mut all = WatchesTellTheSame::default();
            let right = seen(&[(E, 3, "a"), (E, 5, "b"), (E, 5, "c"), (E, 9, "d")]);
            all.see(0, 1, &mut follower(0), &right, 9).unwrap();
            let fell = all.see(1, 1, &mut follower(0), &seen(events), 9).unwrap_err();
            assert_eq!(fell.invariant, "watches tell the same", "{events:?}");
        }
    }

    #[test]
    fn ranges_join_where_they_touch() {
        let mut known = Known::default();
        for (from, to) in [(10, 20), (30, 40), (20, 25), (24, 35), (50, 60), (0, 5)] {
            known.cover(from, to);
        }
        assert_eq!(known.covered.into_iter().collect::<Vec<_>>(), [(0, 5), (10, 40), (50, 60)]);
    }
}
