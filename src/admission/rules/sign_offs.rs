//! `SignOffs`: who may say what, and who may take it back.

use std::collections::BTreeSet;

use foureyes_core::api::{ChangeRequest, DeletionRequest, Says, SignOff, TargetKind};
use foureyes_core::domain::change::rights_namespaces;
use foureyes_core::domain::judgement::Right;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::request::Request;
use foureyes_core::domain::retention::judge;
use foureyes_core::domain::speaking::{
    Speaker, not_said_before, said_while_going, sign_off_created, sign_off_deleted, usable,
};
use foureyes_core::domain::supervising::{self, Held, Word};
use foureyes_core::seal::KeyRing;
use futures::future::try_join3;

use super::{Scene, requests, retentions};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::Verdict;
use crate::cluster::access::Requests;
use crate::cluster::live::ReadError;

fn is_about_a_change(sign_off: &SignOff) -> bool {
    sign_off.spec.subject.kind == ChangeRequest::KIND
}

fn is_about_a_retention(sign_off: &SignOff) -> bool {
    sign_off.spec.subject.kind == judge::KIND
}

pub async fn created(scene: &Scene<'_>) -> Verdict {
    usable(scene.author())?;
    let sign_off = input::sign_off(input::new(scene.request)?)?;
    requests::born_bare(scene, "SignOff")?;
    if is_about_a_retention(&sign_off) {
        return retentions::said(scene, &sign_off).await;
    }
    if is_about_a_change(&sign_off) {
        let subject = change(scene, &sign_off).await?;
        let places = subject.as_ref().map(|change| rights_namespaces(change, scene.own_namespace));
        return Ok(said(scene, &sign_off, subject.as_ref(), Requests::Changes, places).await?.into());
    }
    let subject = scene.live.request(&sign_off.spec.subject.name).await.map_err(|error| unread(&error))?;
    if sign_off.spec.says == Says::Supervised {
        return supervised(scene, &sign_off, subject.as_ref()).await;
    }
    let places = subject.as_ref().map(|request| [request.spec.target.rights_namespace().to_owned()].into());
    let proof = said(scene, &sign_off, subject.as_ref(), Requests::Deletions, places).await?;
    match &subject {
        Some(request) if requests::is_going(scene, &request.spec.target).await? => Err(said_while_going(&sign_off)),
        _ => Ok(proof.into()),
    }
}

/// The change that a sign-off is about, as it is now.
async fn change(scene: &Scene<'_>, sign_off: &SignOff) -> Result<Option<ChangeRequest>, Refusal> {
    let subject = &sign_off.spec.subject;
    let namespace = subject.namespace.as_deref().unwrap_or_default();
    scene.live.change(namespace, &subject.name).await.map_err(|error| unread(&error))
}

/// `places` are the namespaces in which rights on the subject must be held; without a subject there are none.
async fn said<R: Request>(
    scene: &Scene<'_>,
    sign_off: &SignOff,
    subject: Option<&R>,
    on: Requests,
    places: Option<BTreeSet<String>>,
) -> Result<Proof, Refusal> {
    let places = places.unwrap_or_default();
    let may = |right| scene.live.may_everywhere(scene.author(), right, on, &places);
    let read = try_join3(may(Right::Request), may(Right::Approve), scene.live.key_ring()).await;
    let (may_request, may_approve, ring) = read.map_err(|error| unread(&error))?;
    let speaker = Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request,
        may_approve,
        open: scene.index.open_sign_offs_of(&scene.author().username.to_lowercase()),
        is_controller: scene.is_controller(),
    };
    let identities = &scene.index.policies().floor().identities;
    let proof = sign_off_created(&speaker, sign_off, subject, identities, &ring, scene.now)?;
    unsaid(scene, sign_off, &ring).await?;
    Ok(proof)
}

/// What is said after a deletion: the right to it is held in the target's namespace, or everywhere once that is gone.
async fn supervised(scene: &Scene<'_>, sign_off: &SignOff, request: Option<&DeletionRequest>) -> Verdict {
    let (author, identities) = (scene.author(), &scene.index.policies().floor().identities);
    let read = async {
        let place_gone = match request.map(|request| &request.spec.target) {
            None => true,
            Some(target) if target.kind == TargetKind::Namespace => true,
            Some(target) if target.rights_namespace().is_empty() => false,
            Some(target) => scene.live.namespace(target.rights_namespace()).await?.is_none(),
        };
        let place = request.filter(|_| !place_gone).map_or("", DeletionRequest::place);
        let right = scene.live.may(author, Right::Supervise, Requests::Deletions, place).await?;
        let said = scene.live.sign_offs(&sign_off.spec.subject.uid).await?;
        Ok((Held { right, place_gone }, said, scene.live.key_ring().await?))
    };
    let (held, said, ring) = read.await.map_err(|error: ReadError| unread(&error))?;
    let speaker = Speaker {
        author,
        dry_run: scene.dry_run(),
        may_request: false,
        may_approve: false,
        open: 0,
        is_controller: false,
    };
    let word = Word { sign_off, request, said: &said, held };
    let proof = supervising::supervised(&speaker, word, identities, &ring, scene.now)?;
    not_said_before(sign_off, &said, &ring)?;
    Ok(proof.into())
}

/// Nobody approves twice what they have approved.
async fn unsaid(scene: &Scene<'_>, sign_off: &SignOff, ring: &KeyRing) -> Result<(), Refusal> {
    if sign_off.spec.says != Says::Approve {
        return Ok(());
    }
    let said = scene.live.sign_offs(&sign_off.spec.subject.uid).await.map_err(|error| unread(&error))?;
    not_said_before(sign_off, &said, ring)
}

pub async fn deleted(scene: &Scene<'_>) -> Verdict {
    let sign_off = input::sign_off(input::old(scene.request)?)?;
    let (author, is_controller) = (scene.author(), scene.is_controller());
    if is_about_a_retention(&sign_off) {
        return retentions::unsaid(scene, &sign_off).await;
    }
    if is_about_a_change(&sign_off) {
        let subject = change(scene, &sign_off).await?;
        return Ok(sign_off_deleted(author, is_controller, &sign_off, subject.as_ref(), false)?.into());
    }
    let subject = scene.live.request(&sign_off.spec.subject.name).await.map_err(|error| unread(&error))?;
    let going = match &subject {
        Some(request) => requests::is_going(scene, &request.spec.target).await?,
        None => false,
    };
    Ok(sign_off_deleted(author, is_controller, &sign_off, subject.as_ref(), going)?.into())
}
