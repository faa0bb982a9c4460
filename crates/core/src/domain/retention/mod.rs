//! What a [`BackupRetention`] holds: until when, what a Release must name, and whether it has been let go of.

pub mod decide;
pub mod guard;
pub mod judge;
pub mod keepers;
pub mod speaking;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Afterwards, BackupRetention, RetentionMode, RetentionPhase};
use crate::digest::{DigestError, Encoding, digest};
use judge::Judgement;

/// By how much any clock in the cluster may be wrong, back or forward, without a retention that ends early: once when it
/// begins, and once when its end is looked for.
const CLOCK_ERROR: SignedDuration = SignedDuration::from_hours(1);

/// What a Release must name.
pub fn retention_digest(retention: &BackupRetention) -> Result<String, DigestError> {
    digest(Encoding::Retention, &retention.spec)
}

/// Until when nobody destroys what it keeps: its days, from the later of the times at which the deletion was seen and at
/// which the API server has it, and what clocks may be wrong. Never earlier than it was.
pub fn retain_until(retention: &BackupRetention) -> Timestamp {
    let seen = retention.spec.source.as_ref().map(|source| source.deleted_at.0);
    let created = retention.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let before = retention.status.as_ref().and_then(|status| status.retain_until.as_ref()).map(|time| time.0);
    let days = SignedDuration::from_hours(24 * i64::from(retention.spec.retain_days.max(1)));
    let whole = days.saturating_add(CLOCK_ERROR.saturating_mul(2));
    // Without any time nothing says that it has begun.
    let begun = seen.max(created);
    let until = begun.map_or(Timestamp::MAX, |begun| begun.saturating_add(whole).unwrap_or(Timestamp::MAX));
    before.map_or(until, |before| before.max(until))
}

/// The namespace in which rights on it are judged: that of what was deleted; the empty one stands for the whole cluster.
pub fn place(retention: &BackupRetention) -> &str {
    retention.spec.source.as_ref().map_or("", |source| source.target.rights_namespace())
}

/// The phase as the controller has written it.
pub fn phase(retention: &BackupRetention) -> RetentionPhase {
    retention.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// Why what it keeps may be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGo {
    /// Enough people have let go of it.
    Released,
    /// Its time is over, and it was agreed that this suffices.
    Over,
}

/// Whether it has been let go of, by what was said about it; a legal hold stops both ways.
pub fn let_go(retention: &BackupRetention, judgement: &Judgement, now: Timestamp) -> Option<LetGo> {
    if !judgement.holds.is_empty() {
        return None;
    }
    let over = now >= retain_until(retention);
    let early = over || retention.spec.mode == RetentionMode::Governance;
    if judgement.suffices() && early {
        return Some(LetGo::Released);
    }
    (over && ends_by_itself(retention)).then_some(LetGo::Over)
}

/// Whether it was agreed that its time suffices: two people did so with the deletion that it stands for. What one person
/// holds never ends without another.
pub fn ends_by_itself(retention: &BackupRetention) -> bool {
    retention.spec.afterwards == Afterwards::Purge && retention.spec.source.is_some()
}

/// In seconds, as times in a status are.
fn time(at: Timestamp) -> Time {
    crate::domain::statement::stated(at)
}
