//! `RolloutRecord`: what ran under one name, and on whose word. Written by the controller alone.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::hex;

/// The deployment record of one workload, and what rolling back is judged by. It survives the workload and its
/// namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "foureyes.dev",
    version = "v1alpha1",
    kind = "RolloutRecord",
    plural = "rolloutrecords",
    shortname = "rr",
    category = "foureyes",
    status = "RolloutRecordStatus",
    validation = Rule::new("self.spec == oldSelf.spec").message("a record stays with its workload"),
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.workload.namespace"}"#,
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.workload.kind"}"#,
    printcolumn = r#"{"name":"Workload","type":"string","jsonPath":".spec.workload.name"}"#,
    printcolumn = r#"{"name":"Runs","type":"string","jsonPath":".status.runs"}"#,
    printcolumn = r#"{"name":"How","type":"string","jsonPath":".status.how"}"#,
    printcolumn = r#"{"name":"Change","type":"string","jsonPath":".status.change"}"#,
    printcolumn = r#"{"name":"Since","type":"date","jsonPath":".status.since"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecordSpec {
    pub workload: WorkloadIdentity,
}

/// What makes it the same workload, however often it is re-created and in whatever version it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// Empty for the core group.
    #[schemars(length(max = 253))]
    pub group: String,
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Empty for what has none.
    #[schemars(length(max = 63))]
    pub namespace: String,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl WorkloadIdentity {
    /// The name of its record: `<kind>-<namespace, at most 40>-<name, at most 80>-<12 hexadecimal digits of all>`.
    pub fn record_name(&self) -> String {
        let part = |text: &str, most: usize| -> String {
            let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
            text.chars().take(most).map(plain).collect()
        };
        let hash = hex(&Sha256::digest(self.key())[..6]);
        let parts = [part(&self.kind, 63), part(&self.namespace, 40), part(&self.name, 80)];
        let parts: Vec<&str> =
            parts.iter().map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
        format!("{}-{hash}", parts.join("-"))
    }

    /// All of it in one text. No part contains a zero byte, so that no two have the same.
    pub fn key(&self) -> String {
        [&*self.group, &self.kind, &self.namespace, &self.name].join("\0")
    }

    /// `Deployment shop/web`, for sentences.
    pub fn text(&self) -> String {
        let place = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        format!("{} {place}{}", self.kind, self.name)
    }
}

impl fmt::Display for WorkloadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// What ran, newest first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecordStatus {
    /// The images that run now, for the printer column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<How>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The workload as it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenWorkload>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<RolloutEntry>,
}

/// Which state of the workload was last seen: the same generation of the same object is no new rollout, whatever the
/// API server has made of it since.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenWorkload {
    pub uid: String,
    pub generation: i64,
}

/// One template that was authorised, or ran.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutEntry {
    /// `template/v1:sha256:…`.
    pub template: String,
    /// `shape/v1:sha256:…`. Not known before it was seen, where a change only names a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// Container and image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// The template's annotations, each with a digest of its value: what may differ is judged by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What the images' tags turned out to be, from the pods: container and the digests that ran. More than one means
    /// that a tag was moved between restarts.
    #[serde(rename = "imageIDs", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_ids: BTreeMap<String, Vec<String>>,
    /// `metadata.generation` at which it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When it was authorised, or first seen where nobody had.
    pub at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    pub how: How,
    pub outcome: SeenOutcome,
    /// The change that authorised it, `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Who asked and who signed it off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// While the policy only warned, this would have been refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub would_refuse: bool,
}

/// On whose word it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum How {
    Baseline,
    Change,
    Standard,
    Rollback,
    Emergency,
    Delegated,
    Unreviewed,
    #[default]
    Unauthorised,
}

impl How {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "Baseline",
            Self::Change => "Change",
            Self::Standard => "Standard",
            Self::Rollback => "Rollback",
            Self::Emergency => "Emergency",
            Self::Delegated => "Delegated",
            Self::Unreviewed => "Unreviewed",
            Self::Unauthorised => "Unauthorised",
        }
    }

    /// Whether it may be rolled back to, and named images may be exchanged in it.
    pub const fn is_authorised(self) -> bool {
        match self {
            Self::Baseline | Self::Change | Self::Standard | Self::Rollback | Self::Emergency | Self::Delegated => true,
            Self::Unreviewed | Self::Unauthorised => false,
        }
    }
}

/// Whether it ran: `NotSeen` is authorised and awaited, Seen ran, Missed may have run while nobody looked, Unused is
/// what its change ended without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum SeenOutcome {
    NotSeen,
    Seen,
    Missed,
    Unused,
}

impl RolloutEntry {
    /// Whether anybody may go back to it. What was only authorised needs its change, with its clocks.
    pub const fn is_known_good(&self) -> bool {
        self.how.is_authorised() && matches!(self.outcome, SeenOutcome::Seen | SeenOutcome::Missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn identity(group: &str, kind: &str, namespace: &str, name: &str) -> WorkloadIdentity {
        let [group, kind, namespace, name] = [group, kind, namespace, name].map(str::to_owned);
        WorkloadIdentity { group, kind, namespace, name }
    }

    #[rstest]
    #[case(identity("apps", "Deployment", "shop", "web"), "deployment-shop-web-")]
    #[case(identity("apps", "Deployment", "shop", "web.v2"), "deployment-shop-web-v2-")]
    #[case(identity("example.org", "Thing", "", "web"), "thing-web-")]
    fn records_are_named_after_their_workload(#[case] workload: WorkloadIdentity, #[case] prefix: &str) {
        let name = workload.record_name();
        assert_eq!(name.strip_prefix(prefix).map(str::len), Some(12), "{name}");
        assert!(crate::api::is_name(&name), "{name}");
    }

    #[test]
    fn two_workloads_never_share_a_record() {
        let long = |last: &str| identity("apps", "Deployment", &"n".repeat(63), &format!("{}{last}", "x".repeat(200)));
        let all = [
            identity("apps", "Deployment", "a", "b-c"),
            identity("apps", "Deployment", "a-b", "c"),
            identity("example.org", "Deployment", "a", "b-c"),
            identity("apps", "StatefulSet", "a", "b-c"),
            identity("apps", "Deployment", "a", "b.c"),
            long("1"),
            long("2"),
        ];
        let names: std::collections::BTreeSet<String> = all.iter().map(WorkloadIdentity::record_name).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.iter().all(|name| name.len() <= 253 && crate::api::is_name(name)), "{names:?}");
    }
}
