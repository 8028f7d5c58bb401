//! TLS towards clients: which certificate is shown, which one is asked for, and what a session came to.

use std::any::Any;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConnection, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, Error, ProtocolVersion, RootCertStore, ServerConfig, SupportedCipherSuite};

pub(crate) const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// Whether a client has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    Off,
    /// One is asked for, and checked if it comes.
    Optional,
    /// Nobody gets in without.
    Required,
}

/// What TLS towards clients is made of. Everything in PEM form.
#[derive(Debug)]
pub struct TlsParts<'a> {
    /// The node's certificate and those between it and its authority.
    pub cert: &'a [u8],
    /// Its private key.
    pub key: &'a [u8],
    /// Who signs the certificates of clients.
    pub client_ca: &'a [u8],
    /// Whether they are asked for.
    pub client_auth: ClientAuth,
    /// TLS 1.2 is refused.
    pub only_13: bool,
    /// The cipher suites that may be used, by their IANA names; none: all that are safe.
    pub ciphers: &'a [String],
}

/// A set of files, ready for handshakes.
#[derive(Clone)]
pub struct Tls(pub(crate) Arc<ServerConfig>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Checks everything that can be checked without a client.
    ///
    /// # Errors
    /// What is wrong, in words for an operator, and never with a byte of the key.
    pub fn new(parts: &TlsParts<'_>) -> Result<Self, String> {
        let provider = Arc::new(provider(parts.ciphers)?);
        let versions: &[_] = if parts.only_13 { &[&TLS13] } else { &[&TLS12, &TLS13] };
        let chain = certificates("the certificate file", parts.cert)?;
        let key = PrivateKeyDer::from_pem_slice(parts.key).map_err(|error| match error {
            pem::Error::NoItemsFound => "the key file holds no private key in PEM form".to_owned(),
            other => format!("the key file cannot be used: {other}"),
        })?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|_| "none of the ciphers can be used with the allowed versions of TLS".to_owned())?;
        let builder = match verifier(parts, provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| words(&error))?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if parts.client_auth == ClientAuth::Off {
            // What a resumed session knows is in the client's ticket: nothing is kept for clients that left,
            // and a change of files, which makes a new ticketer, makes everybody shake hands anew.
            config.ticketer = ring::Ticketer::new().map_err(|error| words(&error))?;
            config.send_tls13_tickets = 1;
        } else {
            // A resumed session would not show its certificate again, however long that has expired.
            config.send_tls13_tickets = 0;
        }
        Ok(Self(Arc::new(config)))
    }
}

/// The names that `TlsParts::ciphers` may hold.
pub fn cipher_names() -> Vec<String> {
    ring::default_provider().cipher_suites.iter().map(|suite| cipher_name(suite.suite())).collect()
}

/// rustls writes those of TLS 1.3 in its own way.
fn cipher_name(suite: CipherSuite) -> String {
    let name = suite.as_str().unwrap_or("unknown");
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}

fn provider(names: &[String]) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    let known = cipher_names();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("{name:?} is no cipher suite of this server: it has {}", known.join(", ")));
    }
    let place = |suite: &SupportedCipherSuite| {
        let named = cipher_name(suite.suite());
        names.iter().position(|name| *name == named)
    };
    provider.cipher_suites.retain(|suite| place(suite).is_some());
    provider.cipher_suites.sort_by_key(place);
    Ok(provider)
}

fn verifier(
    parts: &TlsParts<'_>,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    if parts.client_auth == ClientAuth::Off {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for authority in certificates("the client CA file", parts.client_ca)? {
        roots.add(authority).map_err(|error| format!("the client CA file: {}", words(&error)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match parts.client_auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Off | ClientAuth::Required => builder,
    };
    builder.build().map(Some).map_err(|error| format!("the client CA file: {error}"))
}

fn certificates(what: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let broken = |error: &dyn Display| format!("{what} holds no certificate in PEM form: {error}");
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| broken(&error))?;
    if found.is_empty() {
        return Err(format!("{what} holds no certificate in PEM form"));
    }
    Ok(found)
}

fn words(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => "the key does not belong to the certificate".to_owned(),
        Error::InvalidCertificate(problem) => format!("the certificate cannot be used: {problem}"),
        other => other.to_string(),
    }
}

/// What a handshake came to: the same for all requests of a connection.
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: String,
    /// `h2`, `http/1.1`, or nothing if the client named none.
    pub alpn: Option<&'static str>,
    /// The client's certificate, DER.
    pub client_cert: Option<Vec<u8>>,
    /// Room for whoever answers: what it makes of this once per connection.
    pub made: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsInfo").field("version", &self.version).field("alpn", &self.alpn).finish()
    }
}

impl TlsInfo {
    pub(crate) fn of(session: &ServerConnection) -> Self {
        let is_12 = session.protocol_version() == Some(ProtocolVersion::TLSv1_2);
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        Self {
            version: if is_12 { "TLSv1.2" } else { "TLSv1.3" },
            cipher: session.negotiated_cipher_suite().map_or_else(String::new, |it| cipher_name(it.suite())),
            alpn: match session.alpn_protocol() {
                Some(H2) => Some("h2"),
                Some(_) => Some("http/1.1"),
                None => None,
            },
            client_cert: shown.map(|certificate| certificate.to_vec()),
            made: OnceLock::new(),
        }
    }

    pub(crate) fn is_h2(&self) -> bool {
        self.alpn == Some("h2")
    }
}
