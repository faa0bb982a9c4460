//! Whether the admission policies in the cluster, with their bindings, are those that were shipped: the API server asks
//! nobody about policies (fact 21).

use serde_json::{Map, Value, json};

use super::{Policy, all};

/// A policy with its binding, as they were shipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Shipped {
    /// Of both.
    pub name: String,
    policy: Value,
    binding: Value,
}

/// Every policy that was shipped.
pub fn shipped() -> Vec<Shipped> {
    all().iter().map(Shipped::of).collect()
}

impl Shipped {
    fn of(policy: &Policy) -> Self {
        let spec = |object: Value| said(&object["spec"]);
        Self {
            name: policy.name.to_owned(),
            policy: spec(json!(policy.object())),
            binding: spec(json!(policy.binding())),
        }
    }

    /// What is otherwise among these; nothing, if both are there as they were shipped.
    pub fn differs(&self, policies: &[Value], bindings: &[Value]) -> Option<String> {
        self.changed("policy", &self.policy, policies).or_else(|| self.changed("binding", &self.binding, bindings))
    }

    fn changed(&self, what: &str, was: &Value, all: &[Value]) -> Option<String> {
        let Some(is) = all.iter().find(|object| object["metadata"]["name"] == *self.name) else {
            return Some(format!("its {what} is not there"));
        };
        let is = said(&is["spec"]);
        let fields = [was, &is].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
        let field = fields.into_iter().find(|field| was.get(field.as_str()) != is.get(field.as_str()))?;
        Some(format!("the {field} of its {what} was changed"))
    }
}

/// Without what says nothing: the API server writes empty selectors and lists where there is nothing.
fn said(value: &Value) -> Value {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), said(value)))
            .filter(|(_, value)| says(value))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(said).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn after(change: impl FnOnce(&mut Value, &mut Value)) -> Option<String> {
        let data = all().into_iter().find(|policy| policy.name == "foureyes-data").unwrap();
        let (mut policy, mut binding) = (json!(data.object()), json!(data.binding()));
        policy["spec"]["matchConstraints"]["objectSelector"] = json!({});
        policy["status"] = json!({"observedGeneration": 1});
        change(&mut policy, &mut binding);
        Shipped::of(&data).differs(&[json!({"metadata": {"name": "other"}}), policy], &[binding])
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_difference() {
        assert_eq!(after(|_, _| ()), None);
    }

    #[rstest]
    #[case("/spec/failurePolicy", json!("Ignore"), "the failurePolicy of its policy was changed")]
    #[case("/spec/validations", json!([]), "the validations of its policy was changed")]
    #[case("/spec/validations/0/expression", json!("true"), "the validations of its policy was changed")]
    #[case("/spec/matchConstraints/objectSelector", json!({"matchLabels": {"a": "b"}}),
        "the matchConstraints of its policy was changed")]
    fn what_a_policy_says_is_compared(#[case] pointer: &str, #[case] value: Value, #[case] words: &str) {
        assert_eq!(after(|policy, _| *policy.pointer_mut(pointer).unwrap() = value).as_deref(), Some(words));
    }

    #[test]
    fn so_is_where_it_applies() {
        let conditions = json!([{"name": "never", "expression": "false"}]);
        let words = after(|policy, _| policy["spec"]["matchConditions"] = conditions);
        assert_eq!(words.as_deref(), Some("the matchConditions of its policy was changed"));
        let words = after(|_, binding| binding["spec"]["validationActions"] = json!(["Audit"]));
        assert_eq!(words.as_deref(), Some("the validationActions of its binding was changed"));
        let words = after(|_, binding| binding["spec"]["paramRef"]["parameterNotFoundAction"] = json!("Allow"));
        assert_eq!(words.as_deref(), Some("the paramRef of its binding was changed"));
        let words = after(|_, binding| {
            binding["spec"]["matchResources"] = json!({"namespaceSelector": {"matchLabels": {"a": "b"}}});
        });
        assert_eq!(words.as_deref(), Some("the matchResources of its binding was changed"));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let words = after(|policy, _| policy["metadata"]["name"] = json!("another"));
        assert_eq!(words.as_deref(), Some("its policy is not there"));
        let words = after(|_, binding| binding["metadata"]["name"] = json!("another"));
        assert_eq!(words.as_deref(), Some("its binding is not there"));
    }
}
