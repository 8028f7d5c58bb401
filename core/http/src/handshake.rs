//! The WebSocket handshake (RFC 6455, section 4.2) and the heads that lines begin with.

use std::fmt::Write;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, SERVER, UPGRADE};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::answer::Head;

const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
/// Of RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether a request wants to become a WebSocket.
pub(crate) enum Upgrade {
    No,
    /// With its `Sec-WebSocket-Accept`.
    Sound([u8; 28]),
    Unsound(Refusal),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Version,
    Key,
}

impl Refusal {
    pub(crate) fn head(self) -> Head {
        let mut head = Head::bare(match self {
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key => StatusCode::BAD_REQUEST,
        });
        head.headers.insert(SERVER, HeaderValue::from_static("konsul"));
        if self == Self::Version {
            head.headers.insert(VERSION, HeaderValue::from_static("13"));
            head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        head
    }

    pub(crate) fn body(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Version => b"WebSockets of version 13 are spoken here\n",
            Self::Key => b"Sec-WebSocket-Key must be 16 bytes in base64\n",
        })
    }
}

/// Reads the request's head.
pub(crate) fn wanted(head: &Parts) -> Upgrade {
    let asks = head.method == Method::GET
        && head.version == Version::HTTP_11
        && has_token(&head.headers, &UPGRADE, "websocket")
        && has_token(&head.headers, &CONNECTION, "upgrade");
    if !asks {
        return Upgrade::No;
    }
    if head.headers.get(VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        return Upgrade::Unsound(Refusal::Version);
    }
    let mut keys = head.headers.get_all(KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key.as_bytes()) => Upgrade::Sound(accept(key.as_bytes())),
        _ => Upgrade::Unsound(Refusal::Key),
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Sixteen bytes in base64: 22 characters and two `=`.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(|byte| ALPHABET.contains(byte))
}

fn accept(key: &[u8]) -> [u8; 28] {
    let hashed = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    let mut text = [b'='; 28];
    for (three, four) in hashed.as_ref().chunks(3).zip(text.chunks_mut(4)) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for (at, character) in four.iter_mut().take(three.len() + 1).enumerate() {
            *character = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
        }
    }
    text
}

/// The head of an answer that is not hyper's to write. Headers about the connection are this function's own.
pub(crate) fn written(status: StatusCode, own: &[(&str, &[u8])], headers: &HeaderMap) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or("");
    // Writing into memory cannot fail.
    let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in own {
        put(&mut head, name.as_bytes(), value);
    }
    put(&mut head, b"date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    for (name, value) in headers {
        let ours = matches!(
            name.as_str(),
            "connection" | "transfer-encoding" | "content-length" | "upgrade" | "date"
        );
        if !ours && !own.iter().any(|(known, _)| known == name) {
            put(&mut head, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    head.extend_from_slice(b"\r\n");
    head.freeze()
}

fn put(head: &mut BytesMut, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_of_the_rfc() {
        assert_eq!(&accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_checked() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in
            [&b"dGhlIHNhbXBsZSBub25jZQ="[..], b"dGhlIHNhbXBsZSBub25jZ\n==", b"", b"dGhlIHNhbXBsZSBub25jZQAA"]
        {
            assert!(!is_key(wrong));
        }
    }

    #[test]
    fn heads_carry_only_what_is_allowed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("1"));
        headers.insert("content-length", HeaderValue::from_static("7"));
        let head = written(StatusCode::OK, &[("connection", b"close")], &headers);
        let text = std::str::from_utf8(&head).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nconnection: close\r\ndate: "));
        assert!(text.ends_with("x-a: 1\r\n\r\n") && !text.contains("content-length"));
    }
}
