//! Waiting for what a real cluster does in its own time: never a bare sleep.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

const PAUSE: Duration = Duration::from_millis(50);

/// Calls `probe` until it gives a value, at most for `limit`. `what` completes the sentence "still waiting for …".
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(Error::Timeout { what: what.to_owned(), limit });
        }
        thread::sleep(PAUSE);
    }
}

/// Calls `probe` until it says yes, at most for `limit`.
pub fn wait_until(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, limit, || Ok(probe().then_some(())))
}
