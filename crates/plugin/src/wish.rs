//! What shall be asked for, one object at a time: from the answer to a dry run, or from what is there.

use std::collections::BTreeMap;

use foureyes_core::api::{Action, ChangeTarget, ContentDigest, RolloutRecord, WorkloadIdentity};
use foureyes_core::domain::rollout::location::Location;
use foureyes_core::domain::rollout::object::object_digest;
use kube::Api;
use serde_json::Value;

use crate::cluster::{Cluster, Tried, call};
use crate::dry_run::{self, Applying, images_patch};
use crate::error::{Error, Result};
use crate::kinds::{self, Known, Named};
use crate::output::plain;
use crate::proposal::{LAST_APPLIED, Runs, location};
use crate::refusal;

/// One object that somebody wants otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Of the request.
    pub namespace: String,
    pub target: ChangeTarget,
    pub title: String,
    /// Images, old → new, as the guard says them.
    pub would_run: Option<String>,
    /// How the template differs, where that is known to the last digit.
    pub difference: Option<json_patch::Patch>,
}

impl Wish {
    fn digest(&self) -> Option<String> {
        self.target.digest.as_ref().map(ContentDigest::text)
    }
}

/// What one object came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Wished {
    For(Box<Wish>),
    /// Why nobody has to be asked.
    NotNeeded(String),
}

/// The same, with what is to be said beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drafted {
    pub wished: Wished,
    pub notes: Vec<String>,
}

/// An object that is there.
struct There {
    known: Known,
    object: Value,
    /// Where it keeps its template, if it runs anything.
    location: Option<Location>,
}

impl There {
    async fn read(cluster: &Cluster, named: &Named) -> Result<Self> {
        let known = kinds::find(cluster, &named.kind).await?;
        let api = known.api(cluster.client.clone(), &cluster.namespace);
        let what = format!("{}/{} could not be read", named.kind, named.name);
        let Some(object) = call(&what, api.get_opt(&named.name)).await? else {
            let place = if known.namespaced { format!(" in namespace {}", cluster.namespace) } else { String::new() };
            return Err(Error::Usage(format!(
                "there is no {} {}{place}: name another with -n, or send what shall be created with -f",
                known.resource.kind, named.name
            )));
        };
        let mut object = serde_json::to_value(object).map_err(|error| Error::unreadable(&what, error))?;
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), Value::String(known.resource.api_version.clone()));
            fields.insert("kind".to_owned(), Value::String(known.resource.kind.clone()));
        }
        let more = cluster.floor().await.rollout_resources;
        let location = location(&known.resource.group, &known.resource.kind, &more);
        Ok(Self { known, object, location })
    }

    fn runs(&self) -> Option<Runs> {
        Runs::of(self.location.as_ref()?, &self.object)
    }

    fn target(&self, named: &Named, action: Action) -> ChangeTarget {
        ChangeTarget {
            api_version: self.known.resource.api_version.clone(),
            kind: self.known.resource.kind.clone(),
            namespace: None,
            name: named.name.clone(),
            action,
            digest: None,
            images: None,
        }
    }

    fn home(&self, cluster: &Cluster, named: &Named) -> String {
        if self.known.namespaced {
            cluster.namespace.clone()
        } else if self.known.resource.kind == "Namespace" && self.known.resource.group.is_empty() {
            named.name.clone()
        } else {
            cluster.own_namespace.clone()
        }
    }
}

/// Other images in what is there.
pub async fn images(
    cluster: &Cluster,
    named: &Named,
    images: &BTreeMap<String, String>,
    anyway: bool,
) -> Result<Drafted> {
    let there = There::read(cluster, named).await?;
    let no_template = || Error::Usage(format!("{} has no pod template: send what it shall become with -f", named.name));
    let location = there.location.as_ref().ok_or_else(no_template)?;
    let patch = images_patch(location, &there.object, images)?;
    let live = there.runs().ok_or_else(no_template)?;
    let tried = dry_run::images(cluster, &there.known, &named.name, patch).await?;
    let would = live.exchanged(images);
    let title = format!("roll out {} {}", there.known.resource.kind, named.name);
    match tried {
        Tried::Forbidden(why) => {
            let wish = Wish {
                namespace: there.home(cluster, named),
                target: ChangeTarget { images: Some(images.clone()), ..there.target(named, Action::Apply) },
                title,
                would_run: None,
                difference: None,
            };
            let note = format!(
                "note: you may not change it yourself, so the server could not be asked for the digest, and the request names the images instead ({})",
                plain(&why)
            );
            Ok(Drafted { wished: Wished::For(Box::new(wish)), notes: vec![note] })
        }
        Tried::Refused(text) => {
            let wish = refused(&text, &there.known.resource.kind, &named.name, Some((&live, &would)))?;
            Ok(Drafted { wished: Wished::For(Box::new(wish)), notes: Vec::new() })
        }
        Tried::Allowed { object, warnings } => {
            let (base, location) = (Some(&live), there.location.as_ref());
            let home = there.home(cluster, named);
            let from = Allowed { object: &object, base, location, home, title };
            Ok(allowed(from, warnings, anyway))
        }
    }
}

/// What is there shall go.
pub async fn removal(cluster: &Cluster, named: &Named, anyway: bool) -> Result<Drafted> {
    let there = There::read(cluster, named).await?;
    let kind = &there.known.resource.kind;
    let wish = || Wish {
        namespace: there.home(cluster, named),
        target: there.target(named, Action::Remove),
        title: format!("remove {kind} {}", named.name),
        would_run: None,
        difference: None,
    };
    match dry_run::removal(cluster, &there.known, &named.name).await? {
        Tried::Refused(text) => {
            let wish = refused(&text, kind, &named.name, None)?;
            Ok(Drafted { wished: Wished::For(Box::new(wish)), notes: Vec::new() })
        }
        // It has no digest that the server would have to be asked for.
        Tried::Forbidden(_) => Ok(Drafted { wished: Wished::For(Box::new(wish())), notes: Vec::new() }),
        Tried::Allowed { warnings, .. } if anyway => {
            Ok(Drafted { wished: Wished::For(Box::new(wish())), notes: said(warnings) })
        }
        Tried::Allowed { warnings, .. } => Ok(no_change(&format!("{} {}", kind, named.name), warnings)),
    }
}

/// What runs on nobody's word shall be signed off as it is. It was defaulted when it was stored, so its digest is known.
pub async fn as_it_runs(cluster: &Cluster, named: &Named, anyway: bool) -> Result<Drafted> {
    let there = There::read(cluster, named).await?;
    let unusable = || {
        Error::Usage(format!(
            "{} {} runs nothing: send what it shall become with -f, or say --remove",
            there.known.resource.kind, named.name
        ))
    };
    let runs = there.runs().ok_or_else(unusable)?;
    let digest = runs.digest().ok_or_else(unusable)?;
    let resource = &there.known.resource;
    let workload = WorkloadIdentity {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace: if there.known.namespaced { cluster.namespace.clone() } else { String::new() },
        name: named.name.clone(),
    };
    let records: Api<RolloutRecord> = Api::all(cluster.client.clone());
    // Whoever may not read records asks all the same.
    let record = call("its record could not be read", records.get_opt(&workload.record_name())).await.ok().flatten();
    let reviewed = record.and_then(|record| {
        let status = record.status?;
        let entry = status.entries.into_iter().find(|entry| entry.is_known_good() && entry.template == digest)?;
        let change = entry.change.map(|change| format!(" {change}")).unwrap_or_default();
        Some(format!("{}{change}", entry.how.as_str()))
    });
    if let Some(word) = reviewed.filter(|_| !anyway) {
        let why = format!("no change is needed: {workload} runs as it was authorised before ({word})");
        return Ok(Drafted { wished: Wished::NotNeeded(why), notes: Vec::new() });
    }
    let images = runs.images().into_iter().map(|(container, image)| format!("{container} {image}"));
    let wish = Wish {
        namespace: there.home(cluster, named),
        target: ChangeTarget { digest: ContentDigest::parse(&digest), ..there.target(named, Action::Apply) },
        title: format!("adopt {} {} as it runs", resource.kind, named.name),
        would_run: Some(format!("{} ({digest})", images.collect::<Vec<_>>().join(", "))),
        difference: None,
    };
    Ok(Drafted { wished: Wished::For(Box::new(wish)), notes: Vec::new() })
}

/// A manifest, as it would be applied.
pub async fn manifest(cluster: &Cluster, document: &Value, applying: &Applying, anyway: bool) -> Result<Drafted> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (Some(api_version), Some(kind), Some(name)) = (text("/apiVersion"), text("/kind"), text("/metadata/name"))
    else {
        return Err(Error::Usage("a manifest needs apiVersion, kind and metadata.name".to_owned()));
    };
    let tried = dry_run::manifest(cluster, document, applying).await?;
    let known = kinds::stated(cluster, &api_version, &kind).await?;
    let namespace = text("/metadata/namespace").unwrap_or_else(|| cluster.namespace.clone());
    let more = cluster.floor().await.rollout_resources;
    let location = location(&known.resource.group, &kind, &more);
    let api = known.api(cluster.client.clone(), &namespace);
    // Only to show the difference: whoever may not read it asks all the same.
    let live = call("what runs could not be read", api.get_opt(&name)).await.ok().flatten();
    let live = live.and_then(|live| serde_json::to_value(live).ok());
    let runs = |object: &Value| match &location {
        Some(location) => Runs::of(location, object),
        None => is_shown(&known.resource.group, &kind).then(|| Runs::whole(object)),
    };
    let base = match &live {
        Some(live) => runs(live),
        None => runs(document).map(|_| Runs::nothing()),
    };
    match tried {
        Tried::Refused(text) => {
            let last = live.as_ref().and_then(last_applied).as_ref().and_then(runs);
            let would = runs(document).zip(base.as_ref()).map(|(wanted, live)| live.overlaid(&wanted, last.as_ref()));
            let would = if applying.server_side { would } else { would.map(|would| would.with_last_applied(document)) };
            let mut wish = refused(&text, &kind, &name, base.as_ref().zip(would.as_ref()))?;
            if let (None, Some(base), Some(would)) = (&wish.difference, &base, &would) {
                let defaulted = dry_run::defaulted(cluster, &namespace, would).await;
                let meant = defaulted.filter(|it| it.digest().is_some() && it.digest() == wish.digest());
                wish.difference = meant.map(|would| base.difference(&would));
            }
            Ok(Drafted { wished: Wished::For(Box::new(wish)), notes: Vec::new() })
        }
        Tried::Forbidden(why) => Err(Error::Cluster {
            what: format!("{kind} {name} could not be tried"),
            why: format!("{why}; let somebody ask who may apply it, or name images alone with --image"),
        }),
        Tried::Allowed { object, warnings } => {
            let home = match (known.namespaced, kind.as_str()) {
                (true, _) => namespace,
                (false, "Namespace") => name.clone(),
                (false, _) => cluster.own_namespace.clone(),
            };
            let title = format!("roll out {kind} {name}");
            let from = Allowed { object: &object, base: base.as_ref(), location: location.as_ref(), home, title };
            Ok(allowed(from, warnings, anyway))
        }
    }
}

/// Whether a request may say how such an object would differ. What is in a Secret, or who knows where else, is for those
/// alone who may read it.
fn is_shown(group: &str, kind: &str) -> bool {
    let groups = ["foureyes.dev", "admissionregistration.k8s.io", "apiextensions.k8s.io"];
    groups.contains(&group) || (group, kind) == ("", "Namespace")
}

fn last_applied(object: &Value) -> Option<Value> {
    let annotations = object.pointer("/metadata/annotations")?;
    serde_json::from_str(annotations.get(LAST_APPLIED)?.as_str()?).ok()
}

/// The wish in a refusal; `guess` is what runs and what might be meant, believed if it comes to the refusal's digest.
fn refused(text: &str, kind: &str, name: &str, guess: Option<(&Runs, &Runs)>) -> Result<Wish> {
    let Some(ready) = refusal::ready_change(text) else {
        let next = refusal::ready_sign_off(text).map(|sign_off| {
            let subject = sign_off.spec.subject;
            let place = subject.namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
            format!("\nIt is asked for already. Look at it with: kubectl foureyes describe{place} {}", subject.name)
        });
        return Err(Error::Refused(format!("{text}{}", next.unwrap_or_default())));
    };
    let namespace = ready.metadata.namespace.unwrap_or_default();
    let target = ready.spec.targets.into_iter().next().filter(|target| target.kind == kind && target.name == name);
    let Some(target) = target else {
        return Err(Error::Refused(format!(
            "{text}\nThis is about another object than {kind} {name}: ask for that one"
        )));
    };
    let digest = target.digest.as_ref().map(ContentDigest::text);
    let guess = guess.filter(|(_, would)| digest.is_some() && would.digest() == digest);
    Ok(Wish {
        namespace,
        title: ready.spec.title,
        would_run: refusal::would_run(text).map(str::to_owned),
        difference: guess.map(|(runs, would)| runs.difference(would)),
        target,
    })
}

/// A dry run that was allowed.
struct Allowed<'a> {
    object: &'a Value,
    base: Option<&'a Runs>,
    location: Option<&'a Location>,
    home: String,
    title: String,
}

fn allowed(from: Allowed<'_>, warnings: Vec<String>, anyway: bool) -> Drafted {
    let text = |pointer: &str| from.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let would = from.location.and_then(|location| Runs::of(location, from.object));
    let digest = match &would {
        Some(would) => would.digest(),
        None => object_digest(from.object).ok(),
    };
    let Some(digest) = digest.as_deref().and_then(ContentDigest::parse).filter(|_| anyway) else {
        return no_change(&format!("{kind} {name}"), warnings);
    };
    let images = would.as_ref().map(Runs::images).unwrap_or_default();
    let images = images.into_iter().map(|(container, image)| format!("{container} {image}")).collect::<Vec<_>>();
    let wish = Wish {
        namespace: from.home,
        title: from.title,
        would_run: (!images.is_empty()).then(|| format!("{} ({})", images.join(", "), digest.text())),
        difference: from.base.zip(would.as_ref()).map(|(base, would)| base.difference(would)),
        target: ChangeTarget {
            api_version,
            kind,
            namespace: None,
            name,
            action: Action::Apply,
            digest: Some(digest),
            images: None,
        },
    };
    Drafted { wished: Wished::For(Box::new(wish)), notes: said(warnings) }
}

fn no_change(of: &str, warnings: Vec<String>) -> Drafted {
    let why = not_needed(&format!("change of {of}"), &warnings);
    Drafted { wished: Wished::NotNeeded(why), notes: said(warnings) }
}

/// Why nobody has to be asked for what a dry run was allowed to do.
pub fn not_needed(what: &str, warnings: &[String]) -> String {
    let warned = warnings.iter().any(|warning| warning.contains("foureyes would refuse this"));
    if warned {
        format!("no {what} is needed while the policy only warns; ask for it all the same with --anyway")
    } else {
        format!("no {what} is needed: the API server allows it, to you and as things stand now")
    }
}

/// What the API server said beside its answer.
pub fn said(warnings: Vec<String>) -> Vec<String> {
    warnings.into_iter().map(|warning| format!("warning: {}", plain(&warning))).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use foureyes_core::domain::ready;
    use foureyes_core::domain::refusal::Refusal;
    use foureyes_core::reason::Code;
    use serde_json::json;

    fn deployment(image: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
    }

    pub(crate) fn runs(image: &str) -> Runs {
        Runs::of(&location("apps", "Deployment", &[]).unwrap(), &deployment(image)).unwrap()
    }

    fn target(name: &str) -> ChangeTarget {
        ChangeTarget {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: None,
            name: name.into(),
            action: Action::Apply,
            digest: ContentDigest::parse(&runs("web:2").digest().unwrap()),
            images: None,
        }
    }

    pub(crate) fn wish(namespace: &str, name: &str) -> Wish {
        Wish {
            namespace: namespace.into(),
            target: target(name),
            title: format!("roll out Deployment {name}"),
            would_run: Some("web web:1 → web:2".into()),
            difference: Some(runs("web:1").difference(&runs("web:2"))),
        }
    }

    fn refusal_of(name: &str) -> String {
        Refusal::new(Code::RolloutNotRequested, "Deployment shop/web was not rolled out: new")
            .detail("Would run: web web:1 → web:2 (template/v1:…)")
            .next("Ask:", ready::change("shop", "roll out Deployment web", None, &target(name)))
            .to_string()
    }

    #[test]
    fn the_wish_is_what_the_refusal_offers() {
        let wish = refused(&refusal_of("web"), "Deployment", "web", Some((&runs("web:1"), &runs("web:2")))).unwrap();
        assert_eq!(wish.namespace, "shop");
        assert_eq!(wish.target, target("web"));
        assert_eq!(wish.would_run.as_deref(), Some("web web:1 → web:2 (template/v1:…)"));
        assert!(wish.difference.is_some());
        // A guess that comes to another digest than the server's is worth nothing.
        let wish = refused(&refusal_of("web"), "Deployment", "web", Some((&runs("web:1"), &runs("web:3")))).unwrap();
        assert!(wish.difference.is_none());
    }

    #[test]
    fn no_secret_is_put_into_a_request() {
        assert!(is_shown("foureyes.dev", "SafetyPolicy") && is_shown("", "Namespace"));
        assert!(!is_shown("", "Secret") && !is_shown("", "ConfigMap") && !is_shown("example.org", "Token"));
    }

    #[test]
    fn other_refusals_stay_refusals() {
        let about_another = refused(&refusal_of("db"), "Deployment", "web", None).unwrap_err();
        assert_eq!(about_another.exit_code(), 1);
        let uid = "00000000-0000-4000-8000-000000000001";
        let digest = format!("request/v1:sha256:{}", "b".repeat(64));
        let waits = Refusal::new(Code::SignOffMissing, "not rolled out: 0 of 1 sign-offs")
            .next("Somebody else:", ready::sign_off_change("shop", "web-1", uid, &digest))
            .to_string();
        let error = refused(&waits, "Deployment", "web", None).unwrap_err().to_string();
        assert!(error.contains("kubectl foureyes describe -n shop web-1"), "{error}");
    }

    #[test]
    fn what_is_allowed_needs_nobody_unless_somebody_insists() {
        let object = deployment("web:2");
        let (base, location) = (runs("web:1"), location("apps", "Deployment", &[]));
        let from = || Allowed {
            object: &object,
            base: Some(&base),
            location: location.as_ref(),
            home: "shop".into(),
            title: "roll out Deployment web".into(),
        };
        let drafted = allowed(from(), Vec::new(), false);
        assert!(matches!(drafted.wished, Wished::NotNeeded(why) if why.contains("Deployment web")));
        let warning = vec!["foureyes would refuse this: new [RolloutNotRequested]".to_owned()];
        let drafted = allowed(from(), warning.clone(), false);
        assert!(matches!(drafted.wished, Wished::NotNeeded(why) if why.contains("--anyway")));
        assert_eq!(drafted.notes.len(), 1);
        let Wished::For(wish) = allowed(from(), warning, true).wished else { unreachable!("no wish") };
        assert_eq!(wish.target, target("web"));
        let other = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": {"name": "default"}, "spec": {}});
        let from = Allowed { object: &other, base: None, location: None, ..from() };
        let Wished::For(wish) = allowed(from, Vec::new(), true).wished else { unreachable!("no wish") };
        assert!(wish.target.digest.unwrap().text().starts_with("object/v1:"));
    }
}
