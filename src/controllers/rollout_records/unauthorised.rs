//! The change of type Unauthorized that is opened for what runs on nobody's word: signed off, it is adopted. Its name is
//! made from what it is for, so that opening it twice opens one; a name that somebody else took is passed over.

use foureyes_core::api::{
    Action, ChangePhase, ChangeRequest, ChangeRequestSpec, ChangeTarget, ChangeType, ContentDigest,
    RolloutRecordStatus, WorkloadIdentity,
};
use foureyes_core::digest::hex;
use kube::Api;
use sha2::{Digest as _, Sha256};

use super::gather::Facts;
use crate::cluster::apply;
use crate::controllers::context::{CALL, Shared};
use crate::controllers::error::ReconcileError;

/// Bytes of the workload's name in the change's.
const NAME: usize = 100;
/// Changes opened for one rollout, one after another has expired. Whoever has let all of them expire has been told.
const NAMES: u8 = 8;
/// Characters that a title and a description may have.
const TITLE: usize = 256;
const DESCRIPTION: usize = 4096;

/// What runs, and what it was first seen as.
pub struct Unauthorised<'a> {
    workload: &'a WorkloadIdentity,
    api_version: String,
    digest: &'a str,
    /// The same template that comes anew, after it had gone, is another occasion.
    since: String,
    images: String,
}

impl<'a> Unauthorised<'a> {
    pub fn of(facts: &Facts<'a>, status: &RolloutRecordStatus, digest: &'a str) -> Self {
        Self {
            workload: facts.workload,
            api_version: facts.kind.api_version(),
            digest,
            since: status.since.as_ref().map(|since| since.0.to_string()).unwrap_or_default(),
            images: status.runs.clone().unwrap_or_default(),
        }
    }

    /// Sees to it that exactly one change for it is open, or that somebody has had the last word on it.
    pub async fn keep(&self, context: &Shared) -> Result<(), ReconcileError> {
        let Some(spec) = self.spec() else { return Ok(()) };
        let namespace = &self.workload.namespace;
        for name in (0..NAMES).map(|attempt| self.name(attempt)) {
            let Some(there) = context.live.change(namespace, &name).await? else {
                return self.open(context, &name, spec).await;
            };
            let phase = there.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
            if is_it(&there, &spec, &context.account) && phase != ChangePhase::Expired {
                return Ok(());
            }
        }
        tracing::debug!(workload = %self.workload, "no further change is opened for what runs");
        Ok(())
    }

    async fn open(&self, context: &Shared, name: &str, spec: ChangeRequestSpec) -> Result<(), ReconcileError> {
        let mut request = ChangeRequest::new(name, spec);
        request.metadata.namespace = Some(self.workload.namespace.clone());
        let api: Api<ChangeRequest> = Api::namespaced(context.live.client().clone(), &self.workload.namespace);
        let created = apply::create(&api, &request, CALL).await;
        if created.map_err(ReconcileError::write("a ChangeRequest can't be opened"))? {
            tracing::info!(workload = %self.workload, change = name, "opened a change for what nobody has signed off");
        }
        Ok(())
    }

    /// `unauthorised-<name>-<12 hexadecimal digits>`.
    fn name(&self, attempt: u8) -> String {
        // Names of workloads are ASCII, so that any byte is a boundary.
        let name = self.workload.name.get(..NAME).unwrap_or(&self.workload.name).trim_end_matches(['.', '-']);
        let hash = Sha256::digest(format!("{}\n{}\n{}\n{attempt}", self.workload.key(), self.digest, self.since));
        format!("unauthorised-{name}-{}", &hex(&hash)[..12])
    }

    fn spec(&self) -> Option<ChangeRequestSpec> {
        let workload = self.workload;
        let title = format!("{workload} runs on nobody's word");
        let description = format!(
            "Seen at {}: {}. It was rolled out past foureyes, with break-glass or while no webhook was there. Signed off \
             it is adopted; otherwise roll back to what ran before.",
            self.since,
            plain(&self.images, DESCRIPTION),
        );
        let target = ChangeTarget {
            api_version: self.api_version.clone(),
            kind: workload.kind.clone(),
            namespace: None,
            name: workload.name.clone(),
            action: Action::Apply,
            digest: Some(ContentDigest::parse(self.digest)?),
            images: None,
        };
        Some(ChangeRequestSpec {
            change_type: ChangeType::Unauthorized,
            title: plain(&title, TITLE),
            description: Some(description),
            justification: None,
            owner: None,
            ticket: None,
            incident: None,
            source: None,
            targets: vec![target],
            window: None,
            requester: None,
        })
    }
}

/// What of a text can be shown to anybody, and fits.
fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(most).collect()
}

/// Whether this change was opened by the controller, whose account that is, for this. While no webhook was asked nobody
/// wrote down by whom: then it is one if it says nothing but what the controller would, or each look in a gap would open
/// another.
fn is_it(request: &ChangeRequest, spec: &ChangeRequestSpec, account: &str) -> bool {
    let there = &request.spec;
    match &there.requester {
        Some(requester) => {
            there.change_type == spec.change_type
                && there.targets == spec.targets
                && requester.author.username == account
        }
        None => there == spec,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn workload(name: &str) -> WorkloadIdentity {
        let [group, kind, namespace, name] = ["apps", "Deployment", "shop", name].map(str::to_owned);
        WorkloadIdentity { group, kind, namespace, name }
    }

    fn digest() -> String {
        format!("template/v1:sha256:{}", "a".repeat(64))
    }

    fn unauthorised<'a>(workload: &'a WorkloadIdentity, digest: &'a str, since: &str) -> Unauthorised<'a> {
        let api_version = "apps/v1".to_owned();
        Unauthorised { workload, api_version, digest, since: since.to_owned(), images: "web:\u{202e}1".to_owned() }
    }

    #[test]
    fn the_same_rollout_has_the_same_name_and_another_has_another() {
        let (web, digest) = (workload("web"), digest());
        let name = unauthorised(&web, &digest, "now").name(0);
        assert!(name.starts_with("unauthorised-web-") && foureyes_core::api::is_name(&name), "{name}");
        assert_eq!(name, unauthorised(&web, &digest, "now").name(0));
        assert_ne!(name, unauthorised(&web, &digest, "now").name(1));
        assert_ne!(name, unauthorised(&web, &digest, "later").name(0));
        assert_ne!(name, unauthorised(&web, "template/v1:sha256:bb", "now").name(0));
        let long = workload(&format!("{}.x", "a".repeat(99)));
        assert!(!unauthorised(&long, &digest, "now").name(0).contains(".-"));
    }

    #[test]
    fn it_is_known_again_by_its_requester_and_without_one_by_all_that_it_says() {
        const ACCOUNT: &str = "system:serviceaccount:foureyes-system:foureyes-controller";
        let (web, digest) = (workload("web"), digest());
        let spec = unauthorised(&web, &digest, "now").spec().unwrap();
        let is_it = |there: &ChangeRequestSpec| is_it(&ChangeRequest::new("x", there.clone()), &spec, ACCOUNT);
        let by = |username: &str| ChangeRequestSpec {
            title: "another".to_owned(),
            requester: serde_json::from_value(json!({"username": username, "at": "2026-01-01T00:00:00Z"})).unwrap(),
            ..spec.clone()
        };
        assert!(is_it(&by(ACCOUNT)) && !is_it(&by("eve")));
        assert!(is_it(&spec));
        assert!(!is_it(&ChangeRequestSpec { title: "another".to_owned(), ..spec.clone() }));
        assert!(!is_it(&ChangeRequestSpec { change_type: ChangeType::Normal, ..by(ACCOUNT) }));
    }

    #[test]
    fn what_people_named_is_shown_without_tricks_and_fits() {
        let (long, digest) = (workload(&"a".repeat(250)), digest());
        let spec = unauthorised(&long, &digest, "now").spec().unwrap();
        assert_eq!(spec.title.len(), TITLE);
        assert!(spec.description.unwrap().contains("web:1."));
        assert!(unauthorised(&long, "shape/v1:sha256:aa", "now").spec().is_none());
    }
}
