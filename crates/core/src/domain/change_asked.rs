//! Who may ask for which change. Judges the final object as if stamp did not exist, as `speaking` does.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::{Action, ChangeRequest, ChangeTarget, ChangeType, ContentEncoding};
use crate::domain::change::{identity_of, rights_namespaces};
use crate::domain::policy::Floor;
use crate::domain::proof::{Kind, Proof};
use crate::domain::refusal::Refusal;
use crate::domain::request::Request as _;
use crate::domain::rollout::location::locate;
use crate::domain::speaking::{Speaker, asked_by, not_too_many, right_missing};
use crate::reason::Code;
use crate::seal::KeyRing;

/// A change is created. `speaker.may_request` is held in every namespace of [`rights_namespaces`].
pub fn change_created(
    speaker: &Speaker<'_>,
    request: &ChangeRequest,
    floor: &Floor,
    own_namespace: &str,
    ring: &KeyRing,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let what = format!("the change of {}", text(request));
    asked_by(speaker, request, &what, ring, now)?;
    valid(request, floor, own_namespace).map_err(|why| {
        Refusal::new(Code::ChangeInvalid, format!("{what} was not created: {why}"))
            .next("What a change may name is said in:", "kubectl explain changerequest.spec.targets")
    })?;
    if request.spec.change_type == ChangeType::Unauthorized && !speaker.is_controller {
        let why = format!("{what} was not created: changes of type Unauthorized are opened by foureyes alone");
        return Err(Refusal::new(Code::ChangeInvalid, why)
            .next("Which types there are is said in:", "kubectl explain changerequest.spec.type"));
    }
    if !speaker.may_request && !speaker.is_controller {
        let places = rights_namespaces(request, own_namespace);
        let place = places.iter().find(|place| !place.is_empty()).map_or(own_namespace, String::as_str);
        let username = &speaker.author.username;
        let why = format!("{what} was not created: {username} may not request changes in {}", list(&places));
        return Err(right_missing(why, place, "foureyes-requester", speaker.author));
    }
    not_too_many::<ChangeRequest>(speaker, &what)?;
    Ok(Proof(Kind::Own))
}

/// The targets in short, for columns and sentences.
pub fn text(request: &ChangeRequest) -> String {
    let first = request.spec.targets.first().map(ChangeTarget::text).unwrap_or_default();
    match request.spec.targets.len() {
        0 | 1 => first,
        more => format!("{first} and {} more", more - 1),
    }
}

fn list(places: &BTreeSet<String>) -> String {
    let words = places.iter().map(|place| if place.is_empty() { "the whole cluster" } else { place });
    words.collect::<Vec<_>>().join(", ")
}

/// Whether every target is one that a change can be used for: a request that never could would only look like one.
fn valid(request: &ChangeRequest, floor: &Floor, own_namespace: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for target in &request.spec.targets {
        let name = target.text();
        if !target.is_well_formed() {
            return Err(format!("no object can be called {name}"));
        }
        let identity = identity_of(request, target, own_namespace).ok_or_else(|| {
            let home = request.place();
            format!("{name} is not in {home}; such a change belongs into the namespace {own_namespace}")
        })?;
        let has_template = locate(&identity.group, &identity.kind, &floor.rollout_resources).is_some();
        let encoding = target.digest.as_ref().map(|digest| digest.encoding);
        match (target.action, encoding, &target.images) {
            (Action::Remove, None, None) => {}
            (Action::Apply, Some(ContentEncoding::Template), None) | (Action::Apply, None, Some(_)) if has_template => {
            }
            (Action::Apply, Some(ContentEncoding::Object), None) if !has_template => {}
            (Action::Apply, ..) if has_template => return Err(format!("{name} is named by template/v1 or by images")),
            (Action::Apply, ..) => return Err(format!("{name} is named by object/v1")),
            (Action::Remove, ..) => return Err(format!("{name} is removed, and needs neither digest nor images")),
        }
        if !seen.insert(identity) {
            return Err(format!("{name} is named twice"));
        }
    }
    let window = request.spec.window.as_ref();
    let bounds = window.and_then(|window| window.start.as_ref().zip(window.end.as_ref()));
    match bounds {
        Some((start, end)) if start.0 >= end.0 => Err("its window ends before it starts".to_owned()),
        _ => Ok(()),
    }
}
