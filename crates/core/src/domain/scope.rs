//! What scopes protection can't be loosened alone: environments, exemptions, owners, finalizers, policies, and our own
//! definitions (bypasses 6, 12, 17, 23; facts 8, 19).

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    APPROVED_BY, APPROVED_BY_RECORD, Author, DelegatedAction, ENVIRONMENT_LABEL, METADATA_PREFIX, Mode, NON_PRODUCTION,
};
use crate::domain::deletion::{self, Governance};
use crate::domain::identity::{ActorKind, classify};
use crate::domain::inventory::Claim;
use crate::domain::policy::{CompiledPolicy, PolicySet, loosened, scope_loosened};
use crate::domain::proof::{Kind, NotGoverned, Proof};
use crate::domain::refusal::Refusal;
use crate::reason::Code;

/// Finalizers that the API server sets and the garbage collector removes; they protect dependents, not data.
pub const COLLECTOR_FINALIZERS: &[&str] = &["foregroundDeletion", "orphan"];
/// Who the API server is to itself.
pub const API_SERVER: &str = "system:apiserver";
/// Ends with the last pod that uses the claim.
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";

/// Whether this finalizer of a claim decides nothing about its data.
fn is_free(finalizer: &str) -> bool {
    COLLECTOR_FINALIZERS.contains(&finalizer) || finalizer == CLAIM_PROTECTION
}

const HARMLESS: Proof = Proof(Kind::NotGoverned(NotGoverned::Harmless));

/// Whether a namespace with these labels can lose protection by a change of them: by the strictest of its modes, for
/// with its environment all of them end.
pub fn namespace_scope(
    policies: &PolicySet,
    started: bool,
    labels: &BTreeMap<String, String>,
) -> Result<Governance, Refusal> {
    match deletion::scope(policies, started, labels)? {
        Governance::Free(proof) if proof == Proof::not_governed(NotGoverned::SwitchedOff) => {
            let effective = policies.effective(labels).ok().filter(|effective| effective.strictest() != Mode::Off);
            Ok(effective.map_or(Governance::Free(proof), Governance::Governed))
        }
        governance => Ok(governance),
    }
}

/// A namespace's labels change: towards production is free, away from it or from a policy needs a change.
pub fn namespace_relabelled(
    policies: &PolicySet,
    name: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Result<Proof, Refusal> {
    match scope_loosened(policies, old, policies, new) {
        Some(what) => {
            let sentence = format!("the labels of namespace {name} were not changed: {what}");
            Err(Refusal::new(Code::EnvironmentLoosened, sentence))
        }
        None => Ok(HARMLESS),
    }
}

/// What to say when a namespace gets a label that looks as if it left production, and does not.
pub fn environment_misspelled(
    policies: &PolicySet,
    name: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Option<String> {
    let value = new.get(ENVIRONMENT_LABEL).filter(|value| old.get(ENVIRONMENT_LABEL) != Some(*value))?;
    let meant = [PRODUCTION, NON_PRODUCTION].contains(&value.as_str());
    (!meant && policies.is_production(new)).then(|| {
        format!(
            "{ENVIRONMENT_LABEL}={value}: namespace {name} is production, for only the value {NON_PRODUCTION} says otherwise"
        )
    })
}

/// The value of the label that says what holds without it.
const PRODUCTION: &str = "production";

/// A claim's own labels, or its class once it is bound, change so that it would be exempt, or would be under a policy
/// that is yet to be written: labels of ours are on a claim from birth or never (bypass 12).
pub fn exempted(policies: &PolicySet, text: &str, (was, is): (&Claim, &Claim)) -> Result<Proof, Refusal> {
    let exemption = &policies.floor().exemption;
    let relabelled = is.labels.iter().any(|(key, value)| was.labels.get(key) != Some(value));
    if !was.is_exempt(exemption) && (relabelled || is.is_exempt(exemption)) {
        let why = if is.is_exempt(exemption) {
            "it would become exempt from protection"
        } else {
            "labels that begin with foureyes.dev/ can exempt it, so it is born with them or never gets them"
        };
        let sentence = format!("claim {text} was not changed: {why}");
        return Err(Refusal::new(Code::ExemptionAdded, sentence)
            .next("Which claims are exempt from birth is said in:", "kubectl get safetypolicy default -o yaml"));
    }
    Ok(HARMLESS)
}

/// Whether an update of a claim touches nothing that protects it. Conditions leave it to the webhook to find that out
/// where there is much to compare; what runs by itself goes on then, whatever policies say (I 15).
pub fn claim_untouched(
    (was, is): (&Claim, &Claim),
    added: &[AddedOwner],
    removed: &[&str],
    annotated: bool,
) -> Option<Proof> {
    let untouched = (&was.labels, was.too_many_labels) == (&is.labels, is.too_many_labels)
        && was.storage_class == is.storage_class
        && added.is_empty()
        && removed.iter().all(|finalizer| is_free(finalizer))
        && !annotated;
    untouched.then_some(HARMLESS)
}

/// An owner, as it is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedOwner {
    pub group: String,
    pub kind: String,
    pub name: String,
}

/// Owners are added to a claim. The StatefulSet controller adds its own by retention policy (fact 17); an operator
/// needs a delegation; anybody else would arm a collection that fires when no webhook looks.
pub fn claim_owned(policies: &PolicySet, text: &str, added: &[AddedOwner], author: &Author) -> Result<Proof, Refusal> {
    let stateful = ["system:serviceaccount:kube-system:statefulset-controller", "system:kube-controller-manager"];
    let refused = added.iter().find(|owner| {
        // A StatefulSet's claim is named after its pod. Any other pod would make the claim look ephemeral.
        let kind = match (owner.group.as_str(), owner.kind.as_str()) {
            ("apps", "StatefulSet") => true,
            ("", "Pod") => text.strip_suffix(&owner.name).is_some_and(|rest| rest.ends_with('-')),
            _ => false,
        };
        let own = kind && stateful.contains(&author.username.as_str());
        let floor = policies.floor();
        !own && !floor.delegates(&author.username, &owner.group, &owner.kind, DelegatedAction::DeleteClaims)
    });
    let Some(owner) = refused else { return Ok(HARMLESS) };
    let sentence =
        format!("claim {text} was not changed: it would be collected with its new owner {} {}", owner.kind, owner.name);
    Err(Refusal::new(Code::OwnerAdded, sentence).next(
        "Which operators may own claims is said in:",
        "kubectl get safetypolicy default -o jsonpath='{.spec.delegations}'",
    ))
}

/// Owners are added to a namespace: its collection would be armed. Controllers may; the deletion itself is guarded.
pub fn namespace_owned(
    policies: &PolicySet,
    name: &str,
    added: &[AddedOwner],
    author: &Author,
) -> Result<Proof, Refusal> {
    let machine = classify(author, &policies.floor().identities) == ActorKind::Machine;
    match added.first() {
        Some(owner) if !machine => Err(Refusal::new(
            Code::OwnerAdded,
            format!(
                "namespace {name} was not changed: it would be collected with its new owner {} {}",
                owner.kind, owner.name
            ),
        )
        .next(
            "Look at its owners with:",
            format!("kubectl get namespace {name} -o jsonpath='{{.metadata.ownerReferences}}'"),
        )),
        _ => Ok(HARMLESS),
    }
}

/// Finalizers are taken off a claim (bypass 23). Machines take off their own; people take off none, unless the claim is
/// going: then its deletion was judged, and a finalizer that nobody serves would keep it for ever.
pub fn claim_unfinalized(
    policies: &PolicySet,
    namespace: &str,
    name: &str,
    removed: &[&str],
    going: bool,
    author: &Author,
) -> Result<Proof, Refusal> {
    let machine = classify(author, &policies.floor().identities) == ActorKind::Machine;
    match removed.iter().find(|finalizer| !is_free(finalizer)) {
        Some(finalizer) if !machine && !going => Err(Refusal::new(
            Code::FinalizerRemoved,
            format!("claim {namespace}/{name} was not changed: {finalizer} still protects it"),
        )
        .next("See who set it and why with:", format!("kubectl -n {namespace} describe pvc {name}"))),
        _ => Ok(HARMLESS),
    }
}

/// The namespace controller alone ends a namespace, and only one that is going: whoever finalizes it by hand leaves
/// orphans (fact 8, bypass 23).
pub fn namespace_finalized(name: &str, going: bool, author: &Author) -> Result<Proof, Refusal> {
    let controllers = ["system:serviceaccount:kube-system:namespace-controller", "system:kube-controller-manager"];
    if going && controllers.contains(&author.username.as_str()) {
        return Ok(HARMLESS);
    }
    Err(Refusal::new(
        Code::FinalizerRemoved,
        format!("namespace {name} was not finalized: what is left in it would be orphaned"),
    )
    .next(
        "See what it still waits for with:",
        format!("kubectl get namespace {name} -o jsonpath='{{.status.conditions}}'"),
    ))
}

/// A policy is written or deleted. `old` is the set with the policy as it was; `new` is the policy as it would be.
/// Loosening needs a change.
pub fn policy_written<'a>(
    old: &PolicySet,
    name: &str,
    new: Option<CompiledPolicy>,
    namespaces: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    first_start: bool,
) -> Result<Proof, Refusal> {
    if first_start {
        return Ok(Proof(Kind::Own));
    }
    let deleted = new.is_none();
    let Some(what) = loosened(old, &old.with(name, new), namespaces) else { return Ok(HARMLESS) };
    let was = match deleted {
        true => "deleted",
        false if *old == old.with(name, None) => "created",
        false => "changed",
    };
    Err(Refusal::new(Code::PolicyLoosened, format!("SafetyPolicy {name} was not {was}: {what}")))
}

/// A definition of ours is deleted, which needs a change: with it every request and sign-off would be gone.
pub fn definition_deleted(name: &str, started: bool) -> Result<Proof, Refusal> {
    if !started {
        return Ok(Proof::not_governed(NotGoverned::NotStarted));
    }
    Err(definition_kept(name, true))
}

/// A definition of ours is updated, which needs a change where requests and sign-offs could be forged by it: its spec,
/// owners and finalizers stay, but that the API server ends what is `going`.
pub fn definition_changed(
    name: &str,
    same_spec: bool,
    (old, new): (&OwnMetadata, &OwnMetadata),
    going: bool,
    (author, started): (&Author, bool),
) -> Result<Proof, Refusal> {
    if !started {
        return Ok(Proof::not_governed(NotGoverned::NotStarted));
    }
    let ended = going && author.username == API_SERVER;
    if same_spec && new.owners.is_subset(&old.owners) && (ended || same_finalizers(old, new)) {
        return Ok(HARMLESS);
    }
    Err(definition_kept(name, false))
}

fn definition_kept(name: &str, deleted: bool) -> Refusal {
    let was = if deleted { "deleted" } else { "changed" };
    let sentence = format!("the definition {name} was not {was}: every record of its kind stands on it");
    Refusal::new(Code::DefinitionProtected, sentence)
}

/// None was added, and none removed but by the garbage collector.
fn same_finalizers(old: &OwnMetadata, new: &OwnMetadata) -> bool {
    let mut removed = old.finalizers.difference(&new.finalizers);
    new.finalizers.is_subset(&old.finalizers) && removed.all(|entry| COLLECTOR_FINALIZERS.contains(&entry.as_str()))
}

/// Metadata of our own objects, as far as it decides anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnMetadata {
    /// Owners, each by all that names it.
    pub owners: BTreeSet<String>,
    pub finalizers: BTreeSet<String>,
    /// Labels and annotations; only those that begin with `foureyes.dev/` are compared.
    pub entries: BTreeMap<String, String>,
}

/// Owners, finalizers and `foureyes.dev/` metadata of our objects stay as they were: an owner to nobody would have a
/// hold collected within seconds (fact 31).
pub fn own_metadata(kind: &str, name: &str, old: &OwnMetadata, new: &OwnMetadata) -> Result<Proof, Refusal> {
    let ours = |entries: &BTreeMap<String, String>| -> Vec<(String, String)> {
        let ours = entries.iter().filter(|(key, _)| key.starts_with(METADATA_PREFIX));
        ours.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let same =
        new.owners.is_subset(&old.owners) && same_finalizers(old, new) && ours(&old.entries) == ours(&new.entries);
    if same {
        return Ok(HARMLESS);
    }
    let sentence =
        format!("{kind} {name} was not changed: its owners, finalizers and foureyes.dev metadata stay as they are");
    Err(Refusal::new(Code::Immutable, sentence)
        .next("Look at it with:", format!("kubectl get {} {name} -o yaml", kind.to_lowercase())))
}

/// Whether a metadata key is one of the approval annotations, which have a rule of their own.
pub fn is_approval_annotation(key: &str) -> bool {
    key == APPROVED_BY || key == APPROVED_BY_RECORD
}
