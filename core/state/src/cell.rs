//! Cells: what a column may hold, and the one canonical msgpack form in which it is stored.
//!
//! Canonical means: the smallest integer and length forms, a map's pairs in key order. So equal values are
//! equal bytes, and every comparison in a guard or an index is a comparison of bytes.

use crate::json_text;
use crate::msgpack::{self, Cursor, Malformed, Value};
use crate::refusal::{Bad, Refusal};

/// What a column holds. Every kind may also be nil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// A non-negative integer.
    U64,
    /// An integer.
    I64,
    /// true or false.
    Bool,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Bytes,
    /// A list of texts.
    List,
    /// Text to text.
    Map,
    /// JSON text, kept as bytes.
    Json,
}

impl CellKind {
    const NAMES: [(&str, Self); 8] = [
        ("u64", Self::U64),
        ("i64", Self::I64),
        ("bool", Self::Bool),
        ("text", Self::Text),
        ("bytes", Self::Bytes),
        ("list", Self::List),
        ("map", Self::Map),
        ("json", Self::Json),
    ];

    /// The kind of that name in a schema.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Its name in a schema.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// True for the kinds that can be counted with and compared by `le`.
    pub fn is_number(self) -> bool {
        matches!(self, Self::U64 | Self::I64)
    }
}

/// The canonical nil cell.
pub const NIL: &[u8] = &[0xc0];

/// A stand-in for a value that is only known when the entry is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// This entry's index.
    Index,
    /// The clock plus so many ms.
    Now(i64),
    /// The old row's cell.
    Keep,
    /// The key of the row that reacts.
    Myself,
    /// A cell of the parent row, plus the clock if asked.
    Parent { column: u8, plus_now: bool },
}

impl Place {
    pub(crate) fn read(kind: i8, payload: &[u8]) -> Result<Self, Bad> {
        match (kind, payload) {
            (1, []) => Ok(Self::Index),
            (2, payload) if payload.len() == 8 => {
                let bytes = payload.first_chunk().copied().unwrap_or_default();
                Ok(Self::Now(i64::from_be_bytes(bytes)))
            }
            (3, []) => Ok(Self::Keep),
            (4, []) => Ok(Self::Myself),
            (5, [column, plus @ (0 | 1)]) => Ok(Self::Parent { column: *column, plus_now: *plus == 1 }),
            _ => Err(Bad::Unknown(format!("the placeholder of type {kind} is not known"))),
        }
    }
}

/// Reads one value and appends its canonical form; a placeholder is returned instead, with nothing appended.
pub(crate) fn canonical(
    cursor: &mut Cursor<'_>,
    kind: CellKind,
    out: &mut Vec<u8>,
) -> Result<Option<Place>, Bad> {
    let value = cursor.value()?;
    match (value, kind) {
        (Value::Ext(code, payload), _) => return Place::read(code, payload).map(Some),
        (Value::Nil, _) => msgpack::write_nil(out),
        (Value::Unsigned(n), CellKind::U64) => msgpack::write_unsigned(out, n),
        (Value::Unsigned(n), CellKind::I64) if n <= i64::MAX as u64 => msgpack::write_unsigned(out, n),
        (Value::Negative(n), CellKind::I64) => msgpack::write_signed(out, n),
        (Value::Bool(b), CellKind::Bool) => msgpack::write_bool(out, b),
        (Value::Text(bytes), CellKind::Text) => msgpack::write_text(out, utf8(bytes)?),
        (Value::Bytes(bytes) | Value::Text(bytes), CellKind::Bytes) => msgpack::write_bytes(out, bytes),
        (Value::Bytes(bytes) | Value::Text(bytes), CellKind::Json) => {
            json_text::check(bytes)
                .map_err(|what| Refusal::invalid(format!("a json cell is not JSON: {what}")))?;
            msgpack::write_bytes(out, bytes);
        }
        (Value::Array(count), CellKind::List) => {
            msgpack::write_array(out, count as usize);
            for _ in 0..count {
                msgpack::write_text(out, text(cursor)?);
            }
        }
        (Value::Map(pairs), CellKind::Map) => canonical_map(cursor, pairs, out)?,
        (other, kind) => return Err(wrong_kind(other, kind)),
    }
    Ok(None)
}

fn canonical_map(cursor: &mut Cursor<'_>, count: u32, out: &mut Vec<u8>) -> Result<(), Bad> {
    let mut pairs = Vec::with_capacity(count as usize);
    for _ in 0..count {
        pairs.push((text(cursor)?, text(cursor)?));
    }
    pairs.sort_unstable_by_key(|(name, _)| *name);
    if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(Refusal::invalid("a map holds the same name twice").into());
    }
    msgpack::write_map(out, pairs.len());
    for (name, value) in pairs {
        msgpack::write_text(out, name);
        msgpack::write_text(out, value);
    }
    Ok(())
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Bad> {
    match cursor.value()? {
        Value::Text(bytes) => utf8(bytes),
        other => Err(wrong_kind(other, CellKind::Text)),
    }
}

fn utf8(bytes: &[u8]) -> Result<&[u8], Bad> {
    match str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Refusal::invalid("text is not UTF-8").into()),
    }
}

fn wrong_kind(value: Value<'_>, kind: CellKind) -> Bad {
    let given = match value {
        Value::Nil => "nil",
        Value::Bool(_) => "a boolean",
        Value::Unsigned(_) | Value::Negative(_) => "a number",
        Value::Float => "a float",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Array(_) => "an array",
        Value::Map(_) => "a map",
        Value::Ext(..) => "a placeholder",
    };
    Refusal::invalid(format!("a {} cell cannot hold {given}", kind.name())).into()
}

/// A number cell; None if it is nil or holds something else.
pub(crate) fn number(cell: &[u8]) -> Option<i128> {
    match Cursor::new(cell).value() {
        Ok(Value::Unsigned(n)) => Some(i128::from(n)),
        Ok(Value::Negative(n)) => Some(i128::from(n)),
        _ => None,
    }
}

/// A `u64` cell; None if it is nil or holds something else.
pub(crate) fn unsigned(cell: &[u8]) -> Option<u64> {
    number(cell).and_then(|n| u64::try_from(n).ok())
}

/// Appends a number in its canonical form; false, with nothing appended, if the kind cannot hold it.
pub(crate) fn write_number(out: &mut Vec<u8>, kind: CellKind, number: i128) -> bool {
    match kind {
        CellKind::U64 => match u64::try_from(number) {
            Ok(n) => msgpack::write_unsigned(out, n),
            Err(_) => return false,
        },
        CellKind::I64 => match i64::try_from(number) {
            Ok(n) => msgpack::write_signed(out, n),
            Err(_) => return false,
        },
        _ => return false,
    }
    true
}

/// The bytes of a text, bytes or json cell; None if it is nil or holds something else.
pub(crate) fn payload(cell: &[u8]) -> Option<&[u8]> {
    match Cursor::new(cell).value() {
        Ok(Value::Text(bytes) | Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

/// Checks that `cell` is exactly one canonical value of `kind`.
pub(crate) fn check(cell: &[u8], kind: CellKind, scratch: &mut Vec<u8>) -> Result<(), Malformed> {
    const ODD: Malformed = Malformed("a cell is not in its canonical form");
    scratch.clear();
    let mut cursor = Cursor::new(cell);
    match canonical(&mut cursor, kind, scratch) {
        Ok(None) if cursor.is_empty() && scratch == cell => Ok(()),
        _ => Err(ODD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &[u8], kind: CellKind) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        match canonical(&mut Cursor::new(bytes), kind, &mut out) {
            Ok(None) => Ok(out),
            Ok(Some(place)) => Err(format!("{place:?}")),
            Err(bad) => Err(Refusal::from(bad).message),
        }
    }

    #[test]
    fn integers_take_their_smallest_form() {
        assert_eq!(stored(&[0xcf, 0, 0, 0, 0, 0, 0, 0, 5], CellKind::U64), Ok(vec![5]));
        assert_eq!(stored(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 5], CellKind::I64), Ok(vec![5]));
        assert_eq!(stored(&[0xd1, 0xff, 0xff], CellKind::I64), Ok(vec![0xff]));
        assert!(stored(&[0xff], CellKind::U64).is_err());
        assert!(stored(&[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0], CellKind::I64).is_err());
    }

    #[test]
    fn maps_are_kept_in_name_order_and_names_are_unique() {
        let given = [0x82, 0xa1, b'b', 0xa1, b'1', 0xa1, b'a', 0xa1, b'2'];
        let kept = vec![0x82, 0xa1, b'a', 0xa1, b'2', 0xa1, b'b', 0xa1, b'1'];
        assert_eq!(stored(&given, CellKind::Map), Ok(kept));
        assert!(stored(&[0x82, 0xa1, b'a', 0xa0, 0xa1, b'a', 0xa0], CellKind::Map).is_err());
    }

    #[test]
    fn bytes_take_text_but_text_takes_no_bytes() {
        assert_eq!(stored(&[0xa1, b'x'], CellKind::Bytes), Ok(vec![0xc4, 1, b'x']));
        assert!(stored(&[0xc4, 1, b'x'], CellKind::Text).is_err());
        assert!(stored(&[0xa1, 0xff], CellKind::Text).is_err());
    }

    #[test]
    fn placeholders_are_told_apart() {
        assert!(matches!(Place::read(1, &[]), Ok(Place::Index)));
        assert!(matches!(Place::read(2, &5_i64.to_be_bytes()), Ok(Place::Now(5))));
        assert!(matches!(Place::read(5, &[3, 1]), Ok(Place::Parent { column: 3, plus_now: true })));
        for (kind, payload) in [(0, &[][..]), (1, &[0]), (2, &[0; 7]), (5, &[1, 2]), (6, &[])] {
            assert!(matches!(Place::read(kind, payload), Err(Bad::Unknown(_))));
        }
    }
}
