//! `inventory`: what a deletion would lose, what would keep it, and who uses it. It only reads.

use clap::Args;
use foureyes_core::api::{DeletionRequest, Target, TargetKind};
use foureyes_core::digest::short;
use foureyes_core::domain::inventory::Volume;
use foureyes_core::domain::ready;
use foureyes_core::domain::request::Request as _;
use jiff::Timestamp;
use kube::Api;
use serde::Serialize;

use crate::cluster::{Cluster, call};
use crate::commands::undo::Lost as Wanted;
use crate::deletion::{Asked, Doomed, There};
use crate::error::{Error, Result};
use crate::keeping::{Keeper, keeping};
use crate::losing::{Losing, Lost, inventory, losing};
use crate::output::{self, Format, facts, indented, table};
use crate::using::{User, using};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  # What would be lost with a claim, what would keep it, and who uses it?
  kubectl foureyes inventory pvc/reports -n shop

  # The same for a namespace, with all that is in it
  kubectl foureyes inventory ns/old-shop

  # Is what a request lists still what is there?
  kubectl foureyes inventory del/ns-old-shop-031e0555bb

  # In a script: the digest that a sign-off by annotation would name
  kubectl foureyes inventory pvc/reports -n shop -o json | jq -r .shortDigest

Only reads, with your own rights. What you may not read is said, and keeps nothing else from being
shown; without the right to read volumes, the digest is asked of the guard by a dry run of the
deletion. The digest is the one that the guard reckons, as long as nothing changes.

What is inside a volume, and whether a backup can be restored, nobody here knows.";

/// `kubectl foureyes inventory`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Inventory {
    /// What would go: pvc/NAME, ns/NAME, or the target of del/NAME
    #[arg(value_name = "KIND/NAME")]
    pub object: Wanted,
}

/// Everything, as data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    target: Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// What an approval by annotation names.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_digest: Option<String>,
    summary: String,
    lost: Vec<Row>,
    kept_by: Vec<Keeper>,
    used_by: Vec<User>,
    /// What could not be read.
    unknown: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

/// A claim that would go.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    name: String,
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reclaim_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
}

pub async fn run(cluster: &Cluster, format: Format, args: &Inventory) -> Result<u8> {
    let (cluster, doomed, request) = match &args.object {
        Wanted::Claim(name) => (cluster.clone(), doomed(TargetKind::PersistentVolumeClaim, name), None),
        Wanted::Namespace(name) => (cluster.clone(), doomed(TargetKind::Namespace, name), None),
        Wanted::Request(name) => {
            let request = request(cluster, name).await?;
            let target = &request.spec.target;
            if !target.kind.is_in_use() {
                return listed(format, &request);
            }
            let place = target.namespace.as_deref().unwrap_or(&cluster.namespace);
            (cluster.in_namespace(place), doomed(target.kind, &target.name), Some(request))
        }
    };
    let there = match (There::read(&cluster, &doomed).await, &request) {
        (Ok(there), Some(request)) if there.target.uid != request.spec.target.uid => return gone(format, request),
        // Whatever is called so is missing: what the request lists is all that is known.
        (Err(Error::Usage(_)), Some(request)) => return gone(format, request),
        (there, _) => there?,
    };
    let mut losing = losing(&cluster, &there).await?;
    let kept_by = keeping(&cluster, &there.target, &mut losing).await;
    let used_by = using(&cluster, &there.target, &mut losing).await;
    let open = match request {
        Some(request) => Some(request),
        None => match Asked::read(&cluster, &there.target).await {
            Ok(asked) => asked.open.or(asked.outgrown),
            Err(error) => {
                losing.unknown.push(format!("whether somebody has asked already: {}", error.why()));
                None
            }
        },
    };
    let shown = shown(&there, losing, kept_by, used_by, open.as_ref());
    if let Some(text) = output::data(format, &shown)? {
        output::print(&text)?;
    } else if format == Format::Name {
        output::print(&output::lines(names(&shown), ""))?;
    } else {
        output::print(&page(&shown, there.created, Timestamp::now()))?;
    }
    shown.unknown.iter().for_each(|unknown| output::say(&format!("Not known: {unknown}")));
    output::say(&next(&shown, &there, open.as_ref()));
    Ok(0)
}

fn doomed(kind: TargetKind, name: &str) -> Doomed {
    Doomed { kind, name: name.to_owned() }
}

async fn request(cluster: &Cluster, name: &str) -> Result<DeletionRequest> {
    let api: Api<DeletionRequest> = Api::all(cluster.client.clone());
    let read = call(&format!("DeletionRequest {name} could not be read"), api.get_opt(name)).await?;
    read.ok_or_else(|| Error::Usage(format!("there is no DeletionRequest {name}: see `kubectl get deletionrequests`")))
}

/// What the request lists is all that is known of an object that is gone.
fn gone(format: Format, request: &DeletionRequest) -> Result<u8> {
    let code = listed(format, request)?;
    let (text, name) = (request.spec.target.text(), request.name());
    output::say(&format!(
        "{text} is gone; that is what del/{name} lists of it. What was kept of it comes back with:\n  kubectl foureyes undo del/{name}"
    ));
    Ok(code)
}

fn listed(format: Format, request: &DeletionRequest) -> Result<u8> {
    match output::data(format, &request.status.as_ref().and_then(|status| status.inventory.clone()))? {
        Some(data) => output::print(&data)?,
        None => output::print(&view::inventory(request))?,
    }
    Ok(0)
}

fn shown(
    there: &There,
    losing: Losing,
    kept_by: Vec<Keeper>,
    used_by: Vec<User>,
    open: Option<&DeletionRequest>,
) -> Shown {
    let lost: Vec<Row> = losing.claims.iter().map(row).collect();
    let summary = inventory(&losing.claims, &losing.snapshots).summary();
    let is_whole = losing.digest.as_ref().filter(|digest| digest.contains(':'));
    Shown {
        target: there.target.clone(),
        digest: is_whole.cloned(),
        short_digest: losing.digest.as_deref().map(|digest| short(digest).to_owned()),
        summary,
        lost,
        kept_by,
        used_by,
        unknown: losing.unknown,
        request: open.map(|open| open.name().to_owned()),
    }
}

fn row(lost: &Lost) -> Row {
    let volume = lost.volume.as_ref().map(Volume::of);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Row {
        namespace: lost.claim.namespace.to_string(),
        name: lost.claim.name.to_string(),
        uid: lost.claim.uid.to_string(),
        size: owned(lost.claim.size.as_deref()),
        storage_class: owned(lost.claim.storage_class.as_deref()),
        volume: owned(lost.claim.volume.as_deref()),
        reclaim_policy: volume.as_ref().map(|volume| volume.reclaim.as_str().to_owned()),
        handle: volume.and_then(|volume| volume.handle).map(Into::into),
    }
}

fn names(shown: &Shown) -> Vec<String> {
    let of_row = |row: &Row| {
        let volume = row.volume.as_ref().map(|volume| format!("persistentvolume/{volume}"));
        std::iter::once(format!("persistentvolumeclaim/{}", row.name)).chain(volume).collect::<Vec<_>>()
    };
    shown.lost.iter().flat_map(of_row).collect()
}

fn page(shown: &Shown, created: Option<Timestamp>, now: Timestamp) -> String {
    let age = created.map(|created| format!(", {} old", output::age(created, now))).unwrap_or_default();
    let digest = match (&shown.digest, &shown.short_digest) {
        (Some(whole), Some(short)) => format!("{whole} (short: {short})"),
        (None, Some(short)) => format!("{short} (short)"),
        _ => "not known".to_owned(),
    };
    let mut text =
        facts(&[("Object", format!("{} (UID {}{age})", shown.target.text(), shown.target.uid)), ("Digest", digest)]);
    text.push_str(&output::lines([String::new(), format!("Would be lost: {}", shown.summary)], ""));
    let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<[String; 6]> = shown
        .lost
        .iter()
        .map(|row| {
            let claim = format!("{}/{}", row.namespace, row.name);
            let (volume, policy) = (dash(&row.volume), dash(&row.reclaim_policy));
            [claim, dash(&row.size), dash(&row.storage_class), volume, policy, dash(&row.handle)]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str(&indented(&table(["CLAIM", "SIZE", "CLASS", "VOLUME", "POLICY", "WHERE"], &rows)));
    }
    text.push_str(&around(&shown.kept_by, &shown.used_by));
    text
}

/// What would keep it and who uses it.
pub fn around(kept_by: &[Keeper], used_by: &[User]) -> String {
    let keepers: Vec<_> = kept_by.iter().map(|one| [one.keeper.clone(), one.of.clone(), one.state.clone()]).collect();
    let users: Vec<_> = used_by.iter().map(|one| [one.user.clone(), one.uses.clone(), one.state.clone()]).collect();
    section("Would keep it", "nothing that is known of", ["WHAT", "KEEPS", "HOW"], &keepers)
        + &section("Uses it", "nobody who is known of", ["WHO", "USES", "NOW"], &users)
}

fn section(title: &str, none: &str, headings: [&str; 3], rows: &[[String; 3]]) -> String {
    if rows.is_empty() {
        format!("\n{title}: {none}\n")
    } else {
        format!("\n{title}:\n{}", indented(&table(headings, rows)))
    }
}

/// What comes next.
fn next(shown: &Shown, there: &There, open: Option<&DeletionRequest>) -> String {
    let text = there.target.text();
    if there.is_going {
        return format!("{text} is being deleted already.");
    }
    if let Some(open) = open {
        let listed = open.status.as_ref().and_then(|status| status.inventory.as_ref());
        let listed = listed.map(|listed| listed.digest.as_str());
        let same = match (&shown.digest, listed) {
            (Some(live), Some(listed)) if live == listed => " What is there is exactly what it lists.",
            (Some(_), Some(_)) => " What is there is not what it lists: look at both.",
            _ => "",
        };
        let name = open.name();
        return format!(
            "Its deletion is asked for by del/{name}.{same} See how that stands with:\n  kubectl foureyes describe del/{name}"
        );
    }
    if shown.lost.is_empty() {
        return format!(
            "{text} holds no data that is guarded: whoever may delete it needs nobody's word:\n  {}",
            ready::delete(&there.target)
        );
    }
    let (kind, place) = match &there.target.namespace {
        Some(namespace) => ("pvc", format!(" -n {namespace}")),
        None => ("ns", String::new()),
    };
    format!(
        "Nobody has asked for its deletion. Who may request can, with a reason of their own:\n  kubectl foureyes delete {kind}/{}{place} --reason 'no longer needed'",
        there.target.name
    )
}
