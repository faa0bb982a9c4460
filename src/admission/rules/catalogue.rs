//! Kinds of the catalogue (design §5): what is deleted, changed or created so that snapshots, backups or claims are lost.

use foureyes_core::api::{DelegatedAction, Target, TargetKind, WorkloadIdentity};
use foureyes_core::domain::catalogue::{
    Creation, Deletion, PRESETS, Row, additional, by_machine, collected, govern, handle_of, harmless,
    judged_as_its_target, kept_on_retain, not_bound, not_collected, not_created, not_owned, not_worsened, row,
    takes_claims, worsened, writes_over,
};
use foureyes_core::domain::deletion::{Governance, is_data, terminating};
use foureyes_core::domain::inventory::{Claim, Inventory};
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::reason::Code;
use kube::api::DynamicObject;
use serde_json::Value;

use super::opened::{Kind, opened_in};
use super::volumes::let_go;
use super::{Scene, deletions};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::review::Operation;
use crate::admission::verdict::{Verdict, enforced};

/// Claims confirmed for one decision: each costs several reads.
const MOST_CLAIMS: usize = 8;

/// Whether a policy names the kind that a review is about, or often does.
pub fn is_additional(scene: &Scene<'_>) -> bool {
    let (group, kind) = (&*scene.request.resource.group, &*scene.request.kind.kind);
    let named = scene.index.policies().floor().additional_kind(group, kind).is_some();
    named || PRESETS.iter().any(|(other, known, _)| (*other, *known) == (group, kind))
}

/// An object of such a kind is deleted.
pub async fn additional_deleted(scene: &Scene<'_>) -> Verdict {
    let old = input::old(scene.request)?;
    let (group, kind) = (&*scene.request.resource.group, &*scene.request.kind.kind);
    let namespace = scene.request.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let place = match namespace {
        Some(namespace) => Some(scene.place(namespace).await?),
        None => None,
    };
    let policies = scene.index.policies();
    let labels = place.as_ref().map(|place| &place.labels);
    let effective = match govern(policies, scene.index.is_started(), labels)? {
        Governance::Free(proof) => return Ok(proof.into()),
        Governance::Governed(effective) => effective,
    };
    if input::going_since(&old.metadata)?.is_some() {
        return Ok(terminating().into());
    }
    if let Some(namespace) = namespace
        && let Some(proof) = scene.gone_with_namespace(namespace).await?
    {
        return Ok(proof.into());
    }
    let name = input::name(old)?;
    let place = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let refusal = match additional(policies, scene.author(), (group, kind), &format!("{kind} {place}{name}")) {
        Ok(proof) => return Ok(proof.into()),
        Err(refusal) => refusal,
    };
    let version = &*scene.request.kind.version;
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let object = WorkloadIdentity {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
    };
    let of = Kind { group, api_version: &api_version, name: kind };
    let verdict = opened_in(scene, of, &object, policies, &effective, refusal).await;
    enforced(verdict, effective.deletions)
}

/// The row of what a review is about.
pub fn row_of(scene: &Scene<'_>) -> Option<&'static Row> {
    row(&scene.request.resource.group, &scene.request.resource.resource)
}

/// Judges a review of an object in the table.
pub async fn judged(scene: &Scene<'_>, row: &'static Row) -> Verdict {
    let namespace = scene.request.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let place = match namespace {
        Some(namespace) => Some(scene.place(namespace).await?),
        None => None,
    };
    // Whatever policies say of the rest.
    if let Some(proof) = held(scene, row, namespace).await? {
        return Ok(proof.into());
    }
    let labels = place.as_ref().map(|place| &place.labels);
    let effective = match govern(scene.index.policies(), scene.index.is_started(), labels)? {
        Governance::Free(proof) => return Ok(proof.into()),
        Governance::Governed(effective) => effective,
    };
    let verdict = match scene.request.operation {
        Operation::Delete => deleted(scene, row, namespace, &effective).await,
        Operation::Create | Operation::Update => written(scene, row, namespace, &effective).await,
        Operation::Connect => Ok(harmless()),
    };
    enforced(verdict, effective.deletions)
}

async fn deleted(
    scene: &Scene<'_>,
    row: &Row,
    namespace: Option<&str>,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let old = input::old(scene.request)?;
    if let Some(namespace) = namespace
        && let Some(proof) = scene.gone_with_namespace(namespace).await?
    {
        return Ok(proof);
    }
    match row.deletion {
        Deletion::Free => Ok(harmless()),
        Deletion::Keeper(kind) => {
            if input::going_since(&old.metadata)?.is_some() {
                return Ok(terminating());
            }
            if let Some(proof) = by_machine(scene.index.policies(), scene.author()) {
                return Ok(proof);
            }
            let target = input::versioned(kind, &scene.request.kind.version, namespace, old)?;
            let [object, _] = input::both(scene.body)?;
            confirmed(scene, &target, &object, effective).await
        }
        Deletion::Collects => owner_deleted(scene, row, namespace.unwrap_or_default(), effective).await,
    }
}

/// Whether a request lets what keeps data go.
async fn confirmed(
    scene: &Scene<'_>,
    target: &Target,
    object: &Value,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let inventory = Inventory::of_keeper(target, handle_of(target.kind, object).as_deref());
    deletions::asked_for(scene, target, &inventory, effective).await
}

/// An owner goes: the claims that would be collected after it go first, each by its own request.
async fn owner_deleted(scene: &Scene<'_>, row: &Row, namespace: &str, effective: &Effective) -> Result<Proof, Refusal> {
    let old = input::old(scene.request)?;
    let policies = scene.index.policies();
    let own = policies.floor().delegates(&scene.author().username, row.group, row.kind, DelegatedAction::DeleteClaims);
    if own {
        return Ok(by_machine(policies, scene.author()).unwrap_or_else(harmless));
    }
    let claims = claims_of(scene, row, namespace)?;
    if claims.is_empty() {
        return Ok(harmless());
    }
    let text = text(row, namespace, input::name(old)?);
    if claims.len() > MOST_CLAIMS {
        return Err(not_bound(&text, claims.len()));
    }
    let mut refused = Vec::new();
    let mut proof = harmless();
    for claim in &claims {
        let target = claim_target(claim);
        match deletions::claim_may_go(scene, claim, &target, effective).await {
            Ok(one) => proof = one,
            Err(refusal) if refusal.code == Code::ClusterUnreadable => return Err(refusal),
            Err(_) => refused.push(target),
        }
    }
    if refused.is_empty() { Ok(proof) } else { Err(not_collected(&text, &refused)) }
}

/// Claims in production that are worth protecting and would go with the object.
fn claims_of(scene: &Scene<'_>, row: &Row, namespace: &str) -> Result<Vec<Claim>, Refusal> {
    let old = input::old(scene.request)?;
    let uid = input::uid(old)?;
    let [object, _] = input::both(scene.body)?;
    let finalizers: Vec<&str> = old.metadata.finalizers.iter().flatten().map(|finalizer| &**finalizer).collect();
    let with = collected(row, namespace, &object, &finalizers);
    let owned = scene.index.claims_in(namespace).filter(|claim| claim.owners.iter().any(|owner| &**owner == uid));
    let named =
        with.claims.iter().filter_map(|(place, name)| scene.index.claims_in(place).find(|claim| *claim.name == **name));
    let whole = with.namespaces.iter().flat_map(|place| scene.index.claims_in(place));
    let controlled = with.owners.iter().flat_map(|[place, group, kind, name]| {
        scene.index.claims_in(place).filter(move |claim| {
            claim.controller.as_ref().is_some_and(|owner| {
                (&*owner.group, &*owner.kind, &*owner.name) == (group.as_str(), kind.as_str(), name.as_str())
            })
        })
    });
    let policies = scene.index.policies();
    let in_production = |claim: &Claim| {
        scene.index.namespace(&claim.namespace).is_none_or(|place| policies.is_production(&place.labels))
    };
    let mut claims: Vec<Claim> = owned
        .chain(named)
        .chain(whole)
        .chain(controlled)
        .filter(|claim| is_data(policies, claim) && claim.going_since.is_none() && in_production(claim))
        .cloned()
        .collect();
    claims.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    claims.dedup_by(|one, other| one.uid == other.uid);
    Ok(claims)
}

fn claim_target(claim: &Claim) -> Target {
    Target {
        api_version: "v1".to_owned(),
        kind: TargetKind::PersistentVolumeClaim,
        namespace: Some(claim.namespace.to_string()),
        name: claim.name.to_string(),
        uid: claim.uid.to_string(),
    }
}

/// `statefulset shop/db`.
fn text(row: &Row, namespace: &str, name: &str) -> String {
    let place = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    format!("{} {place}{name}", row.kind)
}

/// An object is created or changed.
async fn written(
    scene: &Scene<'_>,
    row: &'static Row,
    namespace: Option<&str>,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let policies = scene.index.policies();
    let created = scene.request.operation == Operation::Create;
    let [old, new] = input::both(scene.body)?;
    let name = input::new(scene.request)?.metadata.name.as_deref().unwrap_or_default();
    let text = text(row, namespace.unwrap_or_default(), name);
    let takes_claims = row.deletion == Deletion::Collects;
    // Claims would go for everybody; what else the table names, machines do as part of their work.
    if !takes_claims && let Some(proof) = by_machine(policies, scene.author()) {
        return Ok(proof);
    }
    let refusal = match row.creation {
        Some(Creation::Deletes(kind, field)) if created => {
            return deletes_another(scene, (kind, field), &text, namespace, &new, effective).await;
        }
        Some(Creation::Prunes) if created => not_created(&text),
        None | Some(Creation::Aliases) if created => return Ok(harmless()),
        _ => match change(scene, row, (&old, &new), &text)? {
            Some(refusal) => refusal,
            None => return Ok(harmless()),
        },
    };
    if takes_claims {
        return Err(kept_on_retain(refusal));
    }
    let kind = Kind { group: row.group, api_version: &api_version(scene, row), name: row.kind };
    let object = WorkloadIdentity {
        group: row.group.to_owned(),
        kind: row.kind.to_owned(),
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
    };
    opened_in(scene, kind, &object, policies, effective, refusal).await
}

fn api_version(scene: &Scene<'_>, row: &Row) -> String {
    format!("{}/{}", row.group, &*scene.request.kind.version)
}

/// What of a change destroys, if anything does.
fn change(
    scene: &Scene<'_>,
    row: &'static Row,
    (old, new): (&Value, &Value),
    text: &str,
) -> Result<Option<Refusal>, Refusal> {
    let created = scene.request.operation == Operation::Create;
    if !created && matches!(row.deletion, Deletion::Keeper(_)) {
        let owners = input::added_owners(&input::old(scene.request)?.metadata, &input::new(scene.request)?.metadata);
        if let Some(owner) = owners.first() {
            return Ok(Some(not_owned(text, owner)));
        }
    }
    let Some(field) = worsened(row, old, new) else { return Ok(None) };
    let policies = scene.index.policies();
    let production = || {
        let places = scene.index.namespaces().filter(|place| policies.is_production(&place.labels));
        places.map(|place| &*place.name)
    };
    let spared = match row.kind {
        "StatefulSet" => !takes_claims(new, &policies.floor().exemption),
        "Restore" => writes_over(new, production()).is_none(),
        _ => false,
    };
    Ok((!spared).then(|| not_worsened(text, field, created)))
}

/// What a retention holds is not deleted or made worse by anybody, nor deleted by what names it, before it was let go of.
async fn held(scene: &Scene<'_>, row: &'static Row, namespace: Option<&str>) -> Result<Option<Proof>, Refusal> {
    let place = namespace.unwrap_or_default();
    match (scene.request.operation, row.creation) {
        (Operation::Create, Some(Creation::Deletes(kind, field))) => {
            let [_, new] = input::both(scene.body)?;
            let named = named(scene, (kind, field), namespace, &new).await?;
            let Some(uid) = named.and_then(|found| found.metadata.uid) else { return Ok(None) };
            let name = input::new(scene.request)?.metadata.name.as_deref().unwrap_or_default();
            let_go(scene, &scene.index.holds(&uid), &text(row, place, name), "was not created").await
        }
        (Operation::Create, Some(Creation::Aliases)) => {
            let Deletion::Keeper(kind) = row.deletion else { return Ok(None) };
            let [_, new] = input::both(scene.body)?;
            let name = input::new(scene.request)?.metadata.name.as_deref().unwrap_or_default();
            let holders = handle_of(kind, &new).map(|handle| scene.index.holds_handle(kind.as_str(), &handle));
            let_go(scene, &holders.unwrap_or_default(), &text(row, place, name), "was not created").await
        }
        (Operation::Update, _) if row.deletion != Deletion::Collects => {
            let old = input::old(scene.request)?;
            let (uid, text) = (input::uid(old)?, text(row, place, input::name(old)?));
            let [was, is] = input::both(scene.body)?;
            let holders = scene.index.holds(uid);
            if holders.is_empty() || change(scene, row, (&was, &is), &text)?.is_none() {
                return Ok(None);
            }
            let_go(scene, &holders, &text, "was not changed").await
        }
        (Operation::Delete, _) if matches!(row.deletion, Deletion::Keeper(_)) => {
            let old = input::old(scene.request)?;
            let holders = scene.index.holds(input::uid(old)?);
            if holders.is_empty() || input::going_since(&old.metadata)?.is_some() {
                return Ok(None);
            }
            if let Some(namespace) = namespace
                && scene.gone_with_namespace(namespace).await?.is_some()
            {
                return Ok(None);
            }
            let_go(scene, &holders, &text(row, place, input::name(old)?), "was not deleted").await
        }
        _ => Ok(None),
    }
}

/// What names an object and deletes it is judged as the deletion of that.
async fn deletes_another(
    scene: &Scene<'_>,
    (kind, field): (TargetKind, &str),
    text: &str,
    namespace: Option<&str>,
    new: &Value,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let name = new.pointer(&format!("/spec/{field}")).and_then(Value::as_str).unwrap_or_default();
    let found = named(scene, (kind, field), namespace, new).await?;
    let Some(found) = found else { return Err(judged_as_its_target(text, kind, name)) };
    let uid = found.metadata.uid.clone().unwrap_or_default();
    let target = Target { uid, ..target_of(scene, (kind, field), namespace, new) };
    confirmed(scene, &target, &found.data, effective).await
}

/// What another object names as what it deletes, without its UID.
fn target_of(scene: &Scene<'_>, (kind, field): (TargetKind, &str), namespace: Option<&str>, new: &Value) -> Target {
    let named = new.pointer(&format!("/spec/{field}")).and_then(Value::as_str).unwrap_or_default();
    Target {
        api_version: format!("{}/{}", kind.group(), &*scene.request.kind.version),
        kind,
        namespace: namespace.map(str::to_owned),
        name: named.to_owned(),
        uid: String::new(),
    }
}

/// The same as it is.
async fn named(
    scene: &Scene<'_>,
    named: (TargetKind, &str),
    namespace: Option<&str>,
    new: &Value,
) -> Result<Option<DynamicObject>, Refusal> {
    let target = target_of(scene, named, namespace, new);
    scene.live.target(&target).await.map_err(|error| unread(&error))
}
