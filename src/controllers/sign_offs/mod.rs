//! Clears sign-offs after the request or the retention that they are about is gone. They have no owner references: the collector does
//! not follow them from where they stand (fact 31), and nothing else may make them vanish.

use std::time::Duration;

use foureyes_core::api::{ChangeRequest, SignOff};
use foureyes_core::domain::request::Request as _;
use foureyes_core::domain::retention::judge;
use jiff::SignedDuration;
use kube::Api;

use super::context::{CALL, Context, Shared};
use super::error::ReconcileError;
use super::queue::Next;
use crate::cluster::apply;
use crate::cluster::live::{Live, ReadError};

/// How long sign-offs outlive their request.
pub const GRACE: Duration = Duration::from_secs(60);
const YOUNG: SignedDuration = SignedDuration::from_secs(60);

/// Whether what a sign-off is about is known to be there.
pub fn has_subject(context: &Shared, uid: &str) -> bool {
    context.requests().exists(uid) || context.changes().exists(uid) || context.retentions().exists(uid)
}

/// Reconciles the sign-offs about the request with this UID.
pub async fn reconcile(context: Context, subject: Box<str>) -> Result<Next, ReconcileError> {
    if has_subject(&context, &subject) {
        return Ok(Next::Wait);
    }
    let api: Api<SignOff> = Api::all(context.live.client().clone());
    let mut young = false;
    for sign_off in context.live.sign_offs(&subject).await? {
        let created = sign_off.metadata.creation_timestamp.as_ref().map(|time| time.0);
        if created.is_some_and(|created| context.clock.now().duration_since(created) < YOUNG) {
            young = true;
            continue;
        }
        // What was seen of requests may be old; only this says that the subject is gone.
        if subject_uid(&context.live, &sign_off).await?.as_deref() == Some(&*subject) {
            continue;
        }
        let name = sign_off.metadata.name.as_deref().unwrap_or_default();
        let uid = sign_off.metadata.uid.as_deref().unwrap_or_default();
        let cleared = apply::delete(&api, name, uid, CALL).await;
        if cleared.map_err(ReconcileError::write("a sign-off can't be cleared"))? {
            tracing::info!(sign_off = name, request = sign_off.spec.subject.name, "cleared: its request is gone");
        }
    }
    Ok(if young { Next::After(GRACE) } else { Next::Wait })
}

/// UID of what has the name of a sign-off's subject now.
async fn subject_uid(live: &Live, sign_off: &SignOff) -> Result<Option<String>, ReadError> {
    let subject = &sign_off.spec.subject;
    if subject.kind == ChangeRequest::KIND {
        let namespace = subject.namespace.as_deref().unwrap_or_default();
        return Ok(live.change(namespace, &subject.name).await?.and_then(|change| change.metadata.uid));
    }
    if subject.kind == judge::KIND {
        return Ok(live.retention(&subject.name).await?.and_then(|retention| retention.metadata.uid));
    }
    Ok(live.request(&subject.name).await?.and_then(|request| request.metadata.uid))
}
