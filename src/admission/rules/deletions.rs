//! DELETE of claims and namespaces (design §5): one at a time or as a collection, at the root or in a cascade.

use std::time::Duration;

use foureyes_core::api::{Mode, Target, TargetKind};
use foureyes_core::domain::deletion::{
    Governance, empty_namespace, ended_before, govern_claim, is_data, not_requested, own_namespace, scope, terminating,
    used_up,
};
use foureyes_core::domain::inventory::{Claim, Inventory};
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::ready;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::index::Candidate;
use foureyes_core::reason::Code;
use futures::future::{join, try_join};

use super::Scene;
use super::volumes::let_go;
use crate::admission::confirm::{Asking, Confirmation, Root, unread};
use crate::admission::input;
use crate::admission::verdict::{Verdict, enforced};
use crate::cluster::live::record;
use crate::manifests::names;

/// A claim, alone or with others, by a person, a machine, or the namespace controller.
pub async fn of_claim(scene: &Scene<'_>) -> Verdict {
    let namespace = input::namespace(scene.request)?;
    let object = input::old(scene.request)?;
    let claim = input::claim(namespace, object)?;
    let place = scene.namespace(namespace)?;
    let policies = scene.index.policies();
    let governance =
        govern_claim(policies, scene.index.is_started(), &place.labels, &claim, &scene.request.user_info.username)?;
    let effective = match governance {
        Governance::Free(proof) => return Ok(proof.into()),
        Governance::Governed(effective) => effective,
    };
    let target = input::target(TargetKind::PersistentVolumeClaim, Some(namespace), object)?;
    let record = input::annotation(&object.metadata).record;
    let mut verdict = governed_claim(scene, (&claim, record), &target, &place.uid, &effective).await;
    if let Err(refusal) = &mut verdict
        && refusal.code == Code::DeletionNotRequested
        && scene.is_probe(namespace)
    {
        refusal.code = Code::CanaryKept;
    }
    enforced(with_last_request(scene, &target, record, verdict, &effective).await, effective.deletions)
}

async fn governed_claim(
    scene: &Scene<'_>,
    (claim, record): (&Claim, Option<&str>),
    target: &Target,
    namespace_uid: &str,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let roots = scene.index.candidates(namespace_uid, true);
    let own = scene.index.candidates(&claim.uid, false);
    if roots.is_empty() && own.is_empty() {
        return Err(nothing_known(record, target, &scene.index.inventory_of_claim(claim)));
    }
    // Boxed, because most reviews end before this.
    Box::pin(confirmed_claim(scene, (claim, record), target, effective, (&roots, &own))).await
}

/// `candidates` are the requests about the namespace and those about the claim.
async fn confirmed_claim(
    scene: &Scene<'_>,
    (claim, record): (&Claim, Option<&str>),
    target: &Target,
    effective: &Effective,
    (roots, own): (&[Candidate], &[Candidate]),
) -> Result<Proof, Refusal> {
    let confirmation = confirmation(scene, effective);
    let inventory = async { scene.live.inventory_of_claim(claim).await.map_err(|error| unread(&error)) };
    let mut refused_in_cascade = None;
    let (inventory, asking) = if roots.is_empty() {
        try_join(inventory, Asking::begin(scene.live, own)).await?
    } else {
        let (inventory, root) = join(inventory, Root::read(scene.live, roots, &claim.namespace)).await;
        let inventory = inventory?;
        let cascade = match root {
            Ok(root) => confirmation.cascade(root, claim, &inventory).await,
            Err(refusal) => Err(Some(refusal)),
        };
        match cascade {
            Ok(proof) => return Ok(proof),
            Err(refusal) => refused_in_cascade = refusal,
        }
        (inventory, Asking::begin(scene.live, own).await?)
    };
    match confirmation.deletion(asking, target, record, &inventory, scene.author()).await {
        Ok(proof) => Ok(proof),
        Err(refusal) => {
            Err(refusal.or(refused_in_cascade).unwrap_or_else(|| nothing_known(record, target, &inventory)))
        }
    }
}

/// Whether a request lets what keeps data go.
pub async fn asked_for(
    scene: &Scene<'_>,
    target: &Target,
    inventory: &Inventory,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let candidates = scene.index.candidates(&target.uid, false);
    let verdict = if candidates.is_empty() {
        Err(not_requested(target, inventory))
    } else {
        let asking = Asking::begin(scene.live, &candidates).await?;
        let confirmed = confirmation(scene, effective).deletion(asking, target, None, inventory, scene.author()).await;
        confirmed.map_err(|refusal| refusal.unwrap_or_else(|| not_requested(target, inventory)))
    };
    with_last_request(scene, target, None, verdict, effective).await
}

/// Whether a claim may go now, for something that it would be collected with.
pub async fn claim_may_go(
    scene: &Scene<'_>,
    claim: &Claim,
    target: &Target,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let live = scene.live.claim(&claim.namespace, &claim.name).await.map_err(|error| unread(&error))?;
    let Some(live) = live.filter(|live| live.metadata.uid.as_deref() == Some(&*claim.uid)) else {
        return Ok(terminating());
    };
    let uid = scene.index.namespace(&claim.namespace).map(|place| place.uid.clone()).unwrap_or_default();
    governed_claim(scene, (&Claim::of(&live), record(&live.metadata)), target, &uid, effective).await
}

/// No request about this claim is known; it may carry an approval that the controller has yet to take up.
fn nothing_known(record: Option<&str>, target: &Target, inventory: &Inventory) -> Refusal {
    if record.is_some() {
        let sentence = format!("{} was not deleted: the approval on it is being taken up", target.text());
        return Refusal::new(Code::NotYetExecutable, sentence)
            .next("Try again in a moment with:", ready::delete(target));
    }
    not_requested(target, inventory)
}

fn confirmation<'a>(scene: &'a Scene<'_>, effective: &'a Effective) -> Confirmation<'a> {
    Confirmation { live: scene.live, policies: scene.index.policies(), effective, now: scene.now }
}

/// A namespace: refused at the root, before anything in it is touched (fact 11, bypass 14).
pub async fn of_namespace(scene: &Scene<'_>) -> Verdict {
    let object = input::old(scene.request)?;
    let name = input::name(object)?;
    if input::going_since(&object.metadata)?.is_some() {
        return Ok(terminating().into());
    }
    if scene.index.is_started() {
        own_namespace(scene.own_namespace, name, &scene.author().groups)?;
    }
    // Held backups would go with it, though it may hold no data of its own.
    let_go(scene, &scene.index.holds_in(name), &format!("Namespace {name}"), "was not deleted").await?;
    let labels = input::labels(&object.metadata);
    let effective = match scope(scene.index.policies(), scene.index.is_started(), &labels)? {
        Governance::Free(proof) => return Ok(proof.into()),
        Governance::Governed(effective) => effective,
    };
    let target = input::target(TargetKind::Namespace, None, object)?;
    let record = input::annotation(&object.metadata).record;
    let verdict = governed_namespace(scene, &target, record, &effective).await;
    enforced(with_last_request(scene, &target, record, verdict, &effective).await, effective.deletions)
}

async fn governed_namespace(
    scene: &Scene<'_>,
    target: &Target,
    record: Option<&str>,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let policies = scene.index.policies();
    let known = scene.index.inventory_of_namespace(&target.name, |claim| {
        is_data(policies, claim) && !names::is_canary(scene.own_namespace, claim)
    });
    let candidates = scene.index.candidates(&target.uid, false);
    if !known.is_empty() && candidates.is_empty() {
        return Err(not_requested(target, &with_snapshots(scene, &target.name, known).await));
    }
    let live = scene.live.inventory_of_namespace(&target.name, policies);
    let (live, asking) = join(live, Asking::begin(scene.live, &candidates)).await;
    let live = live.map_err(|error| unread(&error))?;
    if let Some(proof) = empty_namespace(&live) {
        return Ok(proof);
    }
    let confirmed = confirmation(scene, effective).deletion(asking?, target, record, &live, scene.author()).await;
    confirmed.map_err(|refusal| refusal.unwrap_or_else(|| not_requested(target, &live)))
}

/// The index knows no snapshots. It is refused whatever there is, so that nothing rests on them here.
async fn with_snapshots(scene: &Scene<'_>, namespace: &str, known: Inventory) -> Inventory {
    let read = Box::pin(tokio::time::timeout(LAST_REQUEST, scene.live.snapshots(namespace))).await;
    let snapshots = read.ok().and_then(Result::ok).unwrap_or_default();
    known.and_snapshots(snapshots.iter().map(|(snapshot, content)| (snapshot, content.as_ref())))
}

/// Time to find out what became of the last request: that helps its reader, and nothing rests on it.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Whoever is refused because nobody has asked is told if somebody had, and what became of it.
async fn with_last_request(
    scene: &Scene<'_>,
    target: &Target,
    record: Option<&str>,
    verdict: Result<Proof, Refusal>,
    effective: &Effective,
) -> Result<Proof, Refusal> {
    let Err(refusal) = verdict else { return verdict };
    let nobody_asks = match refusal.code {
        Code::DeletionNotRequested => true,
        // An approval is being taken up, or nothing will ever come of it.
        Code::NotYetExecutable => record.is_some() && scene.index.candidates(&target.uid, false).is_empty(),
        _ => false,
    };
    let told = nobody_asks && effective.deletions == Mode::Deny;
    let Some(last) = told.then(|| scene.index.newest_ended(&target.uid)).flatten() else { return Err(refusal) };
    let read = Box::pin(tokio::time::timeout(LAST_REQUEST, scene.live.request(&last.name))).await;
    let request = read.ok().and_then(Result::ok).flatten().filter(|request| request.spec.target == *target);
    let Some(request) = request else { return Err(refusal) };
    if refusal.code == Code::NotYetExecutable {
        return Err(record.and_then(|record| used_up(target, record, &request)).unwrap_or(refusal));
    }
    Err(match ended_before(&request) {
        Some(line) => refusal.detail(line),
        None => refusal,
    })
}
