//! Every way to spell one change of an object.

use foureyes_testbed::Output;
use serde_json::{Map, Value, json};

use super::who::Who;
use super::{me, succeeds};

/// How a change is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    Merge,
    Json,
    /// Of built-in kinds only.
    Strategic,
    /// `kubectl replace`.
    Put,
    /// `kubectl apply` by its client.
    Apply,
    /// By a manager that never wrote the object before.
    ServerApply,
    StatusMerge,
    StatusPut,
    /// Of namespaces only.
    FinalizePut,
}

use Spelling::{Apply, FinalizePut, Json, Merge, Put, ServerApply, StatusMerge, StatusPut, Strategic};

/// Of a namespace.
pub const OF_NAMESPACES: &[Spelling] =
    &[Merge, Json, Strategic, Put, Apply, ServerApply, StatusMerge, StatusPut, FinalizePut];
/// Of a claim.
pub const OF_CLAIMS: &[Spelling] = &[Merge, Json, Strategic, Put, Apply, ServerApply, StatusMerge, StatusPut];
/// Of objects of our own.
pub const OF_RECORDS: &[Spelling] = &[Merge, Json, Put, Apply, ServerApply];

/// An object to change.
#[derive(Clone, Debug)]
pub struct Object {
    /// `kind/name`, with the namespace before it for kubectl.
    args: Vec<String>,
    path: String,
    /// What every manifest of it says.
    head: Value,
}

pub fn namespace(name: &str) -> Object {
    Object {
        args: vec![format!("namespace/{name}")],
        path: format!("/api/v1/namespaces/{name}"),
        head: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
    }
}

pub fn volume(name: &str) -> Object {
    Object {
        args: vec![format!("persistentvolume/{name}")],
        path: format!("/api/v1/persistentvolumes/{name}"),
        head: json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}),
    }
}

pub fn claim(namespace: &str, name: &str) -> Object {
    Object {
        args: vec![format!("--namespace={namespace}"), format!("persistentvolumeclaim/{name}")],
        path: format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"),
        head: json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                     "metadata": {"name": name, "namespace": namespace}}),
    }
}

pub fn deployment(namespace: &str, name: &str) -> Object {
    Object {
        args: vec![format!("--namespace={namespace}"), format!("deployment/{name}")],
        path: format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
        head: json!({"apiVersion": "apps/v1", "kind": "Deployment",
                     "metadata": {"name": name, "namespace": namespace}}),
    }
}

/// An object of a kind that a test has defined; without a namespace where that is empty.
pub fn custom(group: &str, kind: &str, plural: &str, namespace: &str, name: &str) -> Object {
    if namespace.is_empty() {
        return Object {
            args: vec![format!("{plural}.{group}/{name}")],
            path: format!("/apis/{group}/v1/{plural}/{name}"),
            head: json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}}),
        };
    }
    Object {
        args: vec![format!("--namespace={namespace}"), format!("{plural}.{group}/{name}")],
        path: format!("/apis/{group}/v1/namespaces/{namespace}/{plural}/{name}"),
        head: json!({"apiVersion": format!("{group}/v1"), "kind": kind,
                     "metadata": {"name": name, "namespace": namespace}}),
    }
}

/// One of our own, by its plural.
pub fn record(plural: &str, name: &str) -> Object {
    let kind = match plural {
        "deletionrequests" => "DeletionRequest",
        "signoffs" => "SignOff",
        "backupretentions" => "BackupRetention",
        _ => "SafetyPolicy",
    };
    Object {
        args: vec![format!("{plural}.foureyes.dev/{name}")],
        path: format!("/apis/foureyes.dev/v1alpha1/{plural}/{name}"),
        head: json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}),
    }
}

impl Object {
    /// As the API server has it.
    pub fn live(&self) -> Value {
        serde_json::from_str(&succeeds("admin", &["get", "--raw", &self.path])).unwrap()
    }

    /// Its metadata without what every write changes.
    pub fn metadata(&self) -> Value {
        let mut metadata = self.live()["metadata"].take();
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.as_object_mut().unwrap().remove(field);
        }
        metadata
    }

    /// `patch` (a merge patch) spelled in one way; again, when somebody else has written the object meanwhile.
    pub fn change(&self, who: &Who, spelling: Spelling, patch: &Value, flags: &[&str]) -> Output {
        loop {
            let output = self.change_once(who, spelling, patch, flags);
            if output.ok() || !output.text().contains("the object has been modified") {
                return output;
            }
        }
    }

    fn change_once(&self, who: &Who, spelling: Spelling, patch: &Value, flags: &[&str]) -> Output {
        // read only where the whole object is written
        let changed = || merged(&self.live(), patch);
        let args: Vec<&str> = self.args.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let by_patch = |kind: &str, patch: &Value, more: &[&str]| {
            let (kind, patch) = (format!("--type={kind}"), patch.to_string());
            who.kubectl(&[&["patch", &kind, "-p", &patch], more, &args[..]].concat())
        };
        let put = |subresource: &str, changed: &Value| {
            let url = format!("{}{subresource}", self.path);
            who.kubectl_with(&["replace", "--raw", &url, "-f", "-"], Some(changed))
        };
        let file =
            |verb: &[&str], object: &Value| who.kubectl_with(&[verb, &["-f", "-"], flags].concat(), Some(object));
        match spelling {
            Merge => by_patch("merge", patch, &[]),
            Json => {
                let live = self.live();
                by_patch("json", &operations(&live, &merged(&live, patch)), &[])
            }
            Strategic => by_patch("strategic", patch, &[]),
            Put => file(&["replace"], &changed()),
            Apply => file(&["apply"], &declared(&changed())),
            ServerApply => {
                let manager = ["apply", "--server-side", "--field-manager=second", "--force-conflicts"];
                file(&manager, &merged(&self.head, patch))
            }
            StatusMerge => by_patch("merge", patch, &["--subresource=status"]),
            StatusPut => put("/status", &changed()),
            FinalizePut => put("/finalize", &changed()),
        }
    }
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn merged(object: &Value, patch: &Value) -> Value {
    let mut merged = object.clone();
    merge(&mut merged, patch);
    merged
}

/// The difference of two objects, a field of `metadata` or `spec` at a time.
fn operations(live: &Value, changed: &Value) -> Value {
    let mut operations = Vec::new();
    for part in ["metadata", "spec"] {
        let (was, is) = (&live[part], &changed[part]);
        let keys = was.as_object().into_iter().chain(is.as_object()).flat_map(Map::keys);
        for key in keys.filter(|key| was.get(*key) != is.get(*key)) {
            let path = format!("/{part}/{key}");
            let operation = is.get(key).map_or_else(
                || json!({"op": "remove", "path": path}),
                |value| json!({"op": "add", "path": path, "value": value}),
            );
            if !operations.contains(&operation) {
                operations.push(operation);
            }
        }
    }
    Value::Array(operations)
}

/// As somebody would keep it in a file.
fn declared(object: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove("status");
    for field in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    object
}

/// An owner that nobody is: what carries it is collected within seconds.
pub fn owned_by(api_version: &str, kind: &str) -> Value {
    json!({"metadata": {"ownerReferences": [{
        "apiVersion": api_version, "kind": kind, "name": "nobody", "uid": "11111111-1111-1111-1111-111111111111",
    }]}})
}

/// The admin changes it, which must succeed.
#[track_caller]
pub fn arrange(object: &Object, patch: &Value) {
    let output = object.change(&me("admin"), Merge, patch, &[]);
    assert!(output.ok(), "{}", output.text());
}
