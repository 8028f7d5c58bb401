//! The node's thread: turns of the driver until it is told to stop, then an orderly end.

use std::sync::atomic::{AtomicBool, Ordering::Release};

use crate::code;
use crate::driver::{Broken, Driver};

pub(crate) const TOO_LATE: &str = "the node stopped before this was answered; a write may still be applied";

/// Runs until stopped; sets `is_clean` if nothing was left over. What breaks the node ends the process: going
/// on after a failed sync or an entry that cannot be applied would break promises that were already made.
pub(crate) fn run(mut driver: Driver, is_clean: &AtomicBool) {
    if let Err(broken) = drive(&mut driver) {
        die(&broken);
    }
    is_clean.store(driver.is_idle(), Release);
    driver.close(code::STOPPING, TOO_LATE);
}

fn drive(driver: &mut Driver) -> Result<(), Broken> {
    loop {
        driver.turn()?;
        let Some(stop_at_ms) = driver.stop_at_ms else { continue };
        if driver.is_leaving(stop_at_ms) {
            continue;
        }
        if driver.is_idle() || driver.shared.clock.now_ms() >= stop_at_ms {
            return finish(driver, stop_at_ms);
        }
    }
}

/// Answers whoever still waits, and leaves a snapshot behind if one is due and the time allows.
fn finish(driver: &mut Driver, stop_at_ms: u64) -> Result<(), Broken> {
    driver.refuse_everybody(code::STOPPING, TOO_LATE);
    if driver.is_snapshot_due() && !driver.is_snapshotting() && driver.is_idle() {
        driver.begin_snapshot(driver.shared.clock.now_ms())?;
    }
    while driver.is_snapshotting() && driver.shared.clock.now_ms() < stop_at_ms {
        driver.turn()?;
    }
    while driver.is_appending() && driver.shared.clock.now_ms() < stop_at_ms {
        driver.turn()?;
    }
    Ok(())
}

fn die(broken: &Broken) -> ! {
    // The process must not go on, so there is nobody left to log through.
    eprintln!(
        "konsul: the node stops: {broken}. Nothing acknowledged is lost; check the disk and start it again."
    );
    std::process::abort();
}
