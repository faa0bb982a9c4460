//! DeletionRequests that the controller opens itself. Their names are made from what they are for, so that opening
//! one twice opens one.

use foureyes_core::api::{DeletionRequest, DeletionRequestSpec, Target, TargetKind};
use foureyes_core::digest::hex;
use kube::Api;
use sha2::{Digest as _, Sha256};

use super::context::{CALL, Shared};
use super::error::ReconcileError;
use crate::cluster::apply;

/// Bytes of the target's name in the request's.
const NAME: usize = 100;

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
    /// `pvc-<name>-<12 hexadecimal digits>` or `ns-…`.
    pub fn name(&self) -> String {
        let kind = match self.target.kind {
            TargetKind::PersistentVolumeClaim => "pvc",
            TargetKind::Namespace => "ns",
        };
        // Names of claims and namespaces are ASCII, so that any byte is a boundary.
        let name = self.target.name.get(..NAME).unwrap_or(&self.target.name).trim_end_matches(['.', '-']);
        let hash = Sha256::digest(format!("{}\n{}\n{}", self.target.text(), self.target.uid, self.occasion));
        format!("{kind}-{name}-{}", &hex(&hash)[..12])
    }

    /// Opens it; `false` if that was done before.
    pub async fn open(self, context: &Shared) -> Result<bool, ReconcileError> {
        let name = self.name();
        let text = self.target.text();
        let spec = DeletionRequestSpec { target: self.target, reason: self.reason, ticket: None, requester: None };
        let api: Api<DeletionRequest> = Api::all(context.live.client().clone());
        let opened = apply::create(&api, &DeletionRequest::new(&name, spec), CALL)
            .await
            .map_err(ReconcileError::write("a DeletionRequest can't be opened"))?;
        if opened {
            tracing::info!(request = name, target = text, "opened a request");
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
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
        let name = opening("reports", "1", "a").name();
        assert!(name.starts_with("pvc-reports-") && name.len() == 24, "{name}");
        assert_eq!(name, opening("reports", "1", "a").name());
        assert_ne!(name, opening("reports", "2", "a").name());
        assert_ne!(name, opening("reports", "1", "b").name());
        let long = opening(&format!("{}.x", "a".repeat(99)), "1", "a").name();
        assert!(!long.contains(".-") && long.len() < 200, "{long}");
    }
}
