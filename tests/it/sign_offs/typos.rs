//! What is misspelled is refused with the name of its field, and nothing is written.

use serde_json::{Value, json};

use super::asked_by_alice;
use crate::support::requests::{request, target};
use crate::support::{me, succeeds};

/// The object with the value at this path replaced, or taken out.
fn with(object: &Value, path: &str, value: Option<Value>) -> Value {
    let mut object = object.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(key.to_owned(), value)),
        None => drop(parent.remove(key)),
    }
    object
}

#[test]
fn a_typo_is_answered_with_the_field_and_what_it_takes() {
    let (namespace, asked) = asked_by_alice("typos");
    let nothing = "55555555-5555-5555-5555-555555555555";
    let wish = request(&namespace, &target(&namespace, "data", nothing));
    let said = asked.sign_off("Approve");
    let takes_kind = "supported values: \"PersistentVolumeClaim\", \"Namespace\"";
    let takes_says = "supported values: \"Approve\", \"Reject\", \"Hold\", \"Cancel\"";
    for (object, path, value, field, words) in [
        (&wish, "/spec/target/kind", Some(json!("StorageClass")), "spec.target.kind", takes_kind),
        (&wish, "/spec/target/kind", Some(json!("pvc")), "spec.target.kind", takes_kind),
        (&wish, "/spec/target/kind", None, "spec.target.kind", "Required value"),
        (&wish, "/spec/target/uid", None, "spec.target.uid", "Required value"),
        (&wish, "/spec/target/uid", Some(json!(7)), "spec.target.uid", "must be of type string"),
        (&wish, "/spec/target", Some(json!("pvc/data")), "spec.target", "must be of type object"),
        (&wish, "/spec/target", None, "spec.target", "Required value"),
        (&wish, "/spec/reason", None, "spec.reason", "Required value"),
        (&wish, "/spec/reason", Some(json!(["old"])), "spec.reason", "must be of type string"),
        (&wish, "/spec/ticket", Some(json!(4711)), "spec.ticket", "must be of type string"),
        (&wish, "/spec", None, "spec", "Required value"),
        (&wish, "/spec", Some(json!("delete it")), "spec", "must be of type object"),
        (&said, "/spec/says", Some(json!("approve")), "spec.says", takes_says),
        (&said, "/spec/says", Some(json!("Approved")), "spec.says", takes_says),
        (&said, "/spec/says", Some(json!(true)), "spec.says", "must be of type string"),
        (&said, "/spec/says", None, "spec.says", "Required value"),
        (&said, "/spec/subject/uid", None, "spec.subject.uid", "Required value"),
        (&said, "/spec/subject", Some(json!("data")), "spec.subject", "must be of type object"),
        (&said, "/spec/digest", Some(json!(12)), "spec.digest", "must be of type string"),
        (&said, "/spec/comment", Some(json!({"text": "why"})), "spec.comment", "must be of type string"),
        (&said, "/spec/at", Some(json!("yesterday")), "spec.at", "date-time"),
        (&said, "/spec", None, "spec", "Required value"),
        (&said, "/metadata/generateName", None, "name", "name or generateName is required"),
    ] {
        let output = me("alice").create(&with(object, path, value.clone()), &["--validate=false"]);
        let text = output.text();
        assert!(!output.ok(), "{path} {value:?} was taken:\n{text}");
        assert!(text.contains(field) && text.contains(words), "{path} {value:?}:\n{text}");
        assert!(!text.contains("webhook"), "{path} {value:?} is not the schema's refusal:\n{text}");
    }
    let selector = format!("--field-selector=spec.target.uid={nothing}");
    assert_eq!(succeeds("admin", &["get", "deletionrequests", &selector, "-o=name"]), "");
    assert_eq!(asked.statements(), "");
}
