//! `describe`: one request with everything that is known about it.

use clap::Args;
use foureyes_core::domain::request::Stage;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;

use crate::cluster::Cluster;
use crate::commands::say::in_place;
use crate::error::Result;
use crate::output::{self, Format};
use crate::request::{Reference, Request, find};
use crate::{timeline, view};

const EXAMPLES: &str = "\
Examples:
  kubectl foureyes describe -n shop web-5d0c61a2f3
  kubectl foureyes describe del/ns-old-shop-9f31ab0c22

  # The timeline alone, for a ticket
  kubectl foureyes describe -n shop web-5d0c61a2f3 -o json | jq .timeline";

/// `kubectl foureyes describe`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Describe {
    /// The request: NAME, chg/NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
}

pub async fn run(cluster: &Cluster, format: Format, args: &Describe) -> Result<u8> {
    let request = find(cluster, &args.request).await?;
    let said = cluster.sign_offs(request.uid()).await?;
    let now = Timestamp::now();
    let events = timeline::of(&request, &said, now);
    let all = json!({"request": request.json()?, "signOffs": said, "timeline": events});
    let text = match output::data(format, &all)? {
        Some(text) => text,
        None if format == Format::Name => format!("{}\n", output::plain(&request.full_name())),
        None => {
            let content = match &request {
                Request::Change(change) => {
                    view::targets(cluster, change, &cluster.floor().await, output::colours()).await
                }
                Request::Deletion(deletion) => view::inventory(deletion),
            };
            page(&request, &content, &timeline::table(&events), now)
        }
    };
    output::print(&text)?;
    Ok(0)
}

fn page(request: &Request, content: &str, timeline: &str, now: Timestamp) -> String {
    let mut text = view::header(request, None, now);
    text.push('\n');
    text.push_str(content);
    text.push_str("\nTimeline:\n");
    text.push_str(&output::indented(timeline));
    if !request.conditions().is_empty() {
        text.push_str("\nConditions:\n");
        text.push_str(&output::indented(&conditions(request.conditions())));
    }
    if request.is_pending() {
        text.push_str("\nSomebody else who may approve can look at it and sign it off with:\n");
        text.push_str(&output::plain(&format!("  kubectl foureyes approve{} {}", in_place(request), request.label())));
        text.push('\n');
    }
    if request.stage() == Stage::Done {
        text.push_str("\nSomebody who did not ask for it looks at what went, and closes it with:\n");
        let command = format!("  kubectl foureyes supervise {} --verified \"WHAT YOU HAVE CHECKED\"", request.label());
        text.push_str(&output::plain(&command));
        text.push('\n');
    }
    text
}

fn conditions(conditions: &[Condition]) -> String {
    let row = |condition: &Condition| {
        [
            condition.type_.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            output::time(condition.last_transition_time.0),
            condition.message.clone(),
        ]
    };
    let rows: Vec<_> = conditions.iter().map(row).collect();
    output::table(["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], &rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::{boxed, change};

    #[test]
    fn a_page_ends_with_the_next_step() {
        let request = boxed(change(&json!({"status": {"phase": "Pending", "requestedBy": "alice",
            "waitingFor": "sign-off by 1 person",
            "signOffs": {"required": 1, "granted": 0, "text": "0/1"},
            "conditions": [{"type": "Approved", "status": "False", "reason": "WaitingForSignOff",
                "message": "waits for sign-off by 1 person", "lastTransitionTime": "2026-11-20T10:00:01Z"}]}})));
        let now = "2026-11-20T10:05:00Z".parse().unwrap();
        let events = timeline::of(&request, &[], now);
        let text = page(&request, "Target: deployment/web in shop\n", &timeline::table(&events), now);
        let expected = "\
Name:          web-1
Kind:          ChangeRequest in shop
Requested by:  alice, 5m ago
Title:         roll out Deployment web
Type:          Normal
Phase:         Pending, waits for sign-off by 1 person
Sign-offs:     0 of 1

Target: deployment/web in shop

Timeline:
  WHEN                   WHO     WHAT
  2026-11-20T10:00:00Z   alice   asked: roll out Deployment web

Conditions:
  TYPE       STATUS   REASON              SINCE                  MESSAGE
  Approved   False    WaitingForSignOff   2026-11-20T10:00:01Z   waits for sign-off by 1 person

Somebody else who may approve can look at it and sign it off with:
  kubectl foureyes approve -n shop chg/web-1
";
        assert_eq!(text, expected);
    }
}
