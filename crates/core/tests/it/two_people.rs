//! The rule of two people (design §2) as one table: who asked, who signed off, who deletes, and whether it goes.
//!
//! alice, bob, carol and dave are people; argocd is a ServiceAccount and ci:deploy a machine by policy; admin is
//! shared. `alice/` is alice by another account with her e-mail address, `bob/` bob by his UID. A requester `-` is
//! none, `?alice` one whose seal does not hold. `@bob` approves by the annotation.

use foureyes_core::api::Author;
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::reason::Code;

use crate::support::{Scene, named, policies_with_min, with_email};

const GOES: &str = "goes";
const MISSING: &str = "SignOffMissing";
const ANOTHER: &str = "SecondPersonNeeded";

/// Requester | approvals | executor | approvals.min | outcome.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, u32, &str)] = &[
    // A person asks and another person signs off: anybody with ordinary rights may execute.
    ("alice", "bob", "carol", 1, GOES),
    ("alice", "bob", "argocd", 1, GOES),
    ("alice", "bob", "admin", 1, GOES),
    ("alice", "bob", "alice", 1, GOES),
    ("alice", "bob", "bob", 1, GOES),
    // A person asks and no person signs off.
    ("alice", "argocd", "carol", 1, MISSING),
    ("alice", "argocd", "argocd", 1, MISSING),
    ("alice", "argocd", "admin", 1, MISSING),
    ("alice", "admin", "carol", 1, MISSING),
    ("alice", "admin", "argocd", 1, MISSING),
    ("alice", "admin", "admin", 1, MISSING),
    // A machine asks: one approval suffices when another person executes.
    ("argocd", "bob", "carol", 1, GOES),
    ("argocd", "bob", "argocd", 1, ANOTHER),
    ("argocd", "bob", "admin", 1, ANOTHER),
    ("argocd", "bob", "bob", 1, ANOTHER),
    ("argocd", "argocd", "carol", 1, MISSING),
    ("argocd", "argocd", "argocd", 1, MISSING),
    ("argocd", "argocd", "admin", 1, MISSING),
    ("argocd", "admin", "carol", 1, MISSING),
    ("argocd", "admin", "argocd", 1, MISSING),
    ("argocd", "admin", "admin", 1, MISSING),
    // A shared identity asks: as if nobody had.
    ("admin", "bob", "carol", 1, GOES),
    ("admin", "bob", "argocd", 1, ANOTHER),
    ("admin", "bob", "admin", 1, ANOTHER),
    ("admin", "bob", "bob", 1, ANOTHER),
    ("admin", "argocd", "carol", 1, MISSING),
    ("admin", "argocd", "argocd", 1, MISSING),
    ("admin", "argocd", "admin", 1, MISSING),
    ("admin", "admin", "carol", 1, MISSING),
    ("admin", "admin", "argocd", 1, MISSING),
    ("admin", "admin", "admin", 1, MISSING),
    // Nobody asks, or nobody who can be proven.
    ("-", "bob", "carol", 1, GOES),
    ("-", "bob", "argocd", 1, ANOTHER),
    ("-", "bob", "admin", 1, ANOTHER),
    ("-", "bob", "bob", 1, ANOTHER),
    ("-", "argocd", "carol", 1, MISSING),
    ("-", "argocd", "argocd", 1, MISSING),
    ("-", "argocd", "admin", 1, MISSING),
    ("-", "admin", "carol", 1, MISSING),
    ("-", "admin", "argocd", 1, MISSING),
    ("-", "admin", "admin", 1, MISSING),
    ("?alice", "bob", "carol", 1, GOES),
    ("?alice", "bob", "argocd", 1, ANOTHER),
    ("?alice", "bob", "bob", 1, ANOTHER),
    ("?alice", "alice", "alice", 1, ANOTHER),
    ("?alice", "alice", "bob", 1, GOES),
    // A machine by policy is a machine in every role.
    ("ci:deploy", "bob", "carol", 1, GOES),
    ("ci:deploy", "bob", "ci:deploy", 1, ANOTHER),
    ("alice", "ci:deploy", "carol", 1, MISSING),
    ("alice", "bob", "ci:deploy", 1, GOES),
    // Without sign-offs nothing goes, whoever asks and deletes.
    ("alice", "", "bob", 1, MISSING),
    ("argocd", "", "bob", 1, MISSING),
    ("-", "", "alice", 1, MISSING),
    // One person in two roles.
    ("alice", "alice", "bob", 1, MISSING),
    ("alice", "alice", "alice", 1, MISSING),
    ("alice", "bob bob", "carol", 2, MISSING),
    ("argocd", "bob bob", "argocd", 1, ANOTHER),
    ("argocd", "bob bob", "bob", 1, ANOTHER),
    // One person under two names.
    ("alice", "alice/", "bob", 1, MISSING),
    ("alice/", "alice", "bob", 1, MISSING),
    ("alice", "ALICE", "bob", 1, MISSING),
    ("alice", "bob/", "bob", 1, GOES),
    ("alice", "bob bob/", "carol", 2, MISSING),
    ("argocd", "bob", "bob/", 1, ANOTHER),
    ("argocd", "bob/", "bob", 1, ANOTHER),
    ("argocd", "bob bob/", "argocd", 1, ANOTHER),
    ("argocd", "bob bob/", "carol", 1, GOES),
    // The shared account and the person whose e-mail address it carries.
    ("admin/alice", "alice", "bob", 1, MISSING),
    ("admin/alice", "bob", "alice", 1, GOES),
    ("argocd", "bob", "admin/alice", 1, ANOTHER),
    // Two people sign off what no person asked for: anybody executes.
    ("argocd", "bob carol", "argocd", 1, GOES),
    ("argocd", "bob carol", "bob", 1, GOES),
    ("argocd", "bob carol", "admin", 1, GOES),
    ("admin", "bob carol", "admin", 1, GOES),
    ("-", "bob carol", "argocd", 1, GOES),
    ("-", "bob argocd", "argocd", 1, ANOTHER),
    ("-", "bob admin", "admin", 1, ANOTHER),
    // The annotation precedes its request, which has no human requester.
    ("-", "@bob", "alice", 1, GOES),
    ("-", "@bob", "bob", 1, ANOTHER),
    ("-", "@bob", "bob/", 1, ANOTHER),
    ("-", "@bob", "argocd", 1, ANOTHER),
    ("-", "@bob", "admin", 1, ANOTHER),
    ("-", "@argocd", "alice", 1, MISSING),
    ("-", "@admin", "alice", 1, MISSING),
    ("-", "@bob bob", "bob", 1, ANOTHER),
    ("-", "@bob bob/", "argocd", 1, ANOTHER),
    ("-", "@bob carol", "argocd", 1, GOES),
    ("-", "@bob carol", "bob", 1, GOES),
    // It is an approval of that request alone, not of one that a person made.
    ("alice", "@bob", "alice", 1, MISSING),
    ("alice", "@bob", "argocd", 1, MISSING),
    ("alice", "@bob carol", "argocd", 1, GOES),
    ("alice", "@alice", "bob", 1, MISSING),
    ("alice", "@alice/", "bob", 1, MISSING),
    // More approvals, when a policy wants them.
    ("alice", "bob", "carol", 2, MISSING),
    ("alice", "bob alice", "carol", 2, MISSING),
    ("alice", "bob admin argocd", "carol", 2, MISSING),
    ("alice", "bob carol", "alice", 2, GOES),
    ("alice", "bob carol", "argocd", 2, GOES),
    ("alice", "@bob carol", "argocd", 2, MISSING),
    ("argocd", "bob", "carol", 2, MISSING),
    ("argocd", "bob carol", "argocd", 2, GOES),
    ("-", "@bob", "alice", 2, MISSING),
    ("-", "@bob carol", "argocd", 2, GOES),
    ("alice", "bob carol", "dave", 3, MISSING),
    ("alice", "bob carol dave", "argocd", 3, GOES),
    ("argocd", "bob carol", "dave", 3, MISSING),
    ("argocd", "bob carol dave", "argocd", 3, GOES),
    ("-", "@bob carol", "dave", 3, MISSING),
];

fn identity(name: &str) -> Author {
    match name {
        "alice" => with_email("alice", "alice@example.org"),
        "alice/" => named("oidc:Alice@example.org"),
        "bob" => Author { uid: Some("u-4711".to_owned()), ..named("bob") },
        "bob/" => Author { uid: Some("U-4711".to_owned()), ..named("robert") },
        "argocd" => named("system:serviceaccount:shop:argocd"),
        "admin/alice" => with_email("admin", "alice@example.org"),
        name => named(name),
    }
}

/// Lets the controller settle the case and the guard judge the deletion.
fn outcome(requester: &str, approvals: &str, executor: &str, min: u32) -> String {
    let asks = Some(requester.trim_start_matches('?')).filter(|name| *name != "-").map(identity);
    let mut scene = Scene::of_claim(asks.as_ref());
    if requester.starts_with('?') {
        scene.request.spec.requester.as_mut().unwrap().seal = Some("v1.forged.forged".to_owned());
    }
    scene.policies = policies_with_min(min);
    for (name, second) in approvals.split_whitespace().zip(10..) {
        match name.strip_prefix('@') {
            Some(name) => scene.annotates(&identity(name), second),
            None => scene.approves(&identity(name), second),
        }
    }
    scene.reconciled(TargetState::Live, 60);
    match scene.confirmed(&identity(executor), 90) {
        Ok(proof) => {
            assert_eq!((proof.as_str(), proof.names()), ("Confirmed", Some("del-1")));
            GOES.to_owned()
        }
        Err(refusal) => refusal.code.to_string(),
    }
}

#[test]
fn two_people_in_every_combination() {
    let wrong: Vec<String> = TABLE
        .iter()
        .filter_map(|(requester, approvals, executor, min, expected)| {
            let seen = outcome(requester, approvals, executor, *min);
            (seen != *expected)
                .then(|| format!("{requester} | {approvals} | {executor} | {min}: {seen}, not {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The table is whole: each of the 36 combinations of kinds stands in it with one approval.
    for requester in ["alice", "argocd", "admin", "-"] {
        for approval in ["bob", "argocd", "admin"] {
            for executor in ["carol", "argocd", "admin"] {
                let row = |row: &&(&str, &str, &str, u32, &str)| {
                    (row.0, row.1, row.2, row.3) == (requester, approval, executor, 1)
                };
                assert_eq!(TABLE.iter().filter(row).count(), 1, "{requester} {approval} {executor}");
            }
        }
    }
}

#[test]
fn the_status_says_that_another_person_is_awaited() {
    let mut scene = Scene::of_claim(Some(&identity("argocd")));
    scene.approves(&identity("bob"), 10);
    let plan = scene.reconciled(TargetState::Live, 60);
    assert_eq!(plan.status.waiting_for.as_deref(), Some("deletion by another person, or one more sign-off"));
    let sign_offs = plan.status.sign_offs.unwrap();
    assert_eq!(sign_offs.text, "1/2");
    assert_eq!(sign_offs.missing, ["deletion by another person, or one more sign-off"]);
    let refusal = scene.confirmed(&identity("bob"), 90).unwrap_err();
    assert_eq!(refusal.code, Code::SecondPersonNeeded);
    assert_eq!(refusal.next.unwrap().command, "kubectl -n shop delete pvc data-1");
    scene.approves(&identity("carol"), 100);
    assert!(scene.reconciled(TargetState::Live, 110).status.sign_offs.unwrap().missing.is_empty());
}

#[test]
fn an_executor_who_can_not_be_told_from_others_deletes_nothing() {
    let mut scene = Scene::of_claim(Some(&identity("alice")));
    scene.approves(&identity("bob"), 10);
    scene.reconciled(TargetState::Live, 60);
    for name in ["", " ", "bob\n", " alice"] {
        assert_eq!(scene.confirmed(&named(name), 90).unwrap_err().code, Code::IdentityUnusable);
    }
}

#[test]
fn an_approval_counts_only_with_the_right_to_approve() {
    let mut scene = Scene::of_claim(Some(&identity("alice")));
    scene.approves(&identity("bob"), 10);
    scene.reconciled(TargetState::Live, 60);
    scene.without_rights = vec!["bob".to_owned()];
    assert_eq!(scene.confirmed(&identity("carol"), 90).unwrap_err().code, Code::SignOffMissing);
    let entries = scene.decided(TargetState::Live, 90).status.sign_offs.unwrap().entries;
    assert_eq!(entries[0].because.as_deref(), Some("its author may not approve here"));
}
