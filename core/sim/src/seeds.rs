//! Many seeds on all cores, until there are enough, time is up, or one falls.
#![allow(clippy::disallowed_types)] // The wall clock bounds how many seeds run, never what happens in one.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::counts::Counts;
use crate::planted::Planted;
use crate::run::{Report, run};

/// Progress is told after so many seeds.
const TOLD_EVERY: u64 = 500;

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Which seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// No new one begins after so many seconds; 0: no bound.
    pub seconds: u64,
    /// On so many threads.
    pub threads: u64,
    /// With this bug.
    pub planted: Planted,
    /// Progress goes to standard output.
    pub is_told: bool,
}

/// What the seeds came to, together.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many ran.
    pub seeds: u64,
    /// Events in all of them.
    pub events: u64,
    /// Virtual time in all of them.
    pub virtual_ms: u64,
    /// All their counts.
    pub counts: Counts,
    /// One whose invariant fell.
    pub fallen: Option<Report>,
    last_digest: u64,
}

impl Summary {
    /// Adds one seed's report.
    pub fn take(&mut self, report: Report) {
        self.seeds += 1;
        self.events += report.events;
        self.virtual_ms += report.virtual_ms;
        self.counts.merge(&report.counts);
        self.last_digest = report.digest;
        let is_first = self.fallen.as_ref().is_none_or(|known| report.seed < known.seed);
        if report.fallen.is_some() && is_first {
            self.fallen = Some(report);
        }
    }

    /// Prints everything; true if an invariant fell.
    pub fn tell(&self) -> bool {
        for line in self.counts.lines() {
            println!("{line}");
        }
        let virtual_s = self.virtual_ms / 1_000;
        println!("{} seeds, {} events, {virtual_s} s of virtual time", self.seeds, self.events);
        if self.seeds == 1 {
            println!("trace digest {:016x}", self.last_digest);
        }
        let Some(report) = &self.fallen else {
            println!("no invariant fell");
            return false;
        };
        if let Some((fallen, last)) = &report.fallen {
            for line in last {
                println!("{line}");
            }
            println!("seed {} (trace digest {:016x}) fell: {fallen}", report.seed, report.digest);
            println!("again: cargo run -p konsul-sim -- --seed {} --trace", report.seed);
        }
        true
    }
}

/// Runs seeds until the first that falls.
pub fn run_seeds(plan: &Plan) -> Summary {
    tell_seed_of_panics();
    let (next, is_over) = (AtomicU64::new(plan.from), AtomicBool::new(false));
    let (summary, began) = (Mutex::new(Summary::default()), Instant::now());
    let work = || {
        while !is_over.load(Relaxed) && (plan.seconds == 0 || began.elapsed().as_secs() < plan.seconds) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= plan.from + plan.seeds {
                return;
            }
            CURRENT.set(seed);
            let report = run(seed, plan.planted, false);
            is_over.fetch_or(report.fallen.is_some(), Relaxed);
            // Poisoned only by a panic, which ends the process.
            let Ok(mut summary) = summary.lock() else { return };
            summary.take(report);
            if plan.is_told && summary.seeds.is_multiple_of(TOLD_EVERY) {
                let ms = began.elapsed().as_millis() as u64 / summary.seeds;
                println!("{} seeds, {ms} ms each", summary.seeds);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(work);
        }
    });
    summary.into_inner().unwrap_or_default()
}

/// A panic of the code under test ends the process: which seed it was must be known.
fn tell_seed_of_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        println!("seed {} panicked", CURRENT.get());
        usual(info);
    }));
}
