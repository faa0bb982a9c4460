//! A request as it is shown before somebody signs it off, and in its description.

use std::collections::BTreeMap;

use foureyes_core::api::{
    Action, ChangeRequest, ChangeTarget, ContentDigest, ContentEncoding, DeletionRequest, ListedItem, Shutdown,
};
use foureyes_core::domain::change::identity_of;
use foureyes_core::domain::rollout::object::object_digest;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use similar::{ChangeTag, TextDiff};

use crate::cluster::{Cluster, Floor, call};
use crate::kinds;
use crate::output::{age, facts, indented, lines, plain, plain_lines, table, time};
use crate::proposal::{Runs, location, stated};
use crate::request::Request;

/// The lines about a request that fit on one line each, and the words that may take more.
pub fn header(request: &Request, digest: Option<&str>, now: Timestamp) -> String {
    let ago = request.created().map(|created| format!(", {} ago", age(created, now))).unwrap_or_default();
    let place = match request {
        Request::Change(request) => format!(" in {}", request.metadata.namespace.as_deref().unwrap_or_default()),
        Request::Deletion(_) => String::new(),
    };
    let mut lines = vec![
        ("Name", request.name().to_owned()),
        ("Kind", format!("{}{place}", request.kind())),
        ("Requested by", format!("{}{ago}", request.asked_by())),
    ];
    match request {
        Request::Change(request) => of_change(request, &mut lines),
        Request::Deletion(request) => of_deletion(request, &mut lines),
    }
    let waiting = request.waiting_for().map(|waiting| format!(", waits for {waiting}")).unwrap_or_default();
    lines.push(("Phase", format!("{}{waiting}", request.phase())));
    if let Some(summary) = request.sign_offs() {
        lines.push(("Sign-offs", format!("{} of {}", summary.granted, summary.required)));
    }
    lines.extend(digest.map(|digest| ("Digest", digest.to_owned())));
    facts(&lines)
}

fn of_change(request: &ChangeRequest, lines: &mut Vec<(&'static str, String)>) {
    let spec = &request.spec;
    lines.push(("Title", spec.title.clone()));
    lines.push(("Type", spec.change_type.as_str().to_owned()));
    let source = spec.source.clone().unwrap_or_default();
    let window = spec.window.as_ref();
    let bound = |bound: Option<&Time>| bound.map(|at| time(at.0));
    let optional = [
        ("Description", spec.description.clone()),
        ("Justification", spec.justification.clone()),
        ("Owner", spec.owner.clone()),
        ("Ticket", spec.ticket.clone()),
        ("Incident", spec.incident.clone()),
        ("Repository", source.repository),
        ("Revision", source.revision),
        ("Pull request", source.pull_request),
        ("Not before", bound(window.and_then(|window| window.start.as_ref()))),
        ("Not after", bound(window.and_then(|window| window.end.as_ref()))),
    ];
    lines.extend(optional.into_iter().filter_map(|(label, value)| Some((label, value?))));
}

fn of_deletion(request: &DeletionRequest, lines: &mut Vec<(&'static str, String)>) {
    let target = &request.spec.target;
    lines.push(("Deletes", format!("{} (UID {})", target.text(), target.uid)));
    lines.push(("Reason", request.spec.reason.clone()));
    lines.extend(request.spec.ticket.clone().map(|ticket| ("Ticket", ticket)));
    let by = request.spec.shutdown.map(|by| match by {
        Shutdown::Manual => "by people, before it goes",
        Shutdown::Scale => {
            "by foureyes once it is signed off: what uses it is scaled to zero, as far as its requester may"
        }
    });
    lines.extend(by.map(|by| ("Shut down", by.to_owned())));
}

/// What a deletion would lose.
pub fn inventory(request: &DeletionRequest) -> String {
    let inventory = request.status.as_ref().and_then(|status| status.inventory.as_ref());
    let Some(inventory) = inventory else { return "What would be lost is not known yet.\n".to_owned() };
    let row = |item: &ListedItem| {
        let name = item.namespace.as_ref().map_or_else(|| item.name.clone(), |place| format!("{place}/{}", item.name));
        let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        [item.kind.clone(), name, or_dash(&item.size), or_dash(&item.handle)]
    };
    let headings = ["KIND", "NAME", "SIZE", "WHERE"];
    let list = |items: &[ListedItem]| indented(&table(headings, &items.iter().map(row).collect::<Vec<_>>()));
    let mut text = format!("Would be lost: {}\n", plain(&inventory.summary));
    if !inventory.items.is_empty() {
        text.push_str(&list(&inventory.items));
    }
    let listed = i32::try_from(inventory.items.len()).unwrap_or(i32::MAX);
    if inventory.total > listed {
        text.push_str(&lines([format!("… and {} more", inventory.total - listed)], "  "));
    }
    if !inventory.added.is_empty() {
        text.push_str("Came later, and is not covered by it:\n");
        text.push_str(&list(&inventory.added));
    }
    text
}

/// What each target of a change would become, as far as it can be shown; each guess is held against the digest.
pub async fn targets(cluster: &Cluster, request: &ChangeRequest, floor: &Floor, colours: bool) -> String {
    let count = request.spec.targets.len();
    let mut text = String::new();
    for (at, target) in request.spec.targets.iter().enumerate() {
        let place = identity_of(request, target, &cluster.own_namespace).map(|identity| identity.namespace);
        let live = live(cluster, target, place.as_deref().unwrap_or_default()).await;
        let number = if count > 1 { format!("Target {} of {count}: ", at + 1) } else { "Target: ".to_owned() };
        let digest = target.digest.as_ref().map(|digest| format!(" {}", digest.text())).unwrap_or_default();
        let action = match target.action {
            Action::Apply => "",
            Action::Remove => " will be removed",
        };
        let place = place.filter(|place| !place.is_empty()).map(|place| format!(" in {place}")).unwrap_or_default();
        text.push_str(&plain(&format!("{number}{}{place}{action}{digest}", target.text())));
        text.push('\n');
        text.push_str(&target_view(request, at, target, &live, floor, colours));
    }
    text
}

/// What is there now.
#[derive(Debug)]
pub enum Live {
    There(serde_json::Value),
    Absent,
    /// Why it could not be read.
    Unknown(String),
}

async fn live(cluster: &Cluster, target: &ChangeTarget, namespace: &str) -> Live {
    let read = async {
        let known = kinds::stated(cluster, &target.api_version, &target.kind).await?;
        let api = known.api(cluster.client.clone(), namespace);
        call("what runs now could not be read", api.get_opt(&target.name)).await
    };
    match read.await {
        Ok(Some(object)) => match serde_json::to_value(object) {
            Ok(object) => Live::There(object),
            Err(error) => Live::Unknown(error.to_string()),
        },
        Ok(None) => Live::Absent,
        Err(error) => Live::Unknown(error.to_string()),
    }
}

/// One target beside what is there now.
fn target_view(
    request: &ChangeRequest,
    at: usize,
    target: &ChangeTarget,
    live: &Live,
    floor: &Floor,
    colours: bool,
) -> String {
    let note = |text: String| plain_lines(&text, "  ");
    let wanted = target.digest.as_ref().map(ContentDigest::text);
    // A guess, until it comes to the digest that would be signed.
    let is_it = |would: &Runs| wanted.is_some() && would.digest() == wanted;
    let proposed = |runs: &Runs| {
        let patch = stated(request.metadata.annotations.as_ref(), at)?;
        runs.patched(&patch).filter(is_it)
    };
    let described = |runs: &Runs| {
        let would = runs.exchanged(&described_images(request.spec.description.as_deref()?));
        Some(would).filter(is_it)
    };
    let object = match live {
        Live::Unknown(why) => return images(target, None) + &note(why.clone()),
        Live::Absent if target.action == Action::Remove => return note("It is not there any more.".to_owned()),
        Live::Absent => {
            let nothing = Runs::nothing();
            let would = proposed(&nothing);
            let would = would.map(|would| exchanged(&nothing, &would) + &diff("", &would.yaml(), colours));
            let created = note("It does not exist yet and would be created.".to_owned());
            let unknown =
                || images(target, None) + &wanted.as_ref().map_or_else(String::new, |_| note(UNKNOWN.to_owned()));
            return created + &would.unwrap_or_else(unknown);
        }
        Live::There(object) => object,
    };
    let Some(location) = location(target.group(), &target.kind, &floor.rollout_resources) else {
        let runs = Runs::whole(object);
        return match proposed(&runs).filter(|would| *would != runs) {
            Some(would) => diff(&runs.yaml(), &would.yaml(), colours),
            None => note(object_note(target, object)),
        };
    };
    let Some(runs) = Runs::of(&location, object) else {
        return note("What it runs now could not be read.".to_owned());
    };
    if target.action == Action::Remove {
        return note(format!("It runs {}.", words(&runs)));
    }
    if wanted.is_some() && runs.digest() == wanted {
        return note(format!("It runs like this already: {}.", words(&runs)));
    }
    let would = match &target.images {
        Some(images) => Some(runs.exchanged(images)),
        None => proposed(&runs).or_else(|| described(&runs)),
    };
    if let Some(would) = would {
        return images(target, Some(&runs)) + &exchanged(&runs, &would) + &diff(&runs.yaml(), &would.yaml(), colours);
    }
    let described = request.spec.description.as_deref().map(described_images).unwrap_or_default();
    let warning = if described.is_empty() { "" } else { BEYOND };
    let digest = runs.digest().unwrap_or_default();
    note(format!("It runs {} now, {digest}.\n{UNKNOWN}{warning}", words(&runs)))
}

const UNKNOWN: &str = "The template that would run is not known here: only its digest is. Compare it with the one of a \
                       manifest: kubectl foureyes request change -f FILE --dry-run";

/// Words of whoever asks may say less than what would run.
const BEYOND: &str = "\nThe images in the description do not come to that digest: more would change than they say, or they are not true.";

/// New images by container, as a refusal words them and its line repeats them: `web nginx:1 → nginx:2, proxy …`.
fn described_images(text: &str) -> BTreeMap<String, String> {
    let exchange = |part: &str| {
        let (old, new) = part.split_once(" → ")?;
        Some((old.split_once(' ')?.0.to_owned(), new.to_owned()))
    };
    text.split(", ").filter_map(exchange).collect()
}

fn object_note(target: &ChangeTarget, object: &serde_json::Value) -> String {
    let is = object_digest(object).unwrap_or_default();
    let wanted = target.digest.as_ref().filter(|digest| digest.encoding == ContentEncoding::Object);
    match wanted {
        None => "It is there.".to_owned(),
        Some(wanted) if wanted.text() == is => "It is like this already.".to_owned(),
        Some(_) => format!("It is {is} now; only the digest of what it would become is known here."),
    }
}

fn words(runs: &Runs) -> String {
    let images = runs.images().into_iter().map(|(container, image)| format!("{container} {image}"));
    images.collect::<Vec<_>>().join(", ")
}

/// Images that the request names itself.
fn images(target: &ChangeTarget, runs: Option<&Runs>) -> String {
    let Some(images) = &target.images else { return String::new() };
    let known = runs.map(Runs::images);
    let line = |(container, image): (&String, &String)| match &known {
        Some(known) if known.contains_key(container) => None,
        Some(_) => Some(format!("There is no container {container}.")),
        None => Some(format!("{container} → {image}")),
    };
    lines(images.iter().filter_map(line), "  ")
}

/// Images old → new.
fn exchanged(runs: &Runs, would: &Runs) -> String {
    let (old, new) = (runs.images(), would.images());
    let line = |(container, image): (&String, &String)| match old.get(container) {
        Some(old) if old == image => None,
        Some(old) => Some(format!("{container} {old} → {image}")),
        None => Some(format!("{container} {image} (new)")),
    };
    let gone = old.keys().filter(|container| !new.contains_key(*container));
    lines(new.iter().filter_map(line).chain(gone.map(|container| format!("{container} (gone)"))), "  ")
}

/// How two texts differ, a few lines around each difference.
fn diff(old: &str, new: &str, colours: bool) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut text = String::from("  --- now\n  +++ then\n");
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        text.push_str(&lines([hunk.header().to_string()], "  "));
        for change in hunk.iter_changes() {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ("-", "\u{1b}[31m"),
                ChangeTag::Insert => ("+", "\u{1b}[32m"),
                ChangeTag::Equal => (" ", ""),
            };
            let line = plain(change.value().trim_end_matches('\n'));
            let (colour, end) = if colours && !colour.is_empty() { (colour, "\u{1b}[0m") } else { ("", "") };
            text.extend(["  ", colour, sign, &line, end, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::proposal::{ANNOTATION, Difference, annotation};
    use crate::request::tests::{boxed, change, deletion};
    use serde_json::{Value, json};

    fn deployment(image: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
    }

    fn runs(image: &str) -> Runs {
        Runs::of(&location("apps", "Deployment", &[]).unwrap(), &deployment(image)).unwrap()
    }

    fn shown(request: &ChangeRequest, live: &Live) -> String {
        target_view(request, 0, &request.spec.targets[0], live, &Floor::default(), false)
    }

    fn by_digest(digest: &str, annotated: Option<&String>) -> ChangeRequest {
        let value = digest.strip_prefix("template/v1:").unwrap();
        change(&json!({"metadata": {"annotations": {ANNOTATION: annotated}}, "spec": {"targets": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "action": "Apply",
            "digest": {"encoding": "template/v1", "value": value}}]}}))
    }

    const DIFF: &str = "  web web:1 → web:2
  --- now
  +++ then
  @@ -1,4 +1,4 @@
   spec:
     containers:
  -  - image: web:1
  +  - image: web:2
       name: web
";

    #[test]
    fn named_images_are_shown_as_the_template_they_make() {
        let request =
            change(&json!({"spec": {"targets": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
            "action": "Apply", "images": {"web": "web:2"}}]}}));
        assert_eq!(shown(&request, &Live::There(deployment("web:1"))), DIFF);
        assert_eq!(shown(&request, &Live::Absent), "  It does not exist yet and would be created.\n  web → web:2\n");
    }

    #[test]
    fn a_stated_difference_is_shown_only_if_it_comes_to_the_digest() {
        let (live, would) = (runs("web:1"), runs("web:2"));
        let stated = annotation(&[Difference { target: 0, patch: live.difference(&would) }]);
        let honest = by_digest(&would.digest().unwrap(), stated.as_ref());
        assert_eq!(shown(&honest, &Live::There(deployment("web:1"))), DIFF);
        // Said to be web:2, but what would be signed is something else.
        let lying = by_digest(&runs("evil:6").digest().unwrap(), stated.as_ref());
        let text = shown(&lying, &Live::There(deployment("web:1")));
        assert!(!text.contains("web:2") && text.contains("only its digest is"), "{text}");
    }

    #[test]
    fn what_would_be_created_is_shown_whole() {
        let stated = annotation(&[Difference { target: 0, patch: Runs::nothing().difference(&runs("web:1")) }]);
        let request = by_digest(&runs("web:1").digest().unwrap(), stated.as_ref());
        let text = shown(&request, &Live::Absent);
        assert!(text.contains("web web:1 (new)") && text.contains("\n  +  - image: web:1\n"), "{text}");
    }

    #[test]
    fn what_runs_already_is_said() {
        let request = by_digest(&runs("web:1").digest().unwrap(), None);
        assert_eq!(shown(&request, &Live::There(deployment("web:1"))), "  It runs like this already: web web:1.\n");
    }

    /// The line of a refusal is all that many requests consist of.
    #[test]
    fn a_description_of_images_is_shown_as_a_difference_only_if_it_comes_to_the_digest() {
        let described = |would: &str, images: &str| {
            let mut request = by_digest(&runs(would).digest().unwrap(), None);
            request.spec.description = Some(images.to_owned());
            shown(&request, &Live::There(deployment("web:1")))
        };
        assert_eq!(described("web:2", "log log:1, web web:1 → web:2"), DIFF);
        assert!(described("web:3", "web web:1 → web:2").contains("or they are not true"));
        assert!(described("web:2", "the new shop → it is better").contains(UNKNOWN));
        let absent = by_digest(&runs("web:2").digest().unwrap(), None);
        assert!(shown(&absent, &Live::Absent).contains("only its digest is"));
    }

    #[test]
    fn words_of_others_do_not_reach_the_terminal_raw() {
        let request =
            boxed(change(&json!({"spec": {"title": "ok\u{1b}[2J", "description": "fine\nSign-offs: 2 of 2"}})));
        let text = header(&request, None, "2026-11-20T10:05:00Z".parse().unwrap());
        assert!(!text.contains('\u{1b}') && text.contains("\n  | Sign-offs: 2 of 2\n"), "{text}");
        assert!(text.contains("alice, 5m ago"), "{text}");
        let evil = deployment("web:1\u{1b}[31m");
        let request = by_digest(&runs("x").digest().unwrap(), None);
        assert!(!shown(&request, &Live::There(evil)).contains('\u{1b}'));
    }

    #[test]
    fn an_inventory_names_every_item() {
        let request = deletion(
            &json!({"status": {"inventory": {"digest": "d", "total": 3, "summary": "2 claims, 1 volume",
            "items": [{"kind": "PersistentVolumeClaim", "namespace": "old-shop", "name": "orders", "uid": "u", "size": "1Gi"},
                {"kind": "PersistentVolume", "name": "pv-1", "uid": "v", "handle": "csi/x"}],
            "added": [{"kind": "PersistentVolumeClaim", "namespace": "old-shop", "name": "late", "uid": "w"}]}}}),
        );
        let expected = "\
Would be lost: 2 claims, 1 volume
  KIND                    NAME              SIZE   WHERE
  PersistentVolumeClaim   old-shop/orders   1Gi    -
  PersistentVolume        pv-1              -      csi/x
  … and 1 more
Came later, and is not covered by it:
  KIND                    NAME            SIZE   WHERE
  PersistentVolumeClaim   old-shop/late   -      -
";
        assert_eq!(inventory(&request), expected);
    }
}
