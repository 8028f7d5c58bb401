//! What a node of a group is told beyond what a lone node needs.

use std::path::PathBuf;

/// Settings of one member; the same names as in `konsul.engine.Options`. Empty text: not given.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The operator's name of this node.
    pub node_name: String,
    /// `host:port` to listen on for peers.
    pub bind_addr: String,
    /// `host:port` that peers are told; empty: `bind_addr`.
    pub advertise_addr: String,
    /// The URL of this node's HTTP door, for redirects.
    pub http_addr: String,
    /// Its failure zone.
    pub zone: String,
    /// It never votes.
    pub read_only: bool,
    /// How long a leader may serve reads after a quorum heard of it; the driver shortens what cannot be safe.
    pub lease_ms: u64,
    /// How long a write or read waits for a leader before it is refused.
    pub leader_wait_ms: u64,
    /// Appends to one peer that may be unanswered.
    pub max_append_entries: u64,
    /// Bytes per second of a snapshot to one peer; 0: unlimited.
    pub snapshot_rate_bytes: u64,
    /// The node's certificate chain, PEM.
    pub tls_cert_file: PathBuf,
    /// Its private key, PEM.
    pub tls_key_file: PathBuf,
    /// Who signs the members' certificates, PEM.
    pub tls_ca_file: PathBuf,
    /// Without certificates: peers may be spoken to in the clear.
    pub allow_plaintext: bool,
    /// The version told to peers and operators.
    pub version: String,
}

impl ClusterOptions {
    /// Where peers reach this node.
    pub fn address(&self) -> &str {
        if self.advertise_addr.is_empty() { &self.bind_addr } else { &self.advertise_addr }
    }

    /// True if peers are spoken to with certificates.
    pub fn is_secure(&self) -> bool {
        !self.tls_cert_file.as_os_str().is_empty()
    }

    /// Says which setting cannot work.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let is_name = |name: &str| {
            let mut letters = name.bytes();
            letters.next().is_some_and(|first| first.is_ascii_alphanumeric())
                && name.len() <= 64
                && letters.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !is_name(&self.node_name) {
            return Err(format!(
                "node_name is {:?}, expected 1 to 64 letters, digits, dots, dashes or underscores",
                self.node_name
            ));
        }
        if self.bind_addr.is_empty() {
            return Err("bind_addr is empty, expected host:port".into());
        }
        let given = [&self.tls_cert_file, &self.tls_key_file, &self.tls_ca_file];
        let count = given.iter().filter(|path| !path.as_os_str().is_empty()).count();
        if count != 0 && count != given.len() {
            return Err("tls_cert_file, tls_key_file and tls_ca_file belong together".into());
        }
        if count == 0 && !self.allow_plaintext {
            return Err(
                "peers need certificates (tls_cert_file, tls_key_file, tls_ca_file), or allow_plaintext"
                    .into(),
            );
        }
        if self.max_append_entries == 0 {
            return Err("max_append_entries is 0, expected at least 1".into());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn named(name: &str) -> ClusterOptions {
        ClusterOptions {
            node_name: name.into(),
            bind_addr: "127.0.0.1:0".into(),
            advertise_addr: String::new(),
            http_addr: String::new(),
            zone: String::new(),
            read_only: false,
            lease_ms: 500,
            leader_wait_ms: 1_000,
            max_append_entries: 64,
            snapshot_rate_bytes: 0,
            tls_cert_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            tls_ca_file: PathBuf::new(),
            allow_plaintext: true,
            version: String::new(),
        }
    }

    #[test]
    fn names_and_certificates_are_checked() {
        assert_eq!(named("n-1.a_b").validate(), Ok(()));
        for name in ["", "-a", "a b", "ä", &"x".repeat(65)] {
            assert!(named(name).validate().is_err(), "{name:?}");
        }
        let half = ClusterOptions { tls_cert_file: "cert.pem".into(), ..named("a") };
        assert!(half.validate().unwrap_err().contains("belong together"));
        let plain = ClusterOptions { allow_plaintext: false, ..named("a") };
        assert!(plain.validate().unwrap_err().contains("certificates"));
    }
}
