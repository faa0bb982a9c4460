//! Authorities that were trusted until a moment ago. A replica reads its Secret every 10 s, so for a while some still
//! serve what the last authority signed, whoever that was: ours, cert-manager's, or cert-manager's before its last change.

use jiff::{SignedDuration, Timestamp};

use super::ca::Certificate;

/// How long an authority stays in the bundles after nothing wants it any more; many reads of a Secret long.
const LINGER: SignedDuration = SignedDuration::from_mins(5);
/// More than this are not remembered.
const MAX: usize = 8;

/// What this process has wanted in the bundles, and when last.
#[derive(Debug, Default)]
pub struct Recent {
    /// Absent until the bundles were seen for the first time.
    wanted: Option<Vec<(Certificate, Timestamp)>>,
}

impl Recent {
    /// The PEM text to write for `wanted`: itself, and what was wanted a short while ago and is valid. What the bundles
    /// hold at the first look counts as wanted then, because nobody remembers who put it there.
    pub fn with(&mut self, wanted: &str, in_bundles: &[Vec<Certificate>], now: Timestamp) -> String {
        let Ok(present) = Certificate::read_all(wanted.as_bytes()) else {
            return wanted.to_owned();
        };
        let seen = self.wanted.take().unwrap_or_else(|| {
            let first = in_bundles.iter().flatten();
            first.map(|certificate| (certificate.clone(), now)).collect()
        });
        let mut kept: Vec<(Certificate, Timestamp)> =
            present.into_iter().map(|certificate| (certificate, now)).collect();
        let mut text = wanted.to_owned();
        for (certificate, last) in seen {
            let lingers = now.duration_since(last).abs() < LINGER && certificate.holds_at(now);
            if lingers && kept.len() < MAX && kept.iter().all(|(other, _)| *other != certificate) {
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(&certificate.pem);
                kept.push((certificate, last));
            }
        }
        self.wanted = Some(kept);
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::controllers::certificates::ca::Authority;

    fn at(minute: i64) -> Timestamp {
        let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        start + SignedDuration::from_mins(minute)
    }

    fn authority() -> Certificate {
        Authority::make(at(0)).unwrap().certificate
    }

    fn certificates(text: &str) -> Vec<Certificate> {
        Certificate::read_all(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_wanted_lingers_for_five_minutes() {
        let (old, new) = (authority(), authority());
        let mut recent = Recent::default();
        assert_eq!(recent.with(&old.pem, &[], at(0)), old.pem);
        assert_eq!(recent.with(&old.pem, &[], at(60)), old.pem);
        assert_eq!(certificates(&recent.with(&new.pem, &[], at(61))), [new.clone(), old.clone()]);
        assert_eq!(certificates(&recent.with(&new.pem, &[], at(64))), [new.clone(), old.clone()]);
        assert_eq!(recent.with(&new.pem, &[], at(65)), new.pem);
    }

    #[test]
    fn what_a_new_process_finds_lingers_but_what_is_put_there_later_does_not() {
        let (found, wanted, strange) = (authority(), authority(), authority());
        let mut recent = Recent::default();
        let first = recent.with(&wanted.pem, &[vec![found.clone()], vec![found.clone()]], at(0));
        assert_eq!(certificates(&first), [wanted.clone(), found.clone()]);
        let second = recent.with(&wanted.pem, &[vec![strange]], at(1));
        assert_eq!(certificates(&second), [wanted.clone(), found]);
        assert_eq!(recent.with(&wanted.pem, &[], at(6)), wanted.pem);
    }

    #[test]
    fn a_bundle_without_a_last_newline_stays_readable() {
        let (old, new) = (authority(), authority());
        let mut recent = Recent::default();
        recent.with(&old.pem, &[], at(0));
        assert_eq!(certificates(&recent.with(new.pem.trim_end(), &[], at(1))), [new, old]);
    }
}
