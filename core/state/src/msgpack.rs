//! Msgpack without copies: a cursor that lends what it reads, and writers that choose the smallest form.
//!
//! Reading is iterative, so nesting cannot exhaust the stack, and every announced length is checked against
//! what is left, so a lying header cannot make anybody allocate.

use rmp::{Marker, encode};

/// The bytes are not the msgpack that was expected here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed msgpack: {0}")]
pub struct Malformed(pub &'static str);

const ENDS: Malformed = Malformed("it ends in the middle of a value");

/// One value; of arrays and maps only the head, their members follow in the cursor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// nil
    Nil,
    /// true or false
    Bool(bool),
    /// A non-negative integer, whatever its form on the wire.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A float, which no column holds.
    Float,
    /// A str; not checked to be UTF-8.
    Text(&'a [u8]),
    /// A bin.
    Bytes(&'a [u8]),
    /// The number of members that follow.
    Array(u32),
    /// The number of pairs that follow.
    Map(u32),
    /// An ext's type and payload.
    Ext(i8, &'a [u8]),
}

/// Reads values one after the other out of borrowed bytes. Copying it is a bookmark.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True if everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ENDS)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ENDS)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn length(&mut self, width: u8) -> Result<u32, Malformed> {
        Ok(match width {
            1 => u32::from(self.number::<1>()?[0]),
            2 => u32::from(u16::from_be_bytes(self.number()?)),
            _ => u32::from_be_bytes(self.number()?),
        })
    }

    fn sized(&mut self, width: u8) -> Result<&'a [u8], Malformed> {
        let length = self.length(width)?;
        self.take(length as usize)
    }

    fn ext(&mut self, length: u32) -> Result<Value<'a>, Malformed> {
        let kind = i8::from_be_bytes(self.number()?);
        Ok(Value::Ext(kind, self.take(length as usize)?))
    }

    /// The next value; its members follow if it is an array or a map.
    pub fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let marker = Marker::from_u8(self.number::<1>()?[0]);
        let value = match marker {
            Marker::FixPos(n) => Value::Unsigned(u64::from(n)),
            Marker::FixNeg(n) => Value::Negative(i64::from(n)),
            Marker::Null => Value::Nil,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::U8 => Value::Unsigned(u64::from(self.number::<1>()?[0])),
            Marker::U16 => Value::Unsigned(u64::from(u16::from_be_bytes(self.number()?))),
            Marker::U32 => Value::Unsigned(u64::from(u32::from_be_bytes(self.number()?))),
            Marker::U64 => Value::Unsigned(u64::from_be_bytes(self.number()?)),
            Marker::I8 => signed(i64::from(i8::from_be_bytes(self.number()?))),
            Marker::I16 => signed(i64::from(i16::from_be_bytes(self.number()?))),
            Marker::I32 => signed(i64::from(i32::from_be_bytes(self.number()?))),
            Marker::I64 => signed(i64::from_be_bytes(self.number()?)),
            Marker::F32 => self.take(4).map(|_| Value::Float)?,
            Marker::F64 => self.take(8).map(|_| Value::Float)?,
            Marker::FixStr(n) => Value::Text(self.take(usize::from(n))?),
            Marker::Str8 => Value::Text(self.sized(1)?),
            Marker::Str16 => Value::Text(self.sized(2)?),
            Marker::Str32 => Value::Text(self.sized(4)?),
            Marker::Bin8 => Value::Bytes(self.sized(1)?),
            Marker::Bin16 => Value::Bytes(self.sized(2)?),
            Marker::Bin32 => Value::Bytes(self.sized(4)?),
            Marker::FixArray(n) => Value::Array(u32::from(n)),
            Marker::Array16 => Value::Array(self.length(2)?),
            Marker::Array32 => Value::Array(self.length(4)?),
            Marker::FixMap(n) => Value::Map(u32::from(n)),
            Marker::Map16 => Value::Map(self.length(2)?),
            Marker::Map32 => Value::Map(self.length(4)?),
            other => self.next_ext(other)?,
        };
        self.check_members(value)
    }

    fn next_ext(&mut self, marker: Marker) -> Result<Value<'a>, Malformed> {
        let length = match marker {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 => self.length(1)?,
            Marker::Ext16 => self.length(2)?,
            Marker::Ext32 => self.length(4)?,
            _ => return Err(Malformed("the reserved marker 0xc1")),
        };
        self.ext(length)
    }

    fn check_members(&self, value: Value<'a>) -> Result<Value<'a>, Malformed> {
        let members = match value {
            Value::Array(count) => u64::from(count),
            Value::Map(pairs) => 2 * u64::from(pairs),
            _ => 0,
        };
        if members > self.rest.len() as u64 {
            return Err(ENDS);
        }
        Ok(value)
    }

    /// Passes over one value with all its members.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            match self.value()? {
                Value::Array(count) => left += u64::from(count),
                Value::Map(pairs) => left += 2 * u64::from(pairs),
                _ => {}
            }
        }
        Ok(())
    }

    /// The bytes of one value with all its members.
    pub fn raw(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        self.skip()?;
        Ok(&start[..start.len() - self.rest.len()])
    }

    /// An array's head: how many members follow.
    pub fn array(&mut self) -> Result<u32, Malformed> {
        match self.value()? {
            Value::Array(count) => Ok(count),
            _ => Err(Malformed("an array was expected")),
        }
    }

    /// A map's head: how many pairs follow.
    pub fn map(&mut self) -> Result<u32, Malformed> {
        match self.value()? {
            Value::Map(pairs) => Ok(pairs),
            _ => Err(Malformed("a map was expected")),
        }
    }

    /// A non-negative integer.
    pub fn unsigned(&mut self) -> Result<u64, Malformed> {
        match self.value()? {
            Value::Unsigned(number) => Ok(number),
            _ => Err(Malformed("a non-negative integer was expected")),
        }
    }

    /// UTF-8 text.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        match self.value()? {
            Value::Text(bytes) => str::from_utf8(bytes).map_err(|_| Malformed("text is not UTF-8")),
            _ => Err(Malformed("text was expected")),
        }
    }

    /// A bin.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        match self.value()? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("bytes were expected")),
        }
    }
}

fn signed<'a>(number: i64) -> Value<'a> {
    match u64::try_from(number) {
        Ok(number) => Value::Unsigned(number),
        Err(_) => Value::Negative(number),
    }
}

const INTO_MEMORY: &str = "a Vec takes every byte";

/// Every length is under a limit far below this; the entry limit is 80 MiB.
fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("lengths are limited far below 4 GiB")
}

/// Appends nil.
pub fn write_nil(out: &mut Vec<u8>) {
    out.push(Marker::Null.to_u8());
}

/// Appends a boolean.
pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { Marker::True } else { Marker::False }.to_u8());
}

/// Appends a non-negative integer.
pub fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    encode::write_uint(out, value).expect(INTO_MEMORY);
}

/// Appends an integer.
pub fn write_signed(out: &mut Vec<u8>, value: i64) {
    encode::write_sint(out, value).expect(INTO_MEMORY);
}

/// Appends text, given as bytes known to be UTF-8.
pub fn write_text(out: &mut Vec<u8>, value: &[u8]) {
    encode::write_str_len(out, length_u32(value.len())).expect(INTO_MEMORY);
    out.extend_from_slice(value);
}

/// Appends a bin.
pub fn write_bytes(out: &mut Vec<u8>, value: &[u8]) {
    encode::write_bin_len(out, length_u32(value.len())).expect(INTO_MEMORY);
    out.extend_from_slice(value);
}

/// Appends an array's head.
pub fn write_array(out: &mut Vec<u8>, count: usize) {
    encode::write_array_len(out, length_u32(count)).expect(INTO_MEMORY);
}

/// Appends a map's head.
pub fn write_map(out: &mut Vec<u8>, pairs: usize) {
    encode::write_map_len(out, length_u32(pairs)).expect(INTO_MEMORY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_integer_form() {
        for (bytes, value) in [
            (&[0x05][..], Value::Unsigned(5)),
            (&[0xcc, 0x05], Value::Unsigned(5)),
            (&[0xcf, 0, 0, 0, 0, 0, 0, 0, 5], Value::Unsigned(5)),
            (&[0xd0, 0x05], Value::Unsigned(5)),
            (&[0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb], Value::Negative(-5)),
            (&[0xfb], Value::Negative(-5)),
        ] {
            assert_eq!(Cursor::new(bytes).value(), Ok(value));
        }
    }

    #[test]
    fn lengths_beyond_the_input_are_refused() {
        for bytes in
            [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0xdf, 0, 0, 0, 9, 1], &[0xc6, 0, 1, 0, 0], &[0xd9]]
        {
            assert!(Cursor::new(bytes).value().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn deep_nesting_is_skipped_without_recursion() {
        let mut deep = vec![0x91; 1_000_000];
        deep.push(0xc0);
        let mut cursor = Cursor::new(&deep);
        assert_eq!(cursor.raw().map(<[u8]>::len), Ok(1_000_001));
        assert!(cursor.is_empty());
    }
}
