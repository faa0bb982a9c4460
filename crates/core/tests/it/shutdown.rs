//! Shut down first (promise 2), by foureyes: what is scaled down in the requester's name and what is left to people, each
//! change written down before it is made, nobody fought, and all of it put back when nothing was deleted after all.

use foureyes_core::api::{Author, Phase, Says, ScaledDown, Shutdown};
use foureyes_core::domain::kept::SLOWEST_DELETION;
use foureyes_core::domain::lifecycle::{Plan, TargetState};
use foureyes_core::domain::quiet::Usage;
use foureyes_core::domain::request::Request as _;
use foureyes_core::domain::shutdown::{Field, Users, Workload, is_wanted};
use foureyes_core::domain::speaking::{Speaker, request_deleted};
use foureyes_core::reason::Code;
use rstest::rstest;
use serde_json::json;

use crate::support::{Scene, at, named, policies};

fn deployment(name: &str, replicas: u32) -> Workload {
    Workload {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        resource_version: "1".to_owned(),
        value: replicas.to_string(),
        set_by: Some("helm".to_owned()),
        set_at: Some(at(0)),
        may: true,
        ..Workload::default()
    }
}

fn cron_job(name: &str) -> Workload {
    Workload {
        api_version: "batch/v1".to_owned(),
        kind: "CronJob".to_owned(),
        field: Field::Suspend,
        value: "false".to_owned(),
        ..deployment(name, 0)
    }
}

/// As it is once foureyes has made its change.
fn down(workload: &Workload) -> Workload {
    Workload { value: workload.field.down().to_owned(), ..workload.clone() }
}

fn users(workloads: &[Workload]) -> Users {
    Users { workloads: workloads.to_vec(), others: Vec::new() }
}

/// alice asks for a namespace in which pods run, with what foureyes shall scale down, and bob signs it off.
fn signed_off(asker: Option<&Author>, workloads: &[Workload]) -> Scene {
    let mut scene = Scene::of_namespace(asker);
    scene.usage = Usage { running: vec!["web-1".to_owned()], ..Usage::default() };
    scene.reconciled(TargetState::Live, 1);
    scene.approves(&named("bob"), 10);
    scene.approves(&named("carol"), 11);
    scene.users = Some(users(workloads));
    scene
}

fn by_alice(workloads: &[Workload]) -> Scene {
    signed_off(Some(&named("alice")), workloads)
}

fn condition(plan: &Plan) -> (&str, &str, &str) {
    let condition = plan.status.conditions.iter().find(|condition| condition.type_ == "ShutDown").unwrap();
    (&condition.status, &condition.reason, &condition.message)
}

fn waits(plan: &Plan) -> &str {
    plan.status.waiting_for.as_deref().unwrap_or_default()
}

fn changes(plan: &Plan) -> Vec<(&str, &str)> {
    plan.scale_down.iter().map(|change| (change.name.as_str(), change.value.as_str())).collect()
}

fn noted(plan: &Plan) -> Vec<(&str, &str, bool)> {
    let noted = plan.status.scaled_down.iter();
    noted.map(|known: &ScaledDown| (known.name.as_str(), known.before.as_str(), known.seen)).collect()
}

#[test]
fn nothing_is_scaled_before_it_was_signed_off_and_nothing_while_it_is_on_hold() {
    let web = deployment("web", 3);
    let mut scene = Scene::of_namespace(Some(&named("alice")));
    scene.users = Some(users(std::slice::from_ref(&web)));
    let plan = scene.reconciled(TargetState::Live, 1);
    assert!(plan.scale_down.is_empty() && plan.status.scaled_down.is_empty());
    scene.approves(&named("bob"), 10);
    scene.says(&named("carol"), Says::Hold, 11);
    let plan = scene.reconciled(TargetState::Live, 12);
    assert!(plan.scale_down.is_empty() && plan.status.scaled_down.is_empty());
    assert_eq!(plan.status.shutdown_since, None);
}

#[test]
fn what_runs_is_noted_then_scaled_down_then_seen() {
    let (web, report, idle) = (deployment("web", 3), cron_job("report"), deployment("idle", 0));
    let mut scene = by_alice(&[report.clone(), idle.clone(), web.clone()]);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(changes(&plan), [("report", "true"), ("web", "0")]);
    assert_eq!(noted(&plan), [("report", "false", false), ("web", "3", false)]);
    assert_eq!(condition(&plan).1, "ScalingDown");
    assert_eq!((plan.status.phase, waits(&plan)), (Some(Phase::Quiescing), "the end of pod web-1"));

    // The process ended before it had made one of them: the same again, and nothing for the other.
    scene.users = Some(users(&[down(&report), idle.clone(), web.clone()]));
    let plan = scene.reconciled(TargetState::Live, 21);
    assert_eq!(changes(&plan), [("web", "0")]);
    assert_eq!(noted(&plan), [("report", "false", true), ("web", "3", false)]);

    scene.users = Some(users(&[down(&report), idle, down(&web)]));
    let plan = scene.reconciled(TargetState::Live, 22);
    assert!(plan.scale_down.is_empty());
    assert_eq!(noted(&plan), [("report", "false", true), ("web", "3", true)]);
    assert_eq!(condition(&plan), ("True", "ScaledDown", "what used it is scaled down: CronJob/report, Deployment/web"));
    scene.usage = Usage { never_used: true, ..Usage::default() };
    assert_eq!(scene.reconciled(TargetState::Live, 23).status.phase, Some(Phase::Executable));
}

#[test]
fn what_was_scaled_meanwhile_goes_back_to_what_it_was_last() {
    let mut scene = by_alice(&[deployment("web", 3)]);
    scene.reconciled(TargetState::Live, 20);
    scene.users = Some(users(&[deployment("web", 5)]));
    let plan = scene.reconciled(TargetState::Live, 21);
    assert_eq!((changes(&plan), noted(&plan)), (vec![("web", "0")], vec![("web", "5", false)]));
}

#[test]
fn what_runs_again_is_named_and_not_fought() {
    let web = deployment("web", 3);
    let mut scene = by_alice(std::slice::from_ref(&web));
    scene.reconciled(TargetState::Live, 20);
    scene.users = Some(users(&[down(&web)]));
    scene.reconciled(TargetState::Live, 21);
    let again = Workload {
        set_by: Some("argocd-controller".to_owned()),
        scalers: vec!["HorizontalPodAutoscaler/web".to_owned()],
        ..web.clone()
    };
    scene.users = Some(users(&[again]));
    let plan = scene.reconciled(TargetState::Live, 22);
    assert!(plan.scale_down.is_empty());
    let said = "scaled down once and running again: Deployment/web (set by argocd-controller, scaled by HorizontalPodAutoscaler/web)";
    assert_eq!(condition(&plan), ("False", "FoughtBack", said));
    assert_eq!(waits(&plan), format!("the end of pod web-1; {said}"));
    assert_eq!(plan.events.len(), 1);
    let refusal = scene.confirmed(&named("alice"), 23).unwrap_err();
    assert_eq!(refusal.code, Code::NotYetExecutable);
    assert!(refusal.to_string().contains(&format!("foureyes shuts it down: {said}")), "{refusal}");

    // The same said twice is said once, and whoever scales it down by hand has helped.
    assert!(scene.reconciled(TargetState::Live, 24).events.is_empty());
    scene.users = Some(users(&[deployment("web", 0)]));
    let plan = scene.reconciled(TargetState::Live, 25);
    assert_eq!(condition(&plan).0, "True");
}

#[test]
fn what_was_started_later_is_left_to_people() {
    let web = deployment("web", 3);
    let mut scene = by_alice(std::slice::from_ref(&web));
    scene.reconciled(TargetState::Live, 20);
    let rescue = Workload { set_at: Some(at(25)), set_by: Some("kubectl".to_owned()), ..deployment("rescue", 1) };
    let unknown = Workload { set_at: None, set_by: None, ..deployment("unknown", 1) };
    scene.users = Some(users(&[down(&web), rescue, unknown]));
    let plan = scene.reconciled(TargetState::Live, 26);
    assert!(plan.scale_down.is_empty());
    let said = "started since: Deployment/rescue (set by kubectl), Deployment/unknown";
    assert_eq!(condition(&plan), ("False", "FoughtBack", said));
}

#[test]
fn what_the_requester_may_not_do_is_left_to_people_until_they_may() {
    let forbidden = |workload: Workload| Workload { may: false, ..workload };
    let mut scene = by_alice(&[forbidden(cron_job("report")), deployment("api", 1), forbidden(deployment("web", 3))]);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!(changes(&plan), [("api", "0")]);
    let said = "alice may not scale Deployment/web; alice may not suspend CronJob/report";
    assert_eq!(condition(&plan), ("False", "LeftToPeople", said));
    assert_eq!(waits(&plan), format!("the end of pod web-1; {said}"));
    scene.users = Some(users(&[cron_job("report"), down(&deployment("api", 1)), deployment("web", 3)]));
    assert_eq!(changes(&scene.reconciled(TargetState::Live, 30)), [("report", "true"), ("web", "0")]);

    // Taken again before it was done: it is not done, and not put back either.
    scene.users =
        Some(users(&[down(&cron_job("report")), down(&deployment("api", 1)), forbidden(deployment("web", 3))]));
    let plan = scene.reconciled(TargetState::Live, 31);
    assert_eq!((plan.scale_down.len(), noted(&plan).len()), (0, 2));
}

#[rstest]
#[case(None)]
#[case(Some("system:serviceaccount:ci:deployer"))]
#[case(Some("admin"))]
fn nothing_is_scaled_where_no_person_asked(#[case] asker: Option<&str>) {
    let plan = signed_off(asker.map(named).as_ref(), &[deployment("web", 3)]).reconciled(TargetState::Live, 20);
    assert!(plan.scale_down.is_empty() && plan.status.scaled_down.is_empty());
    assert_eq!((condition(&plan).0, condition(&plan).1), ("False", "NoHumanRequester"));
    assert_eq!(waits(&plan), "the end of pod web-1");
}

#[test]
fn what_can_not_be_scaled_and_what_would_lose_its_claims_is_named() {
    let db = Workload { kind: "StatefulSet".to_owned(), takes_claims_along: true, ..deployment("db", 2) };
    let mut scene = by_alice(&[db]);
    scene.users.as_mut().unwrap().others = vec!["DaemonSet/agent".to_owned(), "Pod/shell".to_owned()];
    let plan = scene.reconciled(TargetState::Live, 20);
    assert!(plan.scale_down.is_empty());
    let said = "claims would be deleted with the pods of StatefulSet/db; not to be scaled: DaemonSet/agent, Pod/shell";
    assert_eq!(condition(&plan), ("False", "LeftToPeople", said));
}

#[test]
fn a_status_has_room_for_so_many() {
    let many: Vec<Workload> = (0..1200).map(|number| deployment(&format!("web-{number:04}"), 1)).collect();
    let mut scene = by_alice(&many);
    let plan = scene.reconciled(TargetState::Live, 20);
    assert_eq!((plan.scale_down.len(), plan.status.scaled_down.len()), (1000, 1000));
    let said = "too many to be scaled down for one request: Deployment/web-1000, Deployment/web-1001, Deployment/web-1002 and 197 more";
    assert_eq!(condition(&plan).2, said);
    assert!(serde_json::to_string(&plan.status).unwrap().len() < 512 * 1024);
}

#[test]
fn the_request_says_who_shuts_down_and_else_the_policy() {
    let scene = |asked: Option<Shutdown>, floor: &str| {
        let mut scene = Scene::of_namespace(None);
        scene.request.spec.shutdown = asked;
        is_wanted(&scene.request, &policies(&[("default", json!({"deletion": {"shutdown": floor}}))]))
    };
    assert!(scene(None, "Scale") && !scene(None, "Manual"));
    assert!(scene(Some(Shutdown::Scale), "Manual") && !scene(Some(Shutdown::Manual), "Scale"));
    assert!(!is_wanted(&Scene::of_namespace(None).request, &policies(&[])));
}

/// Scaled down; then it ends otherwise than by the deletion.
fn ended(workloads: &[Workload]) -> Scene {
    let mut scene = by_alice(workloads);
    scene.reconciled(TargetState::Live, 20);
    scene.users = Some(users(&workloads.iter().map(down).collect::<Vec<_>>()));
    scene.reconciled(TargetState::Live, 21);
    scene.says(&named("alice"), Says::Cancel, 30);
    let plan = scene.reconciled(TargetState::Live, 31);
    assert_eq!(plan.status.phase, Some(Phase::Cancelled));
    assert!(plan.scale_back.is_empty() && plan.status.is_unsettled());
    assert_eq!(plan.look_again, Some(at(31) + SLOWEST_DELETION));
    scene
}

fn late() -> i64 {
    31 + SLOWEST_DELETION.as_secs()
}

#[test]
fn it_is_put_back_as_it_was() {
    let (web, report) = (deployment("web", 3), cron_job("report"));
    let mut scene = ended(&[report.clone(), web.clone()]);
    assert!(scene.reconciled(TargetState::Live, late() - 1).scale_back.is_empty());
    let plan = scene.decided(TargetState::Live, late());
    let back: Vec<_> = plan.scale_back.iter().map(|change| (change.name.as_str(), change.value.as_str())).collect();
    assert_eq!(back, [("report", "false"), ("web", "3")]);
    assert!(plan.status.is_unsettled(), "it is done with once it is seen to be as it was");

    // One of them, and the process ended.
    scene.users = Some(users(&[report.clone(), down(&web)]));
    let plan = scene.decided(TargetState::Live, late() + 1);
    assert_eq!(plan.scale_back.len(), 1);
    scene.users = Some(users(&[report, web]));
    let plan = scene.reconciled(TargetState::Live, late() + 2);
    assert!(plan.scale_back.is_empty() && !plan.status.is_unsettled());
}

#[test]
fn what_somebody_changed_since_is_left_alone() {
    let web = deployment("web", 3);
    for changed in [deployment("web", 1), Workload { uid: "another".to_owned(), ..down(&web) }] {
        let mut scene = ended(std::slice::from_ref(&web));
        scene.users = Some(users(&[changed]));
        let plan = scene.reconciled(TargetState::Live, late());
        assert!(plan.scale_back.is_empty() && !plan.status.is_unsettled());
    }
}

#[test]
fn nothing_is_put_back_under_what_is_going_or_gone_or_scaled_down_for_another() {
    let web = deployment("web", 3);
    let mut scene = ended(std::slice::from_ref(&web));
    let plan = scene.reconciled(TargetState::Going(at(40)), late());
    assert!(plan.scale_back.is_empty() && plan.status.is_unsettled());
    scene.scaled_elsewhere = ["uid-web".into()].into();
    let plan = scene.reconciled(TargetState::Live, late() + 1);
    assert!(plan.scale_back.is_empty() && plan.status.is_unsettled());
    let plan = scene.reconciled(TargetState::Gone, late() + 2);
    assert!(plan.scale_back.is_empty() && !plan.status.is_unsettled());
}

#[test]
fn a_request_stays_until_what_was_scaled_down_for_it_is_put_back() {
    let alice = named("alice");
    let speaker = Speaker {
        author: &alice,
        dry_run: false,
        may_request: true,
        may_approve: false,
        open: 0,
        is_controller: false,
    };
    let mut scene = ended(&[deployment("web", 3)]);
    let deleted = |scene: &Scene, target| request_deleted(&speaker, &scene.request, target, at(40));
    let refusal = deleted(&scene, TargetState::Live).unwrap_err();
    assert_eq!(refusal.code, Code::RequestInUse);
    assert!(refusal.sentence.contains("is put back only while it is there"), "{}", refusal.sentence);
    assert!(deleted(&scene, TargetState::Gone).is_ok());
    scene.users = Some(users(&[deployment("web", 3)]));
    scene.reconciled(TargetState::Live, late());
    assert!(deleted(&scene, TargetState::Live).is_ok());
    assert!(scene.request.kept(TargetState::Live, at(40)).is_none());
}
