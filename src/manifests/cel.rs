//! Fragments of CEL that hold for absent maps and lists: an expression that fails is a refusal under `failurePolicy: Fail`.

use serde_json::Value;

/// Joins conditions of which one suffices, a line each.
pub fn any(conditions: &[String]) -> String {
    conditions.join("\n|| ")
}

/// A list of strings.
pub fn strings<S: AsRef<str>>(items: &[S]) -> String {
    let quoted: Vec<_> = items.iter().map(|item| format!("'{}'", item.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}

/// A value as it is written in CEL, in which a map holds values of one type unless they are said to be of any.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().map(|(key, value)| format!("'{key}': dyn({})", literal(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(literal).collect::<Vec<_>>().join(", ")),
        // JSON escapes nothing in a way that CEL would not read.
        other => other.to_string(),
    }
}

/// The list at `field` of `variable`, empty when absent.
pub fn list(variable: &str, field: &str) -> String {
    format!("{variable}.?{field}.orValue([])")
}

/// Entries up to which a condition looks at each. More are for the webhook to compare: conditions are slow, and cost
/// seconds of the API server where each of thousands is held against each other. Claims have few owners and
/// finalizers, but tools give them many labels and annotations.
const FEW: u32 = 32;
const FEW_IN_MAP: u32 = 128;

/// What was differs from what is, and is more than `few` or as `precise` says.
fn changed(was: &str, is: &str, few: u32, precise: &str) -> String {
    format!("{is} != {was} && ({is}.size() > {few} || {was}.size() > {few} || {precise})")
}

/// An entry of the map `metadata.<map>` whose key starts with `prefix` appeared, vanished or changed.
pub fn entries_changed(map: &str, prefix: &str) -> String {
    let [was, is] = ["oldObject", "object"].map(|object| format!("{object}.metadata.?{map}.orValue({{}})"));
    let precise = format!(
        "[{is}, {was}].exists(m, m.exists(k, k.startsWith('{prefix}') && \
         object.metadata.?{map}[?k] != oldObject.metadata.?{map}[?k]))"
    );
    changed(&was, &is, FEW_IN_MAP, &precise)
}

/// One of these annotations appeared, vanished or changed.
pub fn annotations_changed(keys: &[&str]) -> String {
    format!("{}.exists(k, object.metadata.?annotations[?k] != oldObject.metadata.?annotations[?k])", strings(keys))
}

/// One of these annotations is on the object.
pub fn annotations_present(keys: &[&str]) -> String {
    format!("{}.exists(k, k in object.metadata.?annotations.orValue({{}}))", strings(keys))
}

/// An owner is there that was not, or not as the controller. `blockOwnerDeletion` is left out: the garbage collector
/// writes it during a foreground deletion.
pub fn owners_added() -> String {
    owners_changed(&owner_is_new())
}

/// An owner was added by somebody else than one of `users`, or one that is neither of `kinds` (`apiVersion/kind`) nor
/// the pod after which the object is named, `<template>-<pod>`.
pub fn owners_added_but(users: &[String], kinds: &[&str]) -> String {
    owners_changed(&format!(
        "{} && !(request.userInfo.username in {} && ((n.apiVersion + '/' + n.kind) in {} || \
         (n.apiVersion == 'v1' && n.kind == 'Pod' && object.metadata.name.endsWith('-' + n.name))))",
        owner_is_new(),
        strings(users),
        strings(kinds),
    ))
}

/// The owners changed so that one of them is as `new` says.
fn owners_changed(new: &str) -> String {
    let (is, was) = (list("object.metadata", "ownerReferences"), list("oldObject.metadata", "ownerReferences"));
    changed(&was, &is, FEW, &format!("{is}.exists(n, {new})"))
}

fn owner_is_new() -> String {
    format!(
        "!{}.exists(o, o.uid == n.uid && o.apiVersion == n.apiVersion && o.kind == n.kind && o.name == n.name && \
         o.?controller.orValue(false) == n.?controller.orValue(false))",
        list("oldObject.metadata", "ownerReferences")
    )
}

/// A finalizer of `at` (`metadata` or `spec`) went that is not one of `free`.
pub fn finalizers_removed(at: &str, free: &[&str]) -> String {
    let (is, was) = (list(&format!("object.{at}"), "finalizers"), list(&format!("oldObject.{at}"), "finalizers"));
    let free = strings(free);
    changed(&was, &is, FEW, &format!("{was}.exists(f, !(f in {free}) && !(f in {is}))"))
}

/// A finalizer came, or one went that is not one of `free`; but `user` may do both to what is going already.
pub fn finalizers_changed_but(user: &str, free: &[&str]) -> String {
    let [was, is] = ["oldObject", "object"].map(|object| list(&format!("{object}.metadata"), "finalizers"));
    let other = format!("{was}.exists(f, !(f in {}) && !(f in {is})) || {is}.exists(f, !(f in {was}))", strings(free));
    format!(
        "!(request.userInfo.username == '{user}' && has(oldObject.metadata.deletionTimestamp)) && {}",
        changed(&was, &is, FEW, &other)
    )
}

/// The claim with this metadata goes with its pod: controlled by it and named `<pod>-<volume>`. A StatefulSet's claim,
/// which can be owned by a pod too, is `<template>-<pod>`.
pub fn ephemeral(metadata: &str) -> String {
    let name = format!("{metadata}.?name.orValue('')");
    format!(
        "{}.exists(o, o.?controller.orValue(false) && o.apiVersion == 'v1' && o.kind == 'Pod' && \
         {name}.startsWith(o.name + '-') && !{name}.endsWith('-' + o.name))",
        list(metadata, "ownerReferences")
    )
}

/// One of these fields of the spec differs, or is there and was not.
pub fn spec_changed(fields: &[&str]) -> String {
    let changed = |field: &&str| {
        let path = field.replace('.', ".?");
        format!("object.spec.?{path} != oldObject.spec.?{path}")
    };
    any(&fields.iter().map(changed).collect::<Vec<_>>())
}

/// A container has another image, or is there and was not.
pub fn images_changed() -> String {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let images = |variable: &str, field| format!("{}.map(c, c.?image.orValue(''))", list(variable, field));
    let changed = |field| format!("{} != {}", images("object.spec", field), images("oldObject.spec", field));
    any(&lists.map(changed))
}

/// No entry of a webhook configuration refuses what it can't ask about.
pub fn all_fail_open(configuration: &str) -> String {
    format!("{}.all(o, {})", list(configuration, "webhooks"), fails_open("o"))
}

fn fails_open(entry: &str) -> String {
    format!("{entry}.?failurePolicy.orValue('Fail') != 'Fail'")
}

/// Every entry that fails closed still does, is asked about at least as much, and is answered by the same server.
pub fn webhooks_kept() -> String {
    let same = |field: &str| format!("dyn(n).?{field} == dyn(o).?{field}");
    let fields = ["matchPolicy", "reinvocationPolicy", "namespaceSelector", "objectSelector", "matchConditions"];
    let server = ["clientConfig.?service", "clientConfig.?url"];
    let same: Vec<_> = fields.iter().chain(&server).map(|field| same(field)).collect();
    let within = |field: &str| format!("r.?{field}.orValue([]).all(x, x in m.?{field}.orValue([]))");
    let covered: Vec<_> = ["apiGroups", "apiVersions", "operations", "resources"].map(within).into();
    format!(
        "{}.all(o, {} || {}.exists(n, n.name == o.name && !({}) && {} && {}.all(r, {}.exists(m, {} && \
         (m.?scope.orValue('*') == '*' || m.?scope == r.?scope)))))",
        list("oldObject", "webhooks"),
        fails_open("o"),
        list("object", "webhooks"),
        fails_open("n"),
        same.join(" && "),
        list("o", "rules"),
        list("n", "rules"),
        covered.join(" && "),
    )
}

/// The caller is in `group`.
pub fn caller_in(group: &str) -> String {
    format!("'{group}' in {}", list("request.userInfo", "groups"))
}
