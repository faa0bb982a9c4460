//! The changes that a decision rests on, each with what was said about it and who holds which right: read live for
//! that decision.

use foureyes_core::api::{ChangeRequest, SignOff, WorkloadIdentity};
use foureyes_core::domain::change::{Evidence, identity_of, rights_namespaces, rights_of_change};
use foureyes_core::domain::judgement::Rights;
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::index::Candidate;
use foureyes_core::seal::KeyRing;
use futures::future::{join, try_join};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::confirm::{MOST_CANDIDATES, unread};
use crate::cluster::access::Requests;
use crate::cluster::live::{Live, ReadError};

/// Changes read at a time.
const AT_ONCE: usize = 8;

/// One change.
struct Asked {
    request: ChangeRequest,
    sign_offs: Vec<SignOff>,
    rights: Rights,
}

/// Those of one decision, the most advanced first, and the keys that they are proven with.
pub struct Changes {
    ring: KeyRing,
    asked: Vec<Asked>,
}

impl Changes {
    /// Reads what the index knows to be about `object`. All reads begin after the review has come, so that what was
    /// withdrawn before it is seen.
    pub async fn read(
        live: &Live,
        candidates: &[Candidate],
        object: &WorkloadIdentity,
        own_namespace: &str,
    ) -> Result<Self, Refusal> {
        let candidates = candidates.get(..MOST_CANDIDATES).unwrap_or(candidates);
        let asked = stream::iter(candidates.to_vec())
            .map(|candidate| async move { asked(live, &candidate, object, own_namespace).await })
            .buffered(AT_ONCE)
            .try_collect::<Vec<Option<Asked>>>();
        let (ring, asked) = try_join(live.key_ring(), asked).await.map_err(|error| unread(&error))?;
        Ok(Self { ring, asked: asked.into_iter().flatten().collect() })
    }

    /// As decisions take them.
    pub fn evidence<'a>(
        &'a self,
        policies: &'a PolicySet,
        effective: &'a Effective,
        own_namespace: &'a str,
    ) -> Vec<Evidence<'a>> {
        let evidence = |asked: &'a Asked| Evidence {
            request: &asked.request,
            sign_offs: &asked.sign_offs,
            ring: &self.ring,
            policies,
            effective,
            rights: &asked.rights,
            own_namespace,
        };
        self.asked.iter().map(evidence).collect()
    }
}

/// Nothing if there is no such change (any more), or if it is not about the object.
async fn asked(
    live: &Live,
    candidate: &Candidate,
    object: &WorkloadIdentity,
    own_namespace: &str,
) -> Result<Option<Asked>, ReadError> {
    let Some((namespace, name)) = candidate.name.split_once('/') else { return Ok(None) };
    // Nearly always the UID is the one that the index knows; what counts is the one that the change has now.
    let known = candidate.uid.to_string();
    let (request, sign_offs) = join(live.change(namespace, name), live.sign_offs(&known)).await;
    let Some(request) = request? else { return Ok(None) };
    let about = |target| identity_of(&request, target, own_namespace).as_ref() == Some(object);
    if !request.spec.targets.iter().any(about) {
        return Ok(None);
    }
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let sign_offs = if uid == known { sign_offs? } else { live.sign_offs(uid).await? };
    let (needed, places) = (rights_of_change(&request, &sign_offs), rights_namespaces(&request, own_namespace));
    let rights = live.rights(&needed, Requests::Changes, &places).await?;
    Ok(Some(Asked { request, sign_offs, rights }))
}
