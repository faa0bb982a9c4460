//! Who may ask, sign off, withdraw and annotate: for each rule what is accepted, and what is refused with which code.

use foureyes_core::api::{Author, DeletionRequest, Identities, Phase, Says, SignOff, TargetKind};
use foureyes_core::digest::short;
use foureyes_core::domain::lifecycle::TargetState;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::speaking::{
    Annotation, MAX_OPEN_REQUESTS, MAX_OPEN_SIGN_OFFS, Speaker, annotated, annotated_over, not_said_before,
    request_created, request_deleted, sign_off_beside, sign_off_created, sign_off_deleted,
};
use foureyes_core::domain::statement::ApprovalRecord;
use rstest::rstest;

use crate::support::{
    DAY, Scene, at, claim_target, identities, named, namespace_target, record, request, ring, sign_off, subject_of,
    uid, with_email,
};

/// What is known about somebody who may do everything, before a case takes something away.
#[expect(clippy::struct_excessive_bools, reason = "as in what it stands for")]
pub struct Knowledge {
    pub author: Author,
    pub dry_run: bool,
    pub may_request: bool,
    pub may_approve: bool,
    pub open: usize,
    pub is_controller: bool,
}

impl Knowledge {
    pub fn of(author: &Author) -> Self {
        Self {
            author: author.clone(),
            dry_run: false,
            may_request: true,
            may_approve: true,
            open: 0,
            is_controller: false,
        }
    }

    pub fn speaker(&self) -> Speaker<'_> {
        Speaker {
            author: &self.author,
            dry_run: self.dry_run,
            may_request: self.may_request,
            may_approve: self.may_approve,
            open: self.open,
            is_controller: self.is_controller,
        }
    }
}

/// `ok`, or the code of the refusal, which never goes without a next step.
fn verdict(result: Result<Proof, Refusal>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(refusal) => {
            assert!(
                refusal.next.is_some()
                    || refusal.code.as_str() == "IdentityForged"
                    || !refusal.code.what_to_do().is_empty()
            );
            refusal.code.as_str()
        }
    }
}

/// A request as alice creates it, after a change of what is known, of the request and of the target's UID.
fn creating(change: impl FnOnce(&mut Knowledge, &mut DeletionRequest, &mut Option<String>)) -> &'static str {
    let alice = named("alice");
    let mut known = Knowledge::of(&alice);
    let mut made = request("del-1", claim_target(), Some(&alice));
    // While it is created there is no UID and no creationTimestamp to rely on.
    made.metadata.creation_timestamp = None;
    let mut exists = Some(claim_target().uid);
    change(&mut known, &mut made, &mut exists);
    verdict(request_created(&known.speaker(), &made, exists.as_deref(), ring(), at(1)))
}

fn requester(made: &mut DeletionRequest) -> &mut foureyes_core::api::Requester {
    made.spec.requester.as_mut().unwrap()
}

#[test]
fn who_may_ask() {
    assert_eq!(creating(|_, _, _| {}), "ok");
    assert_eq!(creating(|known, _, _| known.may_approve = false), "ok");
    assert_eq!(creating(|known, _, _| known.may_request = false), "RightMissing");
    // The requester is who is authenticated, and the seal proves it.
    assert_eq!(creating(|_, made, _| made.spec.requester = None), "IdentityForged");
    assert_eq!(creating(|known, _, _| known.author = named("bob")), "IdentityForged");
    assert_eq!(creating(|known, _, _| known.author.groups.push("ops".to_owned())), "IdentityForged");
    assert_eq!(creating(|_, made, _| requester(made).seal = None), "IdentityForged");
    assert_eq!(creating(|_, made, _| requester(made).seal = Some("v1.x.y".to_owned())), "IdentityForged");
    assert_eq!(creating(|_, made, _| made.metadata.name = Some("del-2".to_owned())), "IdentityForged");
    assert_eq!(creating(|_, made, _| made.spec.reason.push('!')), "IdentityForged");
    for name in ["", " alice", "alice\n"] {
        assert_eq!(creating(|known, _, _| known.author = named(name)), "IdentityUnusable");
    }
    // The target exists, under this UID.
    assert_eq!(creating(|_, _, exists| *exists = None), "SubjectUnknown");
    assert_eq!(creating(|_, _, exists| *exists = Some(uid(7))), "SubjectUnknown");
    // Limits, but for the controller.
    assert_eq!(creating(|known, _, _| known.open = MAX_OPEN_REQUESTS - 1), "ok");
    assert_eq!(creating(|known, _, _| known.open = MAX_OPEN_REQUESTS), "TooManyOpen");
    assert_eq!(creating(|known, _, _| (known.open, known.is_controller) = (MAX_OPEN_REQUESTS, true)), "ok");
    // On dry-run nothing is sealed, and nothing sealed is taken: it could be kept and used.
    assert_eq!(creating(|known, _, _| known.dry_run = true), "IdentityForged");
    assert_eq!(creating(|known, made, _| (known.dry_run, requester(made).seal) = (true, None)), "ok");
}

#[test]
fn a_statement_is_written_now_or_not_at_all() {
    let alice = named("alice");
    let known = Knowledge::of(&alice);
    let made = request("del-1", claim_target(), Some(&alice));
    for (now, expected) in [(0, "ok"), (16, "ok"), (-16, "ok"), (17, "IdentityForged"), (-17, "IdentityForged")] {
        let uid = claim_target().uid;
        assert_eq!(verdict(request_created(&known.speaker(), &made, Some(&uid), ring(), at(now))), expected, "{now}");
    }
}

/// A sign-off as bob creates it on alice's request, after a change.
fn signing(says: Says, change: impl FnOnce(&mut Knowledge, &mut Scene, &mut SignOff)) -> &'static str {
    let bob = named("bob");
    signing_as(&bob, says, change)
}

fn signing_as(
    author: &Author,
    says: Says,
    change: impl FnOnce(&mut Knowledge, &mut Scene, &mut SignOff),
) -> &'static str {
    let mut scene = Scene::of_claim(Some(&with_email("alice", "alice@example.org")));
    scene.reconciled(TargetState::Live, 1);
    let digest = (says == Says::Approve).then(|| scene.digest());
    let mut made = sign_off("so-1", subject_of(&scene.request), says, digest.as_deref(), author, 10);
    made.metadata.creation_timestamp = None;
    let mut known = Knowledge::of(author);
    change(&mut known, &mut scene, &mut made);
    let subject = scene.request.metadata.uid.is_some().then_some(&scene.request);
    verdict(sign_off_created(&known.speaker(), &made, subject, &identities(), ring(), at(11)))
}

fn in_phase(phase: Phase) -> impl FnOnce(&mut Knowledge, &mut Scene, &mut SignOff) {
    move |_, scene, _| scene.request.status.as_mut().unwrap().phase = Some(phase)
}

#[test]
fn who_may_say_what() {
    for says in [Says::Approve, Says::Reject, Says::Hold] {
        assert_eq!(signing(says, |_, _, _| {}), "ok");
        assert_eq!(
            signing(says, |known, _, _| (known.may_approve, known.may_request) = (false, false)),
            "RightMissing"
        );
    }
    // A question may be put by whoever may ask for deletions; approving and rejecting needs the right to approve.
    assert_eq!(signing(Says::Hold, |known, _, _| known.may_approve = false), "ok");
    assert_eq!(signing(Says::Approve, |known, _, _| known.may_approve = false), "RightMissing");
    assert_eq!(signing(Says::Reject, |known, _, _| known.may_approve = false), "RightMissing");
    // Nobody approves their own, under no name; and whoever may approve may reject and hold their own.
    let (alice, oidc) = (with_email("alice", "alice@example.org"), named("oidc:Alice@example.org"));
    for author in [&alice, &oidc] {
        assert_eq!(signing_as(author, Says::Approve, |_, _, _| {}), "SelfApproval");
        assert_eq!(signing_as(author, Says::Reject, |_, _, _| {}), "ok");
        assert_eq!(signing_as(author, Says::Cancel, |_, _, _| {}), "ok");
    }
    // Only the requester cancels, and needs no right to.
    assert_eq!(signing(Says::Cancel, |_, _, _| {}), "StatementNotYours");
    assert_eq!(
        signing_as(&alice, Says::Cancel, |known, _, _| (known.may_approve, known.may_request) = (false, false)),
        "ok"
    );
    assert_eq!(
        signing_as(&alice, Says::Cancel, |_, scene, _| scene.request.spec.requester = None),
        "StatementNotYours"
    );
}

#[rstest]
#[case("system:serviceaccount:shop:argocd")]
#[case("system:kube-controller-manager")]
#[case("ci:deploy")]
#[case("admin")]
fn only_people_approve(#[case] name: &str) {
    assert_eq!(signing_as(&named(name), Says::Approve, |_, _, _| {}), "NotAPerson");
    assert_eq!(signing_as(&named(name), Says::Hold, |_, _, _| {}), "ok");
}

#[test]
fn a_sign_off_is_by_whom_it_says() {
    assert_eq!(signing(Says::Approve, |known, _, _| known.author = named("carol")), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.spec.author = Some(named("carol"))), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.spec.author = None), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.spec.at = None), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.spec.at = Some(crate::support::time(-60))), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.spec.seal = None), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.spec.says = Says::Hold), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.spec.comment = Some("later".to_owned())), "IdentityForged");
    assert_eq!(signing(Says::Approve, |_, _, made| made.metadata.name = Some("so-2".to_owned())), "IdentityForged");
    assert_eq!(signing(Says::Approve, |known, _, _| known.dry_run = true), "IdentityForged");
    assert_eq!(signing(Says::Approve, |known, _, made| (known.dry_run, made.spec.seal) = (true, None)), "ok");
    assert_eq!(signing_as(&named("bob\u{7f}"), Says::Approve, |_, _, _| {}), "IdentityUnusable");
}

#[test]
fn a_sign_off_is_about_what_exists_and_is_open() {
    assert_eq!(signing(Says::Approve, |_, scene, _| scene.request.metadata.uid = None), "SubjectUnknown");
    assert_eq!(signing(Says::Approve, |_, scene, _| scene.request.metadata.uid = Some(uid(7))), "SubjectUnknown");
    for phase in [Phase::Pending, Phase::Approved, Phase::Executable] {
        assert_eq!(signing(Says::Hold, in_phase(phase)), "ok", "{phase:?}");
    }
    for phase in [Phase::Executed, Phase::Rejected, Phase::Cancelled, Phase::Expired] {
        assert_eq!(signing(Says::Hold, in_phase(phase)), "RequestEnded", "{phase:?}");
    }
    for says in [Says::Approve, Says::Reject, Says::Hold] {
        assert_eq!(signing(says, in_phase(Phase::Executing)), "RequestInUse");
    }
    assert_eq!(signing(Says::Hold, |known, _, _| known.open = MAX_OPEN_SIGN_OFFS - 1), "ok");
    assert_eq!(signing(Says::Hold, |known, _, _| known.open = MAX_OPEN_SIGN_OFFS), "TooManyOpen");
}

#[test]
fn an_approval_names_the_current_content() {
    let stale = |_: &mut Knowledge, scene: &mut Scene, _: &mut SignOff| {
        scene.live = crate::support::inventory([1, 2]);
        scene.reconciled(TargetState::Live, 2);
    };
    assert_eq!(signing(Says::Approve, stale), "DigestStale");
    assert_eq!(signing(Says::Hold, stale), "ok");
    assert_eq!(signing(Says::Approve, |_, scene, _| scene.request.status = None), "DigestStale");
    let unsaid = |_: &mut Knowledge, scene: &mut Scene, made: &mut SignOff| {
        *made = sign_off("so-1", subject_of(&scene.request), Says::Approve, None, &named("bob"), 10);
    };
    assert_eq!(signing(Says::Approve, unsaid), "DigestStale");
}

#[test]
fn the_refusal_of_a_stale_digest_shows_the_current_line() {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    let status = scene.reconciled(TargetState::Live, 1).status;
    let old = format!("subject/v1:sha256:{}", "0".repeat(64));
    let made = sign_off("so-1", subject_of(&scene.request), Says::Approve, Some(&old), &named("bob"), 10);
    let bob = Knowledge::of(&named("bob"));
    let refusal = sign_off_created(&bob.speaker(), &made, Some(&scene.request), &Identities::default(), ring(), at(10))
        .unwrap_err();
    assert_eq!(refusal.next.unwrap().command, status.sign_off_command.unwrap());
}

/// Whether bob's approval is taken, after what was said before: by whom, and what became of it.
fn approving_after(author: &Author, change: impl FnOnce(&mut Scene)) -> Result<(), Refusal> {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.reconciled(TargetState::Live, 1);
    scene.approves(author, 5);
    change(&mut scene);
    let digest = scene.digest();
    let mut made = sign_off("so-9", subject_of(&scene.request), Says::Approve, Some(&digest), &named("bob"), 10);
    made.metadata.creation_timestamp = None;
    not_said_before(&made, &scene.sign_offs, ring())
}

#[test]
fn nobody_approves_twice_what_they_have_approved() {
    for alias in [named("bob"), named("BOB"), with_email("b-4711", "bob")] {
        let refusal = approving_after(&alias, |_| {}).unwrap_err();
        assert_eq!(refusal.code.as_str(), "AlreadySaid");
        let by = &alias.username;
        let sentence = format!("Approve on del-1 was not written: {by} has approved it already by sign-off so-0-5");
        assert_eq!(refusal.sentence, sentence);
        assert_eq!(refusal.next.unwrap().command, "kubectl delete signoff so-0-5");
    }
    // What counts for nothing, or not as an approval of this content, stands in nobody's way.
    let bob = named("bob");
    assert!(approving_after(&named("carol"), |_| {}).is_ok());
    assert!(approving_after(&bob, |scene| scene.live = crate::support::inventory([1, 2])).is_ok());
    assert!(approving_after(&bob, |scene| scene.sign_offs[0].spec.seal = None).is_ok());
    let deleted = Some(crate::support::time(6));
    assert!(approving_after(&bob, |scene| scene.sign_offs[0].metadata.deletion_timestamp = deleted).is_ok());
    assert!(approving_after(&bob, |scene| scene.sign_offs[0].spec.subject.uid = uid(7)).is_ok());
    for says in [Says::Hold, Says::Reject] {
        let said = |scene: &mut Scene| {
            scene.sign_offs.clear();
            scene.says(&named("bob"), says, 5);
        };
        assert!(approving_after(&bob, said).is_ok());
    }
    // Only an approval can be said too often.
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.says(&bob, Says::Hold, 5);
    assert!(not_said_before(&scene.sign_offs[0].clone(), &scene.sign_offs, ring()).is_ok());
}

/// Whether `who` may delete what `author` said, about a request in this phase.
fn withdrawing(
    who: &Author,
    says: Says,
    phase: Phase,
    subject_there: bool,
    target_going: bool,
    controller: bool,
) -> &'static str {
    let mut scene = Scene::of_claim(Some(&named("alice")));
    scene.reconciled(TargetState::Live, 1);
    scene.says(&named("bob"), says, 10);
    scene.request.status.as_mut().unwrap().phase = Some(phase);
    let subject = subject_there.then_some(&scene.request);
    verdict(sign_off_deleted(who, controller, &scene.sign_offs[0], subject, target_going))
}

#[test]
fn who_may_withdraw() {
    let (bob, carol) = (named("bob"), named("carol"));
    let robert = Author { uid: Some("bob".to_owned()), ..named("robert") };
    for says in [Says::Approve, Says::Reject, Says::Hold] {
        assert_eq!(withdrawing(&bob, says, Phase::Pending, true, false, false), "ok");
        // Whoever else: an alias and the controller, too.
        assert_eq!(withdrawing(&carol, says, Phase::Pending, true, false, false), "StatementNotYours");
        assert_eq!(withdrawing(&robert, says, Phase::Pending, true, false, false), "StatementNotYours");
        assert_eq!(withdrawing(&carol, says, Phase::Pending, true, false, true), "StatementNotYours");
        // Not from when the deletion has begun.
        assert_eq!(withdrawing(&bob, says, Phase::Executing, true, false, false), "RequestInUse");
        assert_eq!(withdrawing(&bob, says, Phase::Executable, true, true, false), "RequestInUse");
        // When its subject is gone it says nothing more.
        assert_eq!(withdrawing(&bob, says, Phase::Pending, false, false, false), "ok");
        assert_eq!(withdrawing(&carol, says, Phase::Pending, false, false, true), "ok");
        assert_eq!(withdrawing(&carol, says, Phase::Pending, false, false, false), "StatementNotYours");
    }
    // A Reject, once seen, stays.
    assert_eq!(withdrawing(&bob, Says::Reject, Phase::Rejected, true, false, false), "RequestEnded");
    assert_eq!(withdrawing(&bob, Says::Cancel, Phase::Cancelled, true, false, false), "RequestEnded");
    assert_eq!(withdrawing(&bob, Says::Approve, Phase::Rejected, true, false, false), "ok");
    // What let something happen is kept with what happened; a question does not.
    assert_eq!(withdrawing(&bob, Says::Approve, Phase::Executed, true, false, false), "RequestEnded");
    assert_eq!(withdrawing(&bob, Says::Approve, Phase::Executed, false, false, false), "ok");
    assert_eq!(withdrawing(&bob, Says::Hold, Phase::Executed, true, false, false), "ok");
    assert_eq!(withdrawing(&bob, Says::Approve, Phase::Closed, true, false, false), "RequestEnded");
    assert_eq!(withdrawing(&bob, Says::Supervised, Phase::Executed, true, false, false), "ok");
    assert_eq!(withdrawing(&bob, Says::Supervised, Phase::Closed, true, false, false), "RequestEnded");
}

/// Whether somebody may delete a request that alice made.
fn clearing(author: &Author, phase: Phase, rights: bool, target_going: bool) -> &'static str {
    let mut made = request("del-1", claim_target(), Some(&named("alice")));
    made.status = Some(foureyes_core::api::DeletionRequestStatus { phase: Some(phase), ..Default::default() });
    let known = Knowledge { may_request: rights, may_approve: rights, ..Knowledge::of(author) };
    let target = if target_going { TargetState::Going(at(0)) } else { TargetState::Live };
    verdict(request_deleted(&known.speaker(), &made, target, at(1)))
}

#[test]
fn who_may_delete_a_request() {
    let (alice, bob) = (named("alice"), named("bob"));
    for phase in [Phase::Pending, Phase::Approved, Phase::Executable] {
        assert_eq!(clearing(&alice, phase, false, false), "ok");
        assert_eq!(clearing(&bob, phase, true, false), "StatementNotYours");
        assert_eq!(clearing(&alice, phase, true, true), "RequestInUse");
    }
    for phase in [Phase::Executing, Phase::Executed] {
        assert_eq!(clearing(&alice, phase, true, false), "RequestInUse");
        assert_eq!(clearing(&bob, phase, true, false), "RequestInUse");
    }
    for phase in [Phase::Closed, Phase::Rejected, Phase::Cancelled, Phase::Expired] {
        assert_eq!(clearing(&bob, phase, true, false), "ok");
        assert_eq!(clearing(&bob, phase, false, false), "RightMissing");
        assert_eq!(clearing(&alice, phase, false, false), "RightMissing");
    }
}

#[test]
fn a_request_that_used_an_annotation_stays_while_the_annotation_could_be_used_again() {
    let mut scene = Scene::of_claim(None);
    scene.annotates(&named("bob"), 10);
    scene.reconciled(TargetState::Live, 60);
    scene.request.status.as_mut().unwrap().phase = Some(Phase::Expired);
    let carol = Knowledge::of(&named("carol"));
    let clearing = |target, second| verdict(request_deleted(&carol.speaker(), &scene.request, target, at(second)));
    assert_eq!(clearing(TargetState::Live, 14 * DAY), "RequestInUse");
    assert_eq!(clearing(TargetState::Live, 14 * DAY + 1), "ok");
    assert_eq!(clearing(TargetState::Gone, 70), "ok");
}

/// The annotation as bob writes it, after a change of what is known, its value and its record.
fn annotating(
    kind: TargetKind,
    change: impl FnOnce(&mut Knowledge, &mut Option<String>, &mut Option<ApprovalRecord>),
) -> &'static str {
    let target = if kind == TargetKind::Namespace { namespace_target() } else { claim_target() };
    let current = crate::support::inventory([1]).digest().unwrap();
    let mut known = Knowledge::of(&named("bob"));
    let mut value = Some(format!("bob@{}", short(&current)));
    let mut made = Some(record(&named("bob"), 10, &target.uid, short(&current)));
    change(&mut known, &mut value, &mut made);
    let text = made.map(|made| serde_json::to_string(&made).unwrap());
    let after = Annotation { value: value.as_deref(), record: text.as_deref() };
    verdict(annotated(&known.speaker(), &target, &after, &current, &identities(), ring(), at(11)))
}

#[rstest]
#[case(TargetKind::PersistentVolumeClaim)]
#[case(TargetKind::Namespace)]
fn who_may_approve_by_annotation(#[case] kind: TargetKind) {
    let current = crate::support::inventory([1]).digest().unwrap();
    let digest = short(&current).to_owned();
    let object = if kind == TargetKind::Namespace { namespace_target().uid } else { claim_target().uid };
    assert_eq!(annotating(kind, |_, _, _| {}), "ok");
    // Taking it away withdraws it; half of it is no approval.
    assert_eq!(annotating(kind, |_, value, made| (*value, *made) = (None, None)), "ok");
    assert_eq!(annotating(kind, |_, value, _| *value = None), "IdentityForged");
    assert_eq!(annotating(kind, |_, _, made| *made = None), "IdentityForged");
    // In nobody else's name, for nothing else, at no other time.
    assert_eq!(annotating(kind, |known, _, _| known.author = named("carol")), "IdentityForged");
    assert_eq!(annotating(kind, |_, value, _| *value = Some(format!("carol@{digest}"))), "IdentityForged");
    assert_eq!(annotating(kind, |_, value, _| *value = Some(format!("me@{digest}"))), "IdentityForged");
    assert_eq!(annotating(kind, |_, _, made| made.as_mut().unwrap().seal = None), "IdentityForged");
    assert_eq!(
        annotating(kind, |_, _, made| *made = Some(record(&named("bob"), 10, &uid(7), &digest))),
        "IdentityForged"
    );
    assert_eq!(
        annotating(kind, |_, _, made| *made = Some(record(&named("bob"), -100, &object, &digest))),
        "IdentityForged"
    );
    // By people who may, of what is there now.
    assert_eq!(annotating(kind, |known, _, _| known.may_approve = false), "RightMissing");
    let by = |author: Author| {
        let (digest, object) = (digest.clone(), object.clone());
        move |known: &mut Knowledge, value: &mut Option<String>, made: &mut Option<ApprovalRecord>| {
            *value = Some(format!("{}@{digest}", author.username));
            *made = Some(record(&author, 10, &object, &digest));
            known.author = author;
        }
    };
    assert_eq!(annotating(kind, by(named("carol"))), "ok");
    assert_eq!(annotating(kind, by(named("system:serviceaccount:shop:argocd"))), "NotAPerson");
    assert_eq!(annotating(kind, by(named("admin"))), "NotAPerson");
    assert_eq!(annotating(kind, by(named(" "))), "IdentityUnusable");
    let stale = |_: &mut Knowledge, value: &mut Option<String>, made: &mut Option<ApprovalRecord>| {
        *value = Some("bob@0123456789ab".to_owned());
        *made = Some(record(&named("bob"), 10, &object, "0123456789ab"));
    };
    assert_eq!(annotating(kind, stale), "DigestStale");
    // Without a digest there is nothing to look at; whoever may not approve is told that first.
    for bare in ["me", "yes", "bob", "", "me@", "bob@example.org"] {
        let wrote = |value: &mut Option<String>, made: &mut Option<ApprovalRecord>| {
            (*value, *made) = (Some(bare.to_owned()), None);
        };
        assert_eq!(annotating(kind, |_, value, made| wrote(value, made)), "DigestStale", "{bare}");
        let without = |known: &mut Knowledge, value: &mut _, made: &mut _| {
            known.may_approve = false;
            wrote(value, made);
        };
        assert_eq!(annotating(kind, without), "RightMissing", "{bare}");
    }
    // On dry-run it carries no seal.
    assert_eq!(annotating(kind, |known, _, _| known.dry_run = true), "IdentityForged");
    assert_eq!(annotating(kind, |known, _, made| (known.dry_run, made.as_mut().unwrap().seal) = (true, None)), "ok");
}

#[test]
fn an_approval_by_annotation_is_not_written_over_another_persons() {
    let (target, current) = (claim_target(), crate::support::inventory([1]).digest().unwrap());
    let made =
        |by: &str, digest: &str, object: &str| serde_json::to_string(&record(&named(by), 10, object, digest)).unwrap();
    let over = |before: Option<&str>, author: &str| {
        annotated_over(&named(author), &target, before, &current, ring()).map_err(|refusal| refusal.code.as_str())
    };
    let bobs = made("bob", short(&current), &target.uid);
    assert_eq!(over(Some(&bobs), "carol"), Err("AlreadySaid"));
    assert_eq!(over(Some(&bobs), "bob"), Ok(()));
    assert_eq!(over(Some(&bobs), "BOB"), Ok(()));
    // What counts for nothing is written over by anybody.
    assert_eq!(over(None, "carol"), Ok(()));
    assert_eq!(over(Some(&made("bob", "0123456789ab", &target.uid)), "carol"), Ok(()));
    assert_eq!(over(Some(&made("bob", short(&current), &uid(7))), "carol"), Ok(()));
    assert_eq!(over(Some(&bobs.replace("bob", "eve")), "carol"), Ok(()));
    let refusal = annotated_over(&named("carol"), &target, Some(&bobs), &current, ring()).unwrap_err();
    assert!(refusal.sentence.contains("bob has approved by annotation already"), "{refusal}");
    assert!(refusal.next.unwrap().command.contains(&format!("spec.target.uid={}", target.uid)));
}

#[test]
fn the_second_person_signs_off_the_request_that_counts_the_annotation() {
    let mut scene = Scene::of_claim(None);
    scene.reconciled(TargetState::Live, 1);
    assert_eq!(sign_off_beside(&scene.request), None);
    scene.annotates(&named("bob"), 5);
    let status = scene.reconciled(TargetState::Live, 6).status;
    assert_eq!(sign_off_beside(&scene.request), status.sign_off_command);
    assert!(status.sign_off_command.is_some());
    // Where a person asked it counts for nothing.
    let mut asked = Scene::of_claim(Some(&named("alice")));
    asked.annotates(&named("bob"), 5);
    asked.reconciled(TargetState::Live, 6);
    assert_eq!(sign_off_beside(&asked.request), None);
}
