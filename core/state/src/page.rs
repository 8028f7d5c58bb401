//! What a page takes, passes over and ends with, for a reader who may not see everything.

/// Most rows one page looks at to find those that its reader sees.
pub const LOOKS_MAX: usize = 10_000;
/// So many in a row are not seen before it pays to ask where the next may be.
pub(crate) const SKIP_AFTER: usize = 16;

/// What a reader sees of a table.
pub trait Sight {
    /// Whether he sees what is under a key.
    fn sees(&self, key: &[u8]) -> bool;

    /// Where the next key may be that he sees, after one that he does not see.
    fn next(&self, _key: &[u8]) -> Next {
        Next::Here
    }
}

/// See [`Sight::next`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It may be the very next one.
    Here,
    /// None before this one.
    At(Vec<u8>),
    /// There is none.
    Nowhere,
}

impl<F: Fn(&[u8]) -> bool> Sight for F {
    fn sees(&self, key: &[u8]) -> bool {
        self(key)
    }
}

/// What the reader sees; None: everything.
pub type Sees<'s> = Option<&'s dyn Sight>;

/// What a page does with a key.
pub(crate) enum Look {
    Seen,
    Unseen,
    /// Nothing before this key is seen.
    Skip(Vec<u8>),
    /// The page ends before this key.
    End,
}

/// Keeps count of answers and of the key to continue after.
pub(crate) struct Page<'s> {
    sees: Sees<'s>,
    left: usize,
    looks: usize,
    /// How many in a row were not seen.
    unseen: usize,
    last: Vec<u8>,
    more: bool,
}

impl<'s> Page<'s> {
    pub(crate) fn new(limit: usize, sees: Sees<'s>) -> Self {
        Self { sees, left: limit, looks: 0, unseen: 0, last: Vec::new(), more: false }
    }

    /// It ends when another page is known to have an answer, or when it has looked at enough. A page that is
    /// not full then continues after a key that its reader may not see: not for his eyes.
    pub(crate) fn looks_at(&mut self, key: &[u8]) -> Look {
        let Some(sees) = self.sees else { return Look::Seen };
        if self.looks == LOOKS_MAX {
            self.more = true;
            return Look::End;
        }
        self.looks += 1;
        if sees.sees(key) {
            self.unseen = 0;
            return Look::Seen;
        }
        if self.left > 0 {
            self.note(key);
        }
        self.unseen += 1;
        if self.unseen < SKIP_AFTER {
            return Look::Unseen;
        }
        self.unseen = 0;
        match sees.next(key) {
            Next::At(next) if *next > *key => Look::Skip(next),
            Next::Nowhere => Look::End,
            _ => Look::Unseen,
        }
    }

    /// True if there is room for one more answer.
    pub(crate) fn admits(&mut self, key: &[u8]) -> bool {
        if self.left == 0 {
            self.more = true;
            return false;
        }
        self.left -= 1;
        self.note(key);
        true
    }

    fn note(&mut self, key: &[u8]) {
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    pub(crate) fn next(self) -> Option<Vec<u8>> {
        self.more.then_some(self.last)
    }
}
