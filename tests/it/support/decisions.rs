//! What the webhooks were asked: they log one line a decision.

use std::fs;

use serde_json::Value;

use super::cluster;

/// Every decision of `guard` about this namespace and what is in it, in the order of each webhook's log.
pub fn about(namespace: &str) -> Vec<Value> {
    let mut decisions = Vec::new();
    for webhook in ["webhook-a", "webhook-b"] {
        let log = fs::read_to_string(cluster().process(webhook).log()).unwrap();
        for line in log.lines().filter(|line| line.contains(namespace)) {
            // the last line may be half written
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let concerns =
                line["namespace"] == namespace || line["name"] == namespace && line["resource"] == "namespaces";
            if line["message"] == "decision" && line["webhook"] == "guard" && concerns {
                decisions.push(line);
            }
        }
    }
    decisions
}

/// Those by a user about an object of this name.
pub fn by(user: &str, namespace: &str, name: &str) -> Vec<Value> {
    let mut decisions = about(namespace);
    decisions.retain(|line| line["user"] == user && line["name"] == name);
    decisions
}

/// Those about this namespace by anybody but this person, once what this person asked last is among them.
#[track_caller]
pub fn but_those_of(person: &str, namespace: &str, asked: usize) -> Vec<Value> {
    let mut decisions = Vec::new();
    super::objects::eventually("the decisions to be logged", || {
        decisions = about(namespace);
        decisions.iter().filter(|line| line["user"] == person).count() >= asked
    });
    decisions.retain(|line| line["user"] != person);
    decisions
}
