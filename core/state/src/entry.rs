//! Entries: what is in the log, built and checked before it gets there.

use crate::keys::KEY_BYTES_MAX;
use crate::msgpack::{self, Cursor, Malformed};
use crate::refusal::{Bad, Refusal};
use crate::schema::Schema;
use crate::vocabulary::{self, Scope};

/// The longest entry in bytes.
pub const ENTRY_BYTES_MAX: usize = 80 << 20;
/// Most cases in an entry.
pub const CASES_MAX: u32 = 256;
/// Most guards and ops in an entry, together.
pub const STEPS_MAX: u32 = 4096;
/// Bytes before an entry's body.
pub const HEADER_BYTES: usize = 9;

/// What an entry's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A msgpack array of cases.
    Cases = 0,
    /// A schema.
    Define = 1,
    /// The most rows that may expire, in msgpack.
    Pulse = 2,
    /// The 16 bytes of a request's id, then cases: applied once, however often it comes.
    Once = 3,
    /// Cases, written because a lease ended: what they change is told apart from what somebody asked for.
    Lapse = 4,
}

/// Appends an entry as it is in the log.
pub fn encode(now_ms: u64, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEADER_BYTES + body.len());
    out.extend_from_slice(&now_ms.to_be_bytes());
    out.push(kind as u8);
    out.extend_from_slice(body);
}

/// Takes an entry apart: now in ms, kind, body.
pub(crate) fn split(entry: &[u8]) -> Result<(u64, Kind, &[u8]), Bad> {
    const SHORT: Malformed = Malformed("an entry is shorter than its header");
    let (now_ms, rest) = entry.split_first_chunk().ok_or(SHORT)?;
    let (number, body) = rest.split_first().ok_or(SHORT)?;
    let kind = match number {
        0 => Kind::Cases,
        1 => Kind::Define,
        2 => Kind::Pulse,
        3 => Kind::Once,
        4 => Kind::Lapse,
        _ => return Err(Bad::Unknown(format!("entry kind {number} is not known"))),
    };
    Ok((u64::from_be_bytes(*now_ms), kind, body))
}

/// The body of an entry with one `put`. `cells` is a msgpack array. `at`: None for no guard, 0 if the row
/// must be absent, n if its modify_index must be n. Not checked: [`validate`] does that.
pub fn put_cases(table: u16, key: &[u8], cells: &[u8], at: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(cells.len() + 2 * key.len().min(KEY_BYTES_MAX) + 32);
    msgpack::write_array(&mut out, 1);
    msgpack::write_array(&mut out, 2);
    msgpack::write_array(&mut out, usize::from(at.is_some()));
    if let Some(index) = at {
        msgpack::write_array(&mut out, if index == 0 { 3 } else { 4 });
        msgpack::write_unsigned(&mut out, if index == 0 { 1 } else { 2 });
        msgpack::write_unsigned(&mut out, u64::from(table));
        msgpack::write_bytes(&mut out, key);
        if index > 0 {
            msgpack::write_unsigned(&mut out, index);
        }
    }
    msgpack::write_array(&mut out, 1);
    msgpack::write_array(&mut out, 4);
    msgpack::write_unsigned(&mut out, 0);
    msgpack::write_unsigned(&mut out, u64::from(table));
    msgpack::write_bytes(&mut out, key);
    out.extend_from_slice(cells);
    out
}

/// The id of a request that must be applied once.
pub type RequestId = [u8; REQUEST_ID_BYTES];
/// Bytes of a request's id.
pub const REQUEST_ID_BYTES: usize = 16;

/// The body of an entry that is applied once. Not checked: [`validate`] does that with the cases.
pub fn once_body(id: &RequestId, cases: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST_ID_BYTES + cases.len());
    out.extend_from_slice(id);
    out.extend_from_slice(cases);
    out
}

/// The body of a pulse that expires at most `limit` rows.
pub fn pulse_body(limit: u64) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::write_unsigned(&mut out, limit);
    out
}

/// Checks a body of cases against the schema: all that can be known without rows.
///
/// What passes here can still be refused when it is applied, but never stops a node.
///
/// # Errors
/// A refusal that says what is wrong.
pub fn validate(schema: &Schema, cases: &[u8]) -> Result<(), Refusal> {
    if cases.len() > ENTRY_BYTES_MAX - HEADER_BYTES - REQUEST_ID_BYTES {
        return Err(Refusal::too_large(format!("an entry is limited to {ENTRY_BYTES_MAX} bytes")));
    }
    check_cases(schema, cases).map_err(Refusal::from)
}

fn check_cases(schema: &Schema, cases: &[u8]) -> Result<(), Bad> {
    let mut cursor = Cursor::new(cases);
    let count = cursor.array()?;
    if !(1..=CASES_MAX).contains(&count) {
        return Err(Refusal::invalid(format!("an entry has 1 to {CASES_MAX} cases, not {count}")).into());
    }
    let mut steps = 0_u32;
    let mut scratch = Vec::new();
    for _ in 0..count {
        if cursor.array()? != 2 {
            return Err(Malformed("a case has guards and ops").into());
        }
        let guards = cursor.array()?;
        steps = check_steps(steps, guards)?;
        for _ in 0..guards {
            let guard = vocabulary::guard(&mut cursor)?;
            vocabulary::check_guard(schema, &guard, &mut scratch)?;
        }
        let ops = cursor.array()?;
        steps = check_steps(steps, ops)?;
        for _ in 0..ops {
            let op = vocabulary::op(&mut cursor)?;
            vocabulary::check_op(schema, &op, Scope::Op, &mut scratch)?;
        }
    }
    if cursor.is_empty() { Ok(()) } else { Err(Malformed("something follows the cases").into()) }
}

fn check_steps(so_far: u32, more: u32) -> Result<u32, Refusal> {
    match so_far.checked_add(more) {
        Some(steps) if steps <= STEPS_MAX => Ok(steps),
        _ => Err(Refusal::too_large(format!("an entry is limited to {STEPS_MAX} guards and ops"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;
    use crate::sketch::*;

    fn known() -> Schema {
        let kv = Tab::new(1, "kv").column("value", "bytes").column("flags", "u64").column("tags", "list");
        Schema::decode(&schema(&[kv])).unwrap()
    }

    #[test]
    fn put_cases_are_what_a_client_would_build() {
        let cells = row_cells(&[V::Bytes(vec![1, 2])]);
        let op = || vec![put(1, V::Bytes(b"k".to_vec()), &[V::Bytes(vec![1, 2])])];
        let key = || V::Bytes(b"k".to_vec());
        assert_eq!(put_cases(1, b"k", &cells, None), always(&op()));
        assert_eq!(put_cases(1, b"k", &cells, Some(0)), cases(&[(vec![absent(1, key())], op())]));
        assert_eq!(put_cases(1, b"k", &cells, Some(300)), cases(&[(vec![at(1, key(), 300)], op())]));
    }

    #[test]
    fn what_cannot_be_applied_does_not_enter_the_log() {
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        let bad: Vec<(u16, Vec<u8>)> = vec![
            (code::INVALID, cases(&[])),
            (code::INVALID, cases(&vec![(vec![], vec![]); 257])),
            (code::TOO_LARGE, always(&vec![delete(1, "k"); 4097])),
            (code::UNSUPPORTED, always(&[delete(2, "k")])),
            (code::INVALID, always(&[delete(1, "")])),
            (code::TOO_LARGE, always(&[delete(1, long.as_str())])),
            (code::INVALID, always(&[put(1, "k", &["v".into(), "v".into()])])),
            (code::INVALID, always(&[put(1, "k", &[V::Nil, V::Nil, V::Nil, V::Nil])])),
            (code::INVALID, always(&[put(1, "k", &[V::Nil, V::Int(-1)])])),
            (code::INVALID, always(&[put(1, "k", &[V::Index])])),
            (code::INVALID, always(&[put(1, V::Myself, &[])])),
            (code::INVALID, always(&[put(1, V::Now(0), &[])])),
            (code::INVALID, always(&[patch(1, "k", &[(1, V::Keep)])])),
            (code::UNSUPPORTED, always(&[patch(1, "k", &[(3, V::Nil)])])),
            (code::INVALID, always(&[add(1, "k", 0, 1, None)])),
            (code::INVALID, cases(&[(vec![le(1, "k", 0, V::Nil)], vec![])])),
            (code::INVALID, cases(&[(vec![le(1, "k", 1, V::Nil)], vec![])])),
            (code::INVALID, cases(&[(vec![is(1, V::Keep, 1, V::Nil)], vec![])])),
            (code::INVALID, put_cases(1, b"k", b"", None)),
            (code::INVALID, put_cases(1, b"k", &[0x91, 0xc0, 0xc0], None)),
            (code::INVALID, array(&[array(&[array(&[array(&[one(6), one(1), one("k")])]), array(&[])])])),
            (code::INVALID, array(&[array(&[array(&[]), array(&[array(&[one(5), one(1), one("k")])])])])),
        ];
        for (number, body) in bad {
            let refusal = validate(&known(), &body).unwrap_err();
            assert_eq!(refusal.code, number, "{refusal:?}");
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let long = "x".repeat(KEY_BYTES_MAX);
        assert_eq!(validate(&known(), &cases(&vec![(vec![], vec![delete(1, "k"); 16]); 256])), Ok(()));
        assert_eq!(validate(&known(), &always(&[delete(1, long.as_str()), delete_prefix(1, "")])), Ok(()));
    }
}
