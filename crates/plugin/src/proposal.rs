//! What would run, as text that people can compare. A request holds no template, only its digest, so whatever is shown
//! here is a guess until it comes to exactly that digest: then it is the template, whoever made it up.

use std::collections::BTreeMap;

use foureyes_core::api::RolloutResource;
use foureyes_core::domain::rollout::location::{Found, Location, locate};
use foureyes_core::domain::rollout::object::{SERVER_SET, object_digest};
use foureyes_core::domain::rollout::template::{RESTARTED_AT, Template};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Annotation of a request in which its author's plugin says how each template would differ from the one that ran then.
/// It proves nothing by itself.
pub const ANNOTATION: &str = "plugin.foureyes.dev/template-changes";
/// Longer ones are left out.
const MOST: usize = 64 * 1024;
/// Where `kubectl apply` keeps what it was given last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// On a template without labels, while it is defaulted.
const PLACEHOLDER: &str = "plugin.foureyes.dev/template";
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// What an object says that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs {
    form: Form,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Template,
    PodSpec,
    Reference,
    /// Of what runs nothing, all of it.
    Object,
}

/// How one target's template would differ.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Difference {
    /// Its place among the request's targets.
    pub target: usize,
    pub patch: json_patch::Patch,
}

/// Where this kind keeps a template; `None` for what runs nothing.
pub fn location(group: &str, kind: &str, more: &[RolloutResource]) -> Option<Location> {
    locate(group, kind, more)
}

impl Runs {
    /// What an object says that runs.
    pub fn of(location: &Location, object: &Value) -> Option<Self> {
        let (form, value) = match location.value(object.get("spec")?)? {
            Found::Template(value) => (Form::Template, value),
            Found::PodSpec(value) => (Form::PodSpec, value),
            Found::Reference(value) => (Form::Reference, value),
        };
        Some(Self { form, value: value.clone() })
    }

    /// An object of a kind that runs nothing, but for what `object/v1` does not cover: what is shown is what is signed.
    pub fn whole(object: &Value) -> Self {
        let mut value = object.clone();
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
            fields.retain(|name, _| {
                !is_namespace(version, kind) || ["apiVersion", "kind", "metadata"].contains(&&**name)
            });
        }
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| !SERVER_SET.contains(&name.as_str()));
            metadata.retain(|name, _| !is_namespace(version, kind) || ["name", "labels"].contains(&name.as_str()));
        }
        if version.starts_with("admissionregistration.k8s.io/") {
            let webhooks = value.get_mut("webhooks").and_then(Value::as_array_mut);
            for config in webhooks.into_iter().flatten().filter_map(|webhook| webhook.get_mut("clientConfig")) {
                config.as_object_mut().map(|config| config.remove("caBundle"));
            }
        }
        Self { form: Form::Object, value }
    }

    /// With the annotation in which `kubectl apply` keeps a manifest.
    #[must_use]
    pub fn with_last_applied(mut self, manifest: &Value) -> Self {
        let mut kept = manifest.clone();
        let annotations = |object: &mut Value| -> Option<Value> {
            let metadata = object.get_mut("metadata")?.as_object_mut()?;
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            annotations.as_object_mut()?.remove(LAST_APPLIED);
            Some(annotations.clone())
        };
        annotations(&mut kept);
        let text = |field: &str| manifest.get(field).and_then(Value::as_str).unwrap_or_default();
        let covered = self.form == Form::Object && !is_namespace(text("apiVersion"), text("kind"));
        if covered && annotations(&mut self.value).is_some() {
            self.value["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{kept}\n"));
        }
        self
    }

    /// Nothing yet: what would be created is compared with it.
    pub const fn nothing() -> Self {
        Self { form: Form::Template, value: Value::Null }
    }

    fn is_nothing(&self) -> bool {
        self.value.is_null()
    }

    /// `template/v1:sha256:…` or `object/v1:sha256:…`, by the guard's own rules.
    pub fn digest(&self) -> Option<String> {
        let (group, kind, spec) = match self.form {
            Form::Template => ("apps", "Deployment", json!({"template": self.value})),
            Form::Reference => ("argoproj.io", "Rollout", json!({"workloadRef": self.value})),
            Form::PodSpec => ("", "Pod", self.value.clone()),
            Form::Object => return object_digest(&self.value).ok(),
        };
        Template::of_value(&locate(group, kind, &[])?, &spec).ok()?.digest().ok()
    }

    /// The same with other images, by container. A container that is not there has no image.
    #[must_use]
    pub fn exchanged(&self, images: &BTreeMap<String, String>) -> Self {
        let mut other = self.clone();
        for container in other.containers_mut() {
            let name = container.get("name").and_then(Value::as_str);
            if let Some(image) = name.and_then(|name| images.get(name)) {
                container.insert("image".to_owned(), Value::String(image.clone()));
            }
        }
        other
    }

    fn containers_mut(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        let spec = if self.form == Form::PodSpec { Some(&mut self.value) } else { self.value.get_mut("spec") };
        let fields = spec.and_then(Value::as_object_mut).into_iter().flatten();
        let lists = fields.filter(|(name, _)| CONTAINERS.contains(&name.as_str()));
        lists.filter_map(|(_, list)| list.as_array_mut()).flatten().filter_map(Value::as_object_mut)
    }

    /// Container and image.
    pub fn images(&self) -> BTreeMap<String, String> {
        let mut copy = self.clone();
        let pair = |container: &mut Map<String, Value>| {
            let text = |field: &str| container.get(field).and_then(Value::as_str).map(str::to_owned);
            text("name").zip(text("image"))
        };
        copy.containers_mut().filter_map(pair).collect()
    }

    /// What a manifest makes of it: roughly as `kubectl apply` would, which the digest shows to be right or wrong.
    #[must_use]
    pub fn overlaid(&self, manifest: &Self, last: Option<&Self>) -> Self {
        if self.is_nothing() {
            return manifest.clone();
        }
        let last = last.map_or(&Value::Null, |last| &last.value);
        Self { form: self.form, value: overlay(&self.value, &manifest.value, last, "") }
    }

    /// As an object whose creation defaults a template and runs nothing: without pods, and as a dry run. Such an object
    /// needs a label, and always restarts its pods; neither changes any other default.
    pub fn to_be_defaulted(&self) -> Option<Value> {
        let mut template = self.value.clone();
        let fields = template.as_object_mut().filter(|_| self.form == Form::Template)?;
        fields.get_mut("spec")?.as_object_mut()?.insert("restartPolicy".to_owned(), json!("Always"));
        let metadata = fields.entry("metadata").or_insert_with(|| json!({})).as_object_mut()?;
        if !self.is_labelled() {
            metadata.insert("labels".to_owned(), json!({PLACEHOLDER: "true"}));
        }
        let labels = metadata.get("labels")?.clone();
        Some(json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"generateName": "kubectl-foureyes-"},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }))
    }

    /// What came back of it.
    pub fn defaulted(&self, object: &Value) -> Option<Self> {
        let mut value = object.pointer("/spec/template")?.clone();
        if let Some(stated) = self.value.pointer("/spec/restartPolicy") {
            value.get_mut("spec")?.as_object_mut()?.insert("restartPolicy".to_owned(), stated.clone());
        }
        if !self.is_labelled() {
            value.get_mut("metadata")?.as_object_mut()?.remove("labels");
        }
        Some(Self { form: Form::Template, value })
    }

    fn is_labelled(&self) -> bool {
        self.value.pointer("/metadata/labels").and_then(Value::as_object).is_some_and(|labels| !labels.is_empty())
    }

    /// From this to the other.
    pub fn difference(&self, other: &Self) -> json_patch::Patch {
        json_patch::diff(&self.value, &other.value)
    }

    /// The other way round, without what no digest covers; `None` where it does not fit.
    pub fn patched(&self, patch: &json_patch::Patch) -> Option<Self> {
        let mut other = self.clone();
        json_patch::patch(&mut other.value, patch).ok()?;
        if other.form == Form::Object {
            return Some(Self::whole(&other.value));
        }
        // No digest covers a restart, so nothing is shown of one.
        if let Some(annotations) = other.value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(RESTARTED_AT);
        }
        Some(other)
    }

    /// For reading, keys sorted.
    pub fn yaml(&self) -> String {
        if self.is_nothing() { String::new() } else { serde_yaml_ng::to_string(&self.value).unwrap_or_default() }
    }
}

/// Of a Namespace only what scopes protection is signed.
fn is_namespace(version: &str, kind: &str) -> bool {
    (version, kind) == ("v1", "Namespace")
}

/// The annotation for a request, unless there is nothing to say or too much.
pub fn annotation(differences: &[Difference]) -> Option<String> {
    let text = serde_json::to_string(differences).ok()?;
    (!differences.is_empty() && text.len() <= MOST).then_some(text)
}

/// What a request's annotation says about one of its targets.
pub fn stated(annotations: Option<&BTreeMap<String, String>>, target: usize) -> Option<json_patch::Patch> {
    let differences: Vec<Difference> = serde_json::from_str(annotations?.get(ANNOTATION)?).ok()?;
    differences.into_iter().find(|difference| difference.target == target).map(|difference| difference.patch)
}

/// By what the elements of a list are told apart.
fn key_of(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => {
            Some("name")
        }
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "hostAliases" => Some("ip"),
        _ => None,
    }
}

fn overlay(live: &Value, wanted: &Value, last: &Value, name: &str) -> Value {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let mut merged = live.clone();
            let dropped = last.as_object().into_iter().flatten().filter(|(key, _)| !wanted.contains_key(*key));
            dropped.for_each(|(key, _)| drop(merged.remove(key)));
            for (key, value) in wanted.iter().filter(|(_, value)| !value.is_null()) {
                let before = live.get(key).unwrap_or(&Value::Null);
                let last = last.get(key).unwrap_or(&Value::Null);
                merged.insert(key.clone(), overlay(before, value, last, key));
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(wanted)) => match key_of(name) {
            Some(key) => Value::Array(overlay_list(live, wanted, last.as_array().map_or(&[], Vec::as_slice), key)),
            None => Value::Array(wanted.clone()),
        },
        _ => wanted.clone(),
    }
}

fn overlay_list(live: &[Value], wanted: &[Value], last: &[Value], key: &str) -> Vec<Value> {
    let find = |list: &[Value], element: &Value| -> Option<Value> {
        list.iter().find(|other| other.get(key).is_some() && other.get(key) == element.get(key)).cloned()
    };
    let is_dropped = |element: &&Value| find(last, element).is_some() && find(wanted, element).is_none();
    let kept = live.iter().filter(|element| !is_dropped(element)).map(|element| match find(wanted, element) {
        Some(wanted) => overlay(element, &wanted, &find(last, element).unwrap_or_default(), ""),
        None => element.clone(),
    });
    let new = wanted.iter().filter(|element| find(live, element).is_none()).cloned();
    kept.chain(new).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn runs(value: Value) -> Runs {
        Runs { form: Form::Template, value }
    }

    fn live() -> Runs {
        runs(json!({"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [
                {"name": "web", "image": "web:1", "imagePullPolicy": "IfNotPresent", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                {"name": "proxy", "image": "proxy:1"}],
            "restartPolicy": "Always"}}))
    }

    /// What runs once may neither be labelled nor restart for ever.
    #[test]
    fn a_template_is_defaulted_as_a_replica_sets_and_keeps_what_that_may_not_have() {
        let job = runs(json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "a", "image": "a:1"}]}}));
        let mut sent = job.to_be_defaulted().unwrap();
        let template = &mut sent["spec"]["template"];
        assert_eq!(template["spec"]["restartPolicy"], "Always");
        assert!(template["metadata"]["labels"].as_object().is_some_and(|labels| labels.len() == 1));
        template["spec"]["dnsPolicy"] = json!("ClusterFirst");
        let wanted = runs(json!({"metadata": {}, "spec": {
            "restartPolicy": "OnFailure", "dnsPolicy": "ClusterFirst", "containers": [{"name": "a", "image": "a:1"}]}}));
        assert_eq!(job.defaulted(&sent), Some(wanted));
        assert_eq!(sent["spec"]["selector"]["matchLabels"], sent["spec"]["template"]["metadata"]["labels"]);
        let kept = live().to_be_defaulted().unwrap();
        assert_eq!(live().defaulted(&kept), Some(live()));
        for odd in [json!({"spec": 1}), json!({"spec": {}, "metadata": "x"}), json!(null)] {
            assert_eq!(runs(odd).to_be_defaulted(), None);
        }
    }

    #[test]
    fn images_are_exchanged_by_container() {
        let images = BTreeMap::from([("web".to_owned(), "web:2".to_owned()), ("nobody".to_owned(), "x".to_owned())]);
        let would = live().exchanged(&images);
        assert_eq!(would.images()["web"], "web:2");
        assert_eq!(would.images()["proxy"], "proxy:1");
        assert_eq!(would.images().len(), 2);
        assert_ne!(would.digest(), live().digest());
    }

    #[test]
    fn the_digest_is_the_guards_own() {
        let location = locate("apps", "Deployment", &[]).unwrap();
        let spec = json!({"replicas": 3, "template": live().value});
        let guard = Template::of_value(&location, &spec).unwrap().digest().unwrap();
        let read = Runs::of(&location, &json!({"spec": spec})).unwrap();
        assert_eq!(read.digest().unwrap(), guard);
        let restarted = runs({
            let mut value = live().value;
            value["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
            value
        });
        assert_eq!(restarted.digest().unwrap(), guard, "a restart is nothing new");
    }

    #[test]
    fn a_manifest_changes_what_it_names_and_drops_what_it_no_longer_does() {
        let last = runs(json!({"spec": {"containers": [
            {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}}));
        let manifest = runs(json!({"spec": {"containers": [
            {"name": "web", "image": "web:2", "env": [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]}]}}));
        let would = live().overlaid(&manifest, Some(&last));
        let expected = json!([
            {"name": "web", "image": "web:2", "imagePullPolicy": "IfNotPresent", "env": [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]},
            {"name": "proxy", "image": "proxy:1"}]);
        assert_eq!(would.value["spec"]["containers"], expected);
        assert_eq!(would.value["spec"]["restartPolicy"], "Always");
    }

    #[test]
    fn a_policy_is_guessed_as_kubectl_would_apply_it() {
        let live = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": "default",
            "uid": "u", "generation": 1, "managedFields": []}, "spec": {"enforcement": {"rollouts": "Deny"}}, "status": {"x": 1}});
        let manifest = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy",
            "metadata": {"name": "default"}, "spec": {"enforcement": {"rollouts": "Warn"}}});
        let would = Runs::whole(&live).overlaid(&Runs::whole(&manifest), None).with_last_applied(&manifest);
        let text = "{\"apiVersion\":\"foureyes.dev/v1alpha1\",\"kind\":\"SafetyPolicy\",\"metadata\":{\"annotations\":{},\"name\":\"default\"},\"spec\":{\"enforcement\":{\"rollouts\":\"Warn\"}}}\n";
        let stored = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": "default",
            "uid": "u", "generation": 2, "annotations": {LAST_APPLIED: text}}, "spec": {"enforcement": {"rollouts": "Warn"}}});
        assert_eq!(would.digest().unwrap(), object_digest(&stored).unwrap());
    }

    #[test]
    fn nothing_is_shown_that_no_digest_covers() {
        let patch: json_patch::Patch = serde_json::from_value(json!([
            {"op": "add", "path": "/metadata/annotations", "value": {"a": "approved by all"}},
            {"op": "add", "path": "/metadata/uid", "value": "x"},
            {"op": "add", "path": "/status", "value": {}},
            {"op": "add", "path": "/metadata/labels/team", "value": "shop"}]))
        .unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}, "uid": "u"}});
        let would = Runs::whole(&namespace).patched(&patch).unwrap();
        let expected = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b", "team": "shop"}}});
        assert_eq!(would.value, expected);
        let patch: json_patch::Patch = serde_json::from_value(json!([
            {"op": "add", "path": "/metadata/annotations", "value": {RESTARTED_AT: "approved by all"}}]))
        .unwrap();
        assert_eq!(live().patched(&patch).unwrap().value["metadata"]["annotations"], json!({}));
    }

    #[test]
    fn a_difference_travels_in_an_annotation_and_is_believed_by_its_digest_alone() {
        let would = live().exchanged(&BTreeMap::from([("web".to_owned(), "web:2".to_owned())]));
        let difference = Difference { target: 0, patch: live().difference(&would) };
        let text = annotation(&[difference]).unwrap();
        assert!(!text.contains("proxy"), "only what differs is said: {text}");
        let annotations = BTreeMap::from([(ANNOTATION.to_owned(), text)]);
        let patch = stated(Some(&annotations), 0).unwrap();
        assert_eq!(live().patched(&patch).unwrap().digest(), would.digest());
        assert!(stated(Some(&annotations), 1).is_none());
        // On another base it comes to another digest, or to nothing.
        let moved = live().exchanged(&BTreeMap::from([("proxy".to_owned(), "proxy:2".to_owned())]));
        assert_ne!(moved.patched(&patch).and_then(|runs| runs.digest()), would.digest());
        assert!(annotation(&[]).is_none());
    }
}
