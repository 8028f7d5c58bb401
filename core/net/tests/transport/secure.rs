//! Mutual TLS: who is let in, who is not, and new certificates without a restart.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use konsul_net::{NetOptions, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tempfile::TempDir;

use crate::node::{Manners, Node, hello, quick, until};

/// Certificates of one authority, in a folder.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, file: &str, names: &[&str], until_year: i32) -> TlsFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until_year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let files = self.files(file);
        fs::write(&files.cert, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn files(&self, file: &str) -> TlsFiles {
        let at = |name: &str| self.folder.path().join(name);
        TlsFiles { cert: at(&format!("{file}.pem")), key: at(&format!("{file}-key.pem")), ca: at("ca.pem") }
    }

    fn good(&self, file: &str) -> TlsFiles {
        self.issue(file, &["server.konsul", file], 2090)
    }
}

fn secure(id: u64, tls: TlsFiles) -> Node {
    Node::with(id, NetOptions { tls: Some(tls), ..quick() }, Manners::default())
}

fn refused_start(tls: TlsFiles) -> String {
    struct Deaf;
    impl konsul_net::Handler for Deaf {
        fn frame(&self, _: u64, _: Bytes) -> bool {
            false
        }
        fn call(&self, _: konsul_net::Caller, _: Bytes, _: konsul_net::Reply) {}
        fn snapshot(&self, _: u64, _: Bytes, _: u64) -> Result<Box<dyn konsul_net::Sink>, String> {
            Err(String::new())
        }
        fn shipped(&self, _: u64, _: Result<(), String>) {}
        fn peer_up(&self, _: u64, _: &konsul_net::Hello) {}
        fn peer_down(&self, _: u64) {}
    }
    konsul_net::Net::start(NetOptions { tls: Some(tls), ..quick() }, hello(1), Arc::new(Deaf)).err().unwrap()
}

fn roots(path: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
    roots
}

/// Connects with these certificates, or with none, and says what came back.
fn knock(node: &Node, ca: &Path, shown: Option<&TlsFiles>) -> std::io::Result<usize> {
    knock_with(&rustls::version::TLS13, node, ca, shown)
}

fn knock_with(
    version: &'static rustls::SupportedProtocolVersion,
    node: &Node,
    ca: &Path,
    shown: Option<&TlsFiles>,
) -> std::io::Result<usize> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(ca));
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(files) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&files.cert).unwrap()],
                PrivateKeyDer::from_pem_file(&files.key).unwrap(),
            )
            .unwrap(),
    };
    let name = ServerName::try_from("server.konsul").unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(node.net.address()).unwrap();
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    stream.write_all(b"KNSLPEER\x00\x00")?;
    stream.read(&mut [0; 64])
}

/// Takes connections and shows this certificate.
fn impostor(shown: &TlsFiles) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&shown.cert).unwrap()],
            PrivateKeyDer::from_pem_file(&shown.key).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = Arc::new(config);
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut session = ServerConnection::new(config.clone()).unwrap();
            while session.is_handshaking() && session.complete_io(&mut socket).is_ok() {}
        }
    });
    address
}

/// The HTTP listener of the same process speaks it to clients.
#[test]
fn tls_1_2_is_refused() {
    let authority = Authority::new();
    let (node, good) = (secure(1, authority.good("n1")), authority.good("n2"));
    let refused = knock_with(&rustls::version::TLS12, &node, &good.ca, Some(&good)).unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    // With TLS 1.3 the same client gets as far as its greeting, which is none.
    let heard = knock(&node, &good.ca, Some(&good));
    assert!(!heard.is_err_and(|error| error.to_string().contains("Alert")));
}

#[test]
fn members_with_certificates_of_one_authority_speak() {
    let authority = Authority::new();
    let (one, two) = (secure(1, authority.good("n1")), secure(2, authority.good("n2")));
    one.knows(&[&two]);
    one.reaches(2);
    let long = Bytes::from(vec![3; 2 << 20]);
    assert!(one.net.send(2, long.clone(), false));
    two.memory.wait("a frame", |told| told.frames == [(1, long.clone())]);
}

#[test]
fn no_certificate_another_authoritys_one_without_the_name_and_an_expired_one_are_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let two = secure(2, ours.good("n2"));
    let ca = ours.files("n2").ca;
    let nameless = ours.issue("client", &["client.konsul"], 2090);
    let expired = ours.issue("old", &["server.konsul"], 2021);
    let foreign = theirs.good("n1");
    for shown in [None, Some(&nameless), Some(&expired), Some(&foreign)] {
        assert!(matches!(knock(&two, &ca, shown), Err(_) | Ok(0)), "{shown:?}");
    }
    until("four refusals", || two.refusals("tls") == 4);
    let notes = two.net.take_notes();
    assert_eq!(notes.len(), 1, "once a minute: {notes:?}");
    assert!(notes[0].text.contains("it showed no certificate"), "{notes:?}");
}

#[test]
fn a_peer_that_shows_the_wrong_certificate_is_not_spoken_to() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let one = secure(1, ours.good("n1"));
    let cases = [
        (ours.issue("web", &["www.konsul"], 2090), "lacks the name server.konsul"),
        (ours.issue("old", &["server.konsul"], 2021), "has expired"),
        (theirs.good("n9"), "was not issued by this cluster's authority"),
    ];
    for (number, (shown, words)) in cases.iter().enumerate() {
        one.net.set_members(&[(number as u64 + 2, impostor(shown))]);
        until(words, || one.net.take_notes().iter().any(|note| note.text.contains(words)));
    }
    one.memory.change(|told| assert!(told.ups.is_empty()));
}

#[test]
fn with_tls_on_one_side_only_both_say_so() {
    let ours = Authority::new();
    let (plain, two) = (Node::start(1), secure(2, ours.good("n2")));
    plain.knows(&[&two]);
    two.refuses("tls");
    until("the note", || {
        two.net.take_notes().iter().any(|note| note.text.contains("its first bytes are not TLS"))
    });
    two.knows(&[&plain]);
    plain.refuses("garbage");
    until("the note", || plain.net.take_notes().iter().any(|note| note.text.contains("it speaks TLS")));
}

#[test]
fn files_that_cannot_work_stop_the_start_with_their_names() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let good = ours.good("n1");
    let cases = [
        (ours.issue("old", &["server.konsul"], 2021), "old.pem: the certificate has expired"),
        (ours.issue("web", &["www.konsul"], 2090), "web.pem: the certificate lacks the name server.konsul"),
        (TlsFiles { ca: theirs.files("x").ca, ..good.clone() }, "n1.pem: the certificate was not issued by"),
        (TlsFiles { key: ours.good("n2").key, ..good.clone() }, "the certificate belongs to another key"),
        (
            TlsFiles { cert: ours.files("absent").cert, ..good.clone() },
            "absent.pem: cannot read a certificate",
        ),
        (TlsFiles { ca: good.key.clone(), ..good.clone() }, "n1-key.pem: it holds no certificate"),
    ];
    for (files, words) in cases {
        let said = refused_start(files);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn an_authority_is_changed_by_way_of_a_file_with_both() {
    let (before, after) = (Authority::new(), Authority::new());
    let both = before.folder.path().join("both.pem");
    let cas = [before.files("n1").ca, after.files("n1").ca].map(|ca| fs::read_to_string(ca).unwrap());
    fs::write(&both, cas.concat()).unwrap();
    let one = secure(1, TlsFiles { ca: both.clone(), ..before.good("n1") });
    let two = secure(2, TlsFiles { ca: both, ..after.good("n2") });
    one.knows(&[&two]);
    two.knows(&[&one]);
    one.reaches(2);
    two.reaches(1);
}

#[test]
fn new_certificates_are_taken_without_a_restart_and_bad_ones_are_not() {
    let (before, after) = (Authority::new(), Authority::new());
    let (one, two) = (secure(1, before.good("n1")), secure(2, before.good("n2")));
    one.knows(&[&two]);
    one.reaches(2);
    // Another authority, in the same files.
    let (fresh, place) = (after.good("n2"), before.files("n2"));
    fs::copy(&fresh.cert, &place.cert).unwrap();
    let said = two.net.reload_tls().unwrap_err();
    assert!(said.contains("n2.pem: the certificate was not issued by"), "{said}");
    fs::copy(&fresh.key, &place.key).unwrap();
    fs::copy(&fresh.ca, &place.ca).unwrap();
    two.net.reload_tls().unwrap();
    assert!(one.net.send(2, Bytes::from_static(b"old connections go on"), false));
    two.memory.wait("a frame", |told| told.frames.len() == 1);
    let old = before.issue("late", &["server.konsul"], 2090);
    assert!(matches!(knock(&two, &fresh.ca, Some(&old)), Err(_) | Ok(0)));
    two.refuses("tls");
    let three = secure(3, after.good("n3"));
    three.knows(&[&two]);
    three.reaches(2);
    assert!(Node::start(4).net.reload_tls().unwrap_err().contains("without TLS"));
}
