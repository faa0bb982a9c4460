//! Data that outlives its deletion whoever deletes it: where a policy has volumes kept from their first binding on, what
//! goes without a request (by an operator to whom that is delegated) is held as well.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PersistentVolume;
use sha2::{Digest as _, Sha256};

use crate::api::{
    Afterwards, BackupRetention, BackupRetentionSpec, KeepVolumes, RetentionMode, RetentionSource, Target, TargetKind,
};
use crate::digest::hex;
use crate::domain::deletion::{Governance, is_data, scope};
use crate::domain::inventory::{Claim, Reclaim, Volume};
use crate::domain::kept::keeper;
use crate::domain::policy::PolicySet;
use crate::domain::statement::stated;

/// Bytes of the claim's name in that of a retention.
const NAME: usize = 100;
/// Names tried for one retention: people may have taken some.
const NAMES: u8 = 8;

/// A volume with the claim that it is, or was, bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundVolume {
    pub volume: Volume,
    pub bond: Bond,
    pub namespace: Box<str>,
    pub claim: Box<str>,
    pub claim_uid: Box<str>,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// How a volume and its claim stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bond {
    Bound,
    /// The claim is gone.
    Released,
    #[default]
    Other,
}

impl BoundVolume {
    /// Nothing for a volume that no claim was ever bound to.
    pub fn of(volume: &PersistentVolume) -> Option<Self> {
        let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
        let status = volume.status.as_ref();
        Some(Self {
            volume: Volume::of(volume),
            bond: match status.and_then(|status| status.phase.as_deref()) {
                Some("Bound") => Bond::Bound,
                Some("Released") => Bond::Released,
                _ => Bond::Other,
            },
            namespace: claim.namespace.as_deref()?.into(),
            claim: claim.name.as_deref()?.into(),
            claim_uid: claim.uid.as_deref()?.into(),
            since: status.and_then(|status| status.last_phase_transition_time.as_ref()).map(|time| time.0),
        })
    }

    fn is_noted(&self) -> bool {
        self.volume.kept_claim.as_deref() == Some(&*self.claim_uid)
    }

    /// Its data would go with its claim, or nothing on it says how to bring that back.
    pub fn is_unkept(&self) -> bool {
        self.bond == Bond::Bound && (self.volume.reclaim != Reclaim::Retain || !self.is_noted())
    }

    /// It was kept once, and is not any more: somebody changed it.
    pub fn was_kept(&self) -> bool {
        self.is_unkept() && self.is_noted()
    }

    /// Its claim is gone, and it could bring that back.
    pub fn is_left(&self) -> bool {
        self.bond == Bond::Released && self.volume.reclaim == Reclaim::Retain && !self.volume.going && self.is_noted()
    }

    /// The claim that is gone.
    pub fn target(&self) -> Target {
        Target {
            api_version: "v1".to_owned(),
            kind: TargetKind::PersistentVolumeClaim,
            namespace: Some(self.namespace.to_string()),
            name: self.claim.to_string(),
            uid: self.claim_uid.to_string(),
        }
    }

    /// `pvc-<name>-<12 hexadecimal digits>`, most wanted first: the same volume and claim have the same names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..NAMES).map(|attempt| {
            let hash = Sha256::digest(format!("{}\n{}\n{attempt}", self.volume.uid, self.claim_uid));
            let name = self.claim.get(..NAME).unwrap_or(&self.claim).trim_end_matches(['.', '-']);
            format!("pvc-{name}-{}", &hex(&hash)[..12])
        })
    }

    /// Whether this retention is about this end of this claim. `place` is the UID of the namespace of that name now: what
    /// holds an earlier one does not hold this.
    pub fn is_held_by(&self, retention: &BackupRetention, place: Option<&str>) -> bool {
        let holds = retention.spec.keepers.iter().any(|keeper| *keeper.uid == *self.volume.uid);
        let about = |source: &RetentionSource| match source.target.kind {
            TargetKind::PersistentVolumeClaim => *source.target.uid == *self.claim_uid,
            TargetKind::Namespace => {
                *source.target.name == *self.namespace && place.is_none_or(|uid| uid == source.target.uid)
            }
            _ => false,
        };
        holds && retention.spec.source.as_ref().is_some_and(about)
    }

    /// Whether it was left so long ago that whatever held it has ended.
    pub fn is_over(&self, retain_days: u32, now: Timestamp) -> bool {
        let kept = SignedDuration::from_hours(i64::from(retain_days) * 24);
        self.since.is_some_and(|since| now.duration_since(since) > kept)
    }

    /// What holds it from now on.
    pub fn retention(&self, retain_days: u32, now: Timestamp) -> BackupRetentionSpec {
        BackupRetentionSpec {
            source: Some(RetentionSource { request: None, uid: None, target: self.target(), deleted_at: stated(now) }),
            keepers: vec![keeper(&self.volume)],
            retain_days: i32::try_from(retain_days).unwrap_or(i32::MAX),
            mode: RetentionMode::Governance,
            afterwards: Afterwards::Keep,
            reason: Some("deleted without a request, as a policy lets an operator do by itself".to_owned()),
        }
    }
}

/// Whether the volume of this claim is kept from its first binding on.
pub fn is_kept_always(
    policies: &PolicySet,
    started: bool,
    labels: &std::collections::BTreeMap<String, String>,
    claim: &Claim,
) -> bool {
    let Ok(Governance::Governed(effective)) = scope(policies, started, labels) else { return false };
    effective.keep_volumes == KeepVolumes::Always && is_data(policies, claim)
}
