//! Which of many texts a key begins with: one search, then from each to the next shorter.

/// Texts in order, each with the longest of the others that it begins with.
#[derive(Debug)]
pub(crate) struct Beginnings {
    /// The texts one after the other, and where each ends: a search stays in few lines of memory.
    bytes: Box<[u8]>,
    ends: Box<[u32]>,
    shorter: Box<[u32]>,
}

/// Stands for none.
const NONE: u32 = u32::MAX;

impl Beginnings {
    /// Of texts in ascending order, each once.
    pub(crate) fn new<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Self {
        let (mut bytes, mut ends, mut shorter) = (Vec::new(), Vec::new(), Vec::new());
        // The chain of texts that the last one begins with, itself included.
        let mut chain: Vec<(u32, &[u8])> = Vec::new();
        for (at, text) in (0..).zip(texts) {
            while chain.last().is_some_and(|(_, last)| !text.starts_with(last)) {
                chain.pop();
            }
            shorter.push(chain.last().map_or(NONE, |(at, _)| *at));
            chain.push((at, text));
            bytes.extend_from_slice(text);
            ends.push(bytes.len() as u32);
        }
        Self { bytes: bytes.into(), ends: ends.into(), shorter: shorter.into() }
    }

    fn text(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.bytes[start..self.ends[at] as usize]
    }

    /// The places and lengths of the texts that `key` begins with, the longest first.
    pub(crate) fn of<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let mut at = self.longest(key);
        std::iter::from_fn(move || {
            let found = (at != NONE).then_some(at as usize)?;
            at = self.shorter[found];
            Some((found, self.text(found).len()))
        })
    }

    /// All of them lie on the chain of the last text that is not after the key: what stands between two texts
    /// of which the second begins with the first begins with it too.
    fn longest(&self, key: &[u8]) -> u32 {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.text(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == 0 {
            return NONE;
        }
        let mut at = (low - 1) as u32;
        let common = self.text(low - 1).iter().zip(key).take_while(|(a, b)| a == b).count();
        while at != NONE && self.text(at as usize).len() > common {
            at = self.shorter[at as usize];
        }
        at
    }
}
