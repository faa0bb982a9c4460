//! What lets one person break glass (design §6, fact 33): to act in the group, and only under their own name, so that
//! the audit log has who it was.

use foureyes_core::api::BREAK_GLASS_GROUP;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::rbac::API_GROUP;
use super::{documents, names};

/// Bytes of a person's name in the role's.
const NAME: usize = 63;

/// Why there is no such role for a name.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    #[error("{0} is a machine or a part of the cluster: break-glass is for people, who answer for it afterwards")]
    NotAPerson(String),
    #[error("a responder has a name: the one that `kubectl auth whoami` shows them")]
    Nameless,
    #[error(transparent)]
    Yaml(#[from] super::Error),
}

/// A cluster role and its binding for each of these people, as YAML.
pub fn text(people: &[String]) -> Result<String, ResponderError> {
    let mut objects = Vec::new();
    for person in people {
        if person.trim().is_empty() {
            return Err(ResponderError::Nameless);
        }
        if person.starts_with("system:") {
            return Err(ResponderError::NotAPerson(person.clone()));
        }
        objects.extend(of(person));
    }
    Ok(documents(objects)?)
}

fn of(person: &str) -> [Value; 2] {
    let name = format!("foureyes-breakglass-{}", plain(person));
    let may_act_as = |resource: &str, one: &str| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(vec![one.to_owned()]),
        verbs: vec!["impersonate".to_owned()],
        non_resource_urls: None,
    };
    let role = ClusterRole {
        metadata: names::cluster(&name),
        aggregation_rule: None,
        rules: Some(vec![may_act_as("users", person), may_act_as("groups", BREAK_GLASS_GROUP)]),
    };
    let binding = ClusterRoleBinding {
        metadata: names::cluster(&name),
        role_ref: RoleRef { api_group: API_GROUP.to_owned(), kind: "ClusterRole".to_owned(), name },
        subjects: Some(vec![Subject {
            api_group: Some(API_GROUP.to_owned()),
            kind: "User".to_owned(),
            name: person.to_owned(),
            namespace: None,
        }]),
    };
    [json!(role), json!(binding)]
}

/// The name itself where it can be part of an object's, else what of it can and a digest of all of it.
fn plain(person: &str) -> String {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if person.len() <= NAME && person.chars().all(fits) && !person.starts_with('-') && !person.ends_with('-') {
        return person.to_owned();
    }
    let letters: String =
        person.chars().map(|letter| letter.to_ascii_lowercase()).filter(|letter| fits(*letter)).collect();
    let digest = foureyes_core::digest::hex(&Sha256::digest(person)[..4]);
    let start = letters.get(..NAME).unwrap_or(&letters).trim_matches('-');
    [start, &digest].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_responder_acts_in_the_group_under_their_own_name_alone() {
        let yaml = text(&["dave".to_owned()]).unwrap();
        let documents = serde_yaml_ng::Deserializer::from_str(&yaml);
        let documents: Vec<Value> = documents.map(|one| serde::Deserialize::deserialize(one).unwrap()).collect();
        let [role, binding] = &documents[..] else { panic!("{yaml}") };
        let rules = role["rules"].as_array().unwrap();
        let named: Vec<&Value> = rules.iter().map(|rule| &rule["resourceNames"]).collect();
        assert_eq!(named, [&json!(["dave"]), &json!([BREAK_GLASS_GROUP])]);
        assert!(rules.iter().all(|rule| rule["verbs"] == json!(["impersonate"])));
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(binding["subjects"].as_array().unwrap().len(), 1);
        assert_eq!(binding["subjects"][0]["name"], "dave");
    }

    #[test]
    fn any_name_has_a_role_of_its_own_and_machines_have_none() {
        let many = ["dave", "Dave", "dave@example.org", "oidc:dave@example.org", "ürs", "d/../x", &"x".repeat(200)];
        let names: std::collections::BTreeSet<String> = many.iter().map(|name| plain(name)).collect();
        assert_eq!(names.len(), many.len());
        assert!(names.iter().all(|name| name.len() < 80 && foureyes_core::api::is_name(name)), "{names:?}");
        for odd in ["system:serviceaccount:a:b", "system:admin", " ", ""] {
            assert!(text(&[odd.to_owned()]).is_err(), "{odd}");
        }
    }
}
