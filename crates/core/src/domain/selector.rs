//! Label selectors, compiled once and matched often.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Why a selector can't be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("unknown operator {0:?}")]
    Operator(String),
    #[error("the operator {0} of key {1:?} {2}")]
    Values(String, String, &'static str),
}

/// A compiled label selector; empty, it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    pub fn compile(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let equalities = selector.match_labels.iter().flatten();
        let mut requirements: Vec<Requirement> =
            equalities.map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
        for expression in selector.match_expressions.iter().flatten() {
            let (key, values) = (expression.key.clone(), expression.values.clone().unwrap_or_default());
            let wrong = |what| SelectorError::Values(expression.operator.clone(), expression.key.clone(), what);
            requirements.push(match expression.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => return Err(wrong("needs values")),
                "Exists" | "DoesNotExist" if !values.is_empty() => return Err(wrong("takes no values")),
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                other => return Err(SelectorError::Operator(other.to_owned())),
            });
        }
        Ok(Self(requirements))
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("{}", true)]
    #[case(r#"{"matchLabels":{"env":"prod"}}"#, true)]
    #[case(r#"{"matchLabels":{"env":"dev"}}"#, false)]
    #[case(r#"{"matchExpressions":[{"key":"env","operator":"In","values":["prod","dev"]}]}"#, true)]
    #[case(r#"{"matchExpressions":[{"key":"team","operator":"NotIn","values":["a"]}]}"#, true)]
    #[case(r#"{"matchExpressions":[{"key":"team","operator":"Exists"}]}"#, false)]
    #[case(r#"{"matchExpressions":[{"key":"team","operator":"DoesNotExist"}]}"#, true)]
    fn matches_as_kubernetes_does(#[case] selector: &str, #[case] expected: bool) {
        let labels = [("env".to_owned(), "prod".to_owned())].into();
        let selector = Selector::compile(&serde_json::from_str(selector).unwrap()).unwrap();
        assert_eq!(selector.matches(&labels), expected);
    }

    #[rstest]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}]}"#)]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#)]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":["x"]}]}"#)]
    fn what_can_not_be_understood_is_an_error(#[case] selector: &str) {
        assert!(Selector::compile(&serde_json::from_str(selector).unwrap()).is_err());
    }
}
