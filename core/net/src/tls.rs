//! Mutual TLS 1.3: both sides show a certificate of the cluster's authority with the name `server.konsul`.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::options::TlsFiles;

/// The name every certificate of a node carries, besides the node's own names.
pub const PEER_NAME: &str = "server.konsul";

/// Both directions of one set of files.
#[derive(Clone)]
pub(crate) struct Tls {
    pub acceptor: TlsAcceptor,
    pub connector: TlsConnector,
}

/// The name that certificates are checked for.
pub(crate) fn peer_name() -> ServerName<'static> {
    ServerName::try_from(PEER_NAME).expect("a DNS name")
}

/// Reads the files and checks that this node's own certificate would be taken by its peers: a mistake is
/// found
/// at the start, not when the first election fails. The error says which file and what is wrong with it.
pub(crate) fn load(files: &TlsFiles) -> Result<Tls, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.cert)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unread(&files.key, "private key", error))?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca)? {
        roots
            .add(authority)
            .map_err(|error| format!("{}: not a certificate: {error}", files.ca.display()))?;
    }
    let roots = Arc::new(roots);
    let peers = PeerVerifier::new(roots.clone(), provider.clone())?;
    peers
        .verify_client_cert(&chain[0], &chain[1..], UnixTime::now())
        .map_err(|error| format!("{}: {}", files.cert.display(), words(&error)))?;

    let wrong =
        |error: Error| format!("{} and {}: {}", files.cert.display(), files.key.display(), words(&error));
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_client_cert_verifier(Arc::new(peers))
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(wrong)?;
    // A resumed session would not show its certificate again: after a change of files it would still get in.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(wrong)?;
    client.resumption = Resumption::disabled();
    Ok(Tls { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unread(path, "certificate", error))?;
    if found.is_empty() {
        return Err(format!("{}: it holds no certificate in PEM form", path.display()));
    }
    Ok(found)
}

fn unread(path: &Path, what: &str, error: impl Display) -> String {
    format!("{}: cannot read a {what} in PEM form: {error}", path.display())
}

/// What went wrong in a handshake, in words for an operator.
pub(crate) fn explain(error: &io::Error) -> String {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).map_or_else(|| error.to_string(), words)
}

fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the certificate lacks the name {PEER_NAME}")
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the certificate was not issued by this cluster's authority".to_owned()
            }
            other => format!("the certificate cannot be used: {other:?}"),
        },
        Error::InvalidMessage(_) => "its first bytes are not TLS".to_owned(),
        Error::NoCertificatesPresented => "it showed no certificate".to_owned(),
        Error::InconsistentKeys(_) => "the certificate belongs to another key".to_owned(),
        Error::AlertReceived(alert) => format!("the other side refused: {alert:?}"),
        other => other.to_string(),
    }
}

/// Like webpki's own for clients, and the certificate must carry [`PEER_NAME`] too: a client of the HTTP door
/// may well hold a certificate of the same authority, and is no peer.
#[derive(Debug)]
struct PeerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
}

impl PeerVerifier {
    fn new(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .clear_root_hint_subjects()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { chain })
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, &peer_name())?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
