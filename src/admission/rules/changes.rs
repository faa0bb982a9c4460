//! `ChangeRequests`: who may ask for what, and who may take it back.

use foureyes_core::api::ChangeRequest;
use foureyes_core::domain::change::rights_namespaces;
use foureyes_core::domain::change_asked::change_created;
use foureyes_core::domain::judgement::Right;
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::speaking::{Speaker, request_deleted, usable};
use futures::future::try_join;

use super::{Scene, requests};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::Verdict;
use crate::cluster::access::Requests;

pub async fn created(scene: &Scene<'_>) -> Verdict {
    usable(scene.author())?;
    let request = input::change_request(scene.request, input::new(scene.request)?)?;
    requests::born_bare(scene, "ChangeRequest")?;
    let places = rights_namespaces(&request, scene.own_namespace);
    let may_request = scene.live.may_everywhere(scene.author(), Right::Request, Requests::Changes, &places);
    let read = try_join(may_request, scene.live.key_ring()).await;
    let (may_request, ring) = read.map_err(|error| unread(&error))?;
    let speaker = Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request,
        may_approve: false,
        open: scene.index.open_requests_of(&scene.author().username.to_lowercase()),
        is_controller: scene.is_controller(),
    };
    let floor = scene.index.policies().floor();
    Ok(change_created(&speaker, &request, floor, scene.own_namespace, &ring, scene.now)?.into())
}

pub async fn deleted(scene: &Scene<'_>) -> Verdict {
    let old = input::change_request(scene.request, input::old(scene.request)?)?;
    let namespace = input::namespace(scene.request)?;
    if let Some(proof) = scene.gone_with_namespace(namespace).await? {
        return Ok(proof.into());
    }
    let name = old.metadata.name.as_deref().unwrap_or_default();
    let live = scene.live.change(namespace, name).await.map_err(|error| unread(&error))?;
    let request: ChangeRequest = live.filter(|live| live.metadata.uid == old.metadata.uid).unwrap_or(old);
    let places = rights_namespaces(&request, scene.own_namespace);
    let may = |right| scene.live.may_everywhere(scene.author(), right, Requests::Changes, &places);
    let (may_request, may_approve) =
        try_join(may(Right::Request), may(Right::Approve)).await.map_err(|error| unread(&error))?;
    let speaker = Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request,
        may_approve,
        open: 0,
        is_controller: scene.is_controller(),
    };
    Ok(request_deleted(&speaker, &request, TargetState::Live, scene.now)?.into())
}
