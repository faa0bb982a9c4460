//! The two webhook configurations: one static superset of rules, narrowed by `matchConditions` to what needs a person,
//! so that whatever runs by itself goes on with the webhook dead.
//!
//! Never matched: leases, nodes, the creation and deletion of pods, certificate requests, and writes to our own status.

mod catalogue;
pub mod effective;
mod rollouts;
mod volumes;

use foureyes_core::api::{APPROVED_BY, APPROVED_BY_RECORD, ENVIRONMENT_LABEL, GROUP, METADATA_PREFIX, NON_PRODUCTION};
use foureyes_core::domain::policy::SYSTEM_NAMESPACES;
use foureyes_core::domain::scope::{API_SERVER, COLLECTOR_FINALIZERS};
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::json;

use super::{Error, File, cel, names, yaml};

/// Seconds the API server waits; the webhook's own deadline is shorter (invariant 16).
const TIMEOUT_SECONDS: i32 = 5;

/// Kinds of ours that people write.
const OWN_RESOURCES: &[&str] =
    &["backupretentions", "changerequests", "deletionrequests", "safetypolicies", "signoffs"];

/// The label by which the API server names every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Definitions, by their status too, through which their metadata can be written (fact 8).
pub const DEFINITIONS: &[&str] = &["customresourcedefinitions", "customresourcedefinitions/status"];

/// What stamp writes on claims and namespaces.
const STAMPED: &[&str] = &[APPROVED_BY, APPROVED_BY_RECORD];

/// Finalizers of claims that controllers remove as part of an ordinary end: the first when no pod uses the claim, the
/// others when the garbage collector has seen to its dependents. None of them decides whether data is lost.
const FREE_CLAIM_FINALIZERS: &[&str] = &["kubernetes.io/pvc-protection", "foregroundDeletion", "orphan"];

/// What the StatefulSet controller makes owners of claims, when `persistentVolumeClaimRetentionPolicy` says so.
const STATEFUL_OWNERS: &[&str] = &["apps/v1/StatefulSet"];

/// A built-in controller, under its own name and under the one it has where the controller manager runs without
/// `--use-service-account-credentials`.
pub(super) fn controller(name: &str) -> Vec<String> {
    vec![format!("system:serviceaccount:kube-system:{name}"), "system:kube-controller-manager".to_owned()]
}

/// A definition gets a finalizer or loses one, otherwise than by the API server, which ends what is going once its
/// objects are gone.
pub fn definition_finalizers_changed() -> String {
    cel::finalizers_changed_but(API_SERVER, COLLECTOR_FINALIZERS)
}

/// One webhook of a configuration.
struct Entry {
    /// First part of its name, which stands in every refusal.
    name: &'static str,
    /// Kinds of a group that is not installed are never asked about (fact 24).
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    operations: &'static [&'static str],
    place: Place,
    /// Called only if every condition holds; name and CEL.
    conditions: Vec<(&'static str, String)>,
}

/// Where an entry applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Also to what has no namespace, and to namespaces themselves: their updates are selected by the *new* labels
    /// (fact 19).
    Everywhere,
    /// In namespaces that are not labelled non-production.
    Production,
    /// There, but never where the cluster and foureyes themselves start.
    ProductionWorkloads,
}

/// By their names, which nobody can label otherwise.
fn never_governed() -> Vec<String> {
    SYSTEM_NAMESPACES.into_iter().chain([names::NAMESPACE]).map(str::to_owned).collect()
}

/// The namespace was production before, or is foureyes' own.
fn was_production() -> String {
    format!(
        "oldObject.metadata.?labels[?'{ENVIRONMENT_LABEL}'].orValue('') != '{NON_PRODUCTION}' || \
         oldObject.metadata.name == '{}'",
        names::NAMESPACE
    )
}

/// A claim that was born for a pod and goes with it. Its name is `<pod>-<volume>`; a StatefulSet's claim, which can
/// be owned by a pod too, is `<template>-<pod>`.
fn not_ephemeral() -> String {
    format!("!{}", cel::ephemeral("oldObject.metadata"))
}

/// The canary goes with the namespace of foureyes, when nothing answers any more (fact 26).
fn not_the_canary_in_the_end() -> String {
    format!(
        "!(request.namespace == '{}' && oldObject.metadata.name == '{}' && request.userInfo.username in {})",
        names::NAMESPACE,
        names::CANARY,
        cel::strings(&controller("namespace-controller"))
    )
}

/// A bound claim moves into another storage class, which could be an exempt one. While it waits, the controller
/// manager fills in the default class.
fn bound_claim_changes_class() -> String {
    "oldObject.spec.?volumeName.orValue('') != '' && object.spec.?storageClassName != oldObject.spec.?storageClassName"
        .to_owned()
}

fn guard_entries() -> Vec<Entry> {
    let mut entries = data_entries();
    entries.extend(volumes::entries());
    entries.extend(catalogue::entries());
    entries.extend(rollouts::entries());
    entries
}

/// Data, what scopes its protection, and our own kinds: nobody passes these.
fn data_entries() -> Vec<Entry> {
    vec![
        Entry {
            name: "claims",
            groups: &[""],
            resources: &["persistentvolumeclaims"],
            operations: &["DELETE"],
            place: Place::Production,
            conditions: vec![
                ("not-ephemeral", not_ephemeral()),
                ("not-the-canary-in-the-end", not_the_canary_in_the_end()),
            ],
        },
        Entry {
            name: "claim-updates",
            groups: &[""],
            resources: &["persistentvolumeclaims", "persistentvolumeclaims/status"],
            operations: &["UPDATE"],
            place: Place::Production,
            // binding, provisioning and resizing touch none of these (fact 22)
            conditions: vec![(
                "touches-protection",
                cel::any(&[
                    cel::entries_changed("labels", METADATA_PREFIX),
                    cel::entries_changed("annotations", METADATA_PREFIX),
                    cel::owners_added_but(&controller("statefulset-controller"), STATEFUL_OWNERS),
                    cel::finalizers_removed("metadata", FREE_CLAIM_FINALIZERS),
                    bound_claim_changes_class(),
                ]),
            )],
        },
        Entry {
            name: "namespaces",
            groups: &[""],
            resources: &["namespaces"],
            operations: &["DELETE"],
            place: Place::Everywhere,
            conditions: vec![("was-production", was_production())],
        },
        Entry {
            name: "namespace-updates",
            groups: &[""],
            resources: &["namespaces", "namespaces/status", "namespaces/finalize"],
            operations: &["UPDATE"],
            place: Place::Everywhere,
            conditions: vec![
                ("was-production", was_production()),
                (
                    "touches-protection",
                    cel::any(&[
                        "object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({})".to_owned(),
                        cel::entries_changed("annotations", METADATA_PREFIX),
                        cel::owners_added(),
                        format!(
                            "!(request.userInfo.username in {} && has(oldObject.metadata.deletionTimestamp)) && {}",
                            cel::strings(&controller("namespace-controller")),
                            cel::finalizers_removed("spec", &[]),
                        ),
                    ]),
                ),
            ],
        },
        Entry {
            name: "records",
            groups: &[GROUP],
            resources: OWN_RESOURCES,
            operations: &["CREATE", "UPDATE", "DELETE"],
            place: Place::Everywhere,
            conditions: Vec::new(),
        },
        Entry {
            name: "definitions",
            groups: &["apiextensions.k8s.io"],
            resources: DEFINITIONS,
            operations: &["UPDATE", "DELETE"],
            place: Place::Everywhere,
            conditions: vec![
                ("of-foureyes", format!("oldObject.spec.group == '{GROUP}'")),
                (
                    "touches-protection",
                    cel::any(&[
                        "request.operation == 'DELETE'".to_owned(),
                        "object.spec != oldObject.spec".to_owned(),
                        cel::owners_added(),
                        definition_finalizers_changed(),
                    ]),
                ),
            ],
        },
    ]
}

fn stamp_entries() -> Vec<Entry> {
    vec![
        Entry {
            name: "requests",
            groups: &[GROUP],
            resources: &["changerequests", "deletionrequests", "signoffs"],
            operations: &["CREATE"],
            place: Place::Everywhere,
            conditions: Vec::new(),
        },
        Entry {
            name: "new-claims",
            groups: &[""],
            resources: &["persistentvolumeclaims"],
            operations: &["CREATE"],
            place: Place::Production,
            conditions: vec![("is-annotated", cel::annotations_present(STAMPED))],
        },
        Entry {
            name: "claims",
            groups: &[""],
            resources: &["persistentvolumeclaims", "persistentvolumeclaims/status"],
            operations: &["UPDATE"],
            place: Place::Production,
            conditions: vec![("is-annotated", cel::annotations_changed(STAMPED))],
        },
        Entry {
            name: "new-namespaces",
            groups: &[""],
            resources: &["namespaces"],
            operations: &["CREATE"],
            place: Place::Everywhere,
            conditions: vec![("is-annotated", cel::annotations_present(STAMPED))],
        },
        Entry {
            name: "namespaces",
            groups: &[""],
            resources: &["namespaces", "namespaces/status", "namespaces/finalize"],
            operations: &["UPDATE"],
            place: Place::Everywhere,
            conditions: vec![("was-production", was_production()), ("is-annotated", cel::annotations_changed(STAMPED))],
        },
    ]
}

impl Entry {
    fn full_name(&self, part: &str) -> String {
        format!("{}.{part}.{GROUP}", self.name)
    }

    fn rules(&self) -> Vec<RuleWithOperations> {
        let owned = |items: &[&str]| Some(items.iter().map(|&item| item.to_owned()).collect());
        vec![RuleWithOperations {
            api_groups: owned(self.groups),
            api_versions: owned(&["*"]),
            operations: owned(self.operations),
            resources: owned(self.resources),
            scope: Some("*".to_owned()),
        }]
    }

    fn selector(&self) -> Option<LabelSelector> {
        let not_in = |key: &str, values| LabelSelectorRequirement {
            key: key.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(values),
        };
        let production = not_in(ENVIRONMENT_LABEL, vec![NON_PRODUCTION.to_owned()]);
        let expressions = match self.place {
            Place::Everywhere => return None,
            Place::Production => vec![production],
            Place::ProductionWorkloads => vec![production, not_in(NAMESPACE_NAME, never_governed())],
        };
        Some(LabelSelector { match_expressions: Some(expressions), match_labels: None })
    }

    fn match_conditions(&self) -> Option<Vec<MatchCondition>> {
        let conditions: Vec<_> = self
            .conditions
            .iter()
            .map(|(name, expression)| MatchCondition { name: (*name).to_owned(), expression: expression.clone() })
            .collect();
        (!conditions.is_empty()).then_some(conditions)
    }
}

fn client_config(path: &str) -> WebhookClientConfig {
    WebhookClientConfig {
        ca_bundle: None,
        service: Some(ServiceReference {
            name: names::SERVICE.to_owned(),
            namespace: names::NAMESPACE.to_owned(),
            path: Some(path.to_owned()),
            port: Some(names::SERVICE_PORT),
        }),
        url: None,
    }
}

/// The mutating configuration. Never reinvoked: what another webhook changes after the seal was made must break the
/// seal, not get a new one.
pub fn stamp() -> MutatingWebhookConfiguration {
    let webhooks = stamp_entries().into_iter().map(|entry| MutatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config("/stamp"),
        failure_policy: Some("Fail".to_owned()),
        match_conditions: entry.match_conditions(),
        match_policy: Some("Equivalent".to_owned()),
        name: entry.full_name("stamp"),
        namespace_selector: entry.selector(),
        object_selector: None,
        reinvocation_policy: Some("Never".to_owned()),
        rules: Some(entry.rules()),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
    });
    MutatingWebhookConfiguration { metadata: names::cluster(names::STAMP), webhooks: Some(webhooks.collect()) }
}

/// The validating configuration.
pub fn guard() -> ValidatingWebhookConfiguration {
    let webhooks = guard_entries().into_iter().map(|entry| ValidatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config("/guard"),
        failure_policy: Some("Fail".to_owned()),
        match_conditions: entry.match_conditions(),
        match_policy: Some("Equivalent".to_owned()),
        name: entry.full_name("guard"),
        namespace_selector: entry.selector(),
        object_selector: None,
        rules: Some(entry.rules()),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
    });
    ValidatingWebhookConfiguration { metadata: names::cluster(names::GUARD), webhooks: Some(webhooks.collect()) }
}

/// The configurations, and the patch by which `config/observe` lets everything pass while the webhook is away.
pub fn files() -> Result<Vec<File>, Error> {
    let ignore = |kind: &str, name: &str, webhooks: Vec<String>| {
        let webhooks: Vec<_> =
            webhooks.into_iter().map(|name| json!({"name": name, "failurePolicy": "Ignore"})).collect();
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "webhooks": webhooks,
        })
    };
    let named = |entries: Vec<Entry>, part| entries.iter().map(|entry| entry.full_name(part)).collect();
    Ok(vec![
        yaml("config/webhook/stamp.yaml", [stamp()])?,
        yaml("config/webhook/guard.yaml", [guard()])?,
        yaml(
            "config/observe/failure-policy.yaml",
            [
                ignore("MutatingWebhookConfiguration", names::STAMP, named(stamp_entries(), "stamp")),
                ignore("ValidatingWebhookConfiguration", names::GUARD, named(guard_entries(), "guard")),
            ],
        )?,
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all() -> Vec<Entry> {
        guard_entries().into_iter().chain(stamp_entries()).collect()
    }

    fn rules() -> Vec<RuleWithOperations> {
        all().iter().flat_map(Entry::rules).collect()
    }

    #[test]
    fn never_matches_what_the_cluster_needs_to_start() {
        for entry in all().iter().filter(|entry| entry.resources.contains(&"nodes")) {
            assert!(
                entry
                    .conditions
                    .iter()
                    .any(|(_, cel)| cel.contains("!request.userInfo.username.startsWith('system:')"))
            );
        }
        for rule in rules() {
            for resource in rule.resources.unwrap() {
                for forbidden in ["*", "lease", "certificatesigning", "secret", "token", "binding"] {
                    assert!(!resource.contains(forbidden), "{resource}");
                }
                assert!(!resource.starts_with("nodes/"), "{resource}");
            }
            assert!(!rule.api_groups.unwrap().contains(&"*".to_owned()));
            assert!(!rule.operations.unwrap().contains(&"*".to_owned()));
        }
    }

    #[test]
    fn creation_of_claims_and_namespaces_is_narrowed() {
        for entry in all() {
            if entry.groups.contains(&"") {
                assert!(!entry.conditions.is_empty(), "{} needs a condition", entry.name);
            }
        }
        let created =
            guard_entries().into_iter().filter(|e| e.groups.contains(&"") && e.operations.contains(&"CREATE"));
        assert_eq!(created.map(|entry| entry.name).collect::<Vec<_>>(), ["new-volumes"]);
    }

    #[test]
    fn our_status_is_left_to_the_policy() {
        let ours = guard_entries().into_iter().filter(|entry| entry.groups == [GROUP]);
        assert!(ours.flat_map(|e| e.resources).all(|resource| !resource.contains('/')));
    }

    #[test]
    fn names_are_unique_and_namespaces_have_no_selector() {
        let mut names: Vec<_> = guard_entries().iter().map(|entry| entry.full_name("guard")).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), guard_entries().len());
        for entry in guard_entries().iter().chain(&stamp_entries()) {
            if entry.resources.contains(&"namespaces") {
                assert!(entry.selector().is_none());
            }
        }
    }

    #[test]
    fn answers_are_due_within_five_seconds() {
        assert!(guard().webhooks.unwrap().iter().all(|w| w.timeout_seconds <= Some(5)));
        assert!(stamp().webhooks.unwrap().iter().all(|w| w.timeout_seconds <= Some(5)));
    }
}
