//! Key patterns: `*` and `?` inside one segment, `**` over any number of them, `[...]` one character of a
//! set.
//!
//! [`Pattern`] asks one pattern about one key, plainly: it is the oracle of the trie and of the automaton,
//! which do the work.

/// The most bytes a pattern may have: as long as the longest key.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// What divides a path.
pub(crate) const SLASH: char = '/';

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Token {
    Literal(char),
    /// One character except the separator.
    One,
    /// One character out of (or, negated, not out of) ranges; never the separator.
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    /// Any characters except the separator.
    Star,
    /// Any characters.
    DoubleStar,
    /// `**/` is two states, so that it can be left out only where a segment starts: `Fork` consumes nothing
    /// and goes on to `Inside` or past it; `Inside` eats characters and may end after each
    /// separator.
    Fork,
    Inside,
}

/// A compiled pattern, anchored at both ends, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    separator: char,
    tokens: Vec<Token>,
    /// What every match starts with: lets a caller scan a prefix, or skip most keys with one comparison.
    prefix: String,
}

impl Pattern {
    /// Compiles a pattern of paths; `None` when it is empty or longer than [`PATTERN_BYTES_MAX`].
    ///
    /// There are no syntax errors: an unclosed `[` stands for itself.
    pub fn new(text: &str) -> Option<Self> {
        Self::divided(text, SLASH)
    }

    /// As [`Pattern::new`], for keys whose segments are divided by another character.
    pub fn divided(text: &str, separator: char) -> Option<Self> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return None;
        }
        let tokens = compile(text, separator);
        Some(Self { separator, prefix: literal_prefix(&tokens), tokens })
    }

    /// What every matching key starts with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// True when exactly one key matches: the prefix.
    pub fn is_exact(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::Literal(_)))
    }

    /// True when `key` matches. Time is at most pattern length times key length: no input makes it explode.
    pub fn matches(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(self.prefix.as_str()) else { return false };
        let tokens = &self.tokens[self.prefix.chars().count()..];
        // live[n]: the first n tokens match what was read so far (Thompson's simulation of the automaton).
        let mut live = vec![false; tokens.len() + 1];
        live[0] = true;
        pass_empty(tokens, &mut live);
        let mut next = vec![false; tokens.len() + 1];
        for c in rest.chars() {
            next.fill(false);
            for (at, token) in tokens.iter().enumerate().filter(|(at, _)| live[*at]) {
                match token {
                    Token::Literal(want) => next[at + 1] |= *want == c,
                    Token::One => next[at + 1] |= c != self.separator,
                    Token::Set { ranges, negated } => {
                        next[at + 1] |= c != self.separator && in_set(ranges, *negated, c);
                    }
                    Token::Star => next[at] |= c != self.separator,
                    Token::DoubleStar => next[at] = true,
                    Token::Inside => {
                        next[at] = true;
                        next[at + 1] |= c == self.separator;
                    }
                    Token::Fork => {}
                }
            }
            pass_empty(tokens, &mut next);
            std::mem::swap(&mut live, &mut next);
        }
        live[tokens.len()]
    }
}

/// The literal characters that tokens begin with.
pub(crate) fn literal_prefix(tokens: &[Token]) -> String {
    let literal = |token: &Token| match token {
        Token::Literal(c) => Some(*c),
        _ => None,
    };
    tokens.iter().map_while(literal).collect()
}

pub(crate) fn in_set(ranges: &[(char, char)], negated: bool, c: char) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != negated
}

/// Goes on, without reading a character, past every token that may match nothing.
fn pass_empty(tokens: &[Token], live: &mut [bool]) {
    for at in 0..tokens.len() {
        match tokens[at] {
            Token::Star | Token::DoubleStar => live[at + 1] |= live[at],
            Token::Fork => {
                live[at + 1] |= live[at];
                live[at + 2] |= live[at];
            }
            _ => {}
        }
    }
}

pub(crate) fn compile(text: &str, separator: char) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let starts_segment = match tokens.last() {
            None | Some(Token::Inside) => true,
            Some(Token::Literal(last)) => *last == separator,
            _ => false,
        };
        let after_stars = rest.strip_prefix("**").and_then(|after| after.strip_prefix(separator));
        if let Some(after) = after_stars.filter(|_| starts_segment) {
            // `**/**/` says no more than `**/`.
            if tokens.last() != Some(&Token::Inside) {
                tokens.extend([Token::Fork, Token::Inside]);
            }
            rest = after;
        } else if c == '*' {
            let stars = rest.len() - rest.trim_start_matches('*').len();
            tokens.push(if stars > 1 { Token::DoubleStar } else { Token::Star });
            rest = &rest[stars..];
        } else if let Some((set, after)) = (c == '[').then(|| parse_set(rest, separator)).flatten() {
            tokens.push(set);
            rest = after;
        } else {
            tokens.push(if c == '?' { Token::One } else { Token::Literal(c) });
            rest = &rest[c.len_utf8()..];
        }
    }
    tokens
}

/// Reads `[abc]`, `[a-c]`, `[!a]` or `[^a]`; `]` directly after the opening stands for itself.
fn parse_set(text: &str, separator: char) -> Option<(Token, &str)> {
    let inner = &text[1..];
    let negated = inner.starts_with(['!', '^']);
    let body = if negated { &inner[1..] } else { inner };
    let first = body.chars().next()?.len_utf8();
    let close = first + body[first..].find(']')?;
    let chars: Vec<char> = body[..close].chars().collect();
    // How a client writes a wildcard that stands for itself: so a key with many stays one key.
    if let ([only], false) = (&*chars, negated)
        && *only != separator
    {
        return Some((Token::Literal(*only), &body[close + 1..]));
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let is_range = at + 2 < chars.len() && chars[at + 1] == '-';
        let last = if is_range { at + 2 } else { at };
        ranges.push((chars[at], chars[last]));
        at = last + 1;
    }
    Some((Token::Set { ranges, negated }, &body[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching<'k>(pattern: &str, keys: &[&'k str]) -> Vec<&'k str> {
        let pattern = Pattern::new(pattern).unwrap();
        keys.iter().copied().filter(|key| pattern.matches(key)).collect()
    }

    #[test]
    fn one_star_stays_inside_its_segment() {
        assert_eq!(matching("app/*", &["app/x", "app/x/y", "app", "app/"]), ["app/x", "app/"]);
        assert_eq!(matching("*", &["top", "a/b"]), ["top"]);
        assert_eq!(matching("a*", &["a", "ab", "ab/c", "b"]), ["a", "ab"]);
        assert_eq!(matching("*/db", &["x/db", "x/y/db", "db"]), ["x/db"]);
    }

    #[test]
    fn two_stars_cross_segments() {
        let keys = ["a", "a/b", "a/b/c", "a/b/x/c", "ab", "a/c", "a/xc"];
        assert_eq!(matching("**", &keys), keys);
        assert_eq!(matching("a/**", &keys), ["a/b", "a/b/c", "a/b/x/c", "a/c", "a/xc"]);
        assert_eq!(matching("a/**/c", &keys), ["a/b/c", "a/b/x/c", "a/c"]);
        assert_eq!(matching("**/c", &["c", "a/c", "ac", "a/b/c"]), ["c", "a/c", "a/b/c"]);
        assert_eq!(matching("a/**/**/c", &keys), ["a/b/c", "a/b/x/c", "a/c"]);
    }

    #[test]
    fn sets_and_question_marks_take_one_character() {
        assert_eq!(matching("?", &["a", "ab", "/", "é"]), ["a", "é"]);
        assert_eq!(matching("[a-c]x", &["ax", "cx", "dx", "/x"]), ["ax", "cx"]);
        assert_eq!(matching("[!a-c]", &["a", "d", "/"]), ["d"]);
        assert_eq!(matching("[]a]", &["]", "a", "b"]), ["]", "a"]);
        assert_eq!(matching("a[b", &["a[b", "ab"]), ["a[b"]);
    }

    #[test]
    fn everything_else_is_literal() {
        assert_eq!(matching("zz|q", &["zz|q", "zz", "q"]), ["zz|q"]);
        assert_eq!(matching("a.b$", &["a.b$", "axb"]), ["a.b$"]);
        assert!(Pattern::new("app/config").unwrap().is_exact());
    }

    #[test]
    fn the_prefix_is_the_literal_beginning() {
        assert_eq!(Pattern::new("app/x*").unwrap().prefix(), "app/x");
        assert_eq!(Pattern::new("**").unwrap().prefix(), "");
    }

    #[test]
    fn hostile_patterns_end_in_linear_steps() {
        let pattern = Pattern::new(&"*a".repeat(400)).unwrap();
        assert!(!pattern.matches(&"a".repeat(300)));
        assert!(pattern.matches(&"a".repeat(400)));
        assert!(Pattern::new(&"x".repeat(PATTERN_BYTES_MAX + 1)).is_none());
        assert!(Pattern::new("").is_none());
    }
}
