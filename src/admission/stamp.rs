//! The mutating webhook: returns patches and nothing else. It writes who asks and when, and seals it; what is already
//! filled in it leaves as it is, for the guard to refuse.

use foureyes_core::api::{APPROVED_BY, APPROVED_BY_RECORD, Author, GROUP, Requester, SignOff};
use foureyes_core::digest::hex;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::request::RequestSpec;
use foureyes_core::domain::statement::{
    ApprovalRecord, seal_requester, seal_sign_off, sealed_name, stated, stated_exactly,
};
use foureyes_core::reason::Code;
use foureyes_core::seal::{SealError, SigningKey};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::input;
use super::review::{Object, Operation, Request};

/// What stamp knows.
pub struct Scene<'a> {
    pub request: &'a Request<'a>,
    pub author: &'a Author,
    /// None until the key was read.
    pub key: Option<&'a SigningKey>,
    /// UID of the namespace kube-system; none until it was seen.
    pub cluster: Option<&'a str>,
    pub now: Timestamp,
}

/// The patch for a review; `None` leaves the object as it is.
pub fn patch(scene: &Scene<'_>) -> Result<Option<Value>, Refusal> {
    let request = scene.request;
    let object = input::new(request)?;
    let operations = match (&*request.resource.group, &*request.resource.resource, request.operation) {
        // What can't be read is left to the schema, which names the field; it is judged after this and before guard.
        (GROUP, "deletionrequests", Operation::Create) => match input::deletion_request(object) {
            Ok(asked) => requester(scene, object, None, &asked.spec)?,
            Err(_) => Vec::new(),
        },
        (GROUP, "changerequests", Operation::Create) => match input::change_request(request, object) {
            Ok(asked) => requester(scene, object, Some(input::namespace(request)?), &asked.spec)?,
            Err(_) => Vec::new(),
        },
        (GROUP, "signoffs", Operation::Create) => sign_off(scene, object)?,
        ("", "persistentvolumeclaims" | "namespaces", Operation::Create) => stripped(object),
        ("", "persistentvolumeclaims" | "namespaces", Operation::Update) => annotation(scene, object)?,
        (group, resource, operation) => {
            let sentence = format!("{} of {resource}.{group} is nothing that foureyes stamps", operation.as_str());
            return Err(Refusal::new(Code::ReviewUnexpected, sentence));
        }
    };
    Ok((!operations.is_empty()).then_some(Value::Array(operations)))
}

impl Scene<'_> {
    fn dry_run(&self) -> bool {
        self.request.dry_run == Some(true)
    }

    fn sealing(&self) -> Result<(&SigningKey, &str), Refusal> {
        let not_ready = || Refusal::new(Code::NotReady, "nothing was sealed: the sealing key has not been read yet");
        self.key.zip(self.cluster).ok_or_else(not_ready)
    }

    /// The name the object will have. The API server generates one only after this (fact 9), and the seal covers it.
    /// Nothing if it can have none.
    fn name(&self, object: &Object<'_>) -> Option<(String, Option<Value>)> {
        let meta = &object.metadata;
        if let Some(name) = meta.name.as_ref().filter(|name| !name.is_empty()) {
            return Some((name.to_string(), None));
        }
        let prefix = meta.generate_name.as_deref().unwrap_or_default();
        if prefix.is_empty() {
            return None;
        }
        // From the review's own uid: a repeated review gets the same answer (I 9).
        let suffix = hex(&ring::digest::digest(&ring::digest::SHA256, self.request.uid.as_bytes()).as_ref()[..5]);
        let name = format!("{prefix}{suffix}");
        let operation = add("/metadata/name", &json!(name));
        Some((name, Some(operation)))
    }
}

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

fn unsealed(error: &SealError) -> Refusal {
    Refusal::new(Code::InternalError, format!("nothing was sealed: {error}"))
}

fn requester<S: RequestSpec>(
    scene: &Scene<'_>,
    object: &Object<'_>,
    namespace: Option<&str>,
    spec: &S,
) -> Result<Vec<Value>, Refusal> {
    if spec.requester().is_some() {
        return Ok(Vec::new());
    }
    let Some((name, named)) = scene.name(object) else { return Ok(Vec::new()) };
    let at = stated(scene.now);
    let seal = if scene.dry_run() {
        None
    } else {
        let (key, cluster) = scene.sealing()?;
        let seal = seal_requester(key, cluster, &sealed_name(namespace, &name), spec, scene.author, &at);
        Some(seal.map_err(|error| unsealed(&error))?)
    };
    let requester = Requester { author: scene.author.clone(), at, seal };
    Ok(named.into_iter().chain([add("/spec/requester", &json!(requester))]).collect())
}

fn sign_off(scene: &Scene<'_>, object: &Object<'_>) -> Result<Vec<Value>, Refusal> {
    let Ok(SignOff { mut spec, .. }) = input::sign_off(object) else { return Ok(Vec::new()) };
    if spec.author.is_some() || spec.at.is_some() || spec.seal.is_some() {
        return Ok(Vec::new());
    }
    let Some((name, named)) = scene.name(object) else { return Ok(Vec::new()) };
    let at = stated(scene.now);
    spec.author = Some(scene.author.clone());
    spec.at = Some(at.clone());
    let mut operations: Vec<Value> = named.into_iter().collect();
    operations.push(add("/spec/author", &json!(scene.author)));
    operations.push(add("/spec/at", &json!(at)));
    if !scene.dry_run() {
        let (key, cluster) = scene.sealing()?;
        let seal = seal_sign_off(key, cluster, &name, &spec).map_err(|error| unsealed(&error))?;
        operations.push(add("/spec/seal", &json!(seal)));
    }
    Ok(operations)
}

fn path(annotation: &str) -> String {
    format!("/metadata/annotations/{}", annotation.replace('~', "~0").replace('/', "~1"))
}

fn remove(annotation: &str) -> Value {
    json!({"op": "remove", "path": path(annotation)})
}

/// Nothing is born approved.
fn stripped(object: &Object<'_>) -> Vec<Value> {
    let annotations = &object.metadata.annotations;
    [APPROVED_BY, APPROVED_BY_RECORD].into_iter().filter(|key| annotations.get(key).is_some()).map(remove).collect()
}

/// `me@digest` becomes the author's name with a sealed record; without the annotation its record goes too.
fn annotation(scene: &Scene<'_>, object: &Object<'_>) -> Result<Vec<Value>, Refusal> {
    let old = scene.request.old_object.as_ref().map(|old| input::annotation(&old.metadata));
    let now = input::annotation(&object.metadata);
    let Some(value) = now.value else {
        return Ok(now.record.map(|_| remove(APPROVED_BY_RECORD)).into_iter().collect());
    };
    let unchanged = old.as_ref().is_some_and(|old| old.value == now.value && old.record == now.record);
    let record_given = now.record.is_some() && old.as_ref().is_none_or(|old| old.record != now.record);
    let Some((who, digest)) = value.rsplit_once('@') else { return Ok(Vec::new()) };
    if unchanged || record_given || (who != "me" && who != scene.author.username) {
        return Ok(Vec::new());
    }
    let record = ApprovalRecord {
        author: scene.author.clone(),
        at: stated_exactly(scene.now),
        // An apply may leave it out of the new object, where the API server fills it in only after this.
        uid: input::uid(input::old(scene.request)?)?.to_owned(),
        digest: digest.to_owned(),
        seal: None,
    };
    let record = if scene.dry_run() {
        record
    } else {
        let (key, cluster) = scene.sealing()?;
        record.sealed(key, cluster).map_err(|error| unsealed(&error))?
    };
    let text = serde_json::to_string(&record)
        .map_err(|error| Refusal::new(Code::InternalError, format!("nothing was sealed: {error}")))?;
    Ok(vec![
        add(&path(APPROVED_BY), &json!(format!("{}@{digest}", scene.author.username))),
        add(&path(APPROVED_BY_RECORD), &json!(text)),
    ])
}
