//! Where the pod template of a kind is.

use crate::api::RolloutResource;

/// Where a kind keeps what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The fields that lead to it.
    pub path: Vec<String>,
    /// A pod spec, which is not inside of a template.
    pub bare_spec: bool,
    /// The field that may stand in its place and name another workload, in the same parent.
    pub or_reference: Option<&'static str>,
}

/// Kinds that contain a pod template, by group and kind. Of a CronJob the pod template alone counts: its schedule, and
/// how many pods a job has, are scaling.
const BUILT_IN: [(&str, &str, &[&str]); 7] = [
    ("apps", "Deployment", &["spec", "template"]),
    ("apps", "StatefulSet", &["spec", "template"]),
    ("apps", "DaemonSet", &["spec", "template"]),
    ("apps", "ReplicaSet", &["spec", "template"]),
    ("batch", "CronJob", &["spec", "jobTemplate", "spec", "template"]),
    ("argoproj.io", "Rollout", &["spec", "template"]),
    ("", "Pod", &["spec"]),
];

/// Whether it is known without a policy where this kind keeps its pod template.
pub fn is_built_in(group: &str, kind: &str) -> bool {
    BUILT_IN.iter().any(|(known_group, known, _)| (*known_group, *known) == (group, kind))
}

/// Where the pod template of this kind is; `None` when it is not known to have one.
pub fn locate(group: &str, kind: &str, more: &[RolloutResource]) -> Option<Location> {
    let built_in = BUILT_IN.iter().find(|(known_group, known, _)| (*known_group, *known) == (group, kind));
    if let Some((.., path)) = built_in {
        return Some(Location {
            path: path.iter().map(|field| (*field).to_owned()).collect(),
            bare_spec: kind == "Pod",
            or_reference: (kind == "Rollout").then_some("workloadRef"),
        });
    }
    let resource = more.iter().find(|resource| resource.group == group && resource.kind == kind)?;
    let fields = resource.template.split('.').filter(|field| !field.is_empty());
    Some(Location { path: fields.map(str::to_owned).collect(), bare_spec: false, or_reference: None })
}
