//! What runs: a pod template, its digests, its images, and how two of them differ (design §2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::location::{Found, Location};
use super::spelling;
use crate::digest::{DigestError, Encoding, digest_of_tree, hex, refuse_inexact};

/// Written by `kubectl rollout restart`: restarts what is there, and rolls out nothing new.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Written as null by the API server where a template has metadata.
const CREATED: &str = "creationTimestamp";
static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
/// Where a pod spec lists containers.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Why something has no template that could be judged.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("it has no pod template where its kind keeps one")]
    Missing,
    #[error("its pod template is not an object")]
    NotAnObject,
    #[error("its pod template is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A pod template without restarts and null timestamps. Two spellings of one template are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    value: Value,
    /// Of a pod itself, of which only the images are judged: what else of it may change rolls nothing out.
    of_pod: bool,
}

impl Template {
    /// Reads the template out of the JSON of a workload's `spec`.
    pub fn of_json(location: &Location, spec: &str) -> Result<Self, TemplateError> {
        match location.slice(spec).ok_or(TemplateError::Missing)? {
            Found::Template(text) => Self::kept(location, serde_json::from_str(text)?),
            Found::PodSpec(text) => Self::of_pod_spec(serde_json::from_str(text)?),
            Found::Reference(text) => Self::of_reference(serde_json::from_str(text)?),
        }
    }

    /// The same from a `spec` that was read already.
    pub fn of_value(location: &Location, spec: &Value) -> Result<Self, TemplateError> {
        match location.value(spec).ok_or(TemplateError::Missing)? {
            Found::Template(value) => Self::kept(location, value.clone()),
            Found::PodSpec(value) => Self::of_pod_spec(value.clone()),
            Found::Reference(value) => Self::of_reference(value.clone()),
        }
    }

    fn kept(location: &Location, mut template: Value) -> Result<Self, TemplateError> {
        if !location.is_typed() {
            drop_null_timestamps(&mut template);
            spelling::settle(&mut template);
        }
        Self::normal(template)
    }

    fn of_pod_spec(spec: Value) -> Result<Self, TemplateError> {
        Ok(Self { of_pod: true, ..Self::wrapped("spec", spec)? })
    }

    fn of_reference(reference: Value) -> Result<Self, TemplateError> {
        Self::wrapped("workloadRef", reference)
    }

    fn wrapped(field: &str, value: Value) -> Result<Self, TemplateError> {
        if !value.is_object() {
            return Err(TemplateError::NotAnObject);
        }
        Self::normal(Value::Object(Map::from_iter([(field.to_owned(), value)])))
    }

    fn normal(mut template: Value) -> Result<Self, TemplateError> {
        drop_null_timestamps(&mut template);
        let fields = template.as_object_mut().ok_or(TemplateError::NotAnObject)?;
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(RESTARTED_AT);
            }
            // A template that was restarted once keeps an empty map where there was none.
            metadata.retain(|_, value| !is_empty(value));
        }
        fields.retain(|name, value| name != "metadata" || !is_empty(value));
        Ok(Self { value: template, of_pod: false })
    }

    /// `template/v1:sha256:…`.
    pub fn digest(&self) -> Result<String, DigestError> {
        digest_of_tree(Encoding::Template, &self.value)
    }

    /// `shape/v1:sha256:…`: the template without container images and annotations.
    pub fn shape(&self) -> Result<String, DigestError> {
        let mut shape = self.value.clone();
        if let Some(metadata) = shape.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("annotations");
        }
        if let Some(fields) = shape.as_object_mut() {
            fields.retain(|name, value| name != "metadata" || !is_empty(value));
        }
        for list in CONTAINERS {
            let containers = shape.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        digest_of_tree(Encoding::Shape, &shape)
    }

    /// Container and image, in every list. What has no name of its own is called by its place, which no container can
    /// be named: so that no image hides behind another.
    pub fn images(&self) -> BTreeMap<String, String> {
        let mut images = BTreeMap::new();
        for list in CONTAINERS {
            let containers = self.value.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
            for (at, container) in containers.into_iter().flatten().enumerate() {
                let Some(image) = container.get("image") else { continue };
                let image = image.as_str().map_or_else(|| image.to_string(), str::to_owned);
                let name = container.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
                let name = name.filter(|name| !name.contains('[') && !images.contains_key(*name));
                images.insert(name.map_or_else(|| format!("{list}[{at}]"), str::to_owned), image);
            }
        }
        images
    }

    /// This template with other images, by container.
    #[must_use]
    pub fn with_images(&self, images: &BTreeMap<String, String>) -> Self {
        let mut other = self.clone();
        for list in CONTAINERS {
            let containers = other.value.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                let name = container.get("name").and_then(Value::as_str);
                if let Some(image) = name.and_then(|name| images.get(name)) {
                    container.insert("image".to_owned(), Value::String(image.clone()));
                }
            }
        }
        other
    }

    /// Annotations, each with 32 hexadecimal digits of the SHA-256 of its value: enough to see that one differs, and
    /// short whatever they hold.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let annotations = self.value.pointer("/metadata/annotations").and_then(Value::as_object);
        let hashed = |value: &Value| hex(&Sha256::digest(value.to_string())[..16]);
        annotations.into_iter().flatten().map(|(key, value)| (key.clone(), hashed(value))).collect()
    }

    /// The annotations that differ, or that only one has, if nothing else does.
    pub fn annotations_apart<'a>(&'a self, other: &'a Self) -> Option<BTreeSet<&'a str>> {
        let fields = |of: &'a Self| of.value.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
        let rest = |metadata: &'a Map<String, Value>| metadata.iter().filter(|(name, _)| *name != "annotations");
        let (one, another) = (self.metadata()?, other.metadata()?);
        let same = self.of_pod == other.of_pod && fields(self).eq(fields(other)) && rest(one).eq(rest(another));
        let (one, another) = (annotations(one)?, annotations(another)?);
        same.then(|| {
            let keys = one.keys().chain(another.keys()).map(String::as_str);
            keys.filter(|key| one.get(*key) != another.get(*key)).collect()
        })
    }

    /// What is no object has none.
    fn metadata(&self) -> Option<&Map<String, Value>> {
        self.value.get("metadata").map_or(Some(&NOTHING), Value::as_object)
    }

    /// Whether the same runs by both, to the last digit.
    pub fn runs_as(&self, other: &Self) -> Result<bool, DigestError> {
        if self.of_pod && other.of_pod {
            return Ok(self.images() == other.images());
        }
        // Numbers that were not read exactly may be equal here and not there.
        refuse_inexact(&self.value).and_then(|()| refuse_inexact(&other.value))?;
        Ok(self == other)
    }
}

fn annotations(metadata: &Map<String, Value>) -> Option<&Map<String, Value>> {
    metadata.get("annotations").map_or(Some(&NOTHING), Value::as_object)
}

/// Keys whose values differ, or that only one has.
pub fn differing<'a>(one: &'a BTreeMap<String, String>, other: &'a BTreeMap<String, String>) -> BTreeSet<&'a str> {
    let keys = one.keys().chain(other.keys()).map(String::as_str);
    keys.filter(|key| one.get(*key) != other.get(*key)).collect()
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

fn drop_null_timestamps(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| name != CREATED || !value.is_null());
            fields.values_mut().for_each(drop_null_timestamps);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null_timestamps),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
