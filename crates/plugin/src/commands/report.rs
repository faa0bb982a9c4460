//! `report`: what enforcing would cost, from what ran while the policy only warned.

use clap::Args;
use foureyes_core::api::{How, RolloutEntry, RolloutRecord, SeenOutcome};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  # Everywhere, before the policy says Deny
  kubectl foureyes report -A

  # How many rollouts of last week would have been refused?
  kubectl foureyes report -A --since 168h -o json | jq '[.items[].wouldRefuse] | add'

Reads the RolloutRecords. ROLLOUTS is what is on record, WOULD-REFUSE how many of them ran only
because the policy warned (enforcement Warn), NOW on whose word runs what runs: Unreviewed and
Unauthorised have nobody's. A record keeps the last 30 rollouts of a workload. Deletions that
were only warned about leave no record.";

/// `kubectl foureyes report`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Report {
    /// In all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Only rollouts of this last while, for example 168h
    #[arg(long, value_name = "DURATION", value_parser = hours)]
    pub since: Option<jiff::SignedDuration>,
    /// Workloads of which nothing would have been refused, too
    #[arg(long)]
    pub all: bool,
}

fn hours(text: &str) -> std::result::Result<jiff::SignedDuration, String> {
    let duration: jiff::SignedDuration = text.parse().map_err(|_| "give a duration such as 168h or 30m".to_owned())?;
    if duration.is_positive() { Ok(duration) } else { Err("give a duration that is longer than nothing".to_owned()) }
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    kind: String,
    name: String,
    rollouts: usize,
    would_refuse: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Timestamp>,
    /// Who rolled out what would have been refused.
    by: Vec<String>,
    /// On whose word runs what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<String>,
    #[serde(skip)]
    record: String,
}

#[derive(Serialize)]
struct Rows<'a> {
    items: &'a [Row],
}

pub async fn run(cluster: &Cluster, format: Format, args: &Report) -> Result<u8> {
    let namespace = Some(cluster.namespace.as_str()).filter(|_| !args.all_namespaces);
    let records: Vec<RolloutRecord> = cluster.all(None).await?;
    let since = args.since.and_then(|since| Timestamp::now().checked_sub(since).ok());
    let there = |record: &&RolloutRecord| namespace.is_none_or(|place| record.spec.workload.namespace == place);
    let rows: Vec<Row> = records.iter().filter(there).map(|record| row(record, since)).collect();
    let summary = summary(&rows);
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| args.all || row.costs()).collect();
    rows.sort_by(|one, other| {
        (&one.namespace, &one.kind, &one.name).cmp(&(&other.namespace, &other.kind, &other.name))
    });
    match output::data(format, &Rows { items: &rows })? {
        Some(text) => output::print(&text)?,
        None if format == Format::Name => output::print(&names(&rows))?,
        None => {
            if !rows.is_empty() {
                output::print(&table(&rows))?;
            }
            output::say(&summary);
        }
    }
    Ok(0)
}

impl Row {
    /// Something would have been refused, or runs on nobody's word.
    fn costs(&self) -> bool {
        let unspoken = [How::Unreviewed.as_str(), How::Unauthorised.as_str()];
        self.would_refuse > 0 || self.now.is_some_and(|now| unspoken.contains(&now))
    }
}

fn row(record: &RolloutRecord, since: Option<Timestamp>) -> Row {
    let workload = &record.spec.workload;
    let status = record.status.clone().unwrap_or_default();
    // What was only promised has cost nobody anything.
    let ran =
        |entry: &&RolloutEntry| entry.outcome == SeenOutcome::Seen && since.is_none_or(|since| entry.at.0 >= since);
    let entries: Vec<&RolloutEntry> = status.entries.iter().filter(ran).collect();
    let refused: Vec<&&RolloutEntry> = entries.iter().filter(|entry| entry.would_refuse).collect();
    let by: BTreeSet<String> = refused.iter().filter_map(|entry| entry.executor.clone()).collect();
    Row {
        namespace: workload.namespace.clone(),
        kind: workload.kind.clone(),
        name: workload.name.clone(),
        rollouts: entries.len(),
        would_refuse: refused.len(),
        last: refused.iter().map(|entry| entry.at.0).max(),
        by: by.into_iter().collect(),
        now: status.how.map(How::as_str),
        runs: status.runs.clone(),
        record: record.metadata.name.clone().unwrap_or_default(),
    }
}

fn names(rows: &[Row]) -> String {
    output::lines(rows.iter().map(|row| format!("rolloutrecord.foureyes.dev/{}", row.record)), "")
}

fn table(rows: &[Row]) -> String {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let cells = rows.iter().map(|row| {
        [
            or_dash(row.namespace.clone()),
            format!("{}/{}", row.kind.to_lowercase(), row.name),
            row.rollouts.to_string(),
            row.would_refuse.to_string(),
            row.last.map_or_else(|| "-".to_owned(), output::time),
            or_dash(row.by.join(",")),
            row.now.unwrap_or("-").to_owned(),
            or_dash(row.runs.clone().unwrap_or_default()),
        ]
    });
    let headings = ["NAMESPACE", "WORKLOAD", "ROLLOUTS", "WOULD-REFUSE", "LAST", "BY", "NOW", "RUNS"];
    output::table(headings, &cells.collect::<Vec<_>>())
}

/// One sentence over all of it.
fn summary(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No rollouts are on record here. Everywhere: kubectl foureyes report -A".to_owned();
    }
    let rollouts: usize = rows.iter().map(|row| row.rollouts).sum();
    let refused: usize = rows.iter().map(|row| row.would_refuse).sum();
    let hit: Vec<&Row> = rows.iter().filter(|row| row.would_refuse > 0).collect();
    let places: BTreeSet<&str> = hit.iter().map(|row| row.namespace.as_str()).collect();
    let count = |many: usize, word: &str| format!("{many} {word}{}", if many == 1 { "" } else { "s" });
    format!(
        "{refused} of {} on record would have been refused, of {} in {}.",
        count(rollouts, "rollout"),
        count(hit.len(), "workload"),
        count(places.len(), "namespace")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn entry(at: &str, how: &str, outcome: &str, would_refuse: bool) -> Value {
        json!({"template": "template/v1:sha256:00", "at": at, "how": how, "outcome": outcome,
            "executor": "kubectl-edit", "wouldRefuse": would_refuse})
    }

    fn record(name: &str, entries: &[Value]) -> RolloutRecord {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"workload":
            {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": name}},
            "status": {"runs": "web:3", "how": entries[0]["how"], "entries": entries}}))
        .unwrap()
    }

    #[test]
    fn what_ran_because_the_policy_warned_is_counted() {
        let web = record(
            "web",
            &[
                entry("2026-11-20T12:00:00Z", "Unreviewed", "Seen", true),
                entry("2026-11-20T11:30:00Z", "Change", "NotSeen", false),
                entry("2026-11-20T11:00:00Z", "Unreviewed", "Seen", true),
                entry("2026-11-20T10:00:00Z", "Baseline", "Seen", false),
            ],
        );
        let fine = record("fine", &[entry("2026-11-20T10:00:00Z", "Change", "Seen", false)]);
        let rows = [row(&web, None), row(&fine, None)];
        let text = table(&rows);
        let expected = "\
NAMESPACE   WORKLOAD          ROLLOUTS   WOULD-REFUSE   LAST                   BY             NOW          RUNS
shop        deployment/web    3          2              2026-11-20T12:00:00Z   kubectl-edit   Unreviewed   web:3
shop        deployment/fine   1          0              -                      -              Change       web:3
";
        assert_eq!(text, expected);
        assert!(rows[0].costs() && !rows[1].costs());
        assert_eq!(summary(&rows), "2 of 4 rollouts on record would have been refused, of 1 workload in 1 namespace.");
        let late = row(&web, Some("2026-11-20T11:30:00Z".parse().unwrap()));
        assert_eq!((late.rollouts, late.would_refuse), (1, 1));
    }

    #[test]
    fn durations_are_read() {
        assert!(hours("168h").is_ok() && hours("30m").is_ok());
        assert!(hours("-1h").is_err() && hours("soon").is_err() && hours("0s").is_err());
    }
}
