//! Live confirmation: what an allow of a governed deletion rests on is read from the API server for that decision.

use foureyes_core::api::{Author, DeletionRequest, SignOff, Target, TargetKind};
use foureyes_core::domain::deletion::{Closeness, Evidence, closeness, confirm, confirm_cascade};
use foureyes_core::domain::inventory::{Claim, Inventory};
use foureyes_core::domain::judgement::{Rights, rights_needed};
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::statement::ApprovalRecord;
use foureyes_core::index::Candidate;
use foureyes_core::reason::Code;
use foureyes_core::seal::KeyRing;
use futures::future::{join, try_join};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;

use crate::cluster::access::Requests;
use crate::cluster::live::{Live, ReadError, record};

/// Requests tried for one decision; the most advanced come first. More than one author can have open, so that nobody
/// alone can stand in front of a request that would do.
pub const MOST_CANDIDATES: usize = 128;

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

/// A request, and what was said about it.
struct Asked {
    request: DeletionRequest,
    sign_offs: Vec<SignOff>,
}

/// The candidates of one deletion, each read when its turn comes, and the keys that they are proven with. All reads
/// begin after the review has come, so that what was withdrawn before it is seen.
pub struct Asking<'a> {
    live: &'a Live,
    ring: KeyRing,
    ahead: Option<Asked>,
    rest: std::slice::Iter<'a, Candidate>,
}

impl<'a> Asking<'a> {
    /// Reads the keys and the first candidate, which nearly always decides, at once.
    pub async fn begin(live: &'a Live, candidates: &'a [Candidate]) -> Result<Self, Refusal> {
        let mut rest = candidates.get(..MOST_CANDIDATES).unwrap_or(candidates).iter();
        let first = rest.next();
        let ahead = async {
            match first {
                Some(candidate) => asked(live, candidate).await,
                None => Ok(None),
            }
        };
        let (ring, ahead) = try_join(live.key_ring(), ahead).await.map_err(|error| unread(&error))?;
        Ok(Self { live, ring, ahead, rest })
    }

    async fn next(&mut self) -> Result<Option<Asked>, Refusal> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        for candidate in self.rest.by_ref() {
            if let Some(asked) = asked(self.live, candidate).await.map_err(|error| unread(&error))? {
                return Ok(Some(asked));
            }
        }
        Ok(None)
    }
}

/// Nothing if there is no such request (any more).
async fn asked(live: &Live, candidate: &Candidate) -> Result<Option<Asked>, ReadError> {
    // Nearly always the UID is the one that the index knows; what counts is the one that the request has now.
    let known = candidate.uid.to_string();
    let (request, sign_offs) = join(live.request(&candidate.name), live.sign_offs(&known)).await;
    let Some(request) = request? else { return Ok(None) };
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let sign_offs = if uid == known { sign_offs? } else { live.sign_offs(uid).await? };
    Ok(Some(Asked { request, sign_offs }))
}

/// The namespace of a claim as it is now, and the requests about it.
pub struct Root<'a> {
    namespace: Option<Namespace>,
    asking: Asking<'a>,
}

impl<'a> Root<'a> {
    pub async fn read(live: &'a Live, candidates: &'a [Candidate], namespace: &str) -> Result<Self, Refusal> {
        let namespace = async { live.namespace(namespace).await.map_err(|error| unread(&error)) };
        let (namespace, asking) = try_join(namespace, Asking::begin(live, candidates)).await?;
        Ok(Self { namespace, asking })
    }
}

impl Confirmation<'_> {
    /// Whether one of the candidate requests lets `executor` delete `target`; else the refusal of the one that comes
    /// closest, of several the most advanced.
    pub async fn deletion(
        &self,
        mut asking: Asking<'_>,
        target: &Target,
        record: Option<&str>,
        inventory: &Inventory,
        executor: &Author,
    ) -> Result<Proof, Option<Refusal>> {
        let record = record.and_then(|text| ApprovalRecord::prove(&asking.ring, text, &target.uid).ok());
        let mut closest: Option<(Closeness, Refusal)> = None;
        while let Some(asked) = asking.next().await.map_err(Some)? {
            let verdict = self.one(&asked, target, record.as_ref(), &asking.ring, inventory, executor).await;
            match verdict {
                Ok(proof) => return Ok(proof),
                Err(refused) if closest.as_ref().is_none_or(|(before, _)| refused.0 > *before) => {
                    closest = Some(refused);
                }
                Err(_) => {}
            }
        }
        Err(closest.map(|(_, refusal)| refusal))
    }

    async fn one(
        &self,
        asked: &Asked,
        target: &Target,
        record: Option<&ApprovalRecord>,
        ring: &KeyRing,
        inventory: &Inventory,
        executor: &Author,
    ) -> Result<Proof, (Closeness, Refusal)> {
        let Asked { request, sign_offs } = asked;
        let needed = rights_needed(sign_offs, record);
        let places = [target.rights_namespace().to_owned()].into();
        let rights = self.live.rights(&needed, Requests::Deletions, &places).await;
        let rights = rights.map_err(|error| (Closeness::Unknown, unread(&error)))?;
        let evidence = Evidence {
            target,
            request,
            sign_offs,
            record,
            ring,
            policies: self.policies,
            effective: self.effective,
            rights: &rights,
            live: inventory,
        };
        confirm(&evidence, executor, self.now).map_err(|refusal| (closeness(&evidence, &refusal), refusal))
    }

    /// Whether a claim may go with its namespace, which is going: latched by the live root.
    pub async fn cascade(
        &self,
        root: Root<'_>,
        claim: &Claim,
        inventory: &Inventory,
    ) -> Result<Proof, Option<Refusal>> {
        let Root { namespace, mut asking } = root;
        let Some(root) = namespace else { return Err(None) };
        let Some(since) = root.metadata.deletion_timestamp.as_ref().map(|time| time.0) else { return Err(None) };
        let target = Target {
            api_version: "v1".to_owned(),
            kind: TargetKind::Namespace,
            namespace: None,
            name: claim.namespace.to_string(),
            uid: root.metadata.uid.clone().unwrap_or_default(),
        };
        let record =
            record(&root.metadata).and_then(|text| ApprovalRecord::prove(&asking.ring, text, &target.uid).ok());
        let rights = Rights::latched();
        let mut first = None;
        while let Some(Asked { request, sign_offs }) = asking.next().await.map_err(Some)? {
            let evidence = Evidence {
                target: &target,
                request: &request,
                sign_offs: &sign_offs,
                record: record.as_ref(),
                ring: &asking.ring,
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
}
