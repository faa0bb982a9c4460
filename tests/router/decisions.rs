//! Decisions that need nothing but the index.

use foureyes_core::api::{DelegatedAction, Phase};
use foureyes_core::index::{Change, NamespaceEntry, RequestEntry, Snapshot, policy_entry};
use serde_json::{Value, json};

use super::support::{Api, CLAIM, SHOP, build, claim, delete_claim, judge, request, review, synced};

fn with_policy(mut index: Snapshot, spec: &Value) -> Snapshot {
    let policy = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": "default"}, "spec": spec});
    index.apply(Change::Policy(Box::new(policy_entry(&policy))));
    index
}

#[tokio::test]
async fn a_refusal_without_candidate_reads_nothing_live_and_shows_what_to_paste() {
    let api = Api::default();
    let router = build(synced(), &api);
    let answer = review(&router, "/guard", &delete_claim(&claim())).await;
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains("claim shop/reports (1Gi)"), "{message}");
    let command = message.lines().last().unwrap();
    assert!(command.starts_with("kubectl -n shop annotate pvc reports --overwrite foureyes.dev/approved-by=me@"));
    assert!(api.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_deletion_is_judged_alike_in_every_spelling() {
    let router = build(synced(), &Api::default());
    let plain = delete_claim(&claim());
    let mut collection = plain.clone();
    collection["request"]["name"] = json!("");
    let mut dry = plain.clone();
    dry["request"]["dryRun"] = json!(true);
    let mut forced = plain.clone();
    forced["request"]["options"] =
        json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan"});
    let mut as_collector = plain.clone();
    as_collector["request"]["userInfo"]["username"] =
        json!("system:serviceaccount:kube-system:generic-garbage-collector");
    let mut as_namespace_controller = plain.clone();
    as_namespace_controller["request"]["userInfo"]["username"] =
        json!("system:serviceaccount:kube-system:namespace-controller");
    for spelling in [plain, collection, dry, forced, as_collector, as_namespace_controller] {
        assert_eq!(judge(&router, &spelling).await, Err("DeletionNotRequested".to_owned()));
    }
}

#[tokio::test]
async fn what_is_not_governed_passes_with_its_reason() {
    let api = Api::default();
    let mut outside = synced();
    let labels = [("foureyes.dev/environment".to_owned(), "non-production".to_owned())].into();
    outside.apply(Change::Namespace(NamespaceEntry {
        name: "shop".into(),
        uid: SHOP.into(),
        labels,
        ..NamespaceEntry::default()
    }));
    let mut going = claim();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:00:00Z");
    let mut ephemeral = claim();
    ephemeral["metadata"]["name"] = json!("job-x-scratch");
    ephemeral["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "job-x", "uid": "u", "controller": true}]);
    let mut labelled = claim();
    labelled["metadata"]["labels"] = json!({"foureyes.dev/data": "disposable"});
    let exempt = |exempt| with_policy(synced(), &json!({"deletion": {"exempt": exempt}}));
    let cases = [
        (outside, claim(), "NonProduction"),
        (synced(), going, "AlreadyGoing"),
        (synced(), ephemeral, "Ephemeral"),
        (exempt(json!({"storageClasses": ["fast"]})), claim(), "Exempt"),
        (exempt(json!({"claimSelector": {"matchLabels": {"foureyes.dev/data": "disposable"}}})), labelled, "Exempt"),
        (with_policy(synced(), &json!({"enforcement": {"deletions": "Off"}})), claim(), "SwitchedOff"),
        (with_policy(synced(), &json!({"enforcement": {"deletions": "Warn"}})), claim(), "Warned"),
    ];
    for (index, claim, proof) in cases {
        assert_eq!(judge(&build(index, &api), &delete_claim(&claim)).await, Ok(proof.to_owned()));
    }
}

#[tokio::test]
async fn a_warning_is_one_line_and_says_what_would_be_refused() {
    let index = with_policy(synced(), &json!({"enforcement": {"deletions": "Warn"}}));
    let answer = review(&build(index, &Api::default()), "/guard", &delete_claim(&claim())).await;
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.contains("[DeletionNotRequested]") && !warning.contains('\n'), "{warning}");
}

#[tokio::test]
async fn a_stateful_sets_claim_is_not_ephemeral_though_a_pod_controls_it() {
    let mut adopted = claim();
    adopted["metadata"]["name"] = json!("data-db-0");
    adopted["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "u", "controller": true}]);
    let verdict = judge(&build(synced(), &Api::default()), &delete_claim(&adopted)).await;
    assert_eq!(verdict, Err("DeletionNotRequested".to_owned()));
}

#[tokio::test]
async fn a_delegated_operator_deletes_what_its_own_kind_controls_and_nothing_else() {
    let _ = DelegatedAction::DeleteClaims;
    let delegation = json!({"delegations": [{
        "serviceAccount": {"namespace": "cnpg-system", "name": "cnpg"},
        "ownerKind": {"group": "postgresql.cnpg.io", "kind": "Cluster"}, "may": ["DeleteClaims"],
    }]});
    let router = build(with_policy(synced(), &delegation), &Api::default());
    let mut owned = claim();
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "pg", "uid": "u", "controller": true}]);
    let by = |claim: &Value, user: &str| {
        let mut review = delete_claim(claim);
        review["request"]["userInfo"]["username"] = json!(user);
        review
    };
    let operator = "system:serviceaccount:cnpg-system:cnpg";
    assert_eq!(judge(&router, &by(&owned, operator)).await, Ok("Delegated".to_owned()));
    for (claim, user) in [
        (&owned, "eve"),
        (&owned, "system:serviceaccount:shop:cnpg"),
        (&owned, "system:serviceaccount:cnpg-system:cnpg-2"),
        (&claim(), operator),
    ] {
        assert_eq!(judge(&router, &by(claim, user)).await, Err("DeletionNotRequested".to_owned()), "{user}");
    }
}

#[tokio::test]
async fn nothing_is_decided_before_everything_was_read() {
    let router = build(Snapshot::default(), &Api::default());
    assert_eq!(judge(&router, &delete_claim(&claim())).await, Err("NotReady".to_owned()));
    let mut elsewhere = delete_claim(&claim());
    elsewhere["request"]["namespace"] = json!("unseen");
    assert_eq!(judge(&build(synced(), &Api::default()), &elsewhere).await, Err("NotReady".to_owned()));
}

#[tokio::test]
async fn an_unreadable_policy_refuses_where_it_selects() {
    let mut index = synced();
    index.apply(Change::Policy(Box::new(policy_entry(&json!({
        "metadata": {"name": "odd"}, "spec": {"selector": {"matchLabels": {"team": "a"}}, "approvals": {"min": "many"}},
    })))));
    let free = json!({"deletion": {"exempt": {"storageClasses": ["fast"]}}});
    let index = with_policy(index, &free);
    assert_eq!(judge(&build(index.clone(), &Api::default()), &delete_claim(&claim())).await, Ok("Exempt".to_owned()));
    let mut selected = index;
    selected.apply(Change::Namespace(NamespaceEntry {
        name: "shop".into(),
        uid: SHOP.into(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..NamespaceEntry::default()
    }));
    let verdict = judge(&build(selected, &Api::default()), &delete_claim(&claim())).await;
    assert_eq!(verdict, Err("PolicyUndecodable".to_owned()));
}

#[tokio::test]
async fn before_the_first_start_nothing_is_enforced() {
    let mut index = Snapshot::default();
    for kind in foureyes_core::index::Kind::ALL {
        index.apply(Change::Reset(kind, Vec::new()));
    }
    index.apply(Change::Namespace(NamespaceEntry { name: "shop".into(), ..NamespaceEntry::default() }));
    assert_eq!(judge(&build(index, &Api::default()), &delete_claim(&claim())).await, Ok("NotStarted".to_owned()));
}

#[tokio::test]
async fn what_nobody_asked_us_to_judge_is_refused() {
    let router = build(synced(), &Api::default());
    for (operation, group, resource) in [
        ("DELETE", "", "pods"),
        ("CONNECT", "", "persistentvolumeclaims"),
        ("CREATE", "", "persistentvolumeclaims"),
        ("DELETE", "apps", "persistentvolumeclaims"),
        ("UPDATE", "foureyes.dev", "deletionrequests/status"),
    ] {
        let mut asked = request(operation, group, resource, Some("shop"));
        asked["request"]["object"] = claim();
        asked["request"]["oldObject"] = claim();
        assert_eq!(judge(&router, &asked).await, Err("ReviewUnexpected".to_owned()), "{operation} {resource}");
    }
}

#[tokio::test]
async fn a_candidate_that_is_gone_live_allows_nothing() {
    let mut index = synced();
    index.apply(Change::Request(RequestEntry {
        name: "del".into(),
        uid: "u".into(),
        target_uid: CLAIM.into(),
        author: "alice".into(),
        phase: Phase::Executable,
        created: 0,
        supervise_by: None,
    }));
    let keys = json!({"metadata": {"name": "foureyes-keys"}, "data": {"clusterId": "cluster-a", "keys":
        r#"[{"id":"0","key":"","notBefore":"2026-01-01T00:00:00Z"}]"#}});
    let api = Api::default().answers("configmaps/foureyes-keys", super::support::Answer::Json(keys));
    assert_eq!(judge(&build(index, &api), &delete_claim(&claim())).await, Err("DeletionNotRequested".to_owned()));
    assert!(api.asked.lock().unwrap().iter().any(|asked| asked.contains("deletionrequests/del")));
}

fn asked_for(target: &Value, metadata: &Value) -> Value {
    let mut asked = request("CREATE", "foureyes.dev", "deletionrequests", None);
    asked["request"]["object"] = json!({"metadata": metadata, "spec": {"target": target, "reason": "r"}});
    asked
}

#[tokio::test]
async fn what_can_not_be_a_name_never_becomes_part_of_a_path() {
    let api = Api::default();
    let router = build(synced(), &api);
    for (namespace, name) in [
        ("foureyes-system/secrets/foureyes-sealing-key?x=", "two"),
        ("shop", "reports?x=y"),
        ("shop", "../../secrets/x"),
        ("shop", "a%2fb"),
        ("sh.op", "reports"),
    ] {
        let target = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name, "uid": CLAIM});
        let verdict = judge(&router, &asked_for(&target, &json!({"name": "x"}))).await;
        assert_eq!(verdict, Err("SubjectUnknown".to_owned()), "{namespace}/{name}");
    }
    assert!(api.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nothing_of_ours_is_born_with_owners_or_finalizers() {
    let router = build(synced(), &Api::default());
    let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": SHOP});
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "u"}]);
    for metadata in [json!({"name": "x", "finalizers": ["x.io/y"]}), json!({"name": "x", "ownerReferences": owner})] {
        assert_eq!(judge(&router, &asked_for(&target, &metadata)).await, Err("Immutable".to_owned()));
    }
}

/// A request that was deleted and written again has another UID than the index knows: what was said about the first
/// one counts for nothing.
#[tokio::test]
async fn sign_offs_are_those_of_the_request_as_it_is_now() {
    let mut index = synced();
    index.apply(Change::Request(RequestEntry {
        name: "del".into(),
        uid: "before".into(),
        target_uid: CLAIM.into(),
        author: "alice".into(),
        phase: Phase::Executable,
        created: 0,
        supervise_by: None,
    }));
    let keys = json!({"metadata": {"name": "foureyes-keys"}, "data": {"clusterId": "cluster-a", "keys":
        r#"[{"id":"0","key":"","notBefore":"2026-01-01T00:00:00Z"}]"#}});
    let target = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "reports", "uid": CLAIM});
    let live = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
        "metadata": {"name": "del", "uid": "now"}, "spec": {"target": target, "reason": "old"}});
    let none = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOffList", "metadata": {}, "items": []});
    let api = Api::default()
        .answers("configmaps/foureyes-keys", super::support::Answer::Json(keys))
        .answers("deletionrequests/del", super::support::Answer::Json(live))
        .answers("uid%3Dnow", super::support::Answer::Json(none));
    // What is said about the UID that the index knows can't even be read, and does not matter.
    let verdict = judge(&build(index, &api), &delete_claim(&claim())).await;
    assert_ne!(verdict.unwrap_err(), "ClusterUnreadable");
    let asked = api.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|asked| asked.contains("uid%3Dnow")), "{asked:?}");
}

/// What became of the last request is told to whoever is refused; it is read for nobody else, and nothing rests on it.
#[tokio::test]
async fn who_is_refused_learns_what_became_of_the_last_request() {
    let mut index = synced();
    for (name, created, phase) in [("a", 1, Phase::Expired), ("b", 3, Phase::Rejected), ("c", 2, Phase::Cancelled)] {
        index.apply(Change::Request(RequestEntry {
            name: name.into(),
            uid: name.into(),
            target_uid: CLAIM.into(),
            author: "alice".into(),
            phase,
            created,
            supervise_by: None,
        }));
    }
    let target = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "reports", "uid": CLAIM});
    let entry = json!({"name": "so-1", "says": "Reject", "author": "bob", "counts": true});
    let live = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest",
        "metadata": {"name": "b", "uid": "b"}, "spec": {"target": target, "reason": "old"},
        "status": {"phase": "Rejected",
                   "signOffs": {"required": 1, "granted": 0, "text": "0/1", "entries": [entry]}}});
    let mut another = live.clone();
    another["spec"]["target"]["uid"] = json!(SHOP);
    let told_so = "bob rejected DeletionRequest b about it: kubectl get deletionrequest b -o yaml";
    for (answer, told) in [
        (super::support::Answer::Json(live), true),
        (super::support::Answer::Json(another), false),
        (super::support::Answer::Status(500), false),
        (super::support::Answer::Hang, false),
    ] {
        let api = Api::default().answers("deletionrequests/b", answer);
        let answer = review(&build(index.clone(), &api), "/guard", &delete_claim(&claim())).await;
        let message = answer["status"]["message"].as_str().unwrap();
        assert!(
            message.contains("[DeletionNotRequested]") && message.contains("kubectl -n shop annotate"),
            "{message}"
        );
        assert_eq!(message.contains(told_so), told, "{message}");
        assert_eq!(api.asked.lock().unwrap().len(), 1);
    }
    let api = Api::default();
    let warns = with_policy(index, &json!({"enforcement": {"deletions": "Warn"}}));
    assert_eq!(judge(&build(warns, &api), &delete_claim(&claim())).await, Ok("Warned".to_owned()));
    assert!(api.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_changes_a_definition_of_ours_is_refused_through_its_status_too() {
    let router = build(synced(), &Api::default());
    let definition = json!({"metadata": {"name": "signoffs.foureyes.dev"}, "spec": {"group": "foureyes.dev"}});
    let mut owned = definition.clone();
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]);
    let mut held = definition.clone();
    held["metadata"]["finalizers"] = json!(["example.com/keep"]);
    let mut redefined = definition.clone();
    redefined["spec"]["scope"] = json!("Cluster");
    let mut labelled = definition.clone();
    labelled["metadata"]["labels"] = json!({"team": "a"});
    let refused = || Err("DefinitionProtected".to_owned());
    for (new, expected) in
        [(labelled, Ok("Harmless".to_owned())), (owned, refused()), (held, refused()), (redefined, refused())]
    {
        for subresource in [json!(null), json!("status")] {
            let mut review = request("UPDATE", "apiextensions.k8s.io", "customresourcedefinitions", None);
            review["request"]["subResource"] = subresource;
            review["request"]["oldObject"] = definition.clone();
            review["request"]["object"] = new.clone();
            assert_eq!(judge(&router, &review).await, expected, "{new}");
        }
    }
}
