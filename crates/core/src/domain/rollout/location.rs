//! Where the pod template of a kind is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::RolloutResource;

/// Where a kind keeps what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The fields below `spec` that lead to it; none for a Pod, whose spec is what runs.
    path: Vec<String>,
    /// The field of the spec that may stand in its place and name another workload, which is governed itself.
    or_reference: Option<&'static str>,
    typed: bool,
}

/// What was found at a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<T> {
    Template(T),
    /// A pod spec that is not inside of a template.
    PodSpec(T),
    /// The name of another workload.
    Reference(T),
}

/// Kinds that contain a pod template, by group and kind, and the fields below `spec` that lead to it. Of a `CronJob` the
/// pod template alone counts: its schedule, and how many pods a job has, are scaling.
const BUILT_IN: [(&str, &str, &[&str]); 8] = [
    ("apps", "Deployment", &["template"]),
    ("apps", "StatefulSet", &["template"]),
    ("apps", "DaemonSet", &["template"]),
    ("apps", "ReplicaSet", &["template"]),
    ("batch", "CronJob", &["jobTemplate", "spec", "template"]),
    ("argoproj.io", "Rollout", &["template"]),
    ("", "ReplicationController", &["template"]),
    ("", "Pod", &[]),
];

/// Groups with kinds that contain pod templates where a policy's `rolloutResources` says so; the shipped rules ask about
/// them in any case.
pub const FURTHER_GROUPS: [&str; 3] = ["apps.kruise.io", "apps.openshift.io", "serving.knative.dev"];

/// Whether the shipped rules ask about some kinds of this group.
pub fn is_asked_about(group: &str) -> bool {
    FURTHER_GROUPS.contains(&group) || BUILT_IN.iter().any(|(other, ..)| *other == group)
}

fn built_in(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    BUILT_IN.iter().find(|(other, known, _)| (*other, *known) == (group, kind)).map(|(.., path)| *path)
}

/// Whether it is known without a policy where this kind keeps its pod template.
pub fn is_built_in(group: &str, kind: &str) -> bool {
    built_in(group, kind).is_some()
}

/// Where the pod template of this kind is; `None` when it is not known to have one.
pub fn locate(group: &str, kind: &str, more: &[RolloutResource]) -> Option<Location> {
    if let Some(path) = built_in(group, kind) {
        let or_reference = (group == "argoproj.io").then_some("workloadRef");
        let path = path.iter().map(|field| (*field).to_owned()).collect();
        return Some(Location { path, or_reference, typed: or_reference.is_none() });
    }
    let resource = more.iter().find(|resource| resource.group == group && resource.kind == kind)?;
    let path = resource.template.strip_prefix(".spec.")?.split('.').map(str::to_owned).collect();
    Some(Location { path, or_reference: None, typed: false })
}

impl Location {
    /// Whether the API server itself spells what this kind keeps; what it does not, others spell in several ways.
    pub const fn is_typed(&self) -> bool {
        self.typed
    }

    /// The piece of a spec's JSON that says what runs, without reading the rest of it.
    pub fn slice<'a>(&self, spec: &'a str) -> Option<Found<&'a str>> {
        let field = |text: &'a str, name: &str| -> Option<&'a str> {
            // Keys may be spelled with escapes, so they are read as strings and not compared as bytes.
            let fields: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(text).ok()?;
            fields.get(name).map(|value| value.get()).filter(|value| *value != "null")
        };
        self.found(spec, field)
    }

    /// The same in a spec that was read already.
    pub fn value<'a>(&self, spec: &'a Value) -> Option<Found<&'a Value>> {
        self.found(spec, |value: &'a Value, name| value.get(name).filter(|value| !value.is_null()))
    }

    fn found<T: Copy>(&self, spec: T, field: impl Fn(T, &str) -> Option<T>) -> Option<Found<T>> {
        if self.path.is_empty() {
            return Some(Found::PodSpec(spec));
        }
        // Where both are given the reference wins, as it does with Argo's controller.
        if let Some(reference) = self.or_reference.and_then(|name| field(spec, name)) {
            return Some(Found::Reference(reference));
        }
        self.path.iter().try_fold(spec, |value, name| field(value, name)).map(Found::Template)
    }
}
