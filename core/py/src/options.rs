//! Reads the msgpack map of `konsul.engine.Options`.

use std::path::PathBuf;

use konsul_node::{Backend, ClusterOptions, Options};
use konsul_state::msgpack::{Cursor, Malformed, Value};

/// Reads the options; every member must be there, no other may be.
pub(crate) fn read(bytes: &[u8]) -> Result<Options, String> {
    let mut members = Members::read(bytes).map_err(|error| error.to_string())?;
    let cluster = cluster(&mut members)?;
    let options = Options {
        data_dir: PathBuf::from(members.text("data_dir")?),
        node_id: members.number("node_id")?,
        backend: match members.text("backend")?.as_str() {
            "durable" => Backend::Durable,
            "memory" => Backend::Memory,
            other => return Err(format!("backend is {other:?}, expected \"durable\" or \"memory\"")),
        },
        heartbeat_ms: members.number("heartbeat_ms")?,
        election_ms: members.number("election_ms")?,
        tick_ms: members.number("tick_ms")?,
        snapshot_interval_ms: members.number("snapshot_interval_ms")?,
        snapshot_threshold_entries: members.number("snapshot_threshold_entries")?,
        snapshot_retention: members.number("snapshot_retention")?,
        trailing_entries: members.number("trailing_entries")?,
        segment_bytes: members.number("segment_bytes")?,
        inflight_max_entries: members.number("inflight_max_entries")?,
        inflight_max_bytes: members.number("inflight_max_bytes")?,
        disk_reserve_bytes: members.number("disk_reserve_bytes")?,
        map_max_bytes: members.number("map_max_bytes")?,
        sync_writes: members.flag("sync_writes")?,
        watch_ring_entries: members.number("watch_ring_entries")?,
        watch_ring_bytes: members.number("watch_ring_bytes")?,
        watchers_max: members.number("watchers_max")?,
        cluster,
    };
    members.finish()?;
    options.validate()?;
    Ok(options)
}

/// The members of a group's node are always in the map, and mean nothing without `cluster`.
fn cluster(members: &mut Members<'_>) -> Result<Option<ClusterOptions>, String> {
    let given = ClusterOptions {
        node_name: members.text("node_name")?,
        bind_addr: members.text("bind_addr")?,
        advertise_addr: members.text("advertise_addr")?,
        http_addr: members.text("http_addr")?,
        zone: members.text("zone")?,
        read_only: members.flag("read_only")?,
        lease_ms: members.number("lease_ms")?,
        leader_wait_ms: members.number("leader_wait_ms")?,
        max_append_entries: members.number("max_append_entries")?,
        snapshot_rate_bytes: members.number("snapshot_rate_bytes")?,
        tls_cert_file: PathBuf::from(members.text("tls_cert_file")?),
        tls_key_file: PathBuf::from(members.text("tls_key_file")?),
        tls_ca_file: PathBuf::from(members.text("tls_ca_file")?),
        allow_plaintext: members.flag("allow_plaintext")?,
        version: members.text("version")?,
    };
    Ok(members.flag("cluster")?.then_some(given))
}

struct Members<'a> {
    found: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Members<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let mut found = Vec::new();
        for _ in 0..cursor.map()? {
            found.push((cursor.text()?, cursor.value()?));
        }
        Ok(Self { found })
    }

    fn take(&mut self, name: &str) -> Result<Value<'a>, String> {
        let at = self.found.iter().position(|(found, _)| *found == name);
        at.map(|at| self.found.swap_remove(at).1).ok_or_else(|| format!("option {name} is missing"))
    }

    fn number(&mut self, name: &str) -> Result<u64, String> {
        match self.take(name)? {
            Value::Unsigned(number) => Ok(number),
            other => Err(format!("{name} is {other:?}, expected a whole number of at least 0")),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name)? {
            Value::Bool(flag) => Ok(flag),
            other => Err(format!("{name} is {other:?}, expected true or false")),
        }
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name)? {
            Value::Text(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            other => Err(format!("{name} is {other:?}, expected text")),
        }
    }

    fn finish(self) -> Result<(), String> {
        match self.found.first() {
            Some((name, _)) => Err(format!("option {name} is not known")),
            None => Ok(()),
        }
    }
}
