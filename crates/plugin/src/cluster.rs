//! The API server, as whoever called the plugin: found as kubectl finds it, each call with a deadline.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use foureyes_core::api::{Author, DeletionRequest, GROUP, Identities, RolloutResource, SafetyPolicy, SignOff};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, Status};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::Global;
use crate::error::{Error, Result};
use crate::output;
use crate::refusal;

/// How long one call may take; a webhook behind it has its own, shorter deadline.
const CALL: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(10);
/// Objects listed at a time.
const PAGE: u32 = 500;

/// What helps who has no right to something.
const ROLES: &str = "ask for one of the roles foureyes-viewer, foureyes-requester or foureyes-approver there";

/// A connection and what the command line says about it.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// Given, or the context's.
    pub namespace: String,
    /// Where foureyes itself is installed.
    pub own_namespace: String,
    global: Global,
}

/// What the policy `default` says that matters here; what can't be read is taken as unset.
#[derive(Default)]
pub struct Floor {
    pub identities: Identities,
    pub rollout_resources: Vec<RolloutResource>,
}

/// What the API server made of a dry run.
#[derive(Debug)]
pub enum Tried {
    /// Allowed: the object as it would be stored, and what was said beside it.
    Allowed { object: Value, warnings: Vec<String> },
    /// A webhook refused, in these words.
    Refused(String),
    /// The caller has no right to do it at all.
    Forbidden(String),
}

impl Cluster {
    pub async fn connect(global: &Global) -> Result<Self> {
        let mut config = config(global).await?;
        if global.as_user.is_some() {
            config.auth_info.impersonate.clone_from(&global.as_user);
        }
        if !global.as_group.is_empty() {
            config.auth_info.impersonate_groups = Some(global.as_group.clone());
        }
        // Nothing is written twice: kube would repeat a write that may have been done.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT);
        let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self { client, namespace, own_namespace: global.foureyes_namespace.clone(), global: global.clone() })
    }

    /// The same for another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// What kubectl needs to be told to be the same caller in the same place.
    pub fn kubectl_flags(&self) -> Vec<String> {
        self.global.kubectl_flags()
    }

    /// Who the API server takes the caller for.
    pub async fn me(&self) -> Result<Author> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let params = PostParams::default();
        let answer = call("who you are could not be asked", api.create(&params, &review)).await?;
        let user = answer.status.and_then(|status| status.user_info).unwrap_or_default();
        Ok(Author {
            username: user.username.unwrap_or_default(),
            uid: user.uid.filter(|uid| !uid.is_empty()),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }

    /// Whether the caller holds `verb` on `<resource>/signoff` in every one of these namespaces; the empty one stands
    /// for the whole cluster. In none is nowhere.
    pub async fn may(&self, verb: &str, resource: &str, namespaces: &BTreeSet<String>) -> Result<bool> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        for namespace in namespaces {
            let attributes = ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: Some("signoff".to_owned()),
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.clone()),
                ..ResourceAttributes::default()
            };
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let params = PostParams::default();
            let answer = call("your rights could not be asked", api.create(&params, &review)).await?;
            if !answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
                return Ok(false);
            }
        }
        Ok(!namespaces.is_empty())
    }

    /// What the policy `default` says, as far as the caller may read it.
    pub async fn floor(&self) -> Floor {
        let api: Api<SafetyPolicy> = Api::all(self.client.clone());
        let policy = call("the policy could not be read", api.get_opt("default")).await;
        let spec = policy.ok().flatten().map(|policy| policy.spec);
        spec.map_or_else(Floor::default, |spec| Floor {
            identities: spec.identities.unwrap_or_default(),
            rollout_resources: spec.rollout_resources.unwrap_or_default(),
        })
    }

    /// Every request to delete one object, whatever became of it.
    pub async fn deletion_requests(&self, target_uid: &str) -> Result<Vec<DeletionRequest>> {
        let params = ListParams::default().fields(&format!("spec.target.uid={target_uid}"));
        self.list("DeletionRequests could not be listed", Api::all(self.client.clone()), params).await
    }

    /// Every sign-off about one request.
    pub async fn sign_offs(&self, uid: &str) -> Result<Vec<SignOff>> {
        let params = ListParams::default().fields(&format!("spec.subject.uid={uid}"));
        self.list("SignOffs could not be listed", Api::all(self.client.clone()), params).await
    }

    /// Everything of one kind. What can't be read is named, and keeps nothing else from being shown.
    pub async fn all<K>(&self, namespace: Option<&str>) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let what = format!("{}s could not be listed", resource.kind);
        let objects = self.list(&what, api, ListParams::default()).await?;
        let mut read = Vec::with_capacity(objects.len());
        for object in objects {
            let name = format!("{}/{}", resource.kind, object.name_any());
            match serde_json::to_value(object).and_then(serde_json::from_value) {
                Ok(object) => read.push(object),
                Err(error) => output::say(&format!("warning: {name} can't be read and is left out: {error}")),
            }
        }
        Ok(read)
    }

    /// Everything of a kind that need not be installed; nothing where it is not.
    pub async fn installed(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
    ) -> Result<Option<Vec<DynamicObject>>> {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        };
        let what = format!("{}s could not be listed", resource.kind);
        // Everybody may ask what is installed; without rights on it, a kind that is not there is forbidden like any other.
        let served = async {
            match self.client.list_api_group_resources(&resource.api_version).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                answer => answer.map(|served| served.resources.iter().any(|served| served.name == resource.plural)),
            }
        };
        if !call(&what, served).await? {
            return Ok(None);
        }
        self.list(&what, api, ListParams::default()).await.map(Some)
    }

    async fn list<K: Clone + DeserializeOwned + std::fmt::Debug>(
        &self,
        what: &str,
        api: Api<K>,
        params: ListParams,
    ) -> Result<Vec<K>> {
        let mut params = params.limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = call(what, api.list(&params)).await?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// Writes a new object.
    pub async fn create<K>(&self, api: &Api<K>, what: &str, object: &K, dry_run: bool) -> Result<K>
    where
        K: Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    {
        let params = PostParams { dry_run, field_manager: Some("kubectl-foureyes".to_owned()) };
        call(what, api.create(&params, object)).await
    }

    /// Sends a dry run and says what came of it, with the warnings that kube would drop.
    pub async fn tried(&self, what: &str, request: http::Request<Vec<u8>>) -> Result<Tried> {
        let request = request.map(Body::from);
        let answer = async {
            let response = self.client.send(request).await?;
            let (parts, body) = response.into_parts();
            let headers = parts.headers.get_all("warning");
            let warnings = headers.iter().filter_map(|value| warning(value.to_str().ok()?)).collect();
            Ok((parts.status.is_success(), warnings, body.collect_bytes().await?))
        };
        let (success, warnings, bytes): (bool, Vec<String>, _) = call(what, answer).await?;
        if success {
            let object = serde_json::from_slice(&bytes).map_err(|error| Error::unreadable("the answer", error))?;
            return Ok(Tried::Allowed { object, warnings });
        }
        let status: Status = serde_json::from_slice(&bytes).map_err(|error| Error::unreadable("the answer", error))?;
        match refusal::of_webhook(&status.message) {
            Some(text) => Ok(Tried::Refused(text.to_owned())),
            None if status.code == 403 => Ok(Tried::Forbidden(status.message)),
            None => Err(Error::Cluster { what: what.to_owned(), why: status.message }),
        }
    }
}

/// `299 - "text"`, as RFC 9110 had it.
fn warning(header: &str) -> Option<String> {
    let (_, quoted) = header.split_once('"')?;
    Some(quoted.strip_suffix('"').unwrap_or(quoted).replace("\\\"", "\""))
}

async fn config(global: &Global) -> Result<Config> {
    let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    let unusable = |error: &dyn std::error::Error| Error::Config(error.to_string());
    let read = match &global.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match read {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error)),
        // In a pod there is no kubeconfig, and nobody names one.
        Err(error) if global.kubeconfig.is_some() || global.context.is_some() => Err(unusable(&error)),
        Err(error) => Config::incluster().map_err(|_| unusable(&error)),
    }
}

/// Awaits a call until its deadline; a webhook's refusal is told from every other trouble.
pub async fn call<T>(what: &str, call: impl Future<Output = std::result::Result<T, kube::Error>>) -> Result<T> {
    let trouble = |why: String| Error::Cluster { what: what.to_owned(), why };
    match tokio::time::timeout(CALL, call).await {
        Err(_) => Err(trouble(format!("the API server did not answer within {CALL:?}; repeat in a moment"))),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(match refusal::of_webhook(&status.message) {
            Some(text) => Error::Refused(text.to_owned()),
            None if is_right_missing(&status) => {
                Error::Forbidden { what: what.to_owned(), why: status.message, help: ROLES.to_owned() }
            }
            None => trouble(hinted(&status)),
        }),
        Ok(Err(error)) => Err(trouble(error.to_string())),
    }
}

/// Quotas and the like forbid, too, and no role helps against those.
fn is_right_missing(status: &Status) -> bool {
    status.code == 403 && status.message.contains(" cannot ")
}

/// The API server's sentence, and what helps.
fn hinted(status: &Status) -> String {
    let message = if status.message.is_empty() { &status.reason } else { &status.message };
    let hint = match status.code {
        401 => "; log in again, and see `kubectl auth whoami`",
        404 if message.contains("the server could not find the requested resource") => {
            "; is foureyes installed? See `kubectl api-resources --api-group=foureyes.dev`"
        }
        _ => "",
    };
    format!("{message}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_read_out_of_their_header() {
        assert_eq!(warning(r#"299 - "foureyes would refuse \"x\"""#).as_deref(), Some("foureyes would refuse \"x\""));
        assert_eq!(warning("nonsense"), None);
    }

    #[test]
    fn an_answer_says_the_next_step() {
        let status = |code, message: &str| Status { code, message: message.into(), ..Status::default() };
        assert!(hinted(&status(401, "no")).contains("kubectl auth whoami"));
        assert!(is_right_missing(&status(403, "pods is forbidden: User \"eve\" cannot list resource \"pods\"")));
        assert!(!is_right_missing(&status(403, "pods \"a\" is forbidden: exceeded quota: few")));
    }
}
