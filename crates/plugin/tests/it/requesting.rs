//! Asking for a change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use foureyes_core::api::{Action, ChangeTarget, ContentDigest};
use foureyes_core::domain::ready;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::rollout::location::locate;
use foureyes_core::domain::rollout::template::Template;
use foureyes_core::reason::Code;
use serde_json::{Value, json};

use crate::server::Server;

pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const CHANGES: &str = "/apis/foureyes.dev/v1alpha1/namespaces/shop/changerequests";

pub fn deployment(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image, "imagePullPolicy": "IfNotPresent"}]}}}})
}

pub fn digest(image: &str) -> String {
    let location = locate("apps", "Deployment", &[]).unwrap();
    Template::of_value(&location, &deployment(image)["spec"]).unwrap().digest().unwrap()
}

fn refusal(image: &str) -> String {
    let target = ChangeTarget {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: None,
        name: "web".into(),
        action: Action::Apply,
        digest: ContentDigest::parse(&digest(image)),
        images: None,
    };
    Refusal::new(Code::RolloutNotRequested, "Deployment shop/web was not rolled out: what would run is new")
        .detail(format!("Would run: web web:1 → {image} ({})", digest(image)))
        .next("Somebody can ask:", ready::change("shop", "roll out Deployment web", None, &target))
        .to_string()
}

fn shop() -> Server {
    let server = Server::start("alice");
    server.on(&format!("GET {DEPLOYMENT}"), 200, deployment("web:1"));
    server
}

#[test]
fn who_may_expedite_an_emergency_is_not_told_to_wait() {
    let ask = |server: &Server| server.run(&[&IMAGE[..], &["--type", "Emergency", "--incident", "INC-4"]].concat());
    let expediting = shop();
    expediting.refuse(&format!("PATCH {DEPLOYMENT}"), &refusal("web:2"));
    let told = ask(&expediting);
    assert!(told.code == 0 && told.err.contains("at once") && !told.err.contains("approve"), "{told:?}");
    let asking = shop();
    asking.refuse(&format!("PATCH {DEPLOYMENT}"), &refusal("web:2"));
    asking.grants(false);
    let told = ask(&asking);
    assert!(told.code == 0 && told.err.contains("kubectl foureyes approve"), "{told:?}");
}

const IMAGE: [&str; 5] = ["request", "change", "deploy/web", "--image", "web=web:2"];

#[test]
fn another_image_is_asked_for_by_the_digest_that_the_server_states() {
    let server = shop();
    server.refuse(&format!("PATCH {DEPLOYMENT}"), &refusal("web:2"));
    let ended = server.run(&[&IMAGE[..], &["--ticket", "SHOP-17"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "changerequest.foureyes.dev/web-1 created\n");
    assert!(ended.err.contains("kubectl foureyes approve -n shop chg/web-1"), "{}", ended.err);

    let (question, patch) = server.seen("PATCH").remove(0);
    assert!(question.contains("dryRun=All"), "{question}");
    assert_eq!(patch[1], json!({"op": "add", "path": "/spec/template/spec/containers/0/image", "value": "web:2"}));
    let (_, request) = server.seen(&format!("POST {CHANGES}")).remove(0);
    assert_eq!(request["spec"]["targets"][0]["digest"]["value"], digest("web:2").trim_start_matches("template/v1:"));
    assert_eq!(request["spec"]["ticket"], "SHOP-17");
    let annotation = request["metadata"]["annotations"]["plugin.foureyes.dev/template-changes"].as_str().unwrap();
    assert!(annotation.contains("web:2") && !annotation.contains("labels"), "{annotation}");
}

#[test]
fn a_dry_run_only_prints() {
    let server = shop();
    server.refuse(&format!("PATCH {DEPLOYMENT}"), &refusal("web:2"));
    let ended = server.run(&[&IMAGE[..], &["--dry-run", "-o", "json"]].concat());
    let request: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(request["kind"], "ChangeRequest");
    assert!(server.seen("POST /apis/foureyes.dev").is_empty());
}

#[test]
fn what_is_allowed_needs_no_change() {
    let server = shop();
    server.on(&format!("PATCH {DEPLOYMENT}"), 200, deployment("web:2"));
    let ended = server.run(&IMAGE);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.is_empty() && ended.err.contains("no change of Deployment web is needed"), "{ended:?}");
    assert!(server.seen("POST /apis/foureyes.dev").is_empty());
}

#[test]
fn a_warning_is_passed_on_and_can_be_heeded() {
    let server = shop();
    let warning = "foureyes would refuse this: Deployment shop/web was not rolled out [RolloutNotRequested]";
    server.warning(&format!("PATCH {DEPLOYMENT}"), deployment("web:2"), warning);
    let ended = server.run(&IMAGE);
    assert!(ended.err.contains(warning) && ended.err.contains("--anyway"), "{ended:?}");
    let ended = server.run(&[&IMAGE[..], &["--anyway"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    let (_, request) = server.seen(&format!("POST {CHANGES}")).remove(0);
    assert_eq!(request["spec"]["targets"][0]["digest"]["value"], digest("web:2").trim_start_matches("template/v1:"));
}

#[test]
fn who_may_not_edit_names_images() {
    let server = shop();
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403,
        "reason": "Forbidden", "message": "deployments.apps \"web\" is forbidden: User \"carol\" cannot patch"});
    server.on(&format!("PATCH {DEPLOYMENT}"), 403, status);
    let ended = server.run(&IMAGE);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("names the images instead"), "{}", ended.err);
    let (_, request) = server.seen(&format!("POST {CHANGES}")).remove(0);
    assert_eq!(request["spec"]["targets"][0]["images"], json!({"web": "web:2"}));
}

#[test]
fn another_refusal_is_a_no() {
    let server = shop();
    let text = Refusal::new(Code::NotReady, "nothing was decided: changes have not been read yet\u{7}").to_string();
    server.refuse(&format!("PATCH {DEPLOYMENT}"), &text);
    let ended = server.run(&IMAGE);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("[NotReady]") && !ended.err.contains('\u{7}'), "{}", ended.err);
}

#[test]
fn trouble_says_the_next_step() {
    let server = shop();
    let ended = server.run(&["request", "change", "deploy/nothing", "--image", "web=web:2"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("there is no Deployment nothing in namespace shop"), "{}", ended.err);
    let ended = server.run(&["request", "change", "deploy/web", "--image", "wev=web:2"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("it has web"), "{}", ended.err);
    assert_eq!(server.run(&["request", "change"]).code, 2);
}

#[test]
fn a_manifest_is_sent_by_kubectl() {
    let server = shop();
    let refused = format!(
        "Error from server (Forbidden): error when applying patch:\n{{}}\nto:\nfor: \"STDIN\": error when patching \"STDIN\": admission webhook \"guard.foureyes.dev\" denied the request: {}",
        refusal("web:2")
    );
    fs::write(server.dir.join("refused"), refused).unwrap();
    let kubectl = server.dir.join("kubectl");
    let script = "#!/bin/sh\ndir=$(dirname \"$0\")\necho \"$@\" > \"$dir/args\"\ncat > \"$dir/stdin\"\ncat \"$dir/refused\" >&2\nexit 1\n";
    fs::write(&kubectl, script).unwrap();
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: web:2\n";
    let ended = server.run_with(&["request", "change", "-f", "-", "-n", "shop", "--as", "alice"], manifest);
    assert_eq!(ended.code, 0, "{ended:?}");
    let args = fs::read_to_string(server.dir.join("args")).unwrap();
    assert_eq!(args.trim(), "apply --dry-run=server --output=json --filename=- --namespace=shop --as=alice");
    assert!(fs::read_to_string(server.dir.join("stdin")).unwrap().contains("web:2"));
    let (_, request) = server.seen(&format!("POST {CHANGES}")).remove(0);
    assert_eq!(request["spec"]["title"], "roll out Deployment web");
    // The guess at what the manifest makes of it came to the server's digest.
    assert!(request["metadata"]["annotations"].is_object(), "{request}");
}

#[test]
fn what_runs_is_adopted_and_what_runs_is_removed() {
    let server = shop();
    let ended = server.run(&["request", "change", "deploy/web"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    server.refuse(&format!("DELETE {DEPLOYMENT}"), &removal());
    assert_eq!(server.run(&["request", "change", "deploy/web", "--remove"]).code, 0);
    let requests = server.seen(&format!("POST {CHANGES}"));
    let targets: Vec<&Value> = requests.iter().map(|(_, request)| &request["spec"]["targets"][0]).collect();
    assert_eq!(targets[0]["digest"]["value"], digest("web:1").trim_start_matches("template/v1:"));
    assert_eq!(targets[1]["action"], "Remove");
    assert!(targets[1].get("digest").is_none());
}

fn removal() -> String {
    let target = ChangeTarget {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: None,
        name: "web".into(),
        action: Action::Remove,
        digest: None,
        images: None,
    };
    Refusal::new(Code::RemovalNotRequested, "Deployment shop/web was not deleted: it still runs")
        .next("Somebody can ask:", ready::change("shop", "remove Deployment web", None, &target))
        .to_string()
}
