//! What clients did and were told: the record that the linearizability check reads, also from a file.
//!
//! The file has one JSON object a line; its fields are those of [`Operation`] and described in this crate's
//! README.

use serde_json::{Value, json};

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Write whatever is there.
    Put,
    /// Read.
    Get,
    /// Write if the row's modify_index is `expect_index` (0: if there is no row).
    Cas,
    /// Remove.
    Delete,
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// Certainly not done. A `cas`: the guard did not hold. A `delete`: there was no row.
    Fail,
    /// Nobody can tell: it may take effect at any later time, or never.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: String,
    /// What for.
    pub kind: Kind,
    /// Of which key.
    pub key: String,
    /// What was to be written; empty for `get` and `delete`.
    pub arg: String,
    /// The condition of a `cas`.
    pub expect_index: u64,
    /// When it was asked, in microseconds of a clock that all clients share.
    pub start_us: u64,
    /// When it was answered; `None`: never.
    pub end_us: Option<u64>,
    /// The answer.
    pub outcome: Outcome,
    /// What a `get` read; `None`: there was no row.
    pub value: Option<String>,
    /// `get`: the row's modify_index. A write that was done: its index. A refused `cas`: the index that was
    /// found. `None`: not told.
    pub index: Option<u64>,
}

impl Operation {
    /// Reads one line.
    ///
    /// # Errors
    /// Which field is missing or of another kind.
    pub fn from_line(line: &str) -> Result<Self, String> {
        let object: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = |name: &str| match &object[name] {
            Value::String(text) => Ok(Some(text.clone())),
            Value::Null => Ok(None),
            Value::Number(number) => Ok(Some(number.to_string())),
            other => Err(format!("{name} is {other}, expected text")),
        };
        let number = |name: &str| match &object[name] {
            Value::Null => Ok(None),
            other => {
                other.as_u64().map(Some).ok_or_else(|| format!("{name} is {other}, expected a number from 0"))
            }
        };
        let needed = |name: &str, found: Option<String>| found.ok_or_else(|| format!("{name} is missing"));
        let kind = match text("op")?.as_deref() {
            Some("put") => Kind::Put,
            Some("get") => Kind::Get,
            Some("cas") => Kind::Cas,
            Some("delete") => Kind::Delete,
            other => return Err(format!("op is {other:?}, expected put, get, cas or delete")),
        };
        let outcome = match text("outcome")?.as_deref() {
            Some("ok") => Outcome::Ok,
            Some("fail") => Outcome::Fail,
            Some("unknown") => Outcome::Unknown,
            other => return Err(format!("outcome is {other:?}, expected ok, fail or unknown")),
        };
        let operation = Self {
            client: needed("client", text("client")?)?,
            kind,
            key: needed("key", text("key")?)?,
            arg: text("arg")?.unwrap_or_default(),
            expect_index: number("expect_index")?.unwrap_or(0),
            start_us: number("start_us")?.ok_or("start_us is missing")?,
            end_us: number("end_us")?,
            outcome,
            value: text("value")?,
            index: number("index")?,
        };
        if operation.outcome != Outcome::Unknown && operation.end_us.is_none() {
            return Err("end_us is missing, and the outcome is known".into());
        }
        if operation.end_us.is_some_and(|end_us| end_us < operation.start_us) {
            return Err("end_us is before start_us".into());
        }
        Ok(operation)
    }

    /// The line that [`Operation::from_line`] reads.
    pub fn to_line(&self) -> String {
        json!({
            "client": self.client,
            "op": self.kind.name(),
            "key": self.key,
            "arg": self.arg,
            "expect_index": self.expect_index,
            "start_us": self.start_us,
            "end_us": self.end_us,
            "outcome": self.outcome.name(),
            "value": self.value,
            "index": self.index,
        })
        .to_string()
    }
}

impl Kind {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Cas => "cas",
            Self::Delete => "delete",
        }
    }
}

impl Outcome {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_it_is_read_as() {
        let line = r#"{"client":3,"op":"cas","key":"a","arg":"v1","expect_index":4,"start_us":10,"end_us":20,
            "outcome":"fail","value":null,"index":7}"#;
        let operation = Operation::from_line(line).unwrap();
        assert_eq!((operation.client.as_str(), operation.kind, operation.index), ("3", Kind::Cas, Some(7)));
        assert_eq!(Operation::from_line(&operation.to_line()).unwrap(), operation);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, word) in [
            ("{", "EOF"),
            (r#"{"op":"incr"}"#, "op"),
            (r#"{"op":"get","outcome":"ok","client":"a","key":"k"}"#, "start_us"),
            (r#"{"op":"get","outcome":"ok","client":"a","key":"k","start_us":1}"#, "end_us"),
            (r#"{"op":"get","outcome":"ok","client":"a","key":"k","start_us":-1}"#, "start_us"),
        ] {
            let message = Operation::from_line(line).unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
