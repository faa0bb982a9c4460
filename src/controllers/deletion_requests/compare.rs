//! What went with a target, beside what was signed off, and who may look at that afterwards.

use foureyes_core::api::{
    Author, ChangeRequest, DeletionRequest, InventoryStatus, ListedItem, Phase, Says, SignOff, TargetKind,
};
use foureyes_core::domain::inventory::{ApprovedItems, DataItem, Inventory};
use foureyes_core::domain::judgement::{Right, Rights};
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::request::is_unseen;
use foureyes_core::domain::supervision::{Found, is_due};

use crate::cluster::access::Requests;
use crate::cluster::live::{Live, ReadError};

/// Changes named in a status.
const MOST_BILLS: usize = 5;

/// Looks for it, once the target is going or gone.
pub async fn found(
    live: &Live,
    request: &DeletionRequest,
    target: TargetState,
    inventory: &Inventory,
    (place_is_there, sign_offs): (bool, &[SignOff]),
) -> Result<Found, ReadError> {
    let Some(status) = request.status.as_ref().filter(|_| target != TargetState::Live) else {
        return Ok(Found::default());
    };
    let executed = status.phase == Some(Phase::Executed);
    let (mut unapproved, mut left, mut volumes, mut contents) = (Vec::new(), Vec::new(), Vec::new(), 0);
    if let Some(known) = status.inventory.as_ref().filter(|_| !executed) {
        unapproved = went(live, known, inventory).await?;
    }
    if let Some(known) = status.inventory.as_ref().filter(|_| target == TargetState::Gone && is_due(status)) {
        left = still_there(live, request, known).await?;
        if let Ok(items) = ApprovedItems::unpack(&known.packed_uids) {
            volumes = live.volumes_among(&items).await?;
            contents = live.contents_among(&items).await?.len();
        }
    }
    // A namespace of the same name is another one; what lies in none has none that could go.
    let place = request.spec.target.rights_namespace();
    let place_gone = request.spec.target.kind == TargetKind::Namespace || !place.is_empty() && !place_is_there;
    let place = if place_gone { "" } else { place };
    let rights = if executed { rights(live, sign_offs, place).await? } else { Rights::default() };
    Ok(Found { unapproved, left, volumes, contents, rights, place_gone })
}

async fn rights(live: &Live, sign_offs: &[SignOff], place: &str) -> Result<Rights, ReadError> {
    let said = sign_offs.iter().filter(|said| said.spec.says == Says::Supervised);
    let needed: Vec<(Author, Right)> =
        said.filter_map(|said| Some((said.spec.author.clone()?, Right::Supervise))).collect();
    live.rights(&needed, Requests::Deletions, &[place.to_owned()].into()).await
}

/// Of what appeared after the sign-off, what is gone now and was not signed off by itself.
async fn went(live: &Live, known: &InventoryStatus, now: &Inventory) -> Result<Vec<ListedItem>, ReadError> {
    let is_there = |item: &ListedItem| now.items().iter().any(|other| other.uid == item.uid);
    let mut went: Vec<&ListedItem> = Vec::new();
    for item in known.added.iter().filter(|item| !is_there(item)) {
        let namespace = item.namespace.as_deref().unwrap_or_default();
        let uid = match item.kind.as_str() {
            "PersistentVolumeClaim" => live.claim(namespace, &item.name).await?.and_then(|claim| claim.metadata.uid),
            "PersistentVolume" => live.volume(&item.name).await?.map(|volume| volume.uid.into_string()),
            _ => None,
        };
        if uid.as_deref() != Some(&item.uid) {
            went.push(item);
        }
    }
    let mut signed_off = Vec::new();
    for item in went.iter().filter(|item| item.namespace.is_some()) {
        signed_off.extend(live.requests_about(&item.uid).await?.iter().filter_map(released));
    }
    let by_itself = |item: &ListedItem| signed_off.iter().any(|items| items.contains(&item.uid).unwrap_or(false));
    Ok(went.into_iter().filter(|item| !by_itself(item)).cloned().collect())
}

/// What a request covers that let it go.
fn released(request: &DeletionRequest) -> Option<ApprovedItems> {
    let status = request.status.as_ref()?;
    let released = matches!(status.phase?, Phase::Executable | Phase::Executing | Phase::Executed | Phase::Closed);
    ApprovedItems::unpack(&status.inventory.as_ref().filter(|_| released)?.packed_uids).ok()
}

/// Claims that a namespace left behind, as one does whose finalizer was taken off.
async fn still_there(
    live: &Live,
    request: &DeletionRequest,
    known: &InventoryStatus,
) -> Result<Vec<ListedItem>, ReadError> {
    let (TargetKind::Namespace, Ok(items)) = (request.spec.target.kind, ApprovedItems::unpack(&known.packed_uids))
    else {
        return Ok(Vec::new());
    };
    let claims = live.claims(&request.spec.target.name).await?;
    let left = Inventory::of(claims.iter().map(|claim| (claim, None))).among(&items);
    Ok(left.items().iter().map(DataItem::listed).collect())
}

/// Changes in a namespace that shall go, of which a review is owed: with it, they would go too.
pub async fn bills(live: &Live, request: &DeletionRequest, target: TargetState) -> Result<Vec<String>, ReadError> {
    let about = &request.spec.target;
    if about.kind != TargetKind::Namespace || target != TargetState::Live {
        return Ok(Vec::new());
    }
    let owed = |change: ChangeRequest| {
        let name = change.metadata.name.clone()?;
        is_unseen(&change).then(|| format!("change {name}"))
    };
    let mut bills = live.changes(&about.name, owed).await?;
    bills.sort_unstable();
    let more = bills.len().saturating_sub(MOST_BILLS);
    bills.truncate(MOST_BILLS);
    bills.extend((more > 0).then(|| format!("{more} more")));
    Ok(bills)
}
