//! What both kinds of request have in common for those who judge and speak about them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::Serialize;

use crate::api::{
    ChangePhase, ChangeRequest, ChangeRequestSpec, ConditionType, DeletionRequest, DeletionRequestSpec,
    DeletionRequestStatus, Phase, Requester, Subject,
};
use crate::domain::lifecycle::TargetState;
use crate::domain::ready;

/// What somebody asks for.
pub trait RequestSpec: Clone + Serialize {
    /// The kind of statement that its requester's seal is.
    const SEALED_AS: &'static str;

    fn requester(&self) -> Option<&Requester>;

    /// The spec but for what stamp wrote.
    #[must_use]
    fn unstamped(&self) -> Self;
}

/// A request as it was read.
pub trait Request {
    type Spec: RequestSpec;

    const KIND: &'static str;

    fn metadata(&self) -> &ObjectMeta;
    fn spec(&self) -> &Self::Spec;
    fn stage(&self) -> Stage;
    /// The word for the phase.
    fn phase(&self) -> &'static str;
    /// What a sign-off must name now, as the controller has written it.
    fn current_digest(&self) -> Option<&str>;
    /// The namespace to bind a role in, where rights on it are missing.
    fn place(&self) -> &str;
    /// Shows it.
    fn show(&self) -> String;
    /// Shows all of its kind.
    fn show_all() -> &'static str;
    /// Why nobody may delete it now, while its target is in this state.
    fn kept(&self, target: TargetState, now: Timestamp) -> Option<String>;
    /// Signs it off.
    fn sign_off(&self, digest: &str) -> String;

    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    fn created(&self) -> Option<Timestamp> {
        self.metadata().creation_timestamp.as_ref().map(|time| time.0)
    }

    /// What a sign-off about it names; an object without a UID was never written.
    fn subject(&self) -> Option<Subject> {
        let metadata = self.metadata();
        Some(Subject {
            kind: Self::KIND.to_owned(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
        })
    }
}

/// Whether something may still be said about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Open,
    /// What it asked for has begun: it can't be stopped or unsaid.
    InUse,
    /// What it asked for was done, and somebody has yet to say that it went as it should.
    Done,
    Ended {
        /// It ended by somebody's word, which stays as the reason why.
        rejected: bool,
        cancelled: bool,
        /// What it asked for was done: who allowed that stays on record.
        used: bool,
    },
}

impl Stage {
    /// Nothing more happens on its strength.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Ended { .. })
    }
}

impl RequestSpec for DeletionRequestSpec {
    const SEALED_AS: &'static str = "DeletionRequest/requester";

    fn requester(&self) -> Option<&Requester> {
        self.requester.as_ref()
    }

    fn unstamped(&self) -> Self {
        Self { requester: None, ..self.clone() }
    }
}

impl RequestSpec for ChangeRequestSpec {
    const SEALED_AS: &'static str = "ChangeRequest/requester";

    fn requester(&self) -> Option<&Requester> {
        self.requester.as_ref()
    }

    fn unstamped(&self) -> Self {
        Self { requester: None, ..self.clone() }
    }
}

impl Request for DeletionRequest {
    type Spec = DeletionRequestSpec;

    const KIND: &'static str = "DeletionRequest";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn spec(&self) -> &DeletionRequestSpec {
        &self.spec
    }

    fn stage(&self) -> Stage {
        match self.status.as_ref().and_then(|status| status.phase).unwrap_or_default() {
            Phase::Executing => Stage::InUse,
            Phase::Executed => Stage::Done,
            phase if phase.is_ended() => Stage::Ended {
                rejected: phase == Phase::Rejected,
                cancelled: phase == Phase::Cancelled,
                used: phase == Phase::Closed,
            },
            _ => Stage::Open,
        }
    }

    fn phase(&self) -> &'static str {
        self.status.as_ref().and_then(|status| status.phase).unwrap_or_default().as_str()
    }

    fn current_digest(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.subject_digest.as_deref())
    }

    fn place(&self) -> &str {
        self.spec.target.rights_namespace()
    }

    fn show(&self) -> String {
        ready::show(self.name())
    }

    fn show_all() -> &'static str {
        "kubectl get deletionrequests"
    }

    fn kept(&self, target: TargetState, now: Timestamp) -> Option<String> {
        if self.stage() == Stage::InUse || matches!(target, TargetState::Going(_)) {
            return Some("its target is being deleted on its strength".to_owned());
        }
        if self.stage() == Stage::Done {
            return Some("nobody has supervised that deletion yet".to_owned());
        }
        // Without it nobody could tell how much ran before.
        let closed =
            |status: &DeletionRequestStatus| status.phase == Some(Phase::Closed) || target == TargetState::Gone;
        if self.status.as_ref().is_some_and(|status| status.is_scaled_down() && !closed(status)) {
            let why = "what was scaled down for it is put back only while it is there; Cancel, signed off by its requester, ends it and has that put back";
            return Some(why.to_owned());
        }
        // Without it nobody could tell that the annotation was used; a new request would take it in once more.
        let used = self.status.as_ref().filter(|status| status.annotation.is_some() && target == TargetState::Live)?;
        let until = used.approval_deadline.as_ref().filter(|until| now <= until.0)?;
        Some(format!("until {} it shows that the approval by annotation was used", until.0))
    }

    fn sign_off(&self, digest: &str) -> String {
        ready::sign_off(self.name(), self.uid(), digest)
    }
}

/// Whether nobody has looked at what was changed on nobody's word: a review is owed, and it was not signed off afterwards.
pub fn is_unseen(change: &ChangeRequest) -> bool {
    let sign_offs = change.status.as_ref().and_then(|status| status.sign_offs.as_ref());
    let seen = sign_offs.is_some_and(|sign_offs| sign_offs.required > 0 && sign_offs.granted >= sign_offs.required);
    owes_review(change) && !seen
}

fn owes_review(change: &ChangeRequest) -> bool {
    let owed =
        |condition: &Condition| condition.type_ == ConditionType::ReviewOwed.as_str() && condition.status == "True";
    change.status.as_ref().is_some_and(|status| status.conditions.iter().any(owed))
}

impl Request for ChangeRequest {
    type Spec = ChangeRequestSpec;

    const KIND: &'static str = "ChangeRequest";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn spec(&self) -> &ChangeRequestSpec {
        &self.spec
    }

    /// What runs can be rolled back, so a change is never in use as a deletion is: a hold stops what is left of it.
    fn stage(&self) -> Stage {
        match self.status.as_ref().and_then(|status| status.phase).unwrap_or_default() {
            phase if phase.is_ended() => Stage::Ended {
                rejected: phase == ChangePhase::Rejected,
                cancelled: phase == ChangePhase::Cancelled,
                used: matches!(phase, ChangePhase::Succeeded | ChangePhase::Failed | ChangePhase::RolledBack),
            },
            _ => Stage::Open,
        }
    }

    fn phase(&self) -> &'static str {
        self.status.as_ref().and_then(|status| status.phase).unwrap_or_default().as_str()
    }

    fn current_digest(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.request_digest.as_deref())
    }

    fn place(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn show(&self) -> String {
        ready::show_change(self.place(), self.name())
    }

    fn show_all() -> &'static str {
        "kubectl get changerequests --all-namespaces"
    }

    fn kept(&self, _: TargetState, _: Timestamp) -> Option<String> {
        let status = self.status.as_ref()?;
        if status.phase == Some(ChangePhase::InProgress) {
            return Some("it is being rolled out".to_owned());
        }
        owes_review(self).then(|| "a review of it is owed".to_owned())
    }

    fn sign_off(&self, digest: &str) -> String {
        ready::sign_off_change(self.place(), self.name(), self.uid(), digest)
    }
}
