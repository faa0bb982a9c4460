//! `undo`: brings back what a deletion took, from the volumes that outlived it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use foureyes_core::domain::ready;
use futures::{StreamExt as _, stream};
use serde::Serialize;

use crate::cluster::Cluster;
use crate::commands::delete::duration;
use crate::error::{Error, Result};
use crate::kept::{Kept, Place};
use crate::kinds::Named;
use crate::lost::{Anew, found};
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
it. Undo reserves that volume for the claim that it was, creates the claim as it was, with its
labels and annotations, and waits until the two are bound. Nothing is copied and nothing is
deleted. It can be stopped at any time and run again: it does what is left. A claim of that name
with another volume is never touched, and no volume comes back whose storage another claim uses.

What ran is not brought back: the last lines say what to do. Needs no sign-off, and your own
rights to read and patch volumes and to create claims (role foureyes-restorer); for a namespace
that is gone, also to create it.";

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
    let mut found = found(cluster, &args.lost, args.volume.as_deref()).await?;
    found.notes.iter().for_each(|note| output::say(note));
    let (mut rows, mut codes) = (Vec::new(), BTreeSet::new());
    for gone in &found.gone {
        output::say(&format!("error: {gone}"));
        codes.insert(crate::error::NEGATIVE);
    }
    let volumes = std::mem::take(&mut found.volumes);
    let is_one = volumes.len() == 1 && codes.is_empty();
    let rooms = rooms(cluster, &volumes, found.namespace.as_ref(), way).await?;
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
    if let Some(ahead) = ahead(&rows, &rooms, found.namespace.as_ref()) {
        output::say(&ahead);
    }
    Ok(codes.last().copied().unwrap_or_default())
}

/// Makes sure of every namespace before anything else is changed.
async fn rooms(cluster: &Cluster, volumes: &[Kept], anew: Option<&Anew>, way: Way) -> Result<BTreeMap<String, Room>> {
    let names: BTreeSet<&str> = volumes.iter().map(|kept| kept.place.namespace.as_str()).collect();
    let mut rooms = BTreeMap::new();
    for name in names {
        let labels = anew.filter(|anew| anew.name == name).map(|anew| &anew.labels);
        rooms.insert(name.to_owned(), room(cluster, name, labels, way).await?);
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
        "whoever has the role {ROLE} can do it, and somebody who may bind roles can give it to you with:\n  kubectl create clusterrolebinding {ROLE}-{} --clusterrole={ROLE} --user={}",
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
fn ahead(rows: &[Row], rooms: &BTreeMap<String, Room>, anew: Option<&Anew>) -> Option<String> {
    let back: BTreeSet<&str> =
        rows.iter().filter(|row| row.outcome == named(Outcome::Back)).map(|row| row.namespace.as_str()).collect();
    if back.is_empty() {
        return None;
    }
    let mut lines = vec!["What used it is not started again by this.".to_owned()];
    for namespace in back {
        if rooms.get(namespace) == Some(&Room::Created) {
            let labels = if anew.is_some_and(|anew| !anew.labels.is_empty()) {
                "with the labels that it had"
            } else {
                "with no labels"
            };
            lines.push(format!("Namespace {namespace} was created anew, {labels}: apply it, and what ran in it, from where that is kept. Then look:\n  kubectl -n {namespace} get pvc,pods"));
        } else {
            lines.push(format!("See what is switched off, and scale it up again:\n  kubectl -n {namespace} get deployments,statefulsets"));
        }
    }
    lines.push("The volumes stay on Retain, so that they outlive the next deletion, too; what holds them (kubectl get backupretentions) goes on holding them.".to_owned());
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("pvc/a", Some(Lost::Claim("a".into())))]
    #[case("namespaces/a", Some(Lost::Namespace("a".into())))]
    #[case("deletionrequest.foureyes.dev/a", Some(Lost::Request("a".into())))]
    #[case("chg/a", None)]
    #[case("a", None)]
    fn what_is_wanted_back_is_named_by_its_kind(#[case] text: &str, #[case] lost: Option<Lost>) {
        assert_eq!(text.parse().ok(), lost);
    }

    #[test]
    fn a_role_is_named_with_the_line_that_gives_it() {
        let line = "kubectl create clusterrolebinding foureyes-restorer-it-s-me --clusterrole=foureyes-restorer --user='It'\\''s me'";
        assert!(role_for("It's me").ends_with(line), "{}", role_for("It's me"));
    }
}
