//! Looking before asking, on the real control plane: what the plugin shows is what the guard reckons.

use serde_json::Value;

use crate::support::objects::{eventually, place_asked, pod, production_with};
use crate::support::requests::inventory_digest;
use crate::support::{Who, field, me, went};

fn looked(who: &Who, args: &[&str]) -> Value {
    let output = who.kubectl(&[&["foureyes", "inventory"], args, &["-o=json"]].concat());
    serde_json::from_str(&went(&output)).unwrap()
}

#[test]
fn the_digest_is_the_one_that_the_refusal_names() {
    let namespace = production_with("look", &["data", "other"]);
    me("admin").creates(&pod(&namespace, "user", &["data"]));
    eventually("the pod to run", || field(&namespace, "pod", "user", "{.status.phase}") == "Running");
    let refused = inventory_digest(&namespace, "data");
    // bob may read volumes, and eve may not.
    let of_bob = looked(&me("bob"), &["pvc/data", "-n", &namespace]);
    assert_eq!(of_bob["shortDigest"], refused);
    assert_eq!(of_bob["lost"][0]["reclaimPolicy"], "Delete");
    assert_eq!(of_bob["lost"][0]["volume"], field(&namespace, "pvc", "data", "{.spec.volumeName}"));
    assert_eq!(of_bob["usedBy"][0]["user"], format!("Pod {namespace}/user"));
    assert_eq!(of_bob["usedBy"][0]["state"], "runs");
    let of_eve = looked(&me("eve"), &["pvc/data", "-n", &namespace]);
    assert_eq!(of_eve["shortDigest"], refused);
    assert!(of_eve["lost"][0].get("reclaimPolicy").is_none(), "{of_eve}");
    let unknown = of_eve["unknown"].to_string();
    assert!(unknown.contains("reclaim policy of the volumes"), "{unknown}");

    // Of a namespace, and as its request lists it.
    let place = format!("ns/{namespace}");
    let whole = looked(&me("bob"), &[&place]);
    let asked = place_asked(&namespace);
    assert_eq!(whole["digest"], asked.field("{.status.inventory.digest}"));
    assert_eq!(whole["lost"].as_array().unwrap().len(), 2);
    assert_eq!(looked(&me("bob"), &[&format!("del/{}", asked.name)])["digest"], whole["digest"]);
    let shown = me("bob").kubectl(&["foureyes", "inventory", &place]);
    assert!(shown.stderr.contains("is exactly what it lists"), "{}", shown.text());
    let page = went(&shown);
    assert!(
        page.contains("goes with the claim, but is put on Retain") && page.contains(&format!("{namespace}/other")),
        "{page}"
    );
}
