//! `config/rbac/`: ServiceAccounts, roles and bindings, from one [`table`].

mod table;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use serde_json::{Value, json};

pub use table::{Holder, ROLES, Role as RoleRow, Rule, Scope};

use super::names::{self, Component, NAMESPACE};
use super::{Error, File, yaml};

/// Where they lie.
pub const FOLDER: &str = "config/rbac";

pub const API_GROUP: &str = "rbac.authorization.k8s.io";

impl Rule {
    fn policy_rule(&self) -> PolicyRule {
        let owned = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        PolicyRule {
            api_groups: Some(owned(&[self.group])),
            resources: Some(owned(self.resources)),
            resource_names: (!self.names.is_empty()).then(|| owned(self.names)),
            verbs: owned(self.verbs),
            non_resource_urls: None,
        }
    }
}

impl Holder {
    fn subject(self) -> Option<Subject> {
        match self {
            Self::Component(component) => Some(Subject {
                api_group: None,
                kind: "ServiceAccount".to_owned(),
                name: component.account().to_owned(),
                namespace: Some(NAMESPACE.to_owned()),
            }),
            Self::Group(name) => Some(Subject {
                api_group: Some(API_GROUP.to_owned()),
                kind: "Group".to_owned(),
                name: name.to_owned(),
                namespace: None,
            }),
            Self::Nobody => None,
        }
    }
}

impl RoleRow {
    /// The role, and its binding if somebody holds it from the start.
    fn objects(&self) -> Vec<Value> {
        let rules = Some(self.rules.iter().map(Rule::policy_rule).collect());
        let role_ref =
            |kind: &str| RoleRef { api_group: API_GROUP.to_owned(), kind: kind.to_owned(), name: self.name.to_owned() };
        let subjects = self.holder.subject().map(|subject| vec![subject]);
        let mut objects = vec![match self.scope {
            Scope::Cluster => json!(ClusterRole { aggregation_rule: None, metadata: names::cluster(self.name), rules }),
            Scope::Own => json!(Role { metadata: names::namespaced(self.name), rules }),
        }];
        if subjects.is_some() {
            objects.push(match self.scope {
                Scope::Cluster => json!(ClusterRoleBinding {
                    metadata: names::cluster(self.name),
                    role_ref: role_ref("ClusterRole"),
                    subjects,
                }),
                Scope::Own => {
                    json!(RoleBinding { metadata: names::namespaced(self.name), role_ref: role_ref("Role"), subjects })
                }
            });
        }
        objects
    }
}

/// A file for each component, and one for people.
pub fn files() -> Result<Vec<File>, Error> {
    let mut files = Vec::new();
    for component in Component::ALL {
        let account =
            json!(ServiceAccount { metadata: names::namespaced(component.account()), ..ServiceAccount::default() });
        let roles = ROLES.iter().filter(|role| role.holder == Holder::Component(component)).flat_map(RoleRow::objects);
        let path = format!("{FOLDER}/{}.yaml", component.account().trim_start_matches("foureyes-"));
        files.push(yaml(&path, std::iter::once(account).chain(roles))?);
    }
    let people = ROLES.iter().filter(|role| !matches!(role.holder, Holder::Component(_))).flat_map(RoleRow::objects);
    files.push(yaml(&format!("{FOLDER}/people.yaml"), people)?);
    Ok(files)
}
