//! Patterns of access rules: `*` is any characters but `/`, `**` is any characters, all else stands for
//! itself.
//!
//! They are compared as bytes, anchored at both ends. Of names every run of stars is any characters. What
//! watches know besides (`?`, `[...]`, a `**/` that may be nothing) must not mean anything here: a rule says
//! what it says letter by letter.

/// The most bytes a pattern may have: as long as the longest key.
pub const GLOB_BYTES_MAX: usize = 1_024;
/// The most runs of stars.
pub const GLOB_STARS_MAX: usize = 16;

const SLASH: u8 = b'/';

/// What a run of stars stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gap {
    /// Bytes other than a slash.
    Segment,
    /// Any bytes.
    Any,
}

/// A pattern taken apart: literal pieces with a gap between each two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glob {
    /// One more than there are gaps; the first and the last may be empty.
    pub pieces: Vec<Vec<u8>>,
    pub gaps: Vec<Gap>,
}

/// What is left of a pattern once a text was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing that begins with the text matches.
    Nothing,
    /// Something does.
    Some,
    /// Everything does.
    All,
}

impl Glob {
    /// Takes a pattern apart. `paths`: whether one star stops at slashes. The error says what is wrong.
    pub(crate) fn parse(text: &str, paths: bool) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the pattern is empty".into());
        }
        if text.len() > GLOB_BYTES_MAX {
            return Err(format!("the pattern has {} bytes (max {GLOB_BYTES_MAX})", text.len()));
        }
        let mut glob = Self { pieces: vec![Vec::new()], gaps: Vec::new() };
        let mut stars = 0;
        for byte in text.bytes().chain([0]).enumerate() {
            let (at, byte) = byte;
            if byte == b'*' && at < text.len() {
                stars += 1;
                continue;
            }
            if stars > 0 {
                glob.gaps.push(if stars == 1 && paths { Gap::Segment } else { Gap::Any });
                glob.pieces.push(Vec::new());
                stars = 0;
            }
            if at < text.len()
                && let Some(piece) = glob.pieces.last_mut()
            {
                piece.push(byte);
            }
        }
        if glob.gaps.len() > GLOB_STARS_MAX {
            return Err(format!("the pattern has {} wildcards (max {GLOB_STARS_MAX})", glob.gaps.len()));
        }
        Ok(glob)
    }

    /// The pattern that everything matches.
    pub(crate) fn everything() -> Self {
        Self { pieces: vec![Vec::new(), Vec::new()], gaps: vec![Gap::Any] }
    }

    /// What every match begins with.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.pieces[0]
    }

    /// True if `text` matches, asked plainly: time is pattern times text.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.after(text).is_some_and(|live| live.last() == Some(&true))
    }

    /// What can match that begins with `text`.
    pub(crate) fn reach(&self, text: &[u8]) -> Reach {
        let common = text.len().min(self.prefix().len());
        if text[..common] != self.prefix()[..common] {
            return Reach::Nothing;
        }
        match self.after(text) {
            None => Reach::Nothing,
            // Whatever comes, the last gap takes it.
            Some(live) if live.last() == Some(&true) && self.ends_with_any() => Reach::All,
            Some(_) => Reach::Some,
        }
    }

    /// True if whatever follows a match matches too.
    pub(crate) fn ends_with_any(&self) -> bool {
        self.gaps.last() == Some(&Gap::Any) && self.pieces.last().is_some_and(Vec::is_empty)
    }

    /// After reading `text`: by the number of literal bytes, whether so many may have been read of the
    /// pattern. None if no number may.
    fn after(&self, text: &[u8]) -> Option<Vec<bool>> {
        let literals = self.pieces.concat();
        let mut gaps = vec![None; literals.len() + 1];
        let mut at = 0;
        for (piece, gap) in self.pieces.iter().zip(&self.gaps) {
            at += piece.len();
            gaps[at] = Some(*gap);
        }
        let mut live = vec![false; literals.len() + 1];
        live[0] = true;
        for byte in text {
            let mut any = false;
            for at in (0..live.len()).rev() {
                let stays = live[at]
                    && match gaps[at] {
                        None => false,
                        Some(Gap::Segment) => *byte != SLASH,
                        Some(Gap::Any) => true,
                    };
                live[at] = stays || at > 0 && live[at - 1] && literals[at - 1] == *byte;
                any |= live[at];
            }
            if !any {
                return None;
            }
        }
        Some(live)
    }
}
