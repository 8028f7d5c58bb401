//! Connections before their first message: sockets, TLS, and the way to a peer.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::greeting::{self, Answer, Greeting, Lane, PROTOCOLS, Unread};
use crate::net::Shared;
use crate::options::Hello;
use crate::refusal::Refusal;
use crate::tls;

/// With or without TLS.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

const UNSENT_BYTES: u32 = 128 << 10;

/// Why a peer could not be reached.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// There was no connection; a sentence.
    Connect(String),
    /// It said no.
    Refused(Refusal, String),
}

impl Unreached {
    /// One word for the log's limits.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Refused(why, _) => why.name(),
        }
    }
}

impl std::fmt::Display for Unreached {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(text) => write!(out, "{text}"),
            Self::Refused(why, text) => write!(out, "it refused this node: {text} ({})", why.name()),
        }
    }
}

/// No delay for small frames; a dead way is noticed; little waits in the kernel, where an urgent frame could
/// not pass it.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let alive = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(3));
    socket.set_tcp_keepalive(&alive.with_retries(3))?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(Duration::from_secs(10)))?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    }
    Ok(())
}

/// Connects to `address`, as far as the other side's welcome. `to` is the node expected there, 0 for anybody.
pub(crate) async fn dial(
    shared: &Shared,
    address: &str,
    lane: Lane,
    to: u64,
) -> Result<(Box<dyn Duplex>, Hello), Unreached> {
    let stream = connect(shared, address).await.map_err(Unreached::Connect)?;
    let until = Instant::now() + Duration::from_millis(shared.options.handshake_timeout_ms);
    let late = |_| Unreached::Connect("no answer to the handshake in time".to_owned());
    let mut stream: Box<dyn Duplex> = match shared.tls() {
        None => Box::new(stream),
        Some(tls) => {
            let connecting = tls.connector.connect(tls::peer_name(), stream);
            let connected = timeout_at(until, connecting).await.map_err(late)?;
            Box::new(connected.map_err(|error| Unreached::Connect(tls::explain(&error)))?)
        }
    };
    let hello = shared.hello();
    let mine = (hello.cluster_id, hello.raft_id);
    let greeting = Greeting { protocols: PROTOCOLS, lane, to, hello };
    let exchange = async {
        greeting::write(&mut stream, &greeting.encode()).await?;
        greeting::read(&mut stream).await
    };
    let answer = timeout_at(until, exchange).await.map_err(late)?.map_err(|error| match error {
        // With TLS 1.3 the acceptor judges this side's certificate after this side believes to be connected.
        Unread::Io(error) => Unreached::Connect(tls::explain(&error)),
        other => Unreached::Connect(other.to_string()),
    })?;
    match Answer::decode(&answer) {
        Err(what) => Err(Unreached::Connect(what.to_owned())),
        Ok(Answer::Refused(why, reason)) => Err(Unreached::Refused(why, reason)),
        Ok(Answer::Welcome { hello, .. }) => {
            if to != 0 && hello.raft_id != to {
                let text = format!("{} listens there, another node", hello.node_id);
                return Err(Unreached::Refused(Refusal::WrongNode, text));
            }
            if lane != Lane::Calls && hello.cluster_id != mine.0 {
                let text = "it belongs to another cluster".to_owned();
                return Err(Unreached::Refused(Refusal::Cluster, text));
            }
            Ok((stream, hello))
        }
    }
}

async fn connect(shared: &Shared, address: &str) -> Result<TcpStream, String> {
    let limit = Duration::from_millis(shared.options.connect_timeout_ms);
    let found = timeout(limit, lookup_host(address))
        .await
        .map_err(|_| format!("{address}: its name was not resolved in time"))?
        .map_err(|error| format!("{address}: {error}"))?;
    let mut last = format!("{address}: its name has no address");
    for place in found {
        match timeout(limit, TcpStream::connect(place)).await {
            Ok(Ok(stream)) => {
                prepare(&stream).map_err(|error| format!("{address}: {error}"))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: no connection within {} ms", limit.as_millis()),
        }
    }
    Err(last)
}

/// Pauses that grow, each drawn between half and all of its length so that nodes do not knock in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: u64,
    longest: u64,
    next: u64,
}

impl Backoff {
    pub fn new((first, longest): (u64, u64)) -> Self {
        Self { first: first.max(1), longest: longest.max(1), next: first.max(1) }
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }

    pub fn pause(&mut self) -> Duration {
        let length = self.next.min(self.longest);
        self.next = (length * 2).min(self.longest);
        Duration::from_micros(length * 500 + random() % (length * 500).max(1))
    }
}

/// A number nobody can predict well enough to knock in step with us; nothing secret rests on it.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_are_never_nothing() {
        let mut backoff = Backoff::new((20, 100));
        for longest in [20, 40, 80, 100, 100] {
            let pause = backoff.pause();
            assert!(pause >= Duration::from_millis(longest / 2) && pause <= Duration::from_millis(longest));
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(20));
    }
}
