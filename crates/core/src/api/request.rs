//! What both kinds of request have in common.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether this is a name that the API server gives to objects: a lower-case DNS subdomain (RFC 1123).
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (1..=253).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(*byte) || b"-.".contains(byte))
        && bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
}

/// A policy that applied, at the generation that was read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    pub name: String,
    pub generation: i64,
}

/// How the sign-offs stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignOffSummary {
    pub required: i32,
    pub granted: i32,
    /// `1/2`, for the printer column.
    pub text: String,
    /// What is missing, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Every statement about this request, and whether it counts (as many as fit, 50).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<SignOffEntry>,
}

/// One statement about the request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignOffEntry {
    /// Name of the SignOff, or `annotation`.
    pub name: String,
    pub says: String,
    pub author: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    pub counts: bool,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("reports", true)]
    #[case("data-db-0", true)]
    #[case("a.b-c", true)]
    #[case("", false)]
    #[case("..", false)]
    #[case("-a", false)]
    #[case("Reports", false)]
    #[case("foureyes-system/secrets/foureyes-sealing-key?x=", false)]
    #[case("five?x=y", false)]
    #[case("a%2fb", false)]
    #[case("a\n", false)]
    fn only_names_become_parts_of_paths(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_name(name), expected);
    }
}
