//! TLS handshakes that are slow, broken, too many, or of somebody else.

mod house;

use std::io::ErrorKind;
use std::time::Duration;

use house::next;
use house::secure::{Authority, GET, asked, connect, gets, parts, served, until};
use konsul_http::{ClientAuth, Options, Tls, TlsParts};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

#[test]
fn old_versions_are_refused_where_they_are_not_wanted() {
    let authority = Authority::new();
    let pair = authority.issue("localhost");
    let only_13 = Tls::new(&TlsParts { only_13: true, ..parts(&pair) }).unwrap();
    let house = served(Options::default(), only_13);
    let mut talk = authority.client();
    talk.only = Some(&TLS12);
    assert_eq!(gets(&mut house.secure(&talk)).unwrap_err(), ErrorKind::InvalidData);
    until(&house, |stats| stats.handshake_failures == 1);
    talk.only = Some(&TLS13);
    assert!(gets(&mut house.secure(&talk)).unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn only_the_named_ciphers_are_used() {
    let authority = Authority::new();
    let pair = authority.issue("localhost");
    let made = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Tls::new(&TlsParts { ciphers: &names, ..parts(&pair) })
    };
    let (house, asked) = asked(Options::default(), made(&["TLS_CHACHA20_POLY1305_SHA256"]).unwrap());
    house.secure(&authority.client()).send(GET);
    assert_eq!(next(&asked).tls.unwrap().cipher, "TLS_CHACHA20_POLY1305_SHA256");
    let why = made(&["TLS_RSA_WITH_RC4_128_MD5"]).unwrap_err();
    assert!(why.contains("RC4") && why.contains("TLS_AES_256_GCM_SHA384"), "{why}");
    let old = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned()];
    let why = Tls::new(&TlsParts { ciphers: &old, only_13: true, ..parts(&pair) }).unwrap_err();
    assert!(why.contains("none of the ciphers"), "{why}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("localhost"), authority.issue("localhost"));
    let why = |parts: TlsParts<'_>| Tls::new(&parts).unwrap_err();
    let key = other.key.as_bytes();
    assert_eq!(why(TlsParts { key, ..parts(&one) }), "the key does not belong to the certificate");
    assert!(
        why(TlsParts { cert: key, ..parts(&one) }).starts_with("the certificate file holds no certificate")
    );
    assert!(why(TlsParts { key: b"x", ..parts(&one) }).starts_with("the key file holds no private key"));
    let wants = TlsParts { client_auth: ClientAuth::Required, ..parts(&one) };
    assert!(why(wants).starts_with("the client CA file holds no certificate"));
}

#[test]
fn http_in_the_clear_is_told_what_is_spoken_here() {
    let authority = Authority::new();
    let house = served(Options::default(), authority.tls());
    let answer = house.connect().send(GET).rest();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.contains("HTTPS") && head.ends_with(&format!("content-length: {}", body.len())), "{answer}");
    for garbage in [&b"\x00\x01\x02"[..], b"\x80\x2e\x01", b"hello"] {
        assert_eq!(house.connect().send(garbage).rest(), "");
    }
    until(&house, |stats| stats.not_tls == 4);
    assert!(gets(&mut house.secure(&authority.client())).unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn broken_handshakes_end_and_are_counted() {
    let authority = Authority::new();
    let house = served(Options::default(), authority.tls());
    // A record of 64 KiB; a handshake that is none; a record that ends early.
    for broken in
        [&b"\x16\x03\x01\xff\xff"[..], b"\x16\x03\x01\x00\x04\xff\x00\x00\x00", b"\x16\x03\x01\x02\x00abc"]
    {
        let mut client = house.connect();
        client.send(broken);
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        client.rest();
    }
    until(&house, |stats| stats.handshake_failures == 3);
    // Looking whether the port is open is no failure.
    drop(house.connect());
    assert!(gets(&mut house.secure(&authority.client())).unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(house.server.stats().handshake_failures, 3);
}

#[test]
fn slow_handshakes_are_given_up_and_nobody_waits_for_them() {
    let authority = Authority::new();
    let options = Options { handshake_timeout: Duration::from_millis(300), ..Options::default() };
    let house = served(options, authority.tls());
    let mut slow: Vec<_> = (0..20).map(|_| house.connect()).collect();
    for client in &mut slow[..10] {
        client.send(b"\x16\x03\x01\x02");
    }
    assert!(gets(&mut house.secure(&authority.client())).unwrap().starts_with("HTTP/1.1 200"));
    for client in &mut slow {
        assert_eq!(client.rest(), "");
    }
    until(&house, |stats| stats.handshake_failures == 20 && stats.handshaking == 0);
}

#[test]
fn of_too_many_handshakes_the_oldest_is_given_up() {
    let authority = Authority::new();
    let house = served(Options { handshakes_max: 4, ..Options::default() }, authority.tls());
    let mut idle: Vec<_> = (0..4).map(|_| house.connect()).collect();
    until(&house, |stats| stats.handshaking == 4);
    let mut client = house.secure(&authority.client());
    assert!(gets(&mut client).unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(idle[0].rest(), "");
    let stats = house.server.stats();
    assert_eq!((stats.handshakes_cut, stats.handshaking, stats.connections), (1, 3, 1));
}

#[test]
fn a_full_node_closes_before_the_handshake() {
    let authority = Authority::new();
    let house = served(Options { connections_max: 1, ..Options::default() }, authority.tls());
    let mut first = house.secure(&authority.client());
    gets(&mut first).unwrap();
    assert!(gets(&mut house.secure(&authority.client())).is_err());
    assert_eq!(house.server.stats().refused_full, 1);
    drop(first);
    until(&house, |stats| stats.connections == 0);
    until(&house, |_| gets(&mut house.secure(&authority.client())).is_ok());
}

#[test]
fn clients_show_certificates_where_they_are_asked() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let alice = authority.issue("alice");
    let mut talk = authority.client();
    let mut shows = |pair| {
        talk.shown = pair;
        talk.clone()
    };
    let (nothing, own, others) = (shows(None), shows(Some(alice.clone())), shows(Some(foreign.issue("eve"))));
    for (auth, lets_in, known) in [
        (ClientAuth::Off, true, false),
        (ClientAuth::Optional, true, true),
        (ClientAuth::Required, false, true),
    ] {
        let (house, asked) = asked(Options::default(), authority.asking(auth));
        house.secure(&own).send(GET);
        let shown = next(&asked).tls.unwrap().client_cert.clone();
        assert_eq!(shown, known.then(|| alice.der().to_vec()), "{auth:?}");
        let mut client = house.secure(&nothing);
        if lets_in {
            client.send(GET);
            assert_eq!(next(&asked).tls.unwrap().client_cert, None);
        } else {
            gets(&mut client).unwrap_err();
        }
        if auth != ClientAuth::Off {
            gets(&mut house.secure(&others)).unwrap_err();
            until(&house, |stats| stats.handshake_failures == 1 + u64::from(!lets_in));
        }
    }
}

#[test]
fn sessions_are_resumed_but_not_those_of_clients_with_certificates() {
    let authority = Authority::new();
    for only in [&TLS12, &TLS13] {
        for (auth, again) in
            [(ClientAuth::Off, HandshakeKind::Resumed), (ClientAuth::Optional, HandshakeKind::Full)]
        {
            let house = served(Options::default(), authority.asking(auth));
            let mut talk = authority.client();
            (talk.only, talk.shown) = (Some(only), Some(authority.issue("alice")));
            let config = talk.config();
            for kind in [HandshakeKind::Full, again] {
                let mut client = connect(house.address, config.clone());
                gets(&mut client).unwrap();
                assert_eq!(client.0.conn.handshake_kind(), Some(kind), "{only:?} {auth:?}");
            }
        }
    }
}
