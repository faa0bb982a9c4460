//! `status`: what waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use foureyes_core::api::{ChangeRequest, DeletionRequest};
use jiff::Timestamp;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::output::{self, Format, age};
use crate::request::Request;
use crate::waiting::{Viewer, Whom, right, whom};

const EXAMPLES: &str = "\
Examples:
  # In this namespace
  kubectl foureyes status

  # Everywhere, only what waits for me
  kubectl foureyes status -A | grep '^you '

  # The same for a script
  kubectl foureyes status -A -o json | jq -r '.items[] | select(.waitsFor == \"you\") | .name'

WAITS says for whom: you may sign it off, or a question about it is yours; anybody with ordinary
rights may do it now; others have to sign it off; nobody, because a clock or the cluster is
next. Your own requests wait for others.";

/// `kubectl foureyes status`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    /// In all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}

/// One open request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    waits_for: &'static str,
    namespace: String,
    /// As the plugin takes it.
    name: String,
    target: String,
    phase: &'static str,
    sign_offs: String,
    requester: String,
    waiting_for: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    #[serde(skip)]
    whom: Whom,
    #[serde(skip)]
    full_name: String,
}

#[derive(Serialize)]
struct Rows<'a> {
    items: &'a [Row],
}

pub async fn run(cluster: &Cluster, format: Format, args: &Status) -> Result<u8> {
    let namespace = Some(cluster.namespace.as_str()).filter(|_| !args.all_namespaces);
    let (me, floor) = (cluster.me().await?, cluster.floor().await);
    let requests = open(cluster, namespace).await?;
    let mut rights: BTreeMap<(&'static str, (&'static str, BTreeSet<String>)), bool> = BTreeMap::new();
    let mut rows = Vec::new();
    for request in &requests {
        let key = (request.resource(), right(request, &cluster.own_namespace));
        let may_approve = if let Some(known) = rights.get(&key) {
            *known
        } else {
            let held = cluster.may(key.1.0, key.0, &key.1.1).await?;
            rights.insert(key, held);
            held
        };
        let viewer = Viewer { author: &me, identities: &floor.identities, may_approve };
        rows.extend(whom(request, &viewer).map(|whom| row(request, whom)));
    }
    rows.sort_by(|one, other| (one.whom, one.created, &one.name).cmp(&(other.whom, other.created, &other.name)));
    match output::data(format, &Rows { items: &rows })? {
        Some(text) => output::print(&text)?,
        None if format == Format::Name => output::print(&names(&rows))?,
        None if rows.is_empty() => output::say(&match namespace {
            Some(namespace) => {
                format!("Nothing waits in namespace {namespace}. Everywhere: kubectl foureyes status -A")
            }
            None => "Nothing waits.".to_owned(),
        }),
        None => output::print(&table(&rows, Timestamp::now()))?,
    }
    Ok(0)
}

/// Everything that has not ended there.
async fn open(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Request>> {
    let changes: Vec<ChangeRequest> = cluster.all(namespace).await?;
    let deletions: Vec<DeletionRequest> = cluster.all(None).await?;
    let changes = changes.into_iter().map(|change| Request::Change(Box::new(change)));
    let deletions = deletions.into_iter().map(|deletion| Request::Deletion(Box::new(deletion)));
    let deletions = deletions.filter(|deletion| namespace.is_none_or(|namespace| deletion.place() == namespace));
    let ended = |request: &Request| matches!(request.stage(), foureyes_core::domain::request::Stage::Ended { .. });
    Ok(changes.chain(deletions).filter(|request| !ended(request)).collect())
}

fn row(request: &Request, whom: Whom) -> Row {
    Row {
        waits_for: whom.as_str(),
        namespace: request.place().to_owned(),
        name: request.label(),
        target: request.target(),
        phase: request.phase(),
        sign_offs: request.sign_offs().map_or_else(|| "-".to_owned(), |summary| summary.text.clone()),
        requester: request.asked_by(),
        waiting_for: request.waiting_for().unwrap_or("-").to_owned(),
        title: request.title().to_owned(),
        created: request.created(),
        whom,
        full_name: request.full_name(),
    }
}

fn names(rows: &[Row]) -> String {
    output::lines(rows.iter().map(|row| row.full_name.clone()), "")
}

fn table(rows: &[Row], now: Timestamp) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.waits_for.to_owned(),
            row.namespace.clone(),
            row.name.clone(),
            row.target.clone(),
            row.phase.to_owned(),
            row.sign_offs.clone(),
            row.requester.clone(),
            row.created.map_or_else(|| "-".to_owned(), |created| age(created, now)),
            row.waiting_for.clone(),
        ]
    });
    let headings = ["WAITS", "NAMESPACE", "NAME", "TARGET", "PHASE", "SIGN-OFFS", "REQUESTER", "AGE", "WAITING FOR"];
    output::table(headings, &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::{boxed, change};
    use serde_json::json;

    #[test]
    fn rows_pipe_and_hold_nothing_raw() {
        let request = boxed(change(&json!({"status": {"phase": "Pending", "requestedBy": "alice\u{1b}[1m",
            "waitingFor": "sign-off by 1 person", "signOffs": {"required": 1, "granted": 0, "text": "0/1"}}})));
        let rows = [row(&request, Whom::You)];
        let text = table(&rows, "2026-11-20T10:05:00Z".parse().unwrap());
        let expected = "\
WAITS   NAMESPACE   NAME        TARGET           PHASE     SIGN-OFFS   REQUESTER        AGE   WAITING FOR
you     shop        chg/web-1   deployment/web   Pending   0/1         alice\\u{1b}[1m   5m    sign-off by 1 person
";
        assert_eq!(text, expected);
        assert_eq!(names(&rows), "changerequest.foureyes.dev/web-1\n");
        let data = serde_json::to_value(Rows { items: &rows }).unwrap();
        assert_eq!(data["items"][0]["waitsFor"], "you");
        assert_eq!(data["items"][0]["name"], "chg/web-1");
    }
}
