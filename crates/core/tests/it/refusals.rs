//! What a refusal says: a stable code, one line where one line is wanted, and a next step that a real shell runs as
//! meant, whatever somebody wrote into a name.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use foureyes_core::api::{Author, Says, Target};
use foureyes_core::domain::change_asked::change_created;
use foureyes_core::domain::deletion::{Closeness, ended_before, not_requested, used_up};
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::ready;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::speaking::{
    Annotation, annotated, request_created, request_deleted, sign_off_created, sign_off_deleted, usable,
};
use foureyes_core::reason::Code;

use crate::changes::{OWN, Rollout, by_digest, change, web};
use crate::speaking::Knowledge;
use crate::support::{
    Scene, at, claim_target, identities, inventory, named, policies_with_min, record, request, ring, sign_off,
    subject_of, uid,
};

/// What somebody may write where a name is wanted: each would create a file if a shell took it for a command.
const HOSTILE: [&str; 12] = [
    "x; touch canary",
    "x$(touch canary)",
    "x`touch canary`",
    "x' ; touch canary ; '",
    "x\" ; touch canary ; \"",
    "x\ntouch canary\n",
    "x | touch canary",
    "x && touch canary",
    "x > canary",
    "x\\' ; touch canary ; \\'",
    "${IFS}x;touch${IFS}canary",
    "é'$(touch canary)'",
];

/// The refusals in which something that somebody only wrote is named: usernames, targets and subjects.
fn refusals(text: &str) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let target = Target { namespace: Some(text.to_owned()), name: text.to_owned(), ..claim_target() };
    let of_namespace = Target { name: text.to_owned(), ..crate::support::namespace_target() };
    let somebody = named(text);
    // Asking.
    for target in [&target, &of_namespace] {
        let alice = named("alice");
        let made = request("del-1", target.clone(), Some(&alice));
        let known = Knowledge::of(&alice);
        let mut ask = |known: &Knowledge, exists: Option<&str>| {
            refusals.extend(request_created(&known.speaker(), &made, exists, ring(), at(1)).err());
        };
        ask(&known, None);
        ask(&Knowledge { may_request: false, ..Knowledge::of(&alice) }, Some(&target.uid));
        ask(&Knowledge { open: 1000, ..Knowledge::of(&alice) }, Some(&target.uid));
        ask(&Knowledge::of(&somebody), Some(&target.uid));
        refusals.push(not_requested(target, &inventory([1])));
        refusals.extend(annotations(target, &somebody));
    }
    // Signing off, by somebody and about something of that name.
    for (author, name) in [(&somebody, "del-1"), (&named("alice"), text), (&named("bob"), text)] {
        for says in [Says::Approve, Says::Reject, Says::Hold, Says::Cancel] {
            refusals.extend(statements(author, name, says));
        }
    }
    refusals.extend(executions(&target, &somebody));
    refusals.extend(rollouts(text, &somebody));
    refusals.extend(usable(&named("\n")).err());
    refusals
}

fn annotations(target: &Target, somebody: &Author) -> Vec<Refusal> {
    let current = inventory([1]).digest().unwrap();
    let digest = foureyes_core::digest::short(&current);
    let mut refusals = Vec::new();
    for (author, right, digest) in
        [(somebody, false, digest), (&named("admin"), true, digest), (&named("bob"), true, "0123456789ab")]
    {
        let text = serde_json::to_string(&record(author, 1, &target.uid, digest)).unwrap();
        let value = format!("{}@{digest}", author.username);
        let known = Knowledge { may_approve: right, ..Knowledge::of(author) };
        let after = Annotation { value: Some(&value), record: Some(&text) };
        refusals.extend(annotated(&known.speaker(), target, &after, &current, &identities(), ring(), at(1)).err());
    }
    refusals
}

fn statements(author: &Author, request_name: &str, says: Says) -> Vec<Refusal> {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.request = request(request_name, claim_target(), Some(&named("alice")));
    scene.reconciled(TargetState::Live, 1);
    let made = sign_off("so-1", subject_of(&scene.request), says, None, author, 1);
    let mut refusals = Vec::new();
    for (known, there) in [
        (Knowledge::of(author), true),
        (Knowledge::of(author), false),
        (Knowledge { may_approve: false, may_request: false, ..Knowledge::of(author) }, true),
        (Knowledge { open: 1000, ..Knowledge::of(author) }, true),
        (Knowledge::of(&named("mallory")), true),
    ] {
        let subject = Some(&scene.request).filter(|_| there);
        refusals.extend(sign_off_created(&known.speaker(), &made, subject, &identities(), ring(), at(1)).err());
    }
    let mallory = Knowledge { may_approve: false, may_request: false, ..Knowledge::of(&named("mallory")) };
    refusals.extend(sign_off_deleted(&mallory.author, false, &made, Some(&scene.request), false).err());
    refusals.extend(request_deleted(&mallory.speaker(), &scene.request, TargetState::Live, at(2)).err());
    refusals.extend(request_deleted(&mallory.speaker(), &scene.request, TargetState::Going(at(2)), at(2)).err());
    refusals
}

/// Every way in which a deletion is refused, with a target, a requester and an executor of that name.
fn executions(target: &Target, somebody: &Author) -> Vec<Refusal> {
    let scene = || {
        let mut scene = Scene::of_claim(Some(somebody));
        scene.request = request("del-1", target.clone(), Some(somebody));
        scene.target = target.clone();
        scene.approves(&named("bob"), 10);
        scene.reconciled(TargetState::Live, 60);
        scene
    };
    let changes: [fn(&mut Scene); 10] = [
        |scene| scene.sign_offs.clear(),
        |scene| scene.request.status = None,
        |scene| scene.target.uid = uid(7),
        |scene| scene.live = inventory([1, 2]),
        |scene| scene.policies = policies_with_min(3),
        |scene| scene.says(&named("carol"), Says::Hold, 70),
        |scene| scene.says(&named("carol"), Says::Reject, 70),
        |scene| {
            let requester = scene.request.spec.requester.clone().unwrap().author;
            scene.says(&requester, Says::Cancel, 70);
        },
        |scene| scene.request.spec.requester = None,
        |scene| drop(scene.reconciled(TargetState::Gone, 70)),
    ];
    let mut refusals = Vec::new();
    for change in changes {
        let mut scene = scene();
        change(&mut scene);
        refusals.extend(scene.confirmed(&named("bob"), 90).err());
        refusals.extend(scene.confirmed(somebody, 1_000_000).err());
        refusals.extend(scene.cascaded(90).err());
    }
    refusals
}

/// Every way in which a rollout is refused, with a workload, images, a change and an author of that name.
fn rollouts(text: &str, somebody: &Author) -> Vec<Refusal> {
    let new = web(text, text, text);
    let scene = |asked: bool| {
        let mut request = change("Normal", &[by_digest(&new)], Some(somebody));
        request.metadata.namespace = Some(text.to_owned());
        request.metadata.name = Some(text.to_owned());
        text.clone_into(&mut request.spec.targets[0].name);
        let mut rollout = Rollout::of(Some(request).filter(|_| asked));
        (rollout.workload.namespace, rollout.workload.name) = (text.to_owned(), text.to_owned());
        rollout
    };
    let mut refusals = Vec::new();
    for asked in [false, true] {
        refusals.extend(scene(asked).applied(&new, somebody, 20).err());
        refusals.extend(scene(asked).created(&new, somebody, 20).err());
        refusals.extend(scene(asked).removed(somebody, 20).err());
    }
    for says in [Says::Hold, Says::Reject] {
        let mut stopped = scene(true);
        stopped.says(somebody, says, 10);
        refusals.extend(stopped.applied(&new, &named("eve"), 20).err());
    }
    let request = scene(true).request.unwrap();
    let known = Knowledge::of(somebody);
    let policies = policies_with_min(1);
    for known in [Knowledge { may_request: false, ..Knowledge::of(somebody) }, known] {
        refusals.extend(change_created(&known.speaker(), &request, policies.floor(), OWN, ring(), at(1)).err());
    }
    refusals
}

/// Runs a command in a real shell in which kubectl takes its arguments and says nothing.
fn run(command: &str, folder: &Path) -> bool {
    let script = format!("kubectl() {{ cat >/dev/null </dev/null; :; }}\n{command}\n");
    Command::new("sh").arg("-c").arg(script).current_dir(folder).status().unwrap().success()
}

#[test]
fn commands_do_what_they_say_and_nothing_else_in_a_real_shell() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("refusals-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut commands = BTreeSet::new();
    for text in HOSTILE {
        commands.extend(refusals(text).into_iter().filter_map(|refusal| refusal.next).map(|next| next.command));
        let target = Target { namespace: Some(text.to_owned()), name: text.to_owned(), ..claim_target() };
        commands.extend([
            ready::request(&target),
            ready::annotate(&target, "1f3a9c0b22de"),
            ready::delete(&target),
            ready::see_uid(&target),
            ready::show(text),
            ready::statements(text),
            ready::show_change(text, text),
            ready::sign_off_change(text, text, text, text),
            ready::requests(text),
            ready::withdraw(text),
            ready::unannotate(&target),
            ready::sign_off(text, text, text),
            ready::bind(text, "foureyes-approver", text),
        ]);
    }
    assert!(commands.len() > 100, "{}", commands.len());
    for command in &commands {
        assert!(!command.contains(char::is_control), "{command:?}");
        assert!(run(command, &folder), "a shell can't run: {command}");
        assert!(!folder.join("canary").exists(), "something else was run by: {command}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_canary_would_be_seen() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("canary-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    assert!(run("kubectl get pvc x; touch canary", &folder));
    assert!(folder.join("canary").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn words_are_quoted_only_where_they_need_it() {
    for plain in ["shop", "data-db-0", "a.b-c", "oidc:alice@example.org", "foureyes.dev/x"] {
        assert_eq!(ready::word(plain), plain);
    }
    assert_eq!(ready::word("it's"), r"'it'\''s'");
    assert_eq!(ready::word(""), "''");
    // No name begins with a dash; an option would, and could send a token elsewhere.
    assert_eq!(ready::word("--server=https://evil.example"), "'server=https://evil.example'");
}

#[test]
fn everybody_gets_a_binding_of_their_own() {
    let bind = |username: &str| ready::bind("shop", "foureyes-approver", username);
    let expected =
        "kubectl -n shop create rolebinding foureyes-approver-eve --clusterrole=foureyes-approver --user=eve";
    assert_eq!(bind("eve"), expected);
    let names: BTreeSet<String> = ["eve", "EVE", "oidc:eve@example.org", "eve-1", "eve-2", ""]
        .iter()
        .map(|username| bind(username).split(' ').nth(5).unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 6);
    assert!(names.iter().all(|name| name.bytes().all(|byte| b"abcdefghijklmnopqrstuvwxyz0123456789-".contains(&byte))));
}

#[test]
fn a_refusal_has_a_next_step_and_its_lines_are_its_own() {
    for text in HOSTILE.into_iter().chain(["shop"]) {
        for refusal in refusals(text) {
            assert!(!refusal.one_line().contains(char::is_control), "{refusal:?}");
            assert!(refusal.one_line().ends_with(&format!("[{}]", refusal.code)));
            let said = refusal.to_string();
            let steps = if refusal.next.is_some() { 2 } else { 1 };
            assert_eq!(said.lines().count(), 1 + refusal.details.len() + steps, "{said}");
            let last = said.lines().last().unwrap();
            match &refusal.next {
                Some(next) => assert_eq!(last, next.command),
                None => assert_eq!(last, refusal.code.what_to_do()),
            }
            assert!(!last.is_empty());
        }
    }
}

#[test]
fn codes_are_distinct_and_each_says_what_it_means_and_what_to_do() {
    let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for code in Code::ALL {
        assert!(code.as_str().bytes().all(|byte| byte.is_ascii_alphabetic()), "{code}");
        for sentence in [code.title(), code.what_to_do()] {
            assert!(sentence.ends_with('.') && !sentence.contains(char::is_control), "{code}: {sentence}");
        }
    }
}

#[test]
fn a_refusal_without_a_request_shows_what_would_be_lost_and_the_line_that_approves_it() {
    let inventory = inventory([1]);
    let short = foureyes_core::digest::short(&inventory.digest().unwrap()).to_owned();
    let refusal = not_requested(&claim_target(), &inventory);
    assert_eq!(refusal.details, [format!("Would be lost: claim shop/data-1 (1Gi, volume pv-1) (inventory {short})")]);
    let command = format!("kubectl -n shop annotate pvc data-1 --overwrite foureyes.dev/approved-by=me@{short}");
    assert_eq!(refusal.next.unwrap().command, command);
    let refusal = not_requested(&crate::support::namespace_target(), &inventory);
    let command = refusal.next.unwrap().command;
    assert!(command.contains(r#""kind":"DeletionRequest""#) && command.ends_with("| kubectl create -f -"), "{command}");
}

#[test]
fn what_became_of_the_last_request_is_one_line_with_the_command_that_shows_it() {
    let ended = |says: Option<Says>, second: i64| {
        let mut scene = Scene::of_claim(Some(&named("alice")));
        if let Some(says) = says {
            scene.says(&named("alice"), says, 10);
        }
        scene.reconciled(TargetState::Live, second);
        ended_before(&scene.request)
    };
    let show = "kubectl get deletionrequest del-1 -o yaml";
    for (says, second, line) in [
        (None, 11, None),
        (Some(Says::Hold), 11, None),
        (Some(Says::Reject), 11, Some("alice rejected DeletionRequest del-1 about it")),
        (Some(Says::Cancel), 11, Some("alice cancelled DeletionRequest del-1 about it")),
        (None, 15 * 86_400, Some("DeletionRequest del-1 about it has expired")),
    ] {
        assert_eq!(ended(says, second), line.map(|line| format!("{line}: {show}")));
    }
    assert_eq!(ended_before(&request("del-1", claim_target(), None)), None);
}

#[test]
fn of_several_requests_the_refusal_is_about_the_one_that_comes_closest() {
    let (alice, bob, eve) = (named("alice"), named("bob"), named("eve"));
    let waiting = |min: u32, approve: bool| {
        let mut scene = Scene::of_namespace(Some(&alice));
        scene.policies = policies_with_min(min);
        if approve {
            scene.approves(&bob, 10);
        }
        scene.reconciled(TargetState::Live, 60);
        scene
    };
    let after = |mut scene: Scene, change: fn(&mut Scene)| {
        change(&mut scene);
        scene.closeness(&named("eve"), 90)
    };
    let grown: fn(&mut Scene) = |scene| scene.live = inventory([1, 2, 3, 4]);
    let over = after(waiting(1, true), |scene| scene.says(&named("bob"), Says::Reject, 70));
    let outgrown = after(waiting(1, true), grown);
    let asked = waiting(1, false).closeness(&eve, 90);
    // What was not frozen yet takes the new items in; what was, will never do, however many sign it off.
    assert_eq!(after(waiting(1, false), grown), asked);
    assert_eq!(after(waiting(2, true), grown), outgrown);
    assert_eq!(waiting(2, true).closeness(&eve, 90), asked);
    assert_eq!(after(waiting(1, true), |scene| scene.says(&named("carol"), Says::Hold, 70)), asked);
    let mut by_annotation = Scene::of_claim(None);
    by_annotation.annotates(&bob, 5);
    by_annotation.reconciled(TargetState::Live, 60);
    let signed_off = by_annotation.closeness(&bob, 90);
    assert!(
        over < outgrown && outgrown < asked && asked < signed_off,
        "{over:?} {outgrown:?} {asked:?} {signed_off:?}"
    );
    assert!(signed_off < Closeness::Unknown);
}

#[test]
fn an_approval_by_annotation_that_was_used_up_is_not_waited_for() {
    let mut scene = Scene::of_claim(None);
    scene.annotates(&named("bob"), 5);
    scene.reconciled(TargetState::Live, 6);
    let text = |second: i64| {
        let made = record(&named("bob"), second, &claim_target().uid, "0123456789ab");
        serde_json::to_string(&made).unwrap()
    };
    assert_eq!(used_up(&claim_target(), &text(5), &scene.request), None);
    scene.says(&named("alice"), Says::Reject, 10);
    scene.reconciled(TargetState::Live, 11);
    let refusal = used_up(&claim_target(), &text(5), &scene.request).unwrap();
    assert_eq!(refusal.code, Code::RequestEnded);
    assert!(refusal.details[0].starts_with("alice rejected DeletionRequest del-1 about it: "), "{refusal}");
    assert_eq!(refusal.next.unwrap().command, "kubectl -n shop annotate pvc data-1 foureyes.dev/approved-by-");
    // A newer one is taken up by a request of its own.
    assert_eq!(used_up(&claim_target(), &text(12), &scene.request), None);
    assert_eq!(used_up(&claim_target(), "{}", &scene.request), None);
}
