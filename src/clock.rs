//! The only place that reads the clock. Decisions get their time as an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// The present time, from the operating system.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Where a part of the program takes its time from: the operating system, or a hand that a test moves.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds since 1970; absent: the operating system's clock.
    hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self { hand: None }
    }

    /// A clock that stands at `at` (to the millisecond) until [`Clock::set`] moves it. Clones share the hand.
    pub fn standing_at(at: Timestamp) -> Self {
        Self { hand: Some(Arc::new(AtomicI64::new(at.as_millisecond()))) }
    }

    /// Moves a standing clock and all its clones, forward or backward; the system's clock is left alone.
    pub fn set(&self, at: Timestamp) {
        if let Some(hand) = &self.hand {
            hand.store(at.as_millisecond(), Ordering::SeqCst);
        }
    }

    /// The time that this clock shows.
    pub fn now(&self) -> Timestamp {
        self.hand.as_ref().map_or_else(now, |hand| {
            // The hand was made from a Timestamp, so it is in range; a wrong one must not stop the program.
            Timestamp::from_millisecond(hand.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn clones_of_a_standing_clock_move_together() {
        let clock = Clock::standing_at("2026-11-23T10:00:00Z".parse().unwrap());
        let other = clock.clone();
        clock.set("2026-11-23T09:59:00.25Z".parse().unwrap());
        assert_eq!(other.now().to_string(), "2026-11-23T09:59:00.25Z");
    }

    #[test]
    fn the_system_clock_moves_by_itself_and_cannot_be_set() {
        let clock = Clock::system();
        clock.set(Timestamp::UNIX_EPOCH);
        assert!(clock.now() > "2024-01-01T00:00:00Z".parse().unwrap());
    }
}
