//! JSON text: the check of `json` cells, and the writing of strings, bytes and times.
//!
//! The check is our own because it decides what replicas store: a library's next release must not change the
//! answer.

/// Deeper JSON is refused.
const DEPTH_MAX: u32 = 64;

type Checked = Result<(), &'static str>;

/// Checks that `bytes` are one JSON value by RFC 8259, in UTF-8, nested at most 64 deep.
pub(crate) fn check(bytes: &[u8]) -> Checked {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    reader.value(0)?;
    reader.blank();
    if reader.at == bytes.len() { Ok(()) } else { Err("something follows the value") }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, or: &'static str) -> Checked {
        if self.eat(byte) { Ok(()) } else { Err(or) }
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: u32) -> Checked {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep");
        }
        self.blank();
        match self.peek() {
            Some(b'{') => self.members(depth, b'}', true),
            Some(b'[') => self.members(depth, b']', false),
            Some(b'"') => self.string(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err("a value was expected"),
            None => Err("it ends too early"),
        }
    }

    fn members(&mut self, depth: u32, close: u8, named: bool) -> Checked {
        self.at += 1;
        self.blank();
        if self.eat(close) {
            return Ok(());
        }
        loop {
            if named {
                self.blank();
                self.string()?;
                self.blank();
                self.expect(b':', "a colon was expected")?;
            }
            self.value(depth + 1)?;
            self.blank();
            if self.eat(close) {
                return Ok(());
            }
            self.expect(b',', "a comma was expected")?;
        }
    }

    fn word(&mut self, word: &[u8]) -> Checked {
        if !self.bytes[self.at..].starts_with(word) {
            return Err("a value was expected");
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Checked {
        self.expect(b'"', "a string was expected")?;
        loop {
            let byte = self.peek().ok_or("a string does not end")?;
            self.at += 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                0..0x20 => return Err("a control character in a string is not escaped"),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Checked {
        let byte = self.peek().ok_or("a string does not end")?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4).ok_or("a string does not end")?;
                self.at += 4;
                if digits.iter().all(u8::is_ascii_hexdigit) {
                    Ok(())
                } else {
                    Err("an escape is not hexadecimal")
                }
            }
            _ => Err("an escape is not known"),
        }
    }

    fn digits(&mut self) -> Checked {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err("a digit was expected") }
    }

    fn number(&mut self) -> Checked {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }
}

/// Appends `text` as a JSON string; the short escapes where JSON has them, `\u00xx` for other control
/// characters.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        write_escape(out, byte);
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends `bytes` as a JSON string in base64 (RFC 4648, padded).
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    out.reserve(bytes.len().div_ceil(3) * 4 + 1);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
            out.push(if n <= group.len() { digit } else { b'=' });
        }
    }
    out.push(b'"');
}

/// Appends ms since 1970 as a JSON string: `"2026-01-02T03:04:05.678Z"`, always with three digits of
/// milliseconds.
///
/// The calendar is Howard Hinnant's `civil_from_days` (chrono-compatible low-level date algorithms).
pub(crate) fn write_time(out: &mut Vec<u8>, ms: u64) {
    let days = ms / 86_400_000;
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let of_day = ms % 86_400_000;
    out.push(b'"');
    for (number, width, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3_600_000, 2, b':'),
        (of_day / 60_000 % 60, 2, b':'),
        (of_day / 1_000 % 60, 2, b'.'),
        (of_day % 1_000, 3, b'Z'),
    ] {
        write_padded(out, number, width);
        out.push(after);
    }
    out.push(b'"');
}

/// Appends a number in decimal, with zeros in front up to `width` digits.
pub fn write_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 || digits.len() - at < width.max(1) {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_checked_by_the_letter() {
        for good in
            ["null", " [1, -0.5e+3 , \"\\u00e9\\n\"] ", "{\"a\":{\"b\":[true,false]}}", "{}", "[]", "0"]
        {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "01",
            "[1,]",
            "{a:1}",
            "\"\x01\"",
            "\"\\x\"",
            "1 2",
            "nul",
            "[",
            "\"",
            "-",
            "1.",
            "\"\\u12\"",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(b"\"\xff\"").is_err());
        assert!(check("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn strings_are_escaped() {
        let text = "a\"\\\u{8}\t\n\u{c}\r\u{0}\u{1f}\u{7f}/é\u{2028}";
        let want = "\"a\\\"\\\\\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}/é\u{2028}\"";
        assert_eq!(written(|out| write_string(out, text)), want);
    }

    #[test]
    fn base64_is_padded() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(written(|out| write_base64(out, plain.as_bytes())), format!("\"{coded}\""));
        }
        assert_eq!(written(|out| write_base64(out, &[0xfb, 0xff])), "\"+/8=\"");
    }

    #[test]
    fn times_are_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (253_402_300_800_000, "10000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(written(|out| write_time(out, ms)), format!("\"{text}\""));
        }
        assert!(written(|out| write_time(out, u64::MAX)).ends_with("Z\""));
    }
}
