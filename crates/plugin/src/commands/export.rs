//! `export`: the record of a deletion as Markdown, for the ticket.

use clap::Args;
use foureyes_core::api::{
    BackupRetention, Deleted, DeletionRequest, DeletionRequestStatus, ListedItem, Says, SignOff, SignOffEntry,
};
use foureyes_core::domain::request::Request as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use serde_json::json;

use crate::cluster::{Cluster, call};
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::request::{Kind, Reference, Request, find};

const EXAMPLES: &str = "\
Examples:
  kubectl foureyes export del/ns-old-shop-031e0555bb > deletion.md

The record: who asked, who approved it and what each of them verified, who supervised it, when, what went, and what is held
until when, with the seals. `foureyes verify` checks the seals of exported sign-offs: kubectl get signoff NAME -o yaml.";

/// `kubectl foureyes export`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    /// The request: NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
}

pub async fn run(cluster: &Cluster, format: Format, args: &Export) -> Result<u8> {
    if args.request.kind == Some(Kind::Change) {
        return Err(Error::Usage("only deletions are exported: name one as del/NAME".to_owned()));
    }
    let reference = Reference { kind: Some(Kind::Deletion), ..args.request.clone() };
    let Request::Deletion(request) = find(cluster, &reference).await? else {
        return Err(Error::Usage("only deletions are exported: name one as del/NAME".to_owned()));
    };
    let said = cluster.sign_offs(request.uid()).await?;
    let held = held(cluster, &request).await?;
    let all = json!({"request": *request, "signOffs": said, "backupRetention": held});
    match output::data(format, &all)? {
        Some(text) => output::print(&text)?,
        None => output::print(&markdown(&request, &said, held.as_ref()))?,
    }
    Ok(0)
}

async fn held(cluster: &Cluster, request: &DeletionRequest) -> Result<Option<BackupRetention>> {
    let Some(name) = request.status.as_ref().and_then(|status| status.backup_retention.as_deref()) else {
        return Ok(None);
    };
    let api: Api<BackupRetention> = Api::all(cluster.client.clone());
    call(&format!("BackupRetention {name} could not be read"), api.get_opt(name)).await
}

/// The record. What people wrote stays words: nothing of it becomes markup.
fn markdown(request: &DeletionRequest, said: &[SignOff], held: Option<&BackupRetention>) -> String {
    let status = request.status.clone().unwrap_or_default();
    let sections = [
        heading(request, &status),
        people(request, &status, said),
        times(request, &status),
        inventory(&status),
        outcome(&status),
        kept(&status, held),
        seals(request, said),
    ];
    let sections: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    sections.join("\n")
}

fn heading(request: &DeletionRequest, status: &DeletionRequestStatus) -> String {
    let mut rows = vec![
        ("Request", format!("DeletionRequest {} (UID {})", request.name(), request.uid())),
        ("Target", format!("{} (UID {})", request.spec.target.text(), request.spec.target.uid)),
        ("Reason", request.spec.reason.clone()),
    ];
    rows.extend(request.spec.ticket.clone().map(|ticket| ("Ticket", ticket)));
    rows.push(("Phase", request.phase().to_owned()));
    rows.extend(status.waiting_for.clone().map(|waits| ("Waits for", waits)));
    let rows = rows.into_iter().map(|(what, text)| [what.to_owned(), text]);
    format!("# Deletion of {}\n\n{}", words(&request.spec.target.text()), table(["What", "Record"], rows))
}

fn people(request: &DeletionRequest, status: &DeletionRequestStatus, said: &[SignOff]) -> String {
    let stated = request.spec.requester.as_ref();
    let asked_by = status.requested_by.clone().or_else(|| stated.map(|by| by.author.username.clone()));
    let asked =
        ["requested".to_owned(), asked_by.unwrap_or_default(), at(request_time(request).as_ref()), String::new()];
    let entries = status.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
    let spoken = entries.map(|entry| spoken(entry, said));
    format!(
        "## People\n\n{}",
        table(["What", "Who", "When", "Verified, in their words"], std::iter::once(asked).chain(spoken))
    )
}

fn request_time(request: &DeletionRequest) -> Option<Time> {
    request.metadata.creation_timestamp.clone()
}

fn spoken(entry: &SignOffEntry, said: &[SignOff]) -> [String; 4] {
    let made = said.iter().find(|made| made.metadata.name.as_deref() == Some(&entry.name));
    let mut text: Vec<String> = Vec::new();
    if let Some(made) = made {
        text.extend([&made.spec.verified, &made.spec.comment].into_iter().flatten().cloned());
    }
    text.extend(entry.because.as_ref().filter(|_| !entry.counts).map(|why| format!("(does not count: {why})")));
    let what = match entry.says.as_str() {
        says if says == Says::Approve.as_str() && entry.name == "annotation" => "approved by annotation",
        says if says == Says::Approve.as_str() => "approved",
        says if says == Says::Supervised.as_str() => "supervised",
        other => other,
    };
    [what.to_owned(), entry.author.clone(), at(entry.at.as_ref()), text.join("; ")]
}

fn times(request: &DeletionRequest, status: &DeletionRequestStatus) -> String {
    let approved = status.sign_offs.iter().flat_map(|sign_offs| &sign_offs.entries);
    let approved = approved.filter(|entry| entry.counts && entry.says == Says::Approve.as_str());
    let approved = approved.filter_map(|entry| entry.at.clone()).max_by_key(|at| at.0);
    let quiet = status.conditions.iter().find(|condition| condition.type_ == "Quiet" && condition.status == "True");
    let rows = [
        ("requested", request_time(request)),
        ("last approval", approved),
        ("quiet for long enough since", quiet.map(|condition| condition.last_transition_time.clone())),
        ("could be deleted from", status.usable_from.clone()),
        ("deletion began", status.executing_since.clone()),
        ("gone", status.executed_at.clone()),
        ("to be supervised by", status.supervise_by.clone()),
        ("closed", status.closed_at.clone()),
    ];
    let rows = rows.into_iter().filter_map(|(what, time)| Some([what.to_owned(), at(Some(&time?))]));
    format!("## Times\n\n{}", table(["What", "When"], rows))
}

fn inventory(status: &DeletionRequestStatus) -> String {
    let Some(inventory) = &status.inventory else { return String::new() };
    let listed = inventory.items.len();
    let more = usize::try_from(inventory.total).unwrap_or_default().saturating_sub(listed);
    let more = if more > 0 { format!("\nAnd {more} more, whose UIDs are in the request.\n") } else { String::new() };
    let lead = format!("{}; digest `{}`", words(&inventory.summary), code(&inventory.digest));
    format!("## Signed off\n\n{lead}\n\n{}{more}", items(&inventory.items))
}

fn items(items: &[ListedItem]) -> String {
    let rows = items.iter().map(|item| {
        let place = item.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [item.kind.clone(), format!("{place}{}", item.name), item.uid.clone(), text(&item.size), text(&item.handle)]
    });
    table(["Kind", "Name", "UID", "Size", "Where"], rows)
}

fn outcome(status: &DeletionRequestStatus) -> String {
    let Some(deleted) = &status.deleted else { return String::new() };
    let Deleted { expected, unexpected, remaining, checked_at } = deleted;
    let mut text = format!("## What went\n\n{expected} of the items that were signed off are gone");
    if checked_at.is_some() {
        text.extend([format!(", as of {}", at(checked_at.as_ref()))]);
    }
    text.push_str(".\n");
    for (what, listed) in [("Went, and was not signed off", unexpected), ("Signed off, and still there", remaining)] {
        if listed.is_empty() {
            text.extend([format!("\n{what}: nothing.\n")]);
        } else {
            text.extend([format!("\n{what}:\n\n{}", items(listed))]);
        }
    }
    text
}

fn kept(status: &DeletionRequestStatus, held: Option<&BackupRetention>) -> String {
    let mut text = String::new();
    if let Some(held) = held {
        let until = held.status.as_ref().and_then(|status| status.retain_until.clone());
        let until = until.map_or_else(
            || format!("for {} days", held.spec.retain_days),
            |until| format!("until {}", at(Some(&until))),
        );
        let name = held.metadata.name.as_deref().unwrap_or_default();
        let rows = held.spec.keepers.iter().map(|keeper| {
            [keeper.kind.clone(), keeper.name.clone(), keeper.uid.clone(), keeper.handle.clone().unwrap_or_default()]
        });
        text.extend([format!("## Held\n\nBackupRetention {}, {until}.\n\n", words(name))]);
        text.push_str(&table(["Kind", "Name", "UID", "Where"], rows));
    } else if let Some(name) = &status.backup_retention {
        text.extend([format!("## Held\n\nBackupRetention {}, which is gone.\n", words(name))]);
    }
    if !status.scaled_down.is_empty() {
        let rows = status.scaled_down.iter().map(|scaled| {
            let name = format!("{}/{}", scaled.kind, scaled.name);
            [name, scaled.field.clone(), scaled.before.clone(), scaled.after.clone()]
        });
        let rows = table(["Workload", "Field", "Before", "After"], rows);
        text.extend([format!("{}## Scaled down\n\n{rows}", if text.is_empty() { "" } else { "\n" })]);
    }
    text
}

fn seals(request: &DeletionRequest, said: &[SignOff]) -> String {
    let requester = request.spec.requester.as_ref();
    let own = requester.map(|by| {
        [format!("DeletionRequest {}", request.name()), by.author.username.clone(), by.seal.clone().unwrap_or_default()]
    });
    let rows = said.iter().map(|said| {
        let author = said.spec.author.as_ref().map(|author| author.username.clone()).unwrap_or_default();
        let name = said.metadata.name.clone().unwrap_or_default();
        [format!("{} {name}", said.spec.says.as_str()), author, said.spec.seal.clone().unwrap_or_default()]
    });
    format!("## Seals\n\n{}", table(["Statement", "By", "Seal"], own.into_iter().chain(rows)))
}

fn at(time: Option<&Time>) -> String {
    time.map(|time| output::time(time.0)).unwrap_or_default()
}

fn table<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(headings.iter().map(|heading| (*heading).to_owned()).collect());
    text.push_str(&line(headings.iter().map(|_| "---".to_owned()).collect()));
    for row in rows {
        text.push_str(&line(row.iter().map(|cell| words(cell)).collect()));
    }
    text
}

/// Words that somebody wrote, on one line and without meaning in Markdown.
fn words(text: &str) -> String {
    let one_line: Vec<&str> = text.split_whitespace().collect();
    let mut words = String::new();
    for character in output::plain(&one_line.join(" ")).chars() {
        if r"\`*_[]<>|#!".contains(character) {
            words.push('\\');
        }
        words.push(character);
    }
    words
}

/// What stands between backticks.
fn code(text: &str) -> String {
    output::plain(text).replace('`', "'")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::deletion;

    fn sign_off(name: &str, says: &str, author: &str, verified: &str) -> SignOff {
        serde_json::from_value(json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff", "metadata": {"name": name},
            "spec": {"subject": {"kind": "DeletionRequest", "name": "web-1", "uid": "u"}, "says": says,
                     "author": {"username": author}, "verified": verified, "seal": format!("v1.k.{name}")},
        }))
        .unwrap()
    }

    fn closed() -> DeletionRequest {
        let item = json!({"kind": "PersistentVolumeClaim", "namespace": "old-shop", "name": "orders", "uid": "u-1",
                          "size": "20Gi"});
        let entry = |name: &str, says: &str, author: &str, counts: bool| {
            json!({"name": name, "says": says, "author": author, "counts": counts, "at": "2026-11-20T11:00:00Z",
                   "because": (!counts).then_some("its author is the requester")})
        };
        deletion(&json!({
            "spec": {"ticket": "SHOP-17", "requester": {"username": "alice", "at": "2026-11-20T10:00:00Z", "seal": "v1.k.r"}},
            "status": {
                "phase": "Closed", "requestedBy": "alice", "backupRetention": "web-1",
                "usableFrom": "2026-11-20T12:00:00Z", "executedAt": "2026-11-20T13:00:00Z",
                "closedAt": "2026-11-20T14:00:00Z",
                "inventory": {"digest": "inventory/v1:sha256:00", "total": 3, "summary": "1 claim", "items": [item]},
                "deleted": {"expected": 1, "checkedAt": "2026-11-20T13:00:01Z", "unexpected": [item]},
                "signOffs": {"required": 1, "granted": 1, "text": "1/1", "entries": [
                    entry("one", "Approve", "bob", true), entry("two", "Approve", "alice", false),
                    entry("three", "Supervised", "bob", true)]},
            },
        }))
    }

    #[test]
    fn the_record_names_everybody_with_what_they_verified_and_what_is_held() {
        let said = [
            sign_off("one", "Approve", "bob", "the dashboards"),
            sign_off("three", "Supervised", "bob", "the volume is Released"),
        ];
        let held: BackupRetention = serde_json::from_value(json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "BackupRetention", "metadata": {"name": "web-1"},
            "spec": {"keepers": [{"kind": "PersistentVolume", "name": "pv-1", "uid": "v-1", "handle": "csi/vol-1"}],
                     "retainDays": 30, "mode": "Governance", "afterwards": "Keep"},
            "status": {"phase": "Holding", "retainUntil": "2026-12-20T13:00:00Z"},
        }))
        .unwrap();
        let text = markdown(&closed(), &said, Some(&held));
        for line in [
            "# Deletion of namespace/old-shop",
            "| Ticket | SHOP-17 |",
            "| requested | alice | 2026-11-20T10:00:00Z |  |",
            "| approved | bob | 2026-11-20T11:00:00Z | the dashboards |",
            "| approved | alice | 2026-11-20T11:00:00Z | (does not count: its author is the requester) |",
            "| supervised | bob | 2026-11-20T11:00:00Z | the volume is Released |",
            "| closed | 2026-11-20T14:00:00Z |",
            "| PersistentVolumeClaim | old-shop/orders | u-1 | 20Gi |  |",
            "And 2 more, whose UIDs are in the request.",
            "1 of the items that were signed off are gone, as of 2026-11-20T13:00:01Z.",
            "Went, and was not signed off:",
            "Signed off, and still there: nothing.",
            "BackupRetention web-1, until 2026-12-20T13:00:00Z.",
            "| PersistentVolume | pv-1 | v-1 | csi/vol-1 |",
            "| DeletionRequest web-1 | alice | v1.k.r |",
            "| Supervised three | bob | v1.k.three |",
        ] {
            assert!(text.lines().any(|known| known == line), "{line:?} is not in\n{text}");
        }
        let gone = markdown(&closed(), &[], None);
        assert!(gone.contains("BackupRetention web-1, which is gone."), "{gone}");
    }

    #[test]
    fn what_somebody_wrote_becomes_no_markup() {
        let mut request = closed();
        request.spec.reason = "done | bob\n# Approved <b>by</b> [all](http://x)\u{1b}[2J".to_owned();
        let text = markdown(&request, &[], None);
        assert_eq!(text.lines().filter(|line| line.starts_with("# ")).count(), 1);
        assert!(text.contains(r"done \| bob \# Approved \<b\>by\</b\> \[all\](http://x)"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
