//! An authority, and clients that speak TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use konsul_http::{ClientAuth, Options, Request, Stats, Tls, TlsParts};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Client, House, PATIENCE, echo};

pub type Socket = StreamOwned<ClientConnection, TcpStream>;

/// Signs certificates.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Pair {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// What a server named localhost shows.
    pub fn tls(&self) -> Tls {
        self.asking(ClientAuth::Off)
    }

    /// And what it asks for.
    pub fn asking(&self, client_auth: ClientAuth) -> Tls {
        let pair = self.issue("localhost");
        Tls::new(&TlsParts { client_auth, client_ca: self.pem.as_bytes(), ..parts(&pair) }).unwrap()
    }

    /// How a client that trusts this authority speaks.
    pub fn client(&self) -> Talk {
        Talk { roots: self.pem.clone(), shown: None, only: None, alpn: Vec::new() }
    }
}

pub fn parts(pair: &Pair) -> TlsParts<'_> {
    TlsParts {
        cert: pair.cert.as_bytes(),
        key: pair.key.as_bytes(),
        client_ca: b"",
        client_auth: ClientAuth::Off,
        only_13: false,
        ciphers: &[],
    }
}

/// How a client speaks.
#[derive(Clone)]
pub struct Talk {
    pub roots: String,
    pub shown: Option<Pair>,
    pub only: Option<&'static rustls::SupportedProtocolVersion>,
    pub alpn: Vec<&'static str>,
}

impl Talk {
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.roots.as_bytes()).unwrap()).unwrap();
        let both = [&TLS13, &TLS12];
        let one = self.only.map(|version| [version]);
        let versions: &[_] = one.as_ref().map_or(&both[..], |one| &one[..]);
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.shown {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![pair.der()], key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Shakes hands; what comes of it shows with the first read.
pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Client<Socket> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Client(StreamOwned::new(ClientConnection::new(config, name()).unwrap(), stream))
}

impl House {
    pub fn secure(&self, talk: &Talk) -> Client<Socket> {
        connect(self.address, talk.config())
    }
}

pub const GET: &str = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";

pub fn asked(options: Options, tls: Tls) -> (House, Receiver<Request>) {
    let (sender, receiver) = channel();
    (House::with(options, Some(tls), move |request| drop(sender.send(request))), receiver)
}

pub fn served(options: Options, tls: Tls) -> House {
    House::with(options, Some(tls), echo)
}

/// Asks for something: the answer's body, or why there is none.
pub fn gets(client: &mut Client<Socket>) -> Result<String, ErrorKind> {
    client.0.write_all(GET.as_bytes()).map_err(|error| error.kind())?;
    let mut got = [0; 4_096];
    match client.0.read(&mut got) {
        Ok(size) => Ok(String::from_utf8_lossy(&got[..size]).into_owned()),
        Err(error) => Err(error.kind()),
    }
}

pub fn until(house: &House, what: impl Fn(Stats) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what(house.server.stats()) {
        assert!(Instant::now() < deadline, "{:?}", house.server.stats());
        std::thread::yield_now();
    }
}
