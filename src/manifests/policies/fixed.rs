//! Policies that the API server reads from files of the control plane, and that nobody changes through the API: they guard
//! what policies in the API can't, the policies and their bindings (fact 21). Names end as the API server wants it of such
//! files; they take no parameters.

use serde_json::{Value, json};

use super::{Place, Policy, all, configurations, with_bindings};
use crate::manifests::{Error, File, cel, yaml};

/// Where the file lies. It is for the control plane's nodes, and not to be applied.
pub const FOLDER: &str = "config/static";

/// Ours stay, and are as this version ships them: to upgrade, the file is replaced first.
fn policies() -> Policy {
    let shipped = all();
    let names: Vec<&str> = shipped.iter().map(|policy| policy.name).collect();
    let as_shipped = |resource: &str, policy: &Policy, spec: &Value| {
        format!(
            "(request.resource.resource == '{resource}' && object.metadata.name == '{}' && object.spec == {})",
            policy.name,
            cel::literal(spec)
        )
    };
    let mut allowed = vec!["request.operation == 'DELETE'".to_owned()];
    allowed.push("(request.operation == 'UPDATE' && object.spec == oldObject.spec)".to_owned());
    for policy in &shipped {
        allowed.push(as_shipped("validatingadmissionpolicies", policy, &stored(policy)));
        allowed.push(as_shipped("validatingadmissionpolicybindings", policy, &json!(policy.binding().spec)));
    }
    Policy {
        name: "foureyes-policies.static.k8s.io",
        kinds: vec![(
            "admissionregistration.k8s.io",
            vec!["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
        )],
        operations: &["CREATE", "UPDATE", "DELETE"],
        place: Place::Everywhere,
        condition: Some((
            "of-foureyes",
            format!("(oldObject != null ? oldObject : object).metadata.name in {}", cel::strings(&names)),
        )),
        validations: vec![
            (
                "request.operation != 'DELETE'".to_owned(),
                format!(
                    "admission policies of foureyes hold while nothing else of it does: to leave, first take {FOLDER} off every node of the control plane"
                ),
            ),
            (
                // The collector deletes what is owned by nobody (fact 31).
                format!("request.operation != 'UPDATE' || !({})", cel::owners_added()),
                "admission policies of foureyes belong to nobody: leave the owner out".to_owned(),
            ),
            (
                cel::any(&allowed),
                format!(
                    "admission policies of foureyes are as its version ships them: to upgrade, first replace {FOLDER} on every node of the control plane"
                ),
            ),
        ],
    }
}

/// The specification with what the API server fills in.
fn stored(policy: &Policy) -> Value {
    let mut spec = json!(policy.object().spec);
    for selector in ["namespaceSelector", "objectSelector"] {
        let there = &mut spec["matchConstraints"][selector];
        if there.is_null() {
            *there = json!({});
        }
    }
    spec
}

/// For the folder that `staticManifestsDir` names.
pub fn file() -> Result<File, Error> {
    let configurations = Policy { name: "foureyes-webhooks.static.k8s.io", ..configurations() };
    yaml(&format!("{FOLDER}/foureyes.yaml"), with_bindings(&[policies(), configurations]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What the API server asks of such a file.
    #[test]
    fn names_end_as_they_must_and_nothing_takes_parameters() {
        let text = file().unwrap().text;
        assert!(!text.contains("paramRef:") && !text.contains("paramKind:"));
        let names = text.lines().filter_map(|line| line.strip_prefix("  name: "));
        let policies = text.lines().filter_map(|line| line.strip_prefix("  policyName: "));
        let all: Vec<_> = names.chain(policies).collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|name| name.ends_with(".static.k8s.io")), "{all:?}");
    }
}
