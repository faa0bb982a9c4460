//! The definitions as they are installed: nothing in them may write a field that nobody said (fact 7).

use foureyes_core::api::{
    ChangeRequest, ContentDigest, ContentEncoding, DeletionRequest, RolloutRecord, SafetyPolicy, SignOff,
};
use kube::CustomResourceExt as _;
use serde_json::{Map, Value, json};

/// Calls `visit` with every object below `value` and the path to it.
fn walk(path: &str, value: &Value, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(path, map);
            for (key, value) in map {
                walk(&format!("{path}/{key}"), value, visit);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(&format!("{path}/{at}"), item, visit);
            }
        }
        _ => {}
    }
}

fn definitions() -> [Value; 5] {
    let all = [DeletionRequest::crd(), SignOff::crd(), SafetyPolicy::crd(), ChangeRequest::crd(), RolloutRecord::crd()];
    all.map(|crd| serde_json::to_value(crd).unwrap())
}

#[test]
fn no_schema_has_a_default() {
    for definition in definitions() {
        let name = definition["metadata"]["name"].as_str().unwrap();
        let mut found = Vec::new();
        walk(name, &definition["spec"]["versions"], &mut |path, map| {
            // A field called `default` is a schema, too, and would be an object below `properties`.
            if map.contains_key("default") && !path.ends_with("/properties") {
                found.push(path.to_owned());
            }
        });
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn no_schema_has_a_format_that_kubernetes_does_not_know() {
    for definition in definitions() {
        walk("", &definition["spec"]["versions"], &mut |path, map| {
            if let Some(Value::String(format)) = map.get("format") {
                assert!(matches!(format.as_str(), "int32" | "int64" | "date-time"), "{path}: {format}");
            }
        });
    }
}

#[test]
fn definitions_are_as_the_design_names_them() {
    for (definition, (plural, short, status, scope)) in definitions().iter().zip([
        ("deletionrequests", "del", true, "Cluster"),
        ("signoffs", "so", false, "Cluster"),
        ("safetypolicies", "spol", true, "Cluster"),
        ("changerequests", "chg", true, "Namespaced"),
        ("rolloutrecords", "rr", true, "Cluster"),
    ]) {
        let spec = &definition["spec"];
        assert_eq!(spec["group"], "foureyes.dev");
        assert_eq!(spec["scope"], scope);
        assert_eq!(spec["names"]["plural"], plural);
        assert_eq!(spec["names"]["shortNames"], json!([short]));
        assert_eq!(spec["names"]["categories"], json!(["foureyes"]));
        let version = &spec["versions"][0];
        assert_eq!(version["name"], "v1alpha1");
        assert_eq!(version["subresources"].get("status").is_some(), status);
    }
    let [request, sign_off, ..] = definitions();
    let selectable = |definition: &Value| definition["spec"]["versions"][0]["selectableFields"].clone();
    assert_eq!(selectable(&request), json!([{"jsonPath": ".spec.target.uid"}]));
    assert_eq!(selectable(&sign_off), json!([{"jsonPath": ".spec.subject.uid"}]));
}

#[test]
fn specs_of_requests_and_sign_offs_never_change() {
    let [request, sign_off, _, change, record] = definitions();
    for definition in [request, sign_off, change, record] {
        let rules =
            definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"].to_string();
        assert!(rules.contains("self.spec == oldSelf.spec"), "{rules}");
    }
}

/// Digests and seals rest on it: keys come out sorted, however they went in.
#[test]
fn json_objects_are_sorted() {
    let parsed: Value = serde_json::from_str(r#"{"b":1,"a":{"z":1,"y":2}}"#).unwrap();
    assert_eq!(parsed.to_string(), r#"{"a":{"y":2,"z":1},"b":1}"#);
    let mut map = Map::new();
    map.insert("z".to_owned(), json!(1));
    map.insert("a".to_owned(), json!(2));
    assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "z"]);
}

/// What a reader does not know he must not drop silently from what is sealed: a spec that is written and read again is
/// the same.
#[test]
fn what_is_written_is_read_again() {
    let request =
        crate::support::request("del-1", crate::support::claim_target(), Some(&crate::support::named("alice")));
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<DeletionRequest>(&text).unwrap().spec, request.spec);
}

/// A rule that the API server is given about a field, found by a piece of its text.
fn rules(definition: &Value) -> String {
    let mut rules = String::new();
    walk("", &definition["spec"]["versions"], &mut |_, map| {
        if let Some(found) = map.get("x-kubernetes-validations") {
            rules.push_str(&found.to_string());
        }
    });
    rules
}

#[test]
fn a_change_is_checked_by_the_api_server_itself() {
    let [_, sign_off, _, change, _] = definitions();
    let said = rules(&change);
    for rule in [
        "self.spec == oldSelf.spec",
        "self.action == 'Apply' ? has(self.digest) != has(self.images) : !has(self.digest) && !has(self.images)",
        "self.start < self.end",
    ] {
        assert!(said.contains(rule), "{rule}");
    }
    assert!(rules(&sign_off).contains("self.kind == 'ChangeRequest' && has(self.namespace)"));
    let spec = &change["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(spec["targets"]["minItems"], 1);
    assert_eq!(spec["targets"]["maxItems"], 64);
    let target = &spec["targets"]["items"]["properties"];
    assert_eq!(target["action"]["enum"], json!(["Apply", "Remove"]));
    assert_eq!(target["digest"]["properties"]["encoding"]["enum"], json!(["template/v1", "object/v1"]));
    assert_eq!(target["images"]["maxProperties"], 64);
    assert_eq!(spec["type"]["enum"], json!(["Standard", "Normal", "Emergency", "Unauthorized"]));
}

/// Every text that somebody writes has an end.
#[test]
fn no_text_of_a_change_is_without_bounds() {
    let [.., change, _] = definitions();
    let spec = &change["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    walk("spec", spec, &mut |path, map| {
        let text = map.get("type") == Some(&json!("string"));
        let bounded = ["maxLength", "enum", "format"].iter().any(|bound| map.contains_key(*bound));
        // Who asked is written by stamp, from what the API server has authenticated.
        assert!(!text || bounded || path.contains("/requester/"), "{path}");
    });
}

#[test]
fn the_digest_of_a_target_has_one_spelling() {
    let value = format!("sha256:{}", "0a".repeat(32));
    for (encoding, text) in [(ContentEncoding::Template, "template/v1"), (ContentEncoding::Object, "object/v1")] {
        let digest = ContentDigest { encoding, value: value.clone() };
        assert_eq!(digest.text(), format!("{text}:{value}"));
        assert_eq!(ContentDigest::parse(&digest.text()), Some(digest));
    }
    for wrong in [
        value.clone(),
        format!("shape/v1:{value}"),
        format!("template/v1:{value}0"),
        "template/v1:sha256:0A".to_owned(),
    ] {
        assert_eq!(ContentDigest::parse(&wrong), None, "{wrong}");
    }
}

/// Whoever signs off reads these words in a terminal: what would not be seen there, or elsewhere, is no word.
#[test]
fn words_have_no_characters_that_hide_or_move_others() {
    let [request, sign_off, _, change, _] = definitions();
    let field = |definition: &Value, name: &str| {
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let pattern = definition.pointer(&format!("{path}/{name}/pattern")).and_then(Value::as_str).unwrap();
        regex::Regex::new(pattern).unwrap()
    };
    let fields = [
        field(&request, "reason"),
        field(&request, "ticket"),
        field(&sign_off, "verified"),
        field(&sign_off, "comment"),
        field(&change, "description"),
        field(&change, "justification"),
    ];
    let hiding =
        ('\u{0}'..='\u{8}').chain('\u{b}'..='\u{1f}').chain('\u{7f}'..='\u{9f}').chain('\u{2028}'..='\u{202e}');
    let hiding = hiding.chain('\u{2066}'..='\u{2069}').chain(['\u{200b}', '\u{200e}', '\u{200f}', '\u{feff}']);
    for field in &fields {
        for character in hiding.clone() {
            assert!(!field.is_match(&format!("reports{character}old")), "{character:?}");
        }
        for words in
            ["", "zwei\n\tZeilen", "Größe: 5 €, naïve", "データ削除", "می\u{200c}خواهم", "👩\u{200d}💻 \u{a0}ok"]
        {
            assert!(field.is_match(words), "{words:?}");
        }
    }
    let title = field(&change, "title");
    for character in hiding.chain(['\n', '\t']) {
        assert!(!title.is_match(&format!("web{character}2")), "{character:?}");
    }
    assert!(title.is_match("Größe: 5 €, naïve"));
}
