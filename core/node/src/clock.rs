//! The system's clocks.

use std::sync::Arc;

use crate::seams::Clock;

/// Whatever clocks the node was given.
#[derive(Clone)]
pub(crate) struct Clocks(Arc<dyn Clock>);

impl Clocks {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }

    /// Milliseconds, forward only; see [`Clock::now_ms`].
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    /// Milliseconds since 1970.
    pub fn wall_ms(&self) -> u64 {
        self.0.wall_ms()
    }
}

/// The machine's clocks; `now_ms` counts from the start of the node and while the machine sleeps.
pub struct SystemClock {
    started_ms: u64,
}

impl SystemClock {
    /// Starts counting.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { started_ms: boot_ms() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        boot_ms().saturating_sub(self.started_ms)
    }

    fn wall_ms(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}

/// A promise made before the machine slept must be over when it wakes: the other monotonic clock stands still
/// meanwhile.
fn boot_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer. The clock exists since Linux 2.6.39.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(result, 0, "the system has no clock");
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// A random number from the operating system.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // The keys of a hasher come from the system's random numbers; the clock keeps two draws apart.
    RandomState::new().hash_one(boot_ms())
}
