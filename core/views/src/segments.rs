//! Patterns cut into segments: what the trie is made of.

use crate::automaton::Automaton;
use crate::pattern::{PATTERN_BYTES_MAX, Token, compile, in_set, literal_prefix};

/// Most segments of a pattern with wildcards, and most `**` in it: they bound what one change can cost.
pub(crate) const SEGMENTS_MAX: usize = 64;
pub(crate) const DEEP_MAX: usize = 8;
/// Most characters of a segment with wildcards, and of what follows a `**` inside a segment.
pub(crate) const GLOB_CHARS_MAX: usize = 128;
/// A longer one is matched by an automaton, which costs memory instead of time.
const GREEDY_MAX: usize = 16;

/// One step of a pattern from one node of the trie to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A segment that is this text.
    Literal(Box<str>),
    /// A segment like this.
    Glob(Glob),
    /// Any one segment.
    Star,
    /// Any number of segments.
    Deep,
}

/// How a pattern ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last step.
    Here,
    /// With at least one more segment, whatever they are: a trailing `**`.
    Rest,
    /// With a rest that a `**` inside a segment makes no affair of segments.
    Odd(Automaton),
}

/// A pattern, compiled for the trie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// One key.
    Exact(Box<str>),
    /// Many.
    Steps(Vec<Step>, End),
}

/// A segment with wildcards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glob {
    /// The characters it begins with.
    prefix: Box<str>,
    /// What follows them.
    tokens: Box<[Token]>,
    long: Option<Box<Automaton>>,
}

impl Path {
    /// Compiles a pattern; a reason if it cannot be watched.
    pub(crate) fn new(text: &str, separator: char) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("a pattern is required");
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err("a pattern is limited to 1024 bytes");
        }
        let tokens = compile(text, separator);
        let prefix = literal_prefix(&tokens);
        let after = &tokens[prefix.chars().count()..];
        if after.is_empty() {
            return Ok(Self::Exact(prefix.into()));
        }
        if matches!(after, [Token::DoubleStar]) && prefix.split(separator).count() > SEGMENTS_MAX {
            // Whatever begins like this: one comparison, however deep it is.
            return Ok(Self::Steps(Vec::new(), End::Odd(Automaton::from_tokens(&tokens, separator))));
        }
        let (steps, end) = cut(tokens, separator);
        let deep = steps.iter().filter(|step| matches!(step, Step::Deep)).count();
        if steps.len() > SEGMENTS_MAX {
            return Err("a pattern with wildcards is limited to 64 segments");
        }
        if deep > DEEP_MAX {
            return Err("a pattern is limited to 8 times **");
        }
        let is_long = |step: &Step| matches!(step, Step::Glob(glob) if glob.tokens.len() > GLOB_CHARS_MAX);
        let is_end_long = matches!(&end, End::Odd(pattern) if pattern.length() > GLOB_CHARS_MAX);
        if is_end_long || steps.iter().any(is_long) {
            return Err("wildcards inside a segment are limited to 128 characters");
        }
        Ok(Self::Steps(steps, end))
    }
}

fn cut(tokens: Vec<Token>, separator: char) -> (Vec<Step>, End) {
    let mut steps: Vec<Step> = Vec::new();
    let mut start = 0;
    for at in 0..tokens.len() {
        match tokens[at] {
            Token::Literal(c) if c == separator => {
                steps.push(step(&tokens[start..at], separator));
                start = at + 1;
            }
            Token::Inside => {
                steps.push(Step::Deep);
                start = at + 1;
            }
            Token::DoubleStar if start == at && at + 1 == tokens.len() => {
                if steps.last() == Some(&Step::Deep) {
                    steps.pop();
                }
                return (steps, End::Rest);
            }
            Token::DoubleStar => {
                return (steps, End::Odd(Automaton::from_tokens(&tokens[start..], separator)));
            }
            _ => {}
        }
    }
    steps.push(step(&tokens[start..], separator));
    (steps, End::Here)
}

fn step(tokens: &[Token], separator: char) -> Step {
    let prefix = literal_prefix(tokens);
    let after = &tokens[prefix.chars().count()..];
    match (tokens, after) {
        ([Token::Star], _) => Step::Star,
        (_, []) => Step::Literal(prefix.into()),
        _ => {
            let long = || Box::new(Automaton::from_tokens(after, separator));
            let long = (after.len() > GREEDY_MAX).then(long);
            Step::Glob(Glob { prefix: prefix.into(), tokens: after.into(), long })
        }
    }
}

impl Glob {
    /// The characters it begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// True if a whole segment is like this, given that it begins like it. Greedy, with a way back to the
    /// last star only: a later star can do whatever an earlier one could. Time is at most pattern length
    /// times segment length.
    pub(crate) fn matches(&self, segment: &str) -> bool {
        let rest = &segment[self.prefix.len()..];
        if let Some(automaton) = &self.long {
            return automaton.matches(rest);
        }
        let mut rest = rest.chars();
        let mut at = 0;
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let before = rest.clone();
            let next = rest.next();
            match (self.tokens.get(at), next) {
                (Some(Token::Star), _) => {
                    at += 1;
                    rest = before.clone();
                    retry = Some((at, before));
                    continue;
                }
                (None, None) => return true,
                // Giving a star more would leave the rest of the pattern even less.
                (Some(_), None) => return false,
                (Some(token), Some(c)) if takes(token, c) => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let Some((after_star, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            at = *after_star;
            rest = from.clone();
        }
    }
}

fn takes(token: &Token, c: char) -> bool {
    match token {
        Token::Literal(want) => *want == c,
        Token::One => true,
        Token::Set { ranges, negated } => in_set(ranges, *negated, c),
        Token::Star | Token::DoubleStar | Token::Fork | Token::Inside => false,
    }
}
