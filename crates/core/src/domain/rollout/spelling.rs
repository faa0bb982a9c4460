//! What a pod template says, however it is spelled, where the API server keeps it as it was written: in kinds that the
//! cluster itself defines. Their controllers read it into the types of Kubernetes and write it back, which drops what is
//! empty, adds empty `resources` and spells quantities anew. The API server does the same to its own kinds before
//! anybody sees them, so nothing is lost that could run differently: each rule names fields for which empty and absent
//! mean the same to those types. Whatever is not named here is content, like `emptyDir: {}` or `runAsUser: 0`.

use serde_json::{Map, Number, Value};

/// Maps that say nothing when they are empty.
const MAPS: [&str; 11] = [
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "metadata",
    "nodeSelector",
    "options",
    "overhead",
    "requests",
    "resources",
    "volumeAttributes",
];
/// What is off unless it is said to be on.
const SWITCHES: [&str; 7] = ["hostIPC", "hostNetwork", "hostPID", "readOnly", "stdin", "stdinOnce", "tty"];
/// Numbers whose zero asks for the default, as their absence does.
const NUMBERS: [&str; 6] =
    ["failureThreshold", "hostPort", "initialDelaySeconds", "periodSeconds", "successThreshold", "timeoutSeconds"];
/// Texts that say nothing when they are empty.
const TEXTS: [&str; 16] = [
    "dnsPolicy",
    "effect",
    "hostname",
    "imagePullPolicy",
    "medium",
    "nodeName",
    "priorityClassName",
    "schedulerName",
    "serviceAccount",
    "serviceAccountName",
    "subPath",
    "subPathExpr",
    "subdomain",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "value",
];
/// Maps of quantities, and quantities.
const QUANTITIES: [&str; 3] = ["limits", "overhead", "requests"];
const QUANTITY: [&str; 2] = ["divisor", "sizeLimit"];

/// Spells a pod template as the types of Kubernetes would.
pub fn settle(template: &mut Value) {
    let Some(fields) = template.as_object_mut() else { return };
    fields.retain(|_, value| !value.is_null());
    // Keys of annotations and labels are nobody's fields.
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    if let Some(spec) = fields.get_mut("spec") {
        settle_value(spec);
    }
}

fn settle_value(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(settle_value),
        Value::Object(fields) => settle_fields(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn settle_fields(fields: &mut Map<String, Value>) {
    for (name, value) in fields.iter_mut() {
        match value {
            Value::Object(quantities) if QUANTITIES.contains(&name.as_str()) => {
                quantities.values_mut().for_each(settle_quantity);
            }
            Value::Number(_) | Value::String(_) if QUANTITY.contains(&name.as_str()) => settle_quantity(value),
            // Of these the keys are chosen by whoever writes them.
            Value::Object(_)
                if MAPS.contains(&name.as_str()) && !["metadata", "resources"].contains(&name.as_str()) => {}
            _ => settle_value(value),
        }
    }
    fields.retain(|name, value| !says_nothing(name, value));
}

fn says_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && MAPS.contains(&name),
        Value::Bool(on) => !on && SWITCHES.contains(&name),
        Value::Number(number) => number.as_i64() == Some(0) && NUMBERS.contains(&name),
        Value::String(text) => text.is_empty() && TEXTS.contains(&name) || name == "divisor" && text == "0",
    }
}

/// One spelling for each amount; what is no amount, or too small or large for one, stays as it is.
fn settle_quantity(value: &mut Value) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if is_exact(number) => number.to_string(),
        _ => return,
    };
    if let Some(nano) = nano(&text) {
        *value = Value::String(amount(nano));
    }
}

/// Whether a number was read as it was written, to the billionth.
fn is_exact(number: &Number) -> bool {
    const WHOLE: u64 = 1 << 53;
    const FRACTION: f64 = 4e6;
    let whole = number.as_i64().map(i64::unsigned_abs);
    whole.map_or_else(|| number.as_f64().is_some_and(|value| value.abs() < FRACTION), |whole| whole <= WHOLE)
}

fn amount(nano: i128) -> String {
    let units = [(1_000_000_000, ""), (1_000_000, "m"), (1_000, "u")];
    let unit = units.iter().find(|(size, _)| nano % size == 0);
    unit.map_or_else(|| format!("{nano}n"), |(size, name)| format!("{}{name}", nano / size))
}

/// Billionths, exactly.
fn nano(text: &str) -> Option<i128> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (tens, twos) = scale(suffix)?;
    let tens = tens + 9 - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(tens.unsigned_abs())?;
    let binary = digits.checked_mul(sign)?.checked_mul(2_i128.checked_pow(twos)?)?;
    if tens >= 0 {
        return binary.checked_mul(power);
    }
    (binary % power == 0).then(|| binary / power)
}

/// Powers of ten and of two.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|power: &i32| power.abs() < 30)?, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn settled(mut template: Value) -> Value {
        settle(&mut template);
        template
    }

    fn container(fields: &Value) -> Value {
        let mut container = json!({"name": "web", "image": "web:1"});
        container.as_object_mut().into_iter().zip(fields.as_object()).for_each(|(all, more)| {
            all.extend(more.clone());
        });
        settled(json!({"spec": {"containers": [container]}}))
    }

    #[rstest]
    #[case(json!({"resources": {}}))]
    #[case(json!({"resources": null}))]
    #[case(json!({"resources": {"limits": {}, "requests": {}}}))]
    #[case(json!({"env": [], "command": [], "args": null, "stdin": false, "tty": false}))]
    #[case(json!({"imagePullPolicy": "", "terminationMessagePath": ""}))]
    fn what_the_types_drop_or_add_is_no_content(#[case] fields: Value) {
        assert_eq!(container(&fields), container(&json!({})));
    }

    #[rstest]
    #[case(json!({"cpu": "500m"}), json!({"cpu": "0.5"}))]
    #[case(json!({"cpu": "500m"}), json!({"cpu": 0.5}))]
    #[case(json!({"cpu": "1"}), json!({"cpu": "1000m"}))]
    #[case(json!({"cpu": "1"}), json!({"cpu": 1}))]
    #[case(json!({"cpu": "2"}), json!({"cpu": "+2.000"}))]
    #[case(json!({"memory": "1Gi"}), json!({"memory": "1024Mi"}))]
    #[case(json!({"memory": "1536Mi"}), json!({"memory": "1.5Gi"}))]
    #[case(json!({"memory": "128974848"}), json!({"memory": "123Mi"}))]
    #[case(json!({"memory": "1e3"}), json!({"memory": "1k"}))]
    #[case(json!({"memory": "1E"}), json!({"memory": "1e18"}))]
    fn an_amount_has_one_spelling(#[case] one: Value, #[case] other: Value) {
        for kind in ["limits", "requests"] {
            let of = |quantities: &Value| container(&json!({"resources": {kind: quantities}}));
            assert_eq!(of(&one), of(&other));
        }
    }

    #[rstest]
    #[case(json!({"resources": {"limits": {"cpu": "1"}}}), json!({"resources": {"limits": {"cpu": "2"}}}))]
    #[case(json!({"resources": {"limits": {"cpu": "1"}}}), json!({"resources": {"limits": {"cpu": "1m"}}}))]
    #[case(json!({"resources": {"limits": {"memory": "1M"}}}), json!({"resources": {"limits": {"memory": "1Mi"}}}))]
    #[case(json!({"resources": {"limits": {"memory": "1E"}}}), json!({"resources": {"limits": {"memory": "1Ei"}}}))]
    #[case(json!({"resources": {"limits": {"cpu": "0"}}}), json!({"resources": {"limits": {}}}))]
    #[case(json!({"resources": {"limits": {"cpu": "x"}}}), json!({"resources": {"limits": {"cpu": "y"}}}))]
    #[case(json!({"resources": {"limits": {"cpu": "1.1.1"}}}), json!({"resources": {"limits": {"cpu": "1.11"}}}))]
    #[case(json!({"stdin": true}), json!({}))]
    #[case(json!({"securityContext": {}}), json!({}))]
    #[case(json!({"securityContext": {"runAsUser": 0}}), json!({"securityContext": {}}))]
    #[case(json!({"securityContext": {"runAsNonRoot": false}}), json!({"securityContext": {}}))]
    #[case(json!({"imagePullPolicy": "Always"}), json!({}))]
    fn whatever_could_run_differently_is_content(#[case] one: Value, #[case] other: Value) {
        assert_ne!(container(&one), container(&other));
    }

    #[rstest]
    #[case(json!({"volumes": [{"name": "a", "emptyDir": {}}]}), json!({"volumes": [{"name": "a"}]}))]
    #[case(json!({"automountServiceAccountToken": false}), json!({}))]
    #[case(json!({"terminationGracePeriodSeconds": 0}), json!({}))]
    #[case(json!({"affinity": {"podAffinity": {"labelSelector": {}}}}), json!({"affinity": {"podAffinity": {}}}))]
    #[case(json!({"nodeSelector": {"stdin": ""}}), json!({"nodeSelector": {"tty": ""}}))]
    #[case(json!({"nodeSelector": {"value": ""}}), json!({}))]
    #[case(json!({"volumes": [{"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": ""}}}}]}),
           json!({"volumes": [{"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]}))]
    fn so_it_is_in_the_spec(#[case] one: Value, #[case] other: Value) {
        assert_ne!(settled(json!({"spec": one})), settled(json!({"spec": other})));
    }

    #[test]
    fn annotations_and_labels_are_left_alone() {
        let metadata = json!({"labels": {"value": "", "stdin": ""}, "annotations": {"limits": "1000m", "value": ""}});
        assert_eq!(settled(json!({"metadata": metadata, "spec": {}}))["metadata"], metadata);
    }
}
