//! Live confirmation: what an allow of a governed deletion rests on is read from the API server for that decision.

use foureyes_core::api::{Author, DeletionRequest, Target, TargetKind};
use foureyes_core::domain::deletion::{Evidence, confirm, confirm_cascade};
use foureyes_core::domain::inventory::{Claim, Inventory};
use foureyes_core::domain::judgement::{Rights, rights_needed};
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::statement::ApprovalRecord;
use foureyes_core::index::Candidate;
use foureyes_core::reason::Code;
use foureyes_core::seal::KeyRing;
use jiff::Timestamp;

use crate::cluster::live::{Live, ReadError, namespace_record};

/// Requests tried for one deletion; the most advanced come first. More than one author can have open, so that nobody
/// alone can stand in front of a request that would do.
const MOST_CANDIDATES: usize = 128;

/// The API server did not answer: whatever is uncertain is refused.
pub fn unread(error: &ReadError) -> Refusal {
    tracing::warn!(class = error.class(), %error, "a decision could not be confirmed");
    Refusal::new(Code::ClusterUnreadable, format!("nothing was decided: {error}"))
}

/// What is common to every confirmation of one review.
pub struct Confirmation<'a> {
    pub live: &'a Live,
    pub policies: &'a PolicySet,
    pub effective: &'a Effective,
    pub now: Timestamp,
}

impl Confirmation<'_> {
    /// Whether one of the candidate requests lets `executor` delete `target`; else the refusal of the most advanced.
    pub async fn deletion(
        &self,
        candidates: &[Candidate],
        target: &Target,
        record: Option<&str>,
        inventory: &Inventory,
        executor: &Author,
    ) -> Result<Proof, Option<Refusal>> {
        let ring = self.ring().await.map_err(Some)?;
        let record = record.and_then(|text| ApprovalRecord::prove(&ring, text, &target.uid).ok());
        let mut first = None;
        for Candidate { name, .. } in candidates.iter().take(MOST_CANDIDATES) {
            let Some(request) = self.live.request(name).await.map_err(|error| Some(unread(&error)))? else { continue };
            let verdict = self.one(&request, target, record.as_ref(), &ring, inventory, executor).await;
            match verdict {
                Ok(proof) => return Ok(proof),
                Err(refusal) => drop(first.get_or_insert(refusal)),
            }
        }
        Err(first)
    }

    async fn one(
        &self,
        request: &DeletionRequest,
        target: &Target,
        record: Option<&ApprovalRecord>,
        ring: &KeyRing,
        inventory: &Inventory,
        executor: &Author,
    ) -> Result<Proof, Refusal> {
        let uid = request.metadata.uid.as_deref().unwrap_or_default();
        let sign_offs = self.live.sign_offs(uid).await.map_err(|error| unread(&error))?;
        let needed = rights_needed(&sign_offs, record);
        let rights = self.live.rights(&needed, target.rights_namespace()).await.map_err(|error| unread(&error))?;
        let evidence = Evidence {
            target,
            request,
            sign_offs: &sign_offs,
            record,
            ring,
            policies: self.policies,
            effective: self.effective,
            rights: &rights,
            live: inventory,
        };
        confirm(&evidence, executor, self.now)
    }

    /// Whether a claim may go with its namespace, which is going: latched by the live root.
    pub async fn cascade(
        &self,
        candidates: &[Candidate],
        claim: &Claim,
        inventory: &Inventory,
    ) -> Result<Proof, Option<Refusal>> {
        let Some(root) = self.live.namespace(&claim.namespace).await.map_err(|error| Some(unread(&error)))? else {
            return Err(None);
        };
        let Some(since) = root.metadata.deletion_timestamp.as_ref().map(|time| time.0) else { return Err(None) };
        let target = Target {
            api_version: "v1".to_owned(),
            kind: TargetKind::Namespace,
            namespace: None,
            name: claim.namespace.to_string(),
            uid: root.metadata.uid.clone().unwrap_or_default(),
        };
        let ring = self.ring().await.map_err(Some)?;
        let record = namespace_record(&root).and_then(|text| ApprovalRecord::prove(&ring, text, &target.uid).ok());
        let rights = Rights::latched();
        let mut first = None;
        for Candidate { name, .. } in candidates.iter().take(MOST_CANDIDATES) {
            let read = self.live.request(name).await.map_err(|error| Some(unread(&error)))?;
            let Some(request) = read else { continue };
            let uid = request.metadata.uid.as_deref().unwrap_or_default();
            let sign_offs = self.live.sign_offs(uid).await.map_err(|error| Some(unread(&error)))?;
            let evidence = Evidence {
                target: &target,
                request: &request,
                sign_offs: &sign_offs,
                record: record.as_ref(),
                ring: &ring,
                policies: self.policies,
                effective: self.effective,
                rights: &rights,
                live: inventory,
            };
            match confirm_cascade(&evidence, since) {
                Ok(proof) => return Ok(proof),
                Err(refusal) => drop(first.get_or_insert(refusal)),
            }
        }
        Err(first)
    }

    async fn ring(&self) -> Result<KeyRing, Refusal> {
        self.live.key_ring().await.map_err(|error| unread(&error))
    }
}
