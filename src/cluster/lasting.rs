//! Tells trouble that lasts from trouble that passes. A watch breaks in the ordinary course of things and says nothing
//! when it has begun anew; one whose errors keep coming follows nothing any more.

use std::time::Duration;

use tokio::time::Instant;

/// Errors that keep coming for so long have lasted.
pub const LASTING: Duration = Duration::from_secs(30);
/// Without an error for so long it is over. Longer than the pauses between attempts.
pub const OVER: Duration = Duration::from_secs(15);

/// The trouble of one watch.
#[derive(Debug, Default)]
pub struct Trouble {
    since: Option<Instant>,
}

impl Trouble {
    /// Whether there is any, so that its end has to be waited for.
    pub const fn is_there(&self) -> bool {
        self.since.is_some()
    }

    /// An error has come; whether it has lasted.
    pub fn again(&mut self, now: Instant) -> bool {
        now.duration_since(*self.since.get_or_insert(now)) >= LASTING
    }

    /// Nothing has come for [`OVER`], or something was learned.
    pub const fn over(&mut self) {
        self.since = None;
    }
}
