//! SignOffs: who may say what, and who may take it back.

use foureyes_core::api::{Says, SignOff};
use foureyes_core::domain::judgement::Right;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::speaking::{
    Speaker, not_said_before, said_while_going, sign_off_created, sign_off_deleted, usable,
};
use foureyes_core::seal::KeyRing;

use super::{Scene, requests};
use crate::admission::confirm::unread;
use crate::admission::input;
use crate::admission::verdict::Verdict;
use crate::cluster::live::ReadError;

pub async fn created(scene: &Scene<'_>) -> Verdict {
    usable(scene.author())?;
    let sign_off = input::sign_off(input::new(scene.request)?)?;
    requests::born_bare(scene, "SignOff")?;
    let read = async {
        let subject = scene.live.request(&sign_off.spec.subject.name).await?;
        let (mut may_request, mut may_approve) = (false, false);
        if let Some(request) = &subject {
            let namespace = request.spec.target.rights_namespace();
            may_request = scene.live.may(scene.author(), Right::Request, namespace).await?;
            may_approve = scene.live.may(scene.author(), Right::Approve, namespace).await?;
        }
        Ok((subject, may_request, may_approve, scene.live.key_ring().await?))
    };
    let (subject, may_request, may_approve, ring) = read.await.map_err(|error: ReadError| unread(&error))?;
    let speaker = Speaker {
        author: scene.author(),
        dry_run: scene.dry_run(),
        may_request,
        may_approve,
        open: scene.index.open_sign_offs_of(&scene.author().username.to_lowercase()),
        is_controller: scene.is_controller(),
    };
    let identities = &scene.index.policies().floor().identities;
    let proof = sign_off_created(&speaker, &sign_off, subject.as_ref(), identities, &ring, scene.now)?;
    unsaid(scene, &sign_off, &ring).await?;
    match &subject {
        Some(request) if requests::is_going(scene, &request.spec.target).await? => Err(said_while_going(&sign_off)),
        _ => Ok(proof.into()),
    }
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
    let subject = scene.live.request(&sign_off.spec.subject.name).await.map_err(|error| unread(&error))?;
    let going = match &subject {
        Some(request) => requests::is_going(scene, &request.spec.target).await?,
        None => false,
    };
    Ok(sign_off_deleted(scene.author(), scene.is_controller(), &sign_off, subject.as_ref(), going)?.into())
}
