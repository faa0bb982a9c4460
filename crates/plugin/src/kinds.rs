//! The kind that `deploy/web` means.

use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::{Api, Client};

use crate::cluster::{Cluster, call};
use crate::error::{Error, Result};

/// An object as somebody names it: `deploy/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// A kind, a resource or a short name, perhaps with its group.
    pub kind: String,
    pub name: String,
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, name) = text.split_once('/').ok_or("name an object as KIND/NAME, for example deploy/web")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if kind.is_empty() || !kind.bytes().all(plain) || !foureyes_core::api::is_name(name) {
            return Err("name an object as KIND/NAME, for example deploy/web".to_owned());
        }
        Ok(Self { kind: kind.to_ascii_lowercase(), name: name.to_owned() })
    }
}

/// A kind, and whether its objects lie in namespaces.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub resource: ApiResource,
    pub namespaced: bool,
}

/// Kinds that everybody means when they say so: plural, kind, group, version, short name.
const WORKLOADS: [(&str, &str, &str, &str, &str); 6] = [
    ("deployments", "Deployment", "apps", "v1", "deploy"),
    ("statefulsets", "StatefulSet", "apps", "v1", "sts"),
    ("daemonsets", "DaemonSet", "apps", "v1", "ds"),
    ("replicasets", "ReplicaSet", "apps", "v1", "rs"),
    ("cronjobs", "CronJob", "batch", "v1", "cj"),
    ("pods", "Pod", "", "v1", "po"),
];

/// The kind for a word; what is not known here is asked of the server.
pub async fn find(cluster: &Cluster, word: &str) -> Result<Known> {
    match workload(word) {
        Some(resource) => Ok(Known { resource, namespaced: true }),
        None => discovered(&cluster.client, word).await,
    }
}

/// The kind that a manifest states.
pub async fn stated(cluster: &Cluster, api_version: &str, kind: &str) -> Result<Known> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = WORKLOADS.iter().find(|(_, known, of, at, _)| (*known, *of, *at) == (kind, group, version));
    if let Some((plural, ..)) = known {
        return Ok(Known { resource: resource(group, version, kind, plural), namespaced: true });
    }
    let found = served(&cluster.client, group, version).await?;
    let found = found.into_iter().find(|served| served.known.resource.kind == kind).map(|served| served.known);
    found.ok_or_else(|| {
        Error::Usage(format!("the cluster knows no {kind} of {api_version}: see `kubectl api-resources`"))
    })
}

fn workload(word: &str) -> Option<ApiResource> {
    let (plural, kind, group, version, _) = WORKLOADS.iter().find(|(plural, kind, group, _, short)| {
        let (word, of) = word.split_once('.').map_or((word, None), |(word, of)| (word, Some(of)));
        of.is_none_or(|of| of == *group && !of.is_empty())
            && (word == *plural || word == *short || word == kind.to_ascii_lowercase())
    })?;
    Some(resource(group, version, kind, plural))
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

struct Served {
    known: Known,
    words: Vec<String>,
}

async fn served(client: &Client, group: &str, version: &str) -> Result<Vec<Served>> {
    let what = "the kinds of the cluster could not be listed";
    let list = if group.is_empty() {
        call(what, client.list_core_api_resources(version)).await?
    } else {
        call(what, client.list_api_group_resources(&format!("{group}/{version}"))).await?
    };
    let main = list.resources.into_iter().filter(|served| !served.name.contains('/'));
    let served = main.map(|served| {
        let mut words = vec![served.name.clone(), served.singular_name.clone(), served.kind.to_ascii_lowercase()];
        words.extend(served.short_names.into_iter().flatten());
        let known =
            Known { resource: resource(group, version, &served.kind, &served.name), namespaced: served.namespaced };
        Served { known, words }
    });
    Ok(served.collect())
}

/// Asks every group in its preferred version, the core group first, as kubectl does.
async fn discovered(client: &Client, word: &str) -> Result<Known> {
    let (word, wanted) = word.split_once('.').map_or((word, None), |(word, of)| (word, Some(of)));
    let groups = call("the kinds of the cluster could not be listed", client.list_api_groups()).await?;
    let preferred = groups.groups.into_iter().filter_map(|group| {
        let version = group.preferred_version.or_else(|| group.versions.first().cloned())?.version;
        Some((group.name, version))
    });
    let all = std::iter::once((String::new(), "v1".to_owned())).chain(preferred);
    for (group, version) in all.filter(|(group, _)| wanted.is_none_or(|wanted| wanted == group)) {
        // A group whose server is away hides nothing but itself.
        let Ok(served) = served(client, &group, &version).await else { continue };
        if let Some(found) = served.into_iter().find(|served| served.words.iter().any(|known| known == word)) {
            return Ok(found.known);
        }
    }
    Err(Error::Usage(format!("the cluster knows no kind {word:?}: see `kubectl api-resources`")))
}

impl Known {
    /// Where objects of this kind are, in this namespace where they lie in one.
    pub fn api(&self, client: Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client, namespace, &self.resource)
        } else {
            Api::all_with(client, &self.resource)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("deploy", "Deployment")]
    #[case("deployment", "Deployment")]
    #[case("deployments.apps", "Deployment")]
    #[case("sts", "StatefulSet")]
    #[case("cronjob", "CronJob")]
    fn short_words_mean_what_everybody_means(#[case] word: &str, #[case] kind: &str) {
        assert_eq!(workload(word).unwrap().kind, kind);
    }

    #[rstest]
    #[case("rollout")]
    #[case("deployments.example.org")]
    #[case("")]
    fn others_are_asked_of_the_server(#[case] word: &str) {
        assert!(workload(word).is_none());
    }

    #[rstest]
    #[case("deploy/web", true)]
    #[case("Deployment/web", true)]
    #[case("rollouts.argoproj.io/web", true)]
    #[case("web", false)]
    #[case("deploy/web/x", false)]
    #[case("/web", false)]
    #[case("deploy/../x", false)]
    fn objects_are_named_with_their_kind(#[case] text: &str, #[case] taken: bool) {
        assert_eq!(text.parse::<Named>().is_ok(), taken);
    }
}
