//! Whom a request waits for, seen by one person. Only a hint: what counts is judged by the guard.

use std::collections::BTreeSet;

use foureyes_core::api::{Author, Identities, Says, TargetKind};
use foureyes_core::domain::identity::{ActorKind, classify, same_person};
use foureyes_core::domain::request::Stage;

use crate::request::Request;

/// Whom it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    You,
    /// Anybody with ordinary rights, to do it.
    Anybody,
    Others,
    /// A clock, or the cluster.
    Nobody,
}

impl Whom {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Anybody => "anybody",
            Self::Others => "others",
            Self::Nobody => "nobody",
        }
    }
}

/// Whoever looks.
pub struct Viewer<'a> {
    pub author: &'a Author,
    pub identities: &'a Identities,
    /// Holds wherever this request wants it the right to say what it waits for ([`right`]).
    pub may_approve: bool,
}

/// The right that somebody needs to bring a request on, and where.
pub fn right(request: &Request, own_namespace: &str) -> (&'static str, BTreeSet<String>) {
    match request {
        // The namespace is gone, and with it what was granted there.
        Request::Deletion(deletion)
            if request.stage() == Stage::Done && deletion.spec.target.kind == TargetKind::Namespace =>
        {
            ("supervise", BTreeSet::from([String::new()]))
        }
        _ if request.stage() == Stage::Done => ("supervise", request.rights_namespaces(own_namespace)),
        _ => ("approve", request.rights_namespaces(own_namespace)),
    }
}

/// Whom an open request waits for; `None` when it has ended.
pub fn whom(request: &Request, viewer: &Viewer<'_>) -> Option<Whom> {
    match request.stage() {
        Stage::Ended { .. } => return None,
        Stage::InUse => return Some(Whom::Nobody),
        Stage::Open | Stage::Done => {}
    }
    let own = is_own(request, viewer.author);
    let said = |says: Says| {
        let entries = request.sign_offs().map(|summary| summary.entries.as_slice()).unwrap_or_default();
        entries.iter().filter(move |entry| entry.counts && entry.says == says.as_str())
    };
    let by_viewer = |author: &str| author.eq_ignore_ascii_case(&viewer.author.username);
    let person = classify(viewer.author, viewer.identities) == ActorKind::Person;
    let approved = said(Says::Approve).any(|entry| by_viewer(&entry.author));
    if request.stage() == Stage::Done {
        let supervised = said(Says::Supervised).any(|entry| by_viewer(&entry.author));
        // Who looked at it before may look at it after, also when the namespace with their rights is gone.
        let yours = (viewer.may_approve || approved) && person && !own && !supervised;
        return Some(if yours { Whom::You } else { Whom::Others });
    }
    let mut holds = said(Says::Hold).peekable();
    if holds.peek().is_some() {
        // The requester answers; whoever asked takes the question back.
        let yours = own || holds.any(|hold| by_viewer(&hold.author));
        return Some(if yours { Whom::You } else { Whom::Others });
    }
    if request.is_ready() {
        return Some(Whom::Anybody);
    }
    if !request.is_pending() {
        return Some(Whom::Nobody);
    }
    Some(if viewer.may_approve && person && !own && !approved { Whom::You } else { Whom::Others })
}

/// Whether the viewer asked for it, under whatever name.
pub fn is_own(request: &Request, author: &Author) -> bool {
    request.requester().is_some_and(|requester| same_person(&requester.author, author))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{boxed, change, deletion};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn entry(author: &str, says: &str) -> Value {
        json!({"name": "x", "says": says, "author": author, "counts": true})
    }

    fn standing(phase: &str, entries: &[Value]) -> Request {
        let sign_offs = json!({"required": 1, "granted": 0, "text": "0/1", "entries": entries});
        boxed(change(&json!({"status": {"phase": phase, "signOffs": sign_offs}})))
    }

    fn seen(request: &Request, by: &str, may_approve: bool) -> Option<Whom> {
        let author = Author { username: by.to_owned(), ..Author::default() };
        whom(request, &Viewer { author: &author, identities: &Identities::default(), may_approve })
    }

    #[rstest]
    #[case("bob", true, Whom::You)]
    #[case("alice", true, Whom::Others)]
    #[case("Alice", true, Whom::Others)]
    #[case("carol", false, Whom::Others)]
    #[case("system:serviceaccount:argocd:argocd", true, Whom::Others)]
    fn what_is_pending_waits_for_whoever_may_sign_it_off(#[case] by: &str, #[case] may: bool, #[case] expected: Whom) {
        assert_eq!(seen(&standing("Pending", &[]), by, may), Some(expected));
    }

    #[test]
    fn nobody_is_asked_twice() {
        let request = standing("Pending", &[entry("bob", "Approve")]);
        assert_eq!(seen(&request, "bob", true), Some(Whom::Others));
        assert_eq!(seen(&request, "dora", true), Some(Whom::You));
    }

    #[test]
    fn a_question_waits_for_who_asked_and_who_answers() {
        let request = standing("Approved", &[entry("bob", "Hold")]);
        assert_eq!(seen(&request, "alice", true), Some(Whom::You));
        assert_eq!(seen(&request, "bob", true), Some(Whom::You));
        assert_eq!(seen(&request, "dora", true), Some(Whom::Others));
    }

    fn executed(entries: &[Value]) -> Request {
        let sign_offs = json!({"required": 1, "granted": 1, "text": "1/1", "entries": entries});
        let requester = json!({"username": "alice", "at": "2026-11-20T10:00:00Z"});
        let status = json!({"phase": "Executed", "signOffs": sign_offs});
        Request::Deletion(Box::new(deletion(&json!({"spec": {"requester": requester}, "status": status}))))
    }

    #[rstest]
    #[case("bob", false, Whom::You)]
    #[case("dora", true, Whom::You)]
    #[case("dora", false, Whom::Others)]
    #[case("alice", true, Whom::Others)]
    #[case("system:serviceaccount:argocd:argocd", true, Whom::Others)]
    fn what_was_executed_waits_for_whoever_approved_it_and_whoever_may(
        #[case] by: &str,
        #[case] may: bool,
        #[case] expected: Whom,
    ) {
        let request = executed(&[entry("bob", "Approve")]);
        assert_eq!(seen(&request, by, may), Some(expected));
        assert_eq!(right(&request, "foureyes-system"), ("supervise", BTreeSet::from([String::new()])));
    }

    #[test]
    fn nobody_is_asked_to_supervise_twice() {
        let request = executed(&[entry("bob", "Approve"), entry("bob", "Supervised")]);
        assert_eq!(seen(&request, "bob", true), Some(Whom::Others));
    }

    #[rstest]
    #[case("Approved", Some(Whom::Anybody))]
    #[case("Scheduled", Some(Whom::Nobody))]
    #[case("InProgress", Some(Whom::Nobody))]
    #[case("Succeeded", None)]
    #[case("Rejected", None)]
    fn later_phases(#[case] phase: &str, #[case] expected: Option<Whom>) {
        assert_eq!(seen(&standing(phase, &[]), "bob", true), expected);
    }
}
