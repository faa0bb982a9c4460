//! Shut down first, delete later (promise 2): whether what is to be deleted has been out of use for long enough.

use jiff::SignedDuration;

use crate::api::Quiet;

/// Pods named in a status.
const LISTED: usize = 20;
/// A status is written anew after this part of the period, not whenever somebody looks.
const STEPS: i64 = 96;

/// What was seen of the pods that use something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Names of pods that use it now.
    pub running: Vec<String>,
    /// For how long nothing was seen to use it, while somebody looked. Nothing, if nobody looks yet.
    pub idle: Option<SignedDuration>,
    /// It came while somebody looked, and nothing has ever used it.
    pub never_used: bool,
}

/// How quiet it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quietness {
    pub status: Quiet,
    /// How much longer it must stay so; nothing while it is in use, or while nobody looks.
    pub remaining: Option<SignedDuration>,
    /// After this time the status says something else, so that what was counted is written down before the process ends.
    pub step: SignedDuration,
}

impl Quietness {
    pub fn suffices(&self) -> bool {
        self.remaining == Some(SignedDuration::ZERO)
    }

    /// What it waits for, in words that stay the same while time passes.
    pub fn waits_for(&self) -> String {
        match (&self.status.running[..], self.remaining) {
            ([], Some(_)) => format!("it to stay unused for {}", self.status.required),
            ([], None) => "a look at what uses it".to_owned(),
            (_, _) => format!("the end of {}", self.status.users()),
        }
    }
}

impl Quiet {
    /// The pods that use it, in words.
    pub fn users(&self) -> String {
        let more = usize::try_from(self.running_total).unwrap_or_default().saturating_sub(3);
        let named: Vec<&str> = self.running.iter().map(String::as_str).take(3).collect();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let pods = if self.running_total == 1 { "pod" } else { "pods" };
        format!("{pods} {}{more}", named.join(", "))
    }

    /// How much longer it must stay unused, as far as it was written down; nothing if that is not known.
    pub fn remaining(&self) -> Option<SignedDuration> {
        let (required, observed): (SignedDuration, SignedDuration) =
            (self.required.parse().ok()?, self.observed.parse().ok()?);
        Some(required.saturating_sub(observed).max(SignedDuration::ZERO))
    }
}

/// Judges what was seen. What is unused since longer than that, or was never used, has nothing to wait for. While nobody
/// looks yet, what was written down `before` stays.
pub fn quietness(usage: &Usage, required: SignedDuration, before: Option<&Quiet>) -> Quietness {
    let in_use = !usage.running.is_empty();
    let observed = if in_use { SignedDuration::ZERO } else { usage.idle.unwrap_or_default() };
    let remaining = if in_use {
        None
    } else if usage.never_used {
        Some(SignedDuration::ZERO)
    } else {
        usage.idle.map(|idle| required.saturating_sub(idle).max(SignedDuration::ZERO))
    };
    let step = (required.as_secs() / STEPS).max(1);
    let written = SignedDuration::from_secs((observed.min(required).as_secs() / step) * step);
    let written = if remaining == Some(SignedDuration::ZERO) { required } else { written };
    let unseen = before.filter(|_| !in_use && usage.idle.is_none());
    let status = Quiet {
        required: hours(required),
        observed: unseen.map_or_else(|| hours(written), |before| before.observed.clone()),
        running: usage.running.iter().take(LISTED).cloned().collect(),
        running_total: i32::try_from(usage.running.len()).unwrap_or(i32::MAX),
    };
    Quietness { status, remaining, step: SignedDuration::from_secs(step) }
}

/// As a policy has it: `24h`, `1h30m`, `10s`.
pub fn hours(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let text: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn idle(seconds: i64) -> Usage {
        Usage { idle: Some(SignedDuration::from_secs(seconds)), ..Usage::default() }
    }

    #[test]
    fn what_is_in_use_is_not_quiet_however_long_it_was() {
        let pods = vec!["db-0".to_owned(), "db-1".to_owned()];
        let quiet = quietness(&Usage { running: pods, never_used: true, ..idle(1_000_000) }, DAY, None);
        assert!(!quiet.suffices());
        assert_eq!((quiet.remaining, quiet.status.observed.as_str()), (None, "0s"));
        assert_eq!(quiet.waits_for(), "the end of pods db-0, db-1");
    }

    #[test]
    fn it_is_quiet_after_the_period_and_not_before() {
        let just_before = quietness(&idle(24 * 3600 - 1), DAY, None);
        assert!(!just_before.suffices());
        assert_eq!(just_before.remaining, Some(SignedDuration::from_secs(1)));
        assert_eq!(just_before.waits_for(), "it to stay unused for 24h");
        assert!(quietness(&idle(24 * 3600), DAY, None).suffices());
        assert_eq!(quietness(&idle(24 * 3600), DAY, None).status.observed, "24h");
    }

    #[test]
    fn what_nobody_has_looked_at_is_not_quiet_even_without_a_period() {
        let unseen = quietness(&Usage::default(), SignedDuration::ZERO, None);
        assert!(!unseen.suffices());
        assert_eq!(unseen.waits_for(), "a look at what uses it");
        let before = Quiet { observed: "23h".to_owned(), ..Quiet::default() };
        assert_eq!(quietness(&Usage::default(), DAY, Some(&before)).status.observed, "23h");
        assert_eq!(quietness(&idle(60), SignedDuration::from_secs(60), Some(&before)).status.observed, "1m");
        assert!(quietness(&idle(0), SignedDuration::ZERO, None).suffices());
    }

    #[test]
    fn what_was_never_used_has_nothing_to_wait_for() {
        assert!(quietness(&Usage { never_used: true, ..idle(1) }, DAY, None).suffices());
    }

    #[test]
    fn a_status_moves_in_steps() {
        let written = |seconds| quietness(&idle(seconds), DAY, None).status.observed;
        assert_eq!((written(0), written(899), written(900)), ("0s".to_owned(), "0s".to_owned(), "15m".to_owned()));
        let left = quietness(&idle(900), DAY, None).status.remaining();
        assert_eq!(left.map(hours), Some("23h45m".to_owned()));
        assert_eq!(quietness(&idle(7), SignedDuration::from_secs(10), None).status.observed, "7s");
    }

    #[test]
    fn many_pods_are_counted() {
        let pods = (0..30).map(|n| format!("web-{n}")).collect();
        let status = quietness(&Usage { running: pods, ..Usage::default() }, DAY, None).status;
        assert_eq!((status.running.len(), status.running_total), (20, 30));
        assert_eq!(status.users(), "pods web-0, web-1, web-2 and 27 more");
    }

    #[test]
    fn a_duration_reads_as_it_is_written() {
        for text in ["0s", "10s", "24h", "1h30m", "2h0m5s"] {
            let parsed: Result<SignedDuration, _> = text.parse();
            assert_eq!(parsed.map(hours).unwrap_or_default(), text.replace("0m5s", "5s"));
        }
    }
}
