//! The belt: admission policies that the API server judges by itself, so that what proofs rest on holds with the
//! webhook gone. Objects are named by `oldObject.metadata.name`, never by `resourceNames`, which a deletion of a
//! collection evades (fact 20).

mod data;
pub mod effective;
pub mod fixed;

use foureyes_core::api::{BREAK_GLASS_GROUP, ENVIRONMENT_LABEL, GROUP, NON_PRODUCTION, RELEASED};
use foureyes_core::domain::ready;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ParamKind, ParamRef, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::{Value, json};

use super::names::{Component, KEYS_CONFIG, NAMESPACE, SEALING_KEY_SECRET, STATE_CONFIG};
use super::{Error, File, cel, names, webhooks, yaml};

/// An object that only one component may fill.
struct Anchor {
    name: &'static str,
    writer: Component,
}

/// A policy and what it says.
struct Policy {
    name: &'static str,
    /// Groups, each with its resources.
    kinds: Vec<(&'static str, Vec<&'static str>)>,
    operations: &'static [&'static str],
    place: Place,
    condition: Option<(&'static str, String)>,
    validations: Vec<(String, String)>,
}

/// Where a policy applies.
enum Place {
    Everywhere,
    OwnNamespace,
    /// In production, and only while the guard's configuration is not there. A parameter that is missing is a refusal
    /// before anything else is looked at, so that this holds for everybody.
    ProductionUnguarded,
}

/// Only the controller says where a request stands.
fn status() -> Policy {
    let controller = Component::Controller.username();
    Policy {
        name: "foureyes-status",
        kinds: vec![(GROUP, vec!["*/status"])],
        operations: &["CREATE", "UPDATE"],
        place: Place::Everywhere,
        condition: None,
        validations: vec![(
            format!("request.userInfo.username == '{controller}'"),
            format!(
                "only {controller} writes the status of {GROUP} objects: it says what was observed, and sign-offs are the way to change it"
            ),
        )],
    }
}

/// Records say what ran on whose word, and what may be gone back to: only the controller writes them, and nobody takes
/// them away.
fn records() -> Policy {
    let controller = Component::Controller.username();
    Policy {
        name: "foureyes-records",
        kinds: vec![(GROUP, vec!["rolloutrecords"])],
        operations: &["CREATE", "UPDATE", "DELETE"],
        place: Place::Everywhere,
        condition: None,
        validations: vec![(
            format!("request.userInfo.username == '{controller}'"),
            format!(
                "only {controller} writes and deletes RolloutRecords: they say what ran on whose word, and rollbacks rest on them"
            ),
        )],
    }
}

/// What nobody but its writer fills, changes or removes: public keys, what has begun, and the sealing key. Anybody
/// may create them empty and apply them again unchanged, as an installation does.
fn anchors(name: &'static str, resource: &'static str, fields: &[&str], anchors: &[Anchor]) -> Policy {
    let quoted: Vec<_> = anchors.iter().map(|anchor| anchor.name).collect();
    let writers = cel::any(
        &anchors
            .iter()
            .map(|anchor| {
                format!(
                    "(object.metadata.name == '{}' && request.userInfo.username == '{}')",
                    anchor.name,
                    anchor.writer.username()
                )
            })
            .collect::<Vec<_>>(),
    );
    let empty: Vec<_> = fields.iter().map(|field| format!("object.?{field}.orValue({{}}).size() == 0")).collect();
    let same: Vec<_> =
        fields.iter().chain(&["immutable"]).map(|field| format!("object.?{field} == oldObject.?{field}")).collect();
    Policy {
        name,
        kinds: vec![("", vec![resource])],
        operations: &["CREATE", "UPDATE", "DELETE"],
        place: Place::OwnNamespace,
        condition: Some((
            "is-an-anchor",
            format!("(oldObject != null ? oldObject : object).metadata.name in {}", cel::strings(&quoted)),
        )),
        validations: vec![
            (
                // the end of the namespace takes them along; that end is guarded itself
                "request.operation != 'DELETE' || namespaceObject.?metadata.?deletionTimestamp.hasValue()".to_owned(),
                format!(
                    "{} carry what sign-offs are proven with: they go only with the namespace {NAMESPACE}",
                    quoted.join(" and ")
                ),
            ),
            (
                cel::any(&[
                    "request.operation == 'DELETE'".to_owned(),
                    writers,
                    format!("(request.operation == 'CREATE' && {})", empty.join(" && ")),
                    format!("(request.operation == 'UPDATE' && {})", same.join(" && ")),
                ]),
                format!(
                    "the content of {} is written by foureyes alone; to make or rotate keys, run `foureyes keys` as the ServiceAccount {}",
                    quoted.join(" and "),
                    Component::Keys.account()
                ),
            ),
        ],
    }
}

/// Deleting a definition deletes its objects without admission (bypass 6), a new default forges fields (fact 7), and an
/// owner to nobody has the collector delete it (fact 31).
fn definitions() -> Policy {
    Policy {
        name: "foureyes-definitions",
        kinds: vec![("apiextensions.k8s.io", webhooks::DEFINITIONS.to_vec())],
        operations: &["UPDATE", "DELETE"],
        place: Place::Everywhere,
        condition: Some(("of-foureyes", format!("oldObject.spec.group == '{GROUP}'"))),
        validations: vec![(
            cel::any(&[
                cel::caller_in(BREAK_GLASS_GROUP),
                format!(
                    "(request.operation == 'UPDATE' && object.spec == oldObject.spec && !({}) && !({}))",
                    cel::owners_added(),
                    webhooks::definition_finalizers_changed()
                ),
            ]),
            format!(
                "definitions of {GROUP} hold every request and sign-off: once a change of them is approved, the group {BREAK_GLASS_GROUP} applies it; to upgrade foureyes, repeat the command with {}",
                ready::break_glass()
            ),
        )],
    }
}

/// A claim that goes with its pod is not data, so nobody but the controller that makes such claims may make one look
/// so: whoever takes the name that a StatefulSet's claim will have could delete the data in it alone (bypass 19).
fn ephemeral() -> Policy {
    let controllers = super::webhooks::controller("ephemeral-volume-controller");
    Policy {
        name: "foureyes-ephemeral-claims",
        kinds: vec![("", vec!["persistentvolumeclaims", "persistentvolumeclaims/status"])],
        operations: &["CREATE", "UPDATE"],
        place: Place::Everywhere,
        condition: Some((
            "becomes-ephemeral",
            format!(
                "{} && !(oldObject != null && {})",
                cel::ephemeral("object.metadata"),
                cel::ephemeral("oldObject.metadata")
            ),
        )),
        validations: vec![(
            format!("request.userInfo.username in {}", cel::strings(&controllers)),
            "a claim that goes with its pod (controlled by a Pod, and named after it) is made by the ephemeral volume controller alone: leave the owner out, or declare the volume in the pod as ephemeral".to_owned(),
        )],
    }
}

/// What asks us: the API server calls no webhook about webhooks (bypass 1). Entries that may fail open protect nothing.
/// The marker is the controller's word that a change which two people signed off lets it go.
fn configurations() -> Policy {
    let controller = Component::Controller.username();
    let names = names::CONFIGURATIONS.map(|(_, name)| name);
    let marker = |object: &str| format!("{object}.metadata.?annotations[?'{RELEASED}']");
    Policy {
        name: "foureyes-webhooks",
        kinds: vec![(
            "admissionregistration.k8s.io",
            vec!["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        )],
        operations: &["CREATE", "UPDATE", "DELETE"],
        place: Place::Everywhere,
        condition: Some((
            "of-foureyes",
            format!("(oldObject != null ? oldObject : object).metadata.name in {}", cel::strings(&names)),
        )),
        validations: vec![
            (
                cel::any(&[
                    "request.operation == 'DELETE'".to_owned(),
                    format!("request.userInfo.username == '{controller}'"),
                    format!("!{}.hasValue()", marker("object")),
                    format!("(oldObject != null && {} == {})", marker("object"), marker("oldObject")),
                ]),
                format!(
                    "only {controller} writes {RELEASED}: it says that an approved change lets the configuration go"
                ),
            ),
            (
                cel::any(&[
                    "request.operation == 'CREATE'".to_owned(),
                    format!("{}.orValue('') == oldObject.metadata.uid", marker("oldObject")),
                    format!("(request.operation == 'DELETE' && {})", cel::all_fail_open("oldObject")),
                    format!(
                        "(request.operation == 'UPDATE' && !({}) && {})",
                        cel::owners_added(),
                        cel::webhooks_kept()
                    ),
                ]),
                format!(
                    "without {} nothing is refused any more: they lose no entry, rule, scope or failurePolicy before two people have signed off a change that lets them go. Ask for it with: {}",
                    names.join(" and "),
                    ready::release(NAMESPACE, &names::CONFIGURATIONS)
                ),
            ),
        ],
    }
}

fn all() -> [Policy; 8] {
    [
        data::policy(),
        status(),
        records(),
        ephemeral(),
        anchors(
            "foureyes-anchors",
            "configmaps",
            &["data", "binaryData"],
            &[
                Anchor { name: KEYS_CONFIG, writer: Component::Keys },
                Anchor { name: STATE_CONFIG, writer: Component::Controller },
            ],
        ),
        anchors(
            "foureyes-sealing-key",
            "secrets",
            &["data"],
            &[Anchor { name: SEALING_KEY_SECRET, writer: Component::Keys }],
        ),
        definitions(),
        configurations(),
    ]
}

impl Place {
    /// What has to be there.
    const fn parameter(&self) -> Option<&'static str> {
        match self {
            Self::Everywhere | Self::OwnNamespace => None,
            Self::ProductionUnguarded => Some(names::GUARD),
        }
    }

    fn selector(&self) -> Option<LabelSelector> {
        const NAME: &str = "kubernetes.io/metadata.name";
        let not_in = |key: &str, value: &str| LabelSelectorRequirement {
            key: key.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec![value.to_owned()]),
        };
        match self {
            Self::Everywhere => None,
            Self::OwnNamespace => Some(LabelSelector {
                match_labels: Some([(NAME.to_owned(), NAMESPACE.to_owned())].into()),
                match_expressions: None,
            }),
            // Whoever leaves takes the configurations away first, and then the namespace.
            Self::ProductionUnguarded => Some(LabelSelector {
                match_labels: None,
                match_expressions: Some(vec![not_in(ENVIRONMENT_LABEL, NON_PRODUCTION), not_in(NAME, NAMESPACE)]),
            }),
        }
    }
}

impl Policy {
    fn object(&self) -> ValidatingAdmissionPolicy {
        let owned = |items: &[&str]| Some(items.iter().map(|&item| item.to_owned()).collect());
        let rule = |(group, resources): &(&str, Vec<&str>)| NamedRuleWithOperations {
            api_groups: owned(&[group]),
            api_versions: owned(&["*"]),
            operations: owned(self.operations),
            resources: owned(resources),
            scope: Some("*".to_owned()),
            ..NamedRuleWithOperations::default()
        };
        ValidatingAdmissionPolicy {
            metadata: names::cluster(self.name),
            spec: Some(ValidatingAdmissionPolicySpec {
                failure_policy: Some("Fail".to_owned()),
                match_conditions: self.condition.as_ref().map(|(name, expression)| {
                    vec![MatchCondition { name: (*name).to_owned(), expression: expression.clone() }]
                }),
                match_constraints: Some(MatchResources {
                    match_policy: Some("Equivalent".to_owned()),
                    namespace_selector: self.place.selector(),
                    resource_rules: Some(self.kinds.iter().map(rule).collect()),
                    ..MatchResources::default()
                }),
                param_kind: self.place.parameter().map(|_| ParamKind {
                    api_version: Some("admissionregistration.k8s.io/v1".to_owned()),
                    kind: Some("ValidatingWebhookConfiguration".to_owned()),
                }),
                validations: Some(
                    self.validations
                        .iter()
                        .map(|(expression, message)| Validation {
                            expression: expression.clone(),
                            message: Some(message.clone()),
                            reason: Some("Forbidden".to_owned()),
                            message_expression: None,
                        })
                        .collect(),
                ),
                ..ValidatingAdmissionPolicySpec::default()
            }),
            status: None,
        }
    }

    fn binding(&self) -> ValidatingAdmissionPolicyBinding {
        ValidatingAdmissionPolicyBinding {
            metadata: names::cluster(self.name),
            spec: Some(ValidatingAdmissionPolicyBindingSpec {
                policy_name: Some(self.name.to_owned()),
                param_ref: self.place.parameter().map(|name| ParamRef {
                    name: Some(name.to_owned()),
                    parameter_not_found_action: Some("Deny".to_owned()),
                    ..ParamRef::default()
                }),
                validation_actions: Some(vec!["Deny".to_owned()]),
                ..ValidatingAdmissionPolicyBindingSpec::default()
            }),
        }
    }
}

fn with_bindings<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Vec<Value> {
    policies.into_iter().flat_map(|policy| [json!(policy.object()), json!(policy.binding())]).collect()
}

/// The policies with their bindings.
pub fn file() -> Result<File, Error> {
    yaml("config/webhook/policies.yaml", with_bindings(&all()))
}
