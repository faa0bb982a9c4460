//! What is committed is what the code says, and what is shipped grants no more than it should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use foureyes::manifests;
use foureyes_core::api::{ChangeRequestSpec, DeletionRequestSpec, SafetyPolicySpec, SignOffSpec};
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap();
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| T::deserialize(document).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .collect()
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .filter(|path| !path.ends_with("kustomization.yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn committed_files_are_current() {
    let stale: Vec<_> = manifests::all()
        .unwrap()
        .into_iter()
        .filter(|file| fs::read_to_string(root().join(&file.path)).ok().as_ref() != Some(&file.text))
        .map(|file| file.path)
        .collect();
    assert!(stale.is_empty(), "stale: {stale:?}; run `make generate` and commit the result");
}

#[test]
fn generated_folders_hold_nothing_else_and_kustomize_sees_all_of_it() {
    let generated: BTreeSet<_> = manifests::all().unwrap().into_iter().map(|file| root().join(file.path)).collect();
    for folder in manifests::GENERATED_FOLDERS {
        let kustomization: Value = documents(&root().join(folder).join("kustomization.yaml")).remove(0);
        let listed: BTreeSet<_> = kustomization["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| root().join(folder).join(name.as_str().unwrap()))
            .collect();
        let present: BTreeSet<_> = yaml_files(folder).into_iter().collect();
        let expected = generated.iter().filter(|path| path.parent() == Some(&root().join(folder))).cloned().collect();
        assert_eq!(present, expected, "files of {folder}");
        assert_eq!(listed, expected, "resources of {folder}/kustomization.yaml");
    }
}

#[test]
fn installations_hold_no_instance_of_a_kind_of_ours() {
    for folder in ["crds", "config/rbac", "config/webhook", "config/observe"] {
        for path in yaml_files(folder) {
            for object in documents::<Value>(&path) {
                let version = object["apiVersion"].as_str().unwrap();
                assert!(!version.starts_with("foureyes.dev/"), "{}", path.display());
            }
        }
    }
}

/// Secrets and ConfigMaps that foureyes fills are shipped without content: applying them again must not empty them.
#[test]
fn what_foureyes_fills_is_shipped_without_content() {
    let state = documents::<Value>(&root().join("config/webhook/state.yaml"));
    let filled: Vec<_> = state.iter().filter(|object| object.get("data").is_some()).collect();
    assert_eq!(filled.len(), 1);
    assert_eq!(filled[0]["metadata"]["name"], "foureyes-install");
    assert_eq!(filled[0]["data"]["mode"], "enforce");
    assert!(state.iter().all(|object| object.get("stringData").is_none()));
}

fn is_whole<T: DeserializeOwned + Serialize>(spec: &Value) {
    let read: T = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(&serde_json::to_value(read).unwrap(), spec, "a field is unknown or spelled otherwise");
}

#[test]
fn samples_use_fields_that_exist() {
    let mut seen = BTreeSet::new();
    for path in yaml_files("config/samples") {
        for object in documents::<Value>(&path) {
            assert_eq!(object["apiVersion"], foureyes_core::api::API_VERSION);
            let kind = object["kind"].as_str().unwrap().to_owned();
            match kind.as_str() {
                "SafetyPolicy" => is_whole::<SafetyPolicySpec>(&object["spec"]),
                "ChangeRequest" => is_whole::<ChangeRequestSpec>(&object["spec"]),
                "DeletionRequest" => is_whole::<DeletionRequestSpec>(&object["spec"]),
                "SignOff" => is_whole::<SignOffSpec>(&object["spec"]),
                other => panic!("a sample of {other}"),
            }
            seen.insert(kind);
        }
    }
    assert_eq!(seen.len(), 4);
}

/// A role or a binding, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shipped {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    rules: Vec<PolicyRule>,
    #[serde(default)]
    subjects: Vec<Subject>,
    role_ref: Option<RoleRef>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

fn shipped() -> Vec<Shipped> {
    yaml_files("config/rbac").iter().flat_map(|path| documents(path)).collect()
}

/// Every rule that a subject gets through the shipped bindings.
fn granted() -> BTreeMap<String, Vec<PolicyRule>> {
    let all = shipped();
    let mut granted: BTreeMap<String, Vec<PolicyRule>> = BTreeMap::new();
    for binding in all.iter().filter(|object| object.kind.ends_with("Binding")) {
        let to = binding.role_ref.as_ref().unwrap();
        let role = all.iter().find(|role| role.kind == to.kind && role.metadata.name == to.name).unwrap();
        for subject in &binding.subjects {
            granted.entry(subject.name.clone()).or_default().extend(role.rules.iter().cloned());
        }
    }
    granted
}

fn has(list: Option<&Vec<String>>, item: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|other| other == item || other == "*"))
}

fn names(rule: &PolicyRule) -> Vec<&str> {
    rule.resource_names.iter().flatten().map(String::as_str).collect()
}

const READS: [&str; 3] = ["get", "list", "watch"];

#[test]
fn only_the_expected_identities_hold_roles_from_the_start() {
    let holders: Vec<_> = granted().into_keys().collect();
    let expected =
        ["foureyes-controller", "foureyes-keys", "foureyes-webhook", "foureyes:breakglass", "system:authenticated"];
    assert_eq!(holders, expected);
}

#[test]
fn the_webhook_writes_nothing_but_access_reviews() {
    for rule in &granted()["foureyes-webhook"] {
        let reads = rule.verbs.iter().all(|verb| READS.contains(&verb.as_str()));
        let asks = rule.resources == Some(vec!["subjectaccessreviews".to_owned()]) && rule.verbs == ["create"];
        assert!(reads || asks, "{rule:?}");
        if has(rule.resources.as_ref(), "secrets") {
            assert_eq!(names(rule), ["foureyes-sealing-key", "foureyes-webhook-tls"]);
            assert_eq!(rule.verbs, ["get"]);
        }
    }
}

#[test]
fn no_role_deletes_data() {
    for role in shipped() {
        for rule in role.rules {
            let deletes = ["delete", "deletecollection"].iter().any(|verb| has(Some(&rule.verbs), verb));
            // break-glass may remove our own definitions and namespace, and the probe asks for its canary, by name
            let ours = rule.api_groups == Some(vec!["foureyes.dev".to_owned()])
                || !names(&rule).is_empty()
                    && names(&rule).iter().all(|name| {
                        name.ends_with(".foureyes.dev") || ["foureyes-system", "foureyes-canary"].contains(name)
                    });
            assert!(!deletes || ours, "{} deletes {rule:?}", role.metadata.name);
        }
    }
}

#[test]
fn no_role_is_open_ended_or_leads_to_other_rights() {
    for role in shipped() {
        for rule in role.rules {
            for list in [rule.api_groups.as_ref(), rule.resources.as_ref(), Some(&rule.verbs)] {
                assert!(list.is_none_or(|list| list.iter().all(|item| !item.contains('*'))), "{}", role.metadata.name);
            }
            for verb in ["impersonate", "escalate", "bind"] {
                assert!(!has(Some(&rule.verbs), verb), "{} may {verb}", role.metadata.name);
            }
            // Whoever writes a pod runs what they want as any ServiceAccount of its namespace.
            let reads = rule.verbs.iter().all(|verb| READS.contains(&verb.as_str()));
            for resource in rule.resources.iter().flatten() {
                let other = !resource.starts_with("serviceaccounts") && !resource.starts_with("pods");
                assert!(other || resource == "pods" && reads, "{resource}");
            }
        }
    }
}

#[test]
fn the_controller_has_no_verb_on_the_sealing_key() {
    for rule in &granted()["foureyes-controller"] {
        if has(rule.resources.as_ref(), "secrets") {
            assert_eq!(names(rule), ["foureyes-ca", "foureyes-webhook-tls"], "by name alone");
            assert_eq!(rule.verbs, ["get", "patch"], "create could plant a key");
        }
        if has(rule.resources.as_ref(), "configmaps") && !has(Some(&rule.verbs), "get") {
            assert_eq!(names(rule), ["foureyes-state"]);
        }
    }
}

#[test]
fn only_the_keys_job_writes_the_sealing_key() {
    for (holder, rules) in granted() {
        for rule in rules.iter().filter(|rule| has(rule.resources.as_ref(), "secrets")) {
            let writes = !rule.verbs.iter().all(|verb| verb == "get");
            let reaches = names(rule).is_empty() || names(rule).contains(&"foureyes-sealing-key");
            assert!(!(writes && reaches) || holder == "foureyes-keys", "{holder}: {rule:?}");
        }
    }
}

#[test]
fn rights_of_people_are_not_granted_with_the_kind() {
    for role in shipped() {
        for rule in role.rules {
            for verb in ["request", "approve", "expedite"] {
                if has(Some(&rule.verbs), verb) {
                    assert!(rule.resources.iter().flatten().all(|resource| resource.ends_with("/signoff")), "{rule:?}");
                }
            }
        }
    }
    let holders = |verb| -> Vec<_> {
        let with = |role: &Shipped| role.rules.iter().any(|rule| has(Some(&rule.verbs), verb));
        shipped().into_iter().filter(with).map(|role| role.metadata.name).collect()
    };
    assert_eq!(holders("approve"), ["foureyes-approver"]);
    assert_eq!(holders("expedite"), ["foureyes-responder"]);
}
