//! DeletionRequests that the controller opens itself. Their names are made from what they are for, so that opening
//! one twice opens one; a name that somebody else took is passed over.

use foureyes_core::api::{DeletionRequest, DeletionRequestSpec, Target};
use foureyes_core::digest::hex;
use kube::Api;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

use super::context::{CALL, Shared};
use super::error::ReconcileError;
use crate::cluster::apply;

/// Bytes of the target's name in the request's.
const NAME: usize = 100;
/// Names tried for one request before one at random.
const NAMES: u8 = 8;

/// A request to be opened.
#[derive(Debug)]
pub struct Opening<'a> {
    /// What would be deleted.
    pub target: Target,
    /// Distinguishes occasions: the same target and occasion is the same request.
    pub occasion: &'a str,
    /// For people.
    pub reason: String,
}

impl Opening<'_> {
    /// `pvc-<name>-<12 hexadecimal digits>` or `ns-…`, most wanted first.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..NAMES).map(|attempt| self.name(attempt))
    }

    fn name(&self, attempt: u8) -> String {
        let hash = Sha256::digest(format!("{}\n{}\n{}\n{attempt}", self.target.text(), self.target.uid, self.occasion));
        self.named(&hex(&hash)[..12])
    }

    fn named(&self, end: &str) -> String {
        let kind = self.target.kind.prefix();
        // Names of claims and namespaces are ASCII, so that any byte is a boundary.
        let name = self.target.name.get(..NAME).unwrap_or(&self.target.name).trim_end_matches(['.', '-']);
        format!("{kind}-{name}-{end}")
    }

    /// The name under which it is there already, or the first that nobody else has. Somebody who holds all of them can
    /// have taken them only to be in the way: then one that can't be guessed.
    pub async fn name_now(&self, context: &Shared) -> Result<String, ReconcileError> {
        for name in self.names() {
            let there = context.live.request(&name).await?;
            if there.is_none_or(|there| self.is_it(&there, &context.account)) {
                return Ok(name);
            }
            tracing::warn!(request = name, target = self.target.text(), "somebody else has a request of this name");
        }
        let mut random = [0; 8];
        SystemRandom::new().fill(&mut random).map_err(|_| ReconcileError::NoRandomness)?;
        Ok(self.named(&hex(&random)))
    }

    /// Opens it under that name, if it is not there yet.
    pub async fn open(self, context: &Shared, name: &str) -> Result<(), ReconcileError> {
        let text = self.target.text();
        let spec = DeletionRequestSpec {
            target: self.target,
            reason: self.reason,
            ticket: None,
            backups: Vec::new(),
            retention: None,
            shutdown: None,
            requester: None,
        };
        let api: Api<DeletionRequest> = Api::all(context.live.client().clone());
        let opened = apply::create(&api, &DeletionRequest::new(name, spec), CALL)
            .await
            .map_err(ReconcileError::write("a DeletionRequest can't be opened"))?;
        if opened {
            tracing::info!(request = name, target = text, "opened a request");
        }
        Ok(())
    }

    /// Whether this request was opened by the controller, whose account that is, for this target.
    pub fn is_it(&self, request: &DeletionRequest, account: &str) -> bool {
        let requester = request.spec.requester.as_ref();
        request.spec.target == self.target && requester.is_some_and(|requester| requester.author.username == account)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use foureyes_core::api::TargetKind;

    use super::*;

    fn opening<'a>(name: &str, uid: &str, occasion: &'a str) -> Opening<'a> {
        let target = Target {
            api_version: "v1".to_owned(),
            kind: TargetKind::PersistentVolumeClaim,
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        Opening { target, occasion, reason: String::new() }
    }

    #[test]
    fn the_same_occasion_has_the_same_name_and_another_has_another() {
        let name = opening("reports", "1", "a").name(0);
        assert!(name.starts_with("pvc-reports-") && name.len() == 24, "{name}");
        assert_eq!(name, opening("reports", "1", "a").name(0));
        assert_ne!(name, opening("reports", "1", "a").name(1));
        assert_ne!(name, opening("reports", "2", "a").name(0));
        assert_ne!(name, opening("reports", "1", "b").name(0));
        let long = opening(&format!("{}.x", "a".repeat(99)), "1", "a").name(0);
        assert!(!long.contains(".-") && long.len() < 200, "{long}");
    }

    #[test]
    fn a_request_of_somebody_else_is_not_the_one_that_was_opened() {
        let account = "system:serviceaccount:foureyes-system:foureyes-controller";
        let request = |uid: &str, author: &str| -> DeletionRequest {
            let mut spec = serde_json::json!({"target": opening("reports", uid, "a").target, "reason": "r"});
            spec["requester"] = serde_json::json!({"username": author, "at": "2026-11-23T10:00:00Z"});
            DeletionRequest::new("one", serde_json::from_value(spec).unwrap())
        };
        let opening = opening("reports", "1", "a");
        assert!(opening.is_it(&request("1", account), account));
        assert!(!opening.is_it(&request("2", account), account));
        assert!(!opening.is_it(&request("1", "mallory"), account));
    }
}
