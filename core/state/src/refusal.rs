//! A refusal: a deterministic "no" that leaves no trace, with a code of `python/konsul/errors.py`.

use crate::msgpack::Malformed;

/// The codes of `konsul.errors` that the table engine uses.
pub mod code {
    /// What was named does not exist.
    pub const NOT_FOUND: u16 = 2;
    /// The input cannot be understood or breaks a rule.
    pub const INVALID: u16 = 3;
    /// A key, row, index value or entry is over its limit.
    pub const TOO_LARGE: u16 = 4;
    /// An `add` would pass its ceiling, or reactions went too deep.
    pub const LIMIT_REACHED: u16 = 5;
    /// A unique index already holds the value.
    pub const DUPLICATE: u16 = 6;
    /// The schema does not know the table or column.
    pub const UNSUPPORTED: u16 = 12;
}

/// Why an entry, schema or query was turned down; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// A code of `konsul.errors`, see [`code`].
    pub code: u16,
    /// What is wrong, for the caller.
    pub message: String,
}

impl Refusal {
    /// With a code of `konsul.errors`.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The input cannot be understood or breaks a rule.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(code::INVALID, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(code::TOO_LARGE, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(code::UNSUPPORTED, message)
    }
}

/// What can be wrong with input that is being read.
///
/// The three differ once input is committed: a refusal is an answer, the other two mean that this binary does
/// not understand what its peers agreed on, and the node must stop rather than diverge.
#[derive(Debug)]
pub(crate) enum Bad {
    /// Not the msgpack that was expected.
    Malformed(Malformed),
    /// A guard, op or placeholder that this version does not know.
    Unknown(String),
    /// Understood and turned down.
    Refused(Refusal),
}

impl From<Malformed> for Bad {
    fn from(cause: Malformed) -> Self {
        Self::Malformed(cause)
    }
}

impl From<Refusal> for Bad {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Bad> for Refusal {
    /// For input that is checked before it enters the log, all three are the caller's mistake.
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Malformed(cause) => Self::invalid(cause.to_string()),
            Bad::Unknown(what) => Self::invalid(what),
            Bad::Refused(refusal) => refusal,
        }
    }
}
