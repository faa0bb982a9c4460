//! What is judged of the kinds in the table: by whom, what it would destroy, and what is said then.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Field, Row};
use crate::api::{Author, GuardedFrom, Target, TargetKind};
use crate::domain::deletion::{Governance, in_production, scope};
use crate::domain::identity::{ActorKind, classify, glob};
use crate::domain::inventory::Claim;
use crate::domain::policy::{Exemption, PolicySet};
use crate::domain::proof::{NotGoverned, Proof};
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::domain::scope::AddedOwner;
use crate::domain::volume::Volume;
use crate::reason::Code;

/// Claims named in one refusal.
const NAMED: usize = 5;

/// Whether what happens to an object of the table is governed: by its namespace; what has none is production.
pub fn govern(
    policies: &PolicySet,
    started: bool,
    namespace: Option<&BTreeMap<String, String>>,
) -> Result<Governance, Refusal> {
    match namespace {
        Some(labels) => scope(policies, started, labels),
        None if started => in_production(policies, &BTreeMap::new()),
        None => Ok(Governance::Free(Proof::not_governed(NotGoverned::NotStarted))),
    }
}

/// Machines make snapshots and backups, and rotate them.
pub fn by_machine(policies: &PolicySet, author: &Author) -> Option<Proof> {
    let machine = classify(author, &policies.floor().identities) == ActorKind::Machine;
    machine.then(|| Proof::not_governed(NotGoverned::ByMachine))
}

/// Nothing that the table names is touched.
pub const fn harmless() -> Proof {
    Proof::not_governed(NotGoverned::Harmless)
}

/// A kind that a policy names: whether this caller may delete one alone; else why not.
pub fn additional(
    policies: &PolicySet,
    author: &Author,
    (group, kind): (&str, &str),
    text: &str,
) -> Result<Proof, Refusal> {
    let Some(named) = policies.floor().additional_kind(group, kind) else {
        return Ok(Proof::not_governed(NotGoverned::NotNamed));
    };
    if named.guarded == GuardedFrom::People
        && let Some(proof) = by_machine(policies, author)
    {
        return Ok(proof);
    }
    let sentence =
        format!("{text} was not deleted, and no change of it has been signed off: with it goes {}", named.loses);
    Err(Refusal::new(Code::DeletionNotRequested, sentence))
}

/// Where the bytes are of what keeps data, as far as its object says.
pub fn handle_of(kind: TargetKind, object: &Value) -> Option<String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let in_driver = |handle: &str| Some(format!("{}/{handle}", text("/spec/driver")?));
    match kind {
        TargetKind::VolumeSnapshotContent => {
            in_driver(text("/status/snapshotHandle").or_else(|| text("/spec/source/snapshotHandle"))?)
        }
        TargetKind::VolumeGroupSnapshotContent => in_driver(text("/status/volumeGroupSnapshotHandle")?),
        TargetKind::PersistentVolume => {
            let volume = serde_json::from_value(object.clone()).ok()?;
            Volume::of(&volume).handle.map(String::from)
        }
        TargetKind::Snapshot => text("/spec/id").map(str::to_owned),
        _ => None,
    }
}

/// An owner that a person gives to what keeps data: with it that is collected, by a machine (fact 31).
pub fn not_owned(text: &str, owner: &AddedOwner) -> Refusal {
    let sentence =
        format!("{text} was not changed: it would be collected with its new owner {} {}", owner.kind, owner.name);
    Refusal::new(Code::OwnerAdded, sentence)
}

/// A field would be worse than it was.
pub fn not_worsened(text: &str, field: &Field, created: bool) -> Refusal {
    let was = if created { "created" } else { "changed" };
    Refusal::new(Code::KeptForLess, format!("{text} was not {was}: with {} {}", field.path.join("."), field.why))
}

/// Claims go by requests of their own; there is no change that lets them go with what runs on them.
pub fn kept_on_retain(refusal: Refusal) -> Refusal {
    refusal.next(
        "Leave it at Retain: claims are asked for one by one. Which storage may go without is said in:",
        "kubectl get safetypolicy default -o jsonpath='{.spec.deletion.exempt}'",
    )
}

/// What prunes.
pub fn not_created(text: &str) -> Refusal {
    let sentence = format!("{text} was not created: whatever backups its retention does not name would be deleted");
    Refusal::new(Code::KeptForLess, sentence)
}

/// What names another object, and deletes that.
pub fn judged_as_its_target(text: &str, kind: TargetKind, named: &str) -> Refusal {
    let sentence = format!("{text} was not created: the {} {named} that it would delete is not there", kind.as_str());
    Refusal::new(Code::SubjectUnknown, sentence)
}

/// Whether any claim that a `StatefulSet` makes is worth protecting.
pub fn takes_claims(stateful_set: &Value, exemption: &Exemption) -> bool {
    let templates = stateful_set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    templates.into_iter().flatten().any(|template| {
        let class = template.pointer("/spec/storageClassName").and_then(Value::as_str);
        let labels = template.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        let claim = Claim { storage_class: class.map(Into::into), ..Claim::default() }.labelled(labels);
        !claim.is_exempt(exemption)
    })
}

/// A production namespace that exists and that a Restore would write into; `exists` says which do.
pub fn writes_over<'a>(restore: &Value, exists: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let list = |field: &str| -> Vec<&str> {
        let list = restore.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let mapping: BTreeMap<&str, &str> = restore
        .pointer("/spec/namespaceMapping")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(from, to)| Some((from.as_str(), to.as_str()?)))
        .collect();
    let (included, excluded) = (list("includedNamespaces"), list("excludedNamespaces"));
    let fits = |patterns: &[&str], name: &str| patterns.iter().any(|pattern| glob(pattern, name));
    let restored = |name: &str| (included.is_empty() || fits(&included, name)) && !fits(&excluded, name);
    let mut exists = exists;
    exists.find(|name| {
        let mapped = mapping.iter().any(|(from, to)| to == name && restored(from));
        mapped || !mapping.contains_key(name) && restored(name)
    })
}

/// What goes with an object, beside the claims that name it as an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Claims by namespace and name.
    pub claims: Vec<(String, String)>,
    /// All claims of these.
    pub namespaces: Vec<String>,
    /// Claims that are controlled by these: namespace, group, kind, name.
    pub owners: Vec<[String; 4]>,
}

/// Reads it from an object of the table.
pub fn collected(row: &Row, namespace: &str, object: &Value, finalizers: &[&str]) -> Collected {
    match (row.group, row.kind) {
        ("argoproj.io", "Application") => of_application(object, finalizers),
        ("kubevirt.io", "VirtualMachine") => {
            let templates = object.pointer("/spec/dataVolumeTemplates").and_then(Value::as_array);
            let names = templates.into_iter().flatten().filter_map(|one| one.pointer("/metadata/name")?.as_str());
            Collected {
                claims: names.map(|name| (namespace.to_owned(), name.to_owned())).collect(),
                ..Collected::default()
            }
        }
        _ => Collected::default(),
    }
}

/// With its finalizer, an Application takes along whatever it has deployed.
fn of_application(application: &Value, finalizers: &[&str]) -> Collected {
    let cascades = finalizers.iter().any(|finalizer| finalizer.starts_with("resources-finalizer.argocd.argoproj.io"));
    let resources = application.pointer("/status/resources").and_then(Value::as_array).filter(|_| cascades);
    let mut all = Collected::default();
    for resource in resources.into_iter().flatten() {
        let text = |field: &str| resource.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text("group").as_str(), text("kind").as_str()) {
            ("", "PersistentVolumeClaim") => all.claims.push((text("namespace"), text("name"))),
            ("", "Namespace") => all.namespaces.push(text("name")),
            _ => all.owners.push([text("namespace"), text("group"), text("kind"), text("name")]),
        }
    }
    all
}

/// Claims that would be collected, and may not go.
pub fn not_collected(text: &str, claims: &[Target]) -> Refusal {
    let named: Vec<String> = claims.iter().take(NAMED).map(Target::text).collect();
    let more = claims.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let refusal = Refusal::new(
        Code::ClaimsCollected,
        format!(
            "{text} was not deleted: {}{more} would be collected with it, and no second person has signed that off",
            named.join(", ")
        ),
    );
    match claims.first() {
        Some(claim) => refusal.next(
            "Once every one of these claims may go, so may this. Somebody who may request deletions can ask for the first with:",
            ready::request(claim),
        ),
        None => refusal,
    }
}

/// More claims go with an object than are confirmed for one decision.
pub fn not_bound(text: &str, claims: usize) -> Refusal {
    let sentence = format!("{text} was not deleted: {claims} claims would be collected with it");
    Refusal::new(Code::ClaimsCollected, sentence)
        .next("See them with:", "kubectl get pvc --all-namespaces -o custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name,OWNERS:.metadata.ownerReferences[*].name")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({}), Some("billing"))]
    #[case(json!({"includedNamespaces": ["*"]}), Some("billing"))]
    #[case(json!({"includedNamespaces": ["shop"]}), Some("shop"))]
    #[case(json!({"includedNamespaces": ["sh*"]}), Some("shop"))]
    #[case(json!({"includedNamespaces": ["old"]}), None)]
    #[case(json!({"excludedNamespaces": ["billing"]}), Some("shop"))]
    #[case(json!({"includedNamespaces": ["shop"], "namespaceMapping": {"shop": "copy"}}), None)]
    #[case(json!({"includedNamespaces": ["old"], "namespaceMapping": {"old": "shop"}}), Some("shop"))]
    fn a_restore_writes_over_what_exists(#[case] spec: Value, #[case] expected: Option<&str>) {
        assert_eq!(writes_over(&json!({"spec": spec}), ["billing", "shop"].into_iter()), expected);
    }

    #[test]
    fn an_application_takes_along_what_it_deployed_only_with_its_finalizer() {
        let resource = |group: &str, kind: &str, name: &str| json!({"group": group, "kind": kind, "namespace": "shop", "name": name, "version": "v1"});
        let application = json!({"status": {"resources": [
            resource("", "PersistentVolumeClaim", "data"), resource("apps", "StatefulSet", "db"),
            {"kind": "Namespace", "name": "shop", "version": "v1"},
        ]}});
        let of = |finalizers: &[&str]| of_application(&application, finalizers);
        assert_eq!(of(&[]), Collected::default());
        assert_eq!(of(&["post-delete-finalizer.argocd.argoproj.io"]), Collected::default());
        for finalizer in ["resources-finalizer.argocd.argoproj.io", "resources-finalizer.argocd.argoproj.io/background"]
        {
            let all = of(&[finalizer]);
            assert_eq!(all.claims, [("shop".to_owned(), "data".to_owned())]);
            assert_eq!(all.namespaces, ["shop"]);
            assert_eq!(all.owners, [["shop", "apps", "StatefulSet", "db"].map(str::to_owned)]);
        }
    }

    #[test]
    fn claims_of_exempt_storage_may_go_with_their_stateful_set() {
        let exemption = Exemption { storage_classes: vec!["scratch".to_owned()], claims: None };
        let set = |classes: &[&str]| {
            let template = |class: &&str| json!({"metadata": {"name": "data"}, "spec": {"storageClassName": class}});
            json!({"spec": {"volumeClaimTemplates": classes.iter().map(template).collect::<Vec<_>>()}})
        };
        assert!(!takes_claims(&set(&["scratch"]), &exemption));
        assert!(!takes_claims(&json!({"spec": {}}), &exemption));
        assert!(takes_claims(&set(&["scratch", "fast"]), &exemption));
        assert!(takes_claims(&json!({"spec": {"volumeClaimTemplates": [{"spec": {}}]}}), &exemption));
    }
}
