//! The wire: an `AdmissionReview` read in one borrowed pass, and the answer to it.
//!
//! Of an object only what rules read is kept; everything else is skipped over as it is parsed. Templates and specs
//! stay raw bytes until a rule wants them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use foureyes_core::api::{Author, METADATA_PREFIX};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Text that borrows from the body unless it contains escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A review as the API server sends it.
#[derive(Debug, Deserialize)]
pub struct Review<'a> {
    #[serde(borrow)]
    pub request: Request<'a>,
}

/// The request inside a review.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    #[serde(borrow)]
    pub uid: Text<'a>,
    #[serde(borrow, default)]
    pub kind: Kind<'a>,
    #[serde(borrow)]
    pub resource: Resource<'a>,
    #[serde(borrow, default)]
    pub sub_resource: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub namespace: Option<Text<'a>>,
    pub operation: Operation,
    #[serde(borrow)]
    pub user_info: UserInfo<'a>,
    #[serde(borrow, default)]
    pub object: Option<Object<'a>>,
    #[serde(borrow, default)]
    pub old_object: Option<Object<'a>>,
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// The kind of the object and the version in which it is sent; its group is that of the resource.
#[derive(Debug, Default, Deserialize)]
pub struct Kind<'a> {
    #[serde(borrow, default)]
    pub version: Text<'a>,
    #[serde(borrow, default)]
    pub kind: Text<'a>,
}

/// What the request is about.
#[derive(Debug, Deserialize)]
pub struct Resource<'a> {
    #[serde(borrow)]
    pub group: Text<'a>,
    #[serde(borrow)]
    pub resource: Text<'a>,
}

/// What shall be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Who asks, as the API server authenticated them.
#[derive(Debug, Default, Deserialize)]
pub struct UserInfo<'a> {
    #[serde(borrow, default)]
    pub username: Text<'a>,
    #[serde(borrow, default)]
    pub uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub groups: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    pub extra: Option<BTreeMap<Text<'a>, Vec<Text<'a>>>>,
}

impl UserInfo<'_> {
    /// A copy that outlives the body.
    pub fn author(&self) -> Author {
        let owned = |values: &[Text<'_>]| values.iter().map(ToString::to_string).collect();
        Author {
            username: self.username.to_string(),
            uid: self.uid.as_deref().filter(|uid| !uid.is_empty()).map(str::to_owned),
            groups: self.groups.as_deref().map(owned).unwrap_or_default(),
            extra: self.extra.iter().flatten().map(|(key, values)| (key.to_string(), owned(values))).collect(),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object: metadata that rules read, spec and status unread.
#[derive(Debug, Deserialize)]
pub struct Object<'a> {
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    #[serde(borrow, default)]
    pub spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub status: Option<&'a RawValue>,
}

/// Metadata that rules read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub generate_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub uid: Option<Text<'a>>,
    #[serde(default)]
    pub generation: Option<i64>,
    #[serde(borrow, default)]
    pub deletion_timestamp: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub labels: Option<BTreeMap<Text<'a>, Option<Text<'a>>>>,
    /// Only those that begin with `foureyes.dev/`.
    #[serde(borrow, default)]
    pub annotations: Ours<'a>,
    #[serde(borrow, default)]
    pub owner_references: Option<Vec<Owner<'a>>>,
    #[serde(borrow, default)]
    pub finalizers: Option<Vec<Text<'a>>>,
}

/// An owner reference.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner<'a> {
    #[serde(borrow)]
    pub api_version: Text<'a>,
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub uid: Text<'a>,
    #[serde(default)]
    pub controller: Option<bool>,
}

impl Owner<'_> {
    /// Empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Annotations that begin with `foureyes.dev/`; all others are skipped without keeping them.
#[derive(Debug, Default)]
pub struct Ours<'a>(pub BTreeMap<Cow<'a, str>, Cow<'a, str>>);

impl Ours<'_> {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| &**value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Ours<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Filter;
        impl<'de> Visitor<'de> for Filter {
            type Value = Ours<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Ours::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut ours = BTreeMap::new();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if key.starts_with(METADATA_PREFIX) {
                        let value = map.next_value::<Option<Text<'de>>>()?;
                        ours.insert(key.0, value.map(|value| value.0).unwrap_or_default());
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Ours(ours))
            }
        }
        deserializer.deserialize_any(Filter)
    }
}

/// The new object as a whole, for those few rules that need more of it than is kept.
pub fn whole(body: &[u8]) -> Result<serde_json::Value, serde_json::Error> {
    #[derive(Deserialize)]
    struct Whole {
        request: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        object: serde_json::Value,
    }
    serde_json::from_slice::<Whole>(body).map(|whole| whole.request.object)
}

/// The objects of a review as a whole, as they were and as they would be, for those few rules that read more of them than
/// is kept; null where there is none.
pub fn both(body: &[u8]) -> Result<[serde_json::Value; 2], serde_json::Error> {
    #[derive(Deserialize)]
    struct Both {
        request: Inner,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Inner {
        #[serde(default)]
        object: serde_json::Value,
        #[serde(default)]
        old_object: serde_json::Value,
    }
    serde_json::from_slice::<Both>(body).map(|Both { request }| [request.old_object, request.object])
}

/// Reads a review.
pub fn read(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    serde_json::from_slice::<Review<'_>>(body).map(|review| review.request)
}

/// The uid of a review that can't be read as a whole: an answer without it would count as a failed call and let the
/// request through under `failurePolicy: Ignore` (F 27).
pub fn uid(body: &[u8]) -> Option<String> {
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    // Whatever ends the reading, what was found before it counts.
    let _ = Probe { path: &["request", "uid"], found: &found }.deserialize(&mut deserializer);
    found.into_inner()
}

/// Follows a path of keys and keeps the string at its end.
#[derive(Clone, Copy)]
struct Probe<'p> {
    path: &'p [&'p str],
    found: &'p RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            *self.found.borrow_mut() = Some(String::deserialize(deserializer)?);
            return Ok(());
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an admission review")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match self.path.split_first() {
                Some((first, rest)) if *first == key => map.next_value_seed(Probe { path: rest, ..self })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// What is answered.
#[derive(Debug, Default)]
pub struct Answer {
    pub allowed: bool,
    /// The stable code of a refusal.
    pub code: Option<&'static str>,
    pub message: Option<String>,
    /// JSON patch operations.
    pub patch: Option<serde_json::Value>,
    /// One line each.
    pub warnings: Vec<String>,
    /// Why it was allowed, or the code of the refusal, for the audit log.
    pub reason: &'static str,
    /// The request or delegation it rests on, for the audit log.
    pub names: Option<String>,
}

impl Answer {
    /// The bytes of an `AdmissionReview` with this answer.
    pub fn bytes(&self, uid: &str) -> Result<Vec<u8>, serde_json::Error> {
        let mut audit = BTreeMap::from([("decision", self.reason)]);
        if let Some(names) = &self.names {
            audit.insert("names", names);
        }
        let status = (!self.allowed).then(|| Status {
            outcome: "Failure",
            code: 403,
            reason: "Forbidden",
            message: self.message.as_deref().unwrap_or_default(),
            details: self.code.map(|code| Details { causes: [Cause { reason: code }] }),
        });
        let patch = match &self.patch {
            Some(patch) => Some(base64::engine::general_purpose::STANDARD.encode(serde_json::to_vec(patch)?)),
            None => None,
        };
        serde_json::to_vec(&Envelope {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response: Response {
                uid,
                allowed: self.allowed,
                status,
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch,
                warnings: &self.warnings,
                audit_annotations: audit,
            },
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
    audit_annotations: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(rename = "status")]
    outcome: &'static str,
    code: u16,
    reason: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    causes: [Cause; 1],
}

#[derive(Serialize)]
struct Cause {
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DELETE: &str = r#"{"kind":"AdmissionReview","request":{"uid":"u-1","kind":{"group":"","version":"v1","kind":"PersistentVolumeClaim"},
        "resource":{"group":"","version":"v1","resource":"persistentvolumeclaims"},"operation":"DELETE","name":"","namespace":"shop",
        "userInfo":{"username":"ali\u0063e","groups":["ops"],"extra":{"e":["x"]}},"object":null,
        "oldObject":{"metadata":{"name":"db","creationTimestamp":"nonsense","annotations":{"a":null,"foureyes.dev/approved-by":"x"},"labels":null},"spec":{"volumeName":"v"}}}}"#;

    #[test]
    fn keeps_what_rules_read_and_skips_the_rest() {
        let request = read(DELETE.as_bytes()).unwrap();
        let old = request.old_object.unwrap();
        assert_eq!(&*request.user_info.username, "alice");
        assert_eq!(old.metadata.annotations.get("foureyes.dev/approved-by"), Some("x"));
        assert_eq!(old.metadata.annotations.0.len(), 1);
        assert_eq!(old.spec.unwrap().get(), r#"{"volumeName":"v"}"#);
        assert!(request.object.is_none());
    }

    #[test]
    fn finds_the_uid_of_what_can_not_be_read() {
        for cut in (DELETE.find("\"kind\":{").unwrap()..DELETE.len()).step_by(7) {
            assert_eq!(uid(&DELETE.as_bytes()[..cut]).as_deref(), Some("u-1"));
        }
        assert_eq!(uid(b"nonsense"), None);
        assert_eq!(uid(br#"{"request":{"uid":5}}"#), None);
    }

    #[test]
    fn two_spellings_of_one_key_are_no_review() {
        let twice = DELETE.replace("\"operation\":\"DELETE\"", "\"operation\":\"CONNECT\",\"operation\":\"DELETE\"");
        assert!(read(twice.as_bytes()).is_err());
    }
}
