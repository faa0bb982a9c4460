//! `undo`: brings back what a deletion took, from the volumes that outlived it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use foureyes_core::api::{DeletionRequest, TargetKind, is_name};
use foureyes_core::domain::inventory::prove_items;
use foureyes_core::domain::ready;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use serde::Serialize;

use crate::cluster::{Cluster, call};
use crate::commands::delete::duration;
use crate::error::{Error, Result};
use crate::kept::{Kept, Place, chosen, newest};
use crate::kinds::Named;
use crate::output::{self, Format, plain};
use crate::restoring::{Done, Outcome, Room, Way, bring_back, room};

/// Claims that are brought back side by side.
const AT_ONCE: usize = 8;
const ROLE: &str = "foureyes-restorer";

const EXAMPLES: &str = "\
Examples:
  # Look first: what would come back?
  kubectl foureyes undo del/pvc-reports-906e65b48a4e --dry-run

  # One claim, with its data, under its old name
  kubectl foureyes undo pvc/reports -n shop

  # A namespace: it is created again, with every claim that was kept of it
  kubectl foureyes undo ns/old-shop

  # The same for exactly what one request let go
  kubectl foureyes undo del/ns-old-shop-031e0555bb

  # That claim was deleted twice: an older one of its volumes
  kubectl foureyes undo pvc/reports -n shop --volume pvc-d0e31405-bd0b-4814-a4d5-ff0ef3b16909

A deletion takes claims; a volume whose reclaim policy is Retain outlives it, with all that is on
it. Undo reserves that volume for the claim that it was, creates the claim as it was, and waits
until the two are bound. Nothing is copied and nothing is deleted. It can be stopped at any time
and run again: it does what is left. A claim of that name with another volume is never touched.

What ran is not brought back: the last lines say what to do. Needs no sign-off, and your own
rights to patch volumes and to create claims (role foureyes-restorer).";

/// `kubectl foureyes undo`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Undo {
    /// What shall come back: del/NAME, pvc/NAME or ns/NAME
    #[arg(value_name = "KIND/NAME")]
    pub lost: Lost,
    /// Which volume becomes the claim, where several were kept of it
    #[arg(long, value_name = "NAME")]
    pub volume: Option<String>,
    /// Only print what would be done, after the server has tried what it can
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait for each claim until it is bound
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
}

/// What somebody wants back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// All that a DeletionRequest let go.
    Request(String),
    Claim(String),
    Namespace(String),
}

impl FromStr for Lost {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        const NAMING: &str = "name a claim as pvc/NAME, a namespace as ns/NAME, or a request as del/NAME";
        let Named { kind, name } = text.parse().map_err(|_| NAMING)?;
        match kind.strip_suffix(".foureyes.dev").unwrap_or(&kind) {
            "pvc" | "persistentvolumeclaim" | "persistentvolumeclaims" => Ok(Self::Claim(name)),
            "ns" | "namespace" | "namespaces" => Ok(Self::Namespace(name)),
            "del" | "deletion" | "deletionrequest" | "deletionrequests" => Ok(Self::Request(name)),
            _ => Err(NAMING.to_owned()),
        }
    }
}

/// What can come back, and what of it can't.
#[derive(Debug, Default)]
struct Found {
    volumes: Vec<Kept>,
    /// One line each.
    gone: Vec<String>,
    /// The namespace that went along and is created anew.
    namespace: Option<String>,
}

/// What became of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    name: String,
    volume: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize)]
struct Rows<'a> {
    items: &'a [Row],
}

pub async fn run(cluster: &Cluster, format: Format, args: &Undo) -> Result<u8> {
    match undone(cluster, format, args).await {
        Err(error) => Err(with_role(cluster, error).await),
        code => code,
    }
}

async fn undone(cluster: &Cluster, format: Format, args: &Undo) -> Result<u8> {
    if args.volume.is_some() && !matches!(args.lost, Lost::Claim(_)) {
        return Err(Error::Usage("--volume says which volume becomes one claim: name that as pvc/NAME".to_owned()));
    }
    let way = Way { dry_run: args.dry_run, patience: args.timeout };
    let mut found = found(cluster, args).await?;
    let (mut rows, mut codes) = (Vec::new(), BTreeSet::new());
    for gone in &found.gone {
        output::say(&format!("error: {gone}"));
        codes.insert(crate::error::NEGATIVE);
    }
    let volumes = std::mem::take(&mut found.volumes);
    let is_one = volumes.len() == 1 && codes.is_empty();
    let rooms = rooms(cluster, &volumes, found.namespace.as_deref(), way).await?;
    let room_of = |kept: &Kept| rooms.get(&kept.place.namespace).copied().unwrap_or(Room::There);
    let mut results = stream::iter(volumes)
        .map(|kept| async {
            let (place, volume, room) = (kept.place.clone(), kept.name.clone(), room_of(&kept));
            (place, volume, bring_back(cluster, kept, room, way).await)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((place, volume, result)) = results.next().await {
        match result {
            Err(error) if is_one => return Err(error),
            Err(error) => {
                let error = with_role(cluster, error).await;
                output::say(&format!("error: {error}"));
                codes.insert(error.exit_code());
                rows.push(row(place, volume, "Failed", Some(error.to_string())));
            }
            Ok(done) => {
                if format == Format::Table {
                    output::print(&line(&place, &volume, done))?;
                }
                if let Some(why) = done.unknown {
                    output::say(&format!(
                        "note: labels and annotations of {} are not known ({why}): add them from where they are kept",
                        place.text()
                    ));
                }
                rows.push(row(place, volume, named(done.outcome), None));
            }
        }
    }
    rows.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    if let Some(text) = output::data(format, &Rows { items: &rows })? {
        output::print(&text)?;
    } else if format == Format::Name {
        output::print(&names(&rows))?;
    }
    if let Some(ahead) = ahead(&rows, &rooms) {
        output::say(&ahead);
    }
    Ok(codes.last().copied().unwrap_or_default())
}

async fn found(cluster: &Cluster, args: &Undo) -> Result<Found> {
    let request = match &args.lost {
        Lost::Request(name) => Some(request(cluster, name).await?),
        Lost::Claim(_) | Lost::Namespace(_) => None,
    };
    let volumes: Vec<PersistentVolume> = cluster.all(None).await?;
    let volumes: Vec<Kept> = volumes.into_iter().filter_map(Kept::of).collect();
    match (&args.lost, request) {
        (Lost::Claim(name), _) => {
            let place = Place { namespace: cluster.namespace.clone(), name: name.clone() };
            if !is_name(&place.namespace) {
                return Err(Error::Usage(format!("no namespace can be called {}", plain(&place.namespace))));
            }
            let kept = chosen(&place, volumes, args.volume.as_deref())?;
            Ok(Found { volumes: vec![kept], ..Found::default() })
        }
        (_, Some(request)) => of_request(&request, volumes),
        (Lost::Namespace(name) | Lost::Request(name), None) => of_namespace(name, volumes),
    }
}

async fn request(cluster: &Cluster, name: &str) -> Result<DeletionRequest> {
    let api: Api<DeletionRequest> = Api::all(cluster.client.clone());
    let read = call(&format!("DeletionRequest {name} could not be read"), api.get_opt(name)).await?;
    read.ok_or_else(|| {
        Error::Usage(format!(
            "there is no DeletionRequest {name}: see `kubectl get deletionrequests`, or name what went as pvc/NAME or ns/NAME"
        ))
    })
}

fn of_namespace(name: &str, volumes: Vec<Kept>) -> Result<Found> {
    let volumes = newest(volumes.into_iter().filter(|kept| kept.place.namespace == name).collect());
    if volumes.is_empty() {
        return Err(Error::Refused(format!(
            "nothing is kept of namespace {name}: no volume on Retain was for a claim in it; see `kubectl get pv`, and whether a backup has it"
        )));
    }
    Ok(Found { volumes, gone: Vec::new(), namespace: Some(name.to_owned()) })
}

/// The volumes that the request's inventory names, whatever became of them.
fn of_request(request: &DeletionRequest, volumes: Vec<Kept>) -> Result<Found> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let inventory = request.status.as_ref().and_then(|status| status.inventory.as_ref()).ok_or_else(|| {
        Error::Refused(format!("del/{name} says not yet what would be lost, so nothing has gone by it"))
    })?;
    let items =
        prove_items(inventory).map_err(|error| Error::unreadable(format!("the inventory of del/{name}"), error))?;
    let (usable, lost): (Vec<Kept>, Vec<Kept>) = volumes
        .into_iter()
        .filter(|kept| items.contains(&kept.uid).is_ok_and(|is_listed| is_listed))
        .partition(Kept::is_usable);
    let mut gone: Vec<String> = lost
        .iter()
        .map(|kept| {
            format!(
                "{} can't be brought back: volume {} is not on Retain, or is being deleted",
                kept.place.text(),
                plain(&kept.name)
            )
        })
        .collect();
    let known: BTreeSet<&str> = usable.iter().chain(&lost).map(|kept| kept.uid.as_str()).collect();
    let missing = inventory.items.iter().filter(|item| item.kind == "PersistentVolume");
    let missing = missing.filter(|item| !known.contains(item.uid.as_str()));
    gone.extend(missing.map(|item| {
        format!(
            "volume {} is gone, or is for no claim any more: whether a backup has its data is not known here",
            plain(&item.name)
        )
    }));
    if usable.is_empty() && gone.is_empty() {
        return Err(Error::Refused(format!("nothing is kept of del/{name}: it took no volume along")));
    }
    let target = &request.spec.target;
    let namespace = (target.kind == TargetKind::Namespace).then(|| target.name.clone());
    Ok(Found { volumes: newest(usable), gone, namespace })
}

/// Makes sure of every namespace before anything else is changed.
async fn rooms(cluster: &Cluster, volumes: &[Kept], went: Option<&str>, way: Way) -> Result<BTreeMap<String, Room>> {
    let names: BTreeSet<&str> = volumes.iter().map(|kept| kept.place.namespace.as_str()).collect();
    let mut rooms = BTreeMap::new();
    for name in names {
        rooms.insert(name.to_owned(), room(cluster, name, went == Some(name), way).await?);
    }
    Ok(rooms)
}

/// Says which role has the right that is missing.
async fn with_role(cluster: &Cluster, error: Error) -> Error {
    let Error::Forbidden { what, why, .. } = error else { return error };
    let me = cluster.me().await.map_or_else(|_| "YOU".to_owned(), |me| me.username);
    Error::Forbidden { what, why, help: role_for(&me) }
}

fn role_for(me: &str) -> String {
    let own: String =
        me.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).take(40).collect();
    format!(
        "the role {ROLE} has what undo needs, and somebody who may bind roles can give it to you with:\n  kubectl create clusterrolebinding {ROLE}-{} --clusterrole={ROLE} --user={}",
        own.to_ascii_lowercase(),
        ready::word(me)
    )
}

fn row(place: Place, volume: String, outcome: &'static str, why: Option<String>) -> Row {
    Row { namespace: place.namespace, name: place.name, volume, outcome, why }
}

const fn named(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Back => "Back",
        Outcome::There => "There",
        Outcome::Would { .. } => "WouldBeBack",
    }
}

fn line(place: &Place, volume: &str, done: Done) -> String {
    let text = match done.outcome {
        Outcome::Back => format!("{} is back, bound to {volume}", place.text()),
        Outcome::There => format!("{} is there already, bound to {volume}", place.text()),
        Outcome::Would { tried: true } => {
            format!("{} would come back, bound to {volume} (dry run: the server agrees)", place.text())
        }
        Outcome::Would { tried: false } => format!(
            "{} would come back, bound to {volume} (dry run: the claim can't be tried before its namespace is there)",
            place.text()
        ),
    };
    format!("{}\n", plain(&text))
}

fn names(rows: &[Row]) -> String {
    let there = rows.iter().filter(|row| row.outcome != "Failed");
    output::lines(there.map(|row| format!("persistentvolumeclaim/{}", row.name)), "")
}

/// What is left to people.
fn ahead(rows: &[Row], rooms: &BTreeMap<String, Room>) -> Option<String> {
    let back: BTreeSet<&str> =
        rows.iter().filter(|row| row.outcome == named(Outcome::Back)).map(|row| row.namespace.as_str()).collect();
    if back.is_empty() {
        return None;
    }
    let mut lines = vec!["What used it is not started again by this.".to_owned()];
    for namespace in back {
        if rooms.get(namespace) == Some(&Room::Created) {
            lines.push(format!("Namespace {namespace} was created anew, with no labels: apply it, and what ran in it, from where that is kept. Then look:\n  kubectl -n {namespace} get pvc,pods"));
        } else {
            lines.push(format!("See what is switched off, and scale it up again:\n  kubectl -n {namespace} get deployments,statefulsets"));
        }
    }
    lines.push("The volumes stay on Retain, so that they outlive the next deletion, too.".to_owned());
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kept::tests::volume;
    use crate::request::tests::deletion;
    use foureyes_core::domain::inventory::{Claim, Inventory, Volume};
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case("pvc/a", Some(Lost::Claim("a".into())))]
    #[case("namespaces/a", Some(Lost::Namespace("a".into())))]
    #[case("deletionrequest.foureyes.dev/a", Some(Lost::Request("a".into())))]
    #[case("chg/a", None)]
    #[case("a", None)]
    fn what_is_wanted_back_is_named_by_its_kind(#[case] text: &str, #[case] lost: Option<Lost>) {
        assert_eq!(text.parse().ok(), lost);
    }

    const MINE: &str = "00000000-0000-4000-8000-00000000000a";
    const OTHER: &str = "00000000-0000-4000-8000-00000000000b";

    /// A request that let one volume of shop/reports go.
    fn asked() -> DeletionRequest {
        let claim = Claim {
            namespace: "shop".into(),
            name: "reports".into(),
            uid: "00000000-0000-4000-8000-00000000000c".into(),
            ..Claim::default()
        };
        let volume = Volume { name: "mine".into(), uid: MINE.into(), ..Volume::default() };
        let inventory = Inventory::of([(&claim, Some(&volume))]);
        let items: Vec<_> = inventory.items().iter().map(foureyes_core::domain::inventory::DataItem::listed).collect();
        deletion(&json!({"status": {"phase": "Executed", "inventory": {
            "digest": inventory.digest().unwrap(), "itemsDigest": inventory.items_digest().unwrap(),
            "packedUIDs": inventory.packed().unwrap(), "total": 2, "summary": "", "items": items}}}))
    }

    fn kept(name: &str, uid: &str, extra: &Value) -> Kept {
        let mut object = json!({"metadata": {"name": name, "uid": uid}});
        json_patch::merge(&mut object, extra);
        Kept::of(volume(&object)).unwrap()
    }

    #[test]
    fn of_several_volumes_a_request_names_its_own() {
        let newer = json!({"status": {"lastPhaseTransitionTime": "2026-11-23T10:00:00Z"}});
        let all = vec![kept("mine", MINE, &json!({})), kept("other", OTHER, &newer)];
        let found = of_request(&asked(), all).unwrap();
        assert_eq!(found.volumes.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["mine"]);
        assert!(found.gone.is_empty(), "{found:?}");
        assert_eq!(found.namespace.as_deref(), Some("old-shop"));
    }

    #[test]
    fn what_a_request_let_go_for_good_is_said() {
        let found = of_request(&asked(), vec![kept("other", OTHER, &json!({}))]).unwrap();
        assert!(found.volumes.is_empty() && found.gone[0].contains("volume mine is gone"), "{found:?}");
        let on_delete = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
        let found = of_request(&asked(), vec![kept("mine", MINE, &on_delete)]).unwrap();
        assert!(found.volumes.is_empty() && found.gone[0].contains("not on Retain"), "{found:?}");
        assert_eq!(found.gone.len(), 1);
    }

    #[test]
    fn an_inventory_that_is_not_what_was_signed_names_nothing() {
        let mut request = asked();
        request.status.as_mut().unwrap().inventory.as_mut().unwrap().digest = "inventory/v1:sha256:00".into();
        assert!(of_request(&request, vec![kept("mine", MINE, &json!({}))]).is_err());
    }

    #[test]
    fn a_role_is_named_with_the_line_that_gives_it() {
        let line = "kubectl create clusterrolebinding foureyes-restorer-it-s-me --clusterrole=foureyes-restorer --user='It'\\''s me'";
        assert!(role_for("It's me").ends_with(line), "{}", role_for("It's me"));
    }
}
