//! Where in the order of keys something may be seen, so that a scan need not walk through what is hidden.

use konsul_state::keys::after_prefix;
use konsul_state::read::Next;

use crate::access_beginnings::Beginnings;
use crate::access_compiled::Compiled;
use crate::access_glob::Glob;
use crate::access_rules::Need;

/// What lies between a name and an id in a stored key.
const SPACE: u8 = b' ';

/// Told by rules alone, without looking what there is.
#[derive(Debug)]
pub struct Openings {
    /// Something may be seen anywhere that is not closed.
    everywhere: bool,
    /// The beginnings of all that may be seen, ascending.
    texts: Vec<Vec<u8>>,
    /// Those of them behind which something may be seen.
    open: Beginnings,
    /// The beginnings behind which nothing is.
    closed: Beginnings,
}

impl Openings {
    pub(crate) fn new(parts: &[&Compiled], need: Need, everywhere: bool) -> Self {
        let of_names = need.is_of_names();
        // A name has no space, so what begins with one that has is nothing.
        let can_be = |text: &[u8]| !of_names || !text.contains(&SPACE);
        let (mut texts, mut open) = (Vec::new(), Vec::new());
        for rule in parts.iter().flat_map(|part| part.granting(need)) {
            let mut text = rule.glob.prefix().to_vec();
            if !can_be(&text) {
                continue;
            }
            let is_one = rule.glob.gaps.is_empty();
            if is_one && of_names {
                text.push(SPACE);
            }
            if !is_one || of_names {
                open.push(text.clone());
            }
            texts.push(text);
        }
        let closing = |glob: &Glob| glob.gaps.len() == 1 && glob.ends_with_any() && can_be(glob.prefix());
        let denying = parts.iter().flat_map(|part| part.of_resource(need)).filter(|rule| rule.is_denying());
        let closed = denying.filter(|rule| closing(&rule.glob)).map(|rule| rule.glob.prefix().to_vec());
        Self {
            everywhere,
            texts: in_order(texts),
            open: beginnings(open),
            closed: beginnings(closed.collect()),
        }
    }

    /// Where the next key may be that is seen, after `key`, which is not.
    pub fn next(&self, key: &[u8]) -> Next {
        if let Some((_, length)) = self.closed.of(key).last() {
            return after_prefix(&key[..length]).map_or(Next::Nowhere, Next::At);
        }
        if self.everywhere || self.open.of(key).next().is_some() {
            return Next::Here;
        }
        let at = self.texts.partition_point(|text| text.as_slice() <= key);
        self.texts.get(at).map_or(Next::Nowhere, |text| Next::At(text.clone()))
    }
}

fn in_order(mut texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn beginnings(texts: Vec<Vec<u8>>) -> Beginnings {
    Beginnings::new(in_order(texts).iter().map(Vec::as_slice))
}
