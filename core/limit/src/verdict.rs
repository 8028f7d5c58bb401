//! What is asked of the limits and what they answer.

use crate::address::client_text;
use crate::bucket::Rate;

/// Whose rate a request spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The address's.
    Address,
    /// The API key's, by its id.
    Key(&'a str),
    /// The user's, by its id.
    User(&'a str),
    /// Nobody's: only the lists are asked.
    Nobody,
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// Addresses.
    Address,
    /// API keys.
    Key,
    /// Users.
    User,
}

impl Kind {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 3] = [Self::Address, Self::Key, Self::User];

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "ip",
            Self::Key => "apikey",
            Self::User => "user",
        }
    }
}

/// A client, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// An address, as [`Address::client`] makes it.
    Address(u128),
    /// The id of an API key.
    Key(Box<str>),
    /// The id of a user.
    User(Box<str>),
}

impl Client {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Address(_) => Kind::Address,
            Self::Key(_) => Kind::Key,
            Self::User(_) => Kind::User,
        }
    }

    /// Its name.
    pub fn text(&self) -> String {
        match self {
            Self::Address(bits) => client_text(*bits),
            Self::Key(id) | Self::User(id) => id.to_string(),
        }
    }
}

/// What a request costs. More than the burst is cut at it: no request may be beyond every client.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Tokens to take now.
    pub more: u32,
    /// Tokens that the same request took before; given back if it is refused now.
    pub spent: u32,
}

impl Cost {
    /// Of a request that took nothing before.
    pub const fn of(tokens: u32) -> Self {
        Self { more: tokens, spent: 0 }
    }
}

/// What is left in a bucket after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The rate in force.
    pub rate: Rate,
    /// Whole tokens.
    pub tokens: u32,
    /// Allowed: ms until one token is there. Refused: ms until the request would pass. `None`: never.
    pub wait_ms: Option<u64>,
    /// Ms until the bucket is full. `None`: never.
    pub full_ms: Option<u64>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing limits it.
    Unlimited,
    /// The white list lets it through.
    Whitelisted,
    /// The black list has the client of this kind.
    Blacklisted(Kind),
    /// It spent what it costs.
    Allowed(Left),
    /// It spent nothing.
    Refused(Left),
}

/// How often each answer was given, of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Allowed.
    pub allowed: u64,
    /// Over its rate.
    pub exceeded: u64,
    /// Passed by the white list.
    pub whitelisted: u64,
    /// Stopped by the black list.
    pub blacklisted: u64,
}

/// One request that was refused for its rate.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Counts up from 1 without gaps.
    pub number: u64,
    /// Unix time in ms.
    pub at_ms: u64,
    /// Whose.
    pub client: Client,
    /// The route class.
    pub class: u8,
    /// What it would have cost.
    pub cost: u32,
    /// What was there, in billionths of a token.
    pub level_nanos: u64,
}

/// A rate of a client's own, until a Unix time in ms.
pub type Custom = (Rate, u64);
