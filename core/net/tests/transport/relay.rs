//! A way between two nodes that a test can stop and cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct Rules {
    /// Connections are cut once so many bytes went forward; then the rule is over.
    cut_after: Option<usize>,
    is_stopped: bool,
    forwarded: usize,
    open: Vec<TcpStream>,
}

/// Listens, and passes bytes on to `target`.
pub struct Relay {
    address: SocketAddr,
    rules: Arc<(Mutex<Rules>, Condvar)>,
}

impl Relay {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Arc::new((Mutex::new(Rules::default()), Condvar::new()));
        let shared = rules.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else { continue };
                shared.0.lock().open.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let (near_back, far_back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let rules = shared.clone();
                thread::spawn(move || pass(near, far, Some(&rules)));
                thread::spawn(move || pass(far_back, near_back, None));
            }
        });
        Self { address, rules }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The connection that carries the byte after these is cut, once.
    pub fn cut_after(&self, bytes: usize) {
        let mut rules = self.rules.0.lock();
        rules.cut_after = Some(rules.forwarded + bytes);
    }

    /// Takes nothing more, or goes on.
    pub fn stop(&self, is_stopped: bool) {
        self.rules.0.lock().is_stopped = is_stopped;
        self.rules.1.notify_all();
    }
}

impl Rules {
    fn cut(&mut self) {
        for stream in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, rules: Option<&Arc<(Mutex<Rules>, Condvar)>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(got) = from.read(&mut buffer) {
        if got == 0 {
            break;
        }
        if let Some((rules, changed)) = rules.map(|rules| (&rules.0, &rules.1)) {
            let mut rules = rules.lock();
            while rules.is_stopped {
                changed.wait(&mut rules);
            }
            rules.forwarded += got;
            if rules.cut_after.is_some_and(|after| rules.forwarded > after) {
                rules.cut_after = None;
                rules.cut();
                break;
            }
        }
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
