//! `request change`: asks for something new to run, or to go.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use foureyes_core::api::{ChangeRequest, ChangeSource, ChangeType, Window, is_name};
use foureyes_core::domain::change::rights_namespaces;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::joined::joined;
use crate::kinds::Named;
use crate::output::{self, Format};
use crate::wish::{self, Drafted, Wish, Wished};

const EXAMPLES: &str = "\
Examples:
  # Another image in what runs
  kubectl foureyes request change deploy/web --image web=registry.example.org/web:2

  # A manifest, as `kubectl apply` would apply it; from a pipe with -f -
  kubectl foureyes request change -f web.yaml --title \"web 2\" --justification \"fixes the cart\" --ticket SHOP-17
  kustomize build . | kubectl foureyes request change -f -

  # What runs on nobody's word shall be signed off as it is
  kubectl foureyes request change deploy/web

  # A workload shall go
  kubectl foureyes request change deploy/web --remove

  # Only look: print the request, for example to commit it
  kubectl foureyes request change -f web.yaml --dry-run > change.yaml

What is asked for is named by the digest of its template. The digest is asked of the API server
by a dry run, so that defaults and what other webhooks add are in it; the dry run is refused,
and the refusal states the digest. If it is allowed, no change is needed. Whoever may request
but not edit names images instead of the digest.

Where it can be established, how the template differs is put into an annotation of the request,
so that whoever signs it off sees it; --no-diff leaves it out. Whoever may read the request can
read it.";

/// `kubectl foureyes request change`
#[expect(clippy::struct_excessive_bools, reason = "flags, each asked for by name")]
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, max_term_width = 120)]
pub struct Change {
    /// An object that is there, for example deploy/web
    #[arg(value_name = "KIND/NAME", required_unless_present = "filename", conflicts_with = "filename")]
    pub object: Option<Named>,
    /// Manifests that shall be applied; - reads them from standard input. May be given again
    #[arg(short, long, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Another image for one container; may be given again
    #[arg(long, value_name = "CONTAINER=IMAGE", value_parser = image, requires = "object", conflicts_with = "remove")]
    pub image: Vec<(String, String)>,
    /// The object shall go
    #[arg(long, requires = "object")]
    pub remove: bool,
    /// The manifest will be applied on the server's side (kubectl apply --server-side)
    #[arg(long, requires = "filename")]
    pub server_side: bool,
    /// The field manager it will be applied as
    #[arg(long, requires = "filename", value_name = "NAME")]
    pub field_manager: Option<String>,
    /// Ask for it although the dry run was allowed, for example while the policy only warns
    #[arg(long)]
    pub anyway: bool,
    /// Do not say in the request how the template differs
    #[arg(long)]
    pub no_diff: bool,
    /// Print the request instead of creating it; with =server the server checks it first
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", value_name = "WHERE")]
    pub dry_run: Option<DryRun>,
    #[command(flatten)]
    pub words: Words,
}

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    Client,
    Server,
}

/// What the request says beside its targets.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What the request says")]
pub struct Words {
    /// Its name; without one it is named after its first target
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Normal needs its sign-offs; Standard none where the policy covers it; Emergency may be used at once by whoever may expedite, and leaves a bill
    #[arg(long = "type", value_enum, default_value_t, value_name = "TYPE", ignore_case = true)]
    pub change_type: Type,
    /// What changes, in one line
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// What changes, for whoever signs it off; without one the images, old → new
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Why it is needed
    #[arg(long, value_name = "TEXT")]
    pub justification: Option<String>,
    /// Who answers for it, for example a team
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// Where it is tracked elsewhere
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
    /// The incident that an emergency answers
    #[arg(long, value_name = "TEXT")]
    pub incident: Option<String>,
    /// Where the content comes from
    #[arg(long, value_name = "URL")]
    pub source_repository: Option<String>,
    /// Which revision of it
    #[arg(long, value_name = "REVISION")]
    pub source_revision: Option<String>,
    /// The pull request that brought it
    #[arg(long, value_name = "URL")]
    pub pull_request: Option<String>,
    /// Not to be used before, for example 2026-11-20T22:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub window_start: Option<Timestamp>,
    /// Not to be used after
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub window_end: Option<Timestamp>,
}

/// What sort of change; foureyes alone opens the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Type {
    Standard,
    #[default]
    Normal,
    Emergency,
}

fn image(text: &str) -> std::result::Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(container, image)| !container.is_empty() && !image.is_empty());
    let (container, image) = pair.ok_or("give CONTAINER=IMAGE, for example web=registry.example.org/web:2")?;
    Ok((container.to_owned(), image.to_owned()))
}

fn name(text: &str) -> std::result::Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("names have lower-case letters, digits, '-' and '.'".to_owned())
    }
}

fn time(text: &str) -> std::result::Result<Timestamp, String> {
    text.parse().map_err(|_| "give a time with its zone, for example 2026-11-20T22:00:00+01:00".to_owned())
}

pub async fn run(cluster: &Cluster, format: Format, args: &Change) -> Result<u8> {
    let (start, end) = (args.words.window_start, args.words.window_end);
    if start.zip(end).is_some_and(|(start, end)| start >= end) {
        return Err(Error::Usage("the window ends before it starts: see --window-start and --window-end".to_owned()));
    }
    let drafted = match &args.object {
        Some(object) => vec![of_object(cluster, args, object).await?],
        None => of_manifests(cluster, args).await?,
    };
    let mut wishes = Vec::new();
    for drafted in drafted {
        drafted.notes.iter().for_each(|note| output::say(note));
        match drafted.wished {
            Wished::For(wish) => wishes.push(*wish),
            Wished::NotNeeded(why) => output::say(&why),
        }
    }
    let requests = requests(wishes, &args.words, !args.no_diff)?;
    match args.dry_run {
        Some(DryRun::Client) => print(format, &requests)?,
        Some(DryRun::Server) => print(format, &create(cluster, &requests, true).await?)?,
        None => {
            for request in create(cluster, &requests, false).await? {
                created(cluster, format, &request).await?;
            }
        }
    }
    Ok(0)
}

async fn of_object(cluster: &Cluster, args: &Change, object: &Named) -> Result<Drafted> {
    let images: BTreeMap<String, String> = args.image.iter().cloned().collect();
    if images.len() < args.image.len() {
        return Err(Error::Usage("a container is named twice in --image".to_owned()));
    }
    if args.remove {
        wish::removal(cluster, object, args.anyway).await
    } else if images.is_empty() {
        wish::as_it_runs(cluster, object, args.anyway).await
    } else {
        wish::images(cluster, object, &images, args.anyway).await
    }
}

async fn of_manifests(cluster: &Cluster, args: &Change) -> Result<Vec<Drafted>> {
    let mut drafted = Vec::new();
    let applying =
        crate::dry_run::Applying { server_side: args.server_side, field_manager: args.field_manager.clone() };
    for file in &args.filename {
        for document in crate::dry_run::documents(&read(file)?)? {
            drafted.push(wish::manifest(cluster, &document, &applying, args.anyway).await?);
        }
    }
    Ok(drafted)
}

fn read(file: &PathBuf) -> Result<String> {
    if file.as_os_str() != "-" {
        return std::fs::read_to_string(file).map_err(|error| Error::unreadable(file.display().to_string(), error));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| Error::unreadable("standard input", error))?;
    Ok(text)
}

/// One request for each namespace that asks for something.
fn requests(wishes: Vec<Wish>, words: &Words, with_differences: bool) -> Result<Vec<ChangeRequest>> {
    let mut homes: BTreeMap<String, Vec<Wish>> = BTreeMap::new();
    for wish in wishes {
        homes.entry(wish.namespace.clone()).or_default().push(wish);
    }
    if homes.len() > 1 && words.name.is_some() {
        return Err(Error::Usage(
            "the manifests are of several namespaces, which makes several requests: leave --name out".to_owned(),
        ));
    }
    Ok(homes.into_iter().map(|(home, wishes)| request(home, wishes, words, with_differences)).collect())
}

fn request(home: String, wishes: Vec<Wish>, words: &Words, with_differences: bool) -> ChangeRequest {
    let mut request = joined(home, wishes, with_differences);
    if let Some(name) = &words.name {
        request.metadata.generate_name = None;
        request.metadata.name = Some(name.clone());
    }
    let spec = &mut request.spec;
    spec.change_type = match words.change_type {
        Type::Standard => ChangeType::Standard,
        Type::Normal => ChangeType::Normal,
        Type::Emergency => ChangeType::Emergency,
    };
    if let Some(title) = &words.title {
        spec.title.clone_from(title);
    }
    if words.description.is_some() {
        spec.description.clone_from(&words.description);
    }
    spec.justification.clone_from(&words.justification);
    spec.owner.clone_from(&words.owner);
    spec.ticket.clone_from(&words.ticket);
    spec.incident.clone_from(&words.incident);
    let source = ChangeSource {
        repository: words.source_repository.clone(),
        revision: words.source_revision.clone(),
        pull_request: words.pull_request.clone(),
    };
    spec.source = (source != ChangeSource::default()).then_some(source);
    let window = Window { start: words.window_start.map(Time), end: words.window_end.map(Time) };
    spec.window = (window.start.is_some() || window.end.is_some()).then_some(window);
    request
}

async fn create(cluster: &Cluster, requests: &[ChangeRequest], dry_run: bool) -> Result<Vec<ChangeRequest>> {
    let mut created = Vec::new();
    for request in requests {
        let home = request.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<ChangeRequest> = Api::namespaced(cluster.client.clone(), home);
        created.push(cluster.create(&api, "the request could not be created", request, dry_run).await?);
    }
    Ok(created)
}

/// Requests as they can be kept in a file.
fn print(format: Format, requests: &[ChangeRequest]) -> Result<()> {
    let format = if format == Format::Table { Format::Yaml } else { format };
    if let (Format::Json, [_, _, ..]) = (format, requests) {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": requests});
        return output::print(&output::data(format, &list)?.unwrap_or_default());
    }
    for (at, request) in requests.iter().enumerate() {
        let text = output::data(format, request)?.unwrap_or_else(|| format!("{}\n", full_name(request)));
        output::print(if at > 0 && format == Format::Yaml { "---\n" } else { "" })?;
        output::print(&text)?;
    }
    Ok(())
}

fn full_name(request: &ChangeRequest) -> String {
    let metadata = &request.metadata;
    let name = metadata.name.as_ref().or(metadata.generate_name.as_ref()).map(String::as_str).unwrap_or_default();
    format!("changerequest.foureyes.dev/{}", output::plain(name))
}

async fn created(cluster: &Cluster, format: Format, request: &ChangeRequest) -> Result<()> {
    output::print_object(format, request, &full_name(request), "created")?;
    let places = rights_namespaces(request, &cluster.own_namespace);
    // In an emergency nobody shall wait for somebody who need not come. Who can't be told of it asks as usual.
    let emergency = request.spec.change_type == ChangeType::Emergency;
    if emergency && cluster.may("expedite", "changerequests", &places).await.unwrap_or(false) {
        output::say("You may expedite: whoever may apply it can do so at once. Its review is owed afterwards.");
        return Ok(());
    }
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let name = request.metadata.name.as_deref().unwrap_or_default();
    output::say(&format!(
        "A second person looks at it and signs it off with:\n  kubectl foureyes approve -n {namespace} chg/{name}"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wish::tests::wish;

    #[test]
    fn flags_go_over_what_the_refusal_offers() {
        let words = Words {
            title: Some("web 2".into()),
            ticket: Some("SHOP-17".into()),
            change_type: Type::Emergency,
            window_end: Some("2026-11-20T22:00:00Z".parse().unwrap()),
            ..Words::default()
        };
        let made = requests(vec![wish("shop", "web")], &words, true).unwrap().remove(0);
        let json = serde_json::to_value(&made).unwrap();
        assert_eq!(json["kind"], "ChangeRequest");
        assert_eq!(json["metadata"]["generateName"], "web-");
        assert_eq!(json["metadata"]["namespace"], "shop");
        assert!(json["metadata"].get("name").is_none());
        assert_eq!(json["spec"]["title"], "web 2");
        assert_eq!(json["spec"]["type"], "Emergency");
        assert_eq!(json["spec"]["ticket"], "SHOP-17");
        assert_eq!(json["spec"]["window"], serde_json::json!({"end": "2026-11-20T22:00:00Z"}));
        assert!(json["spec"].get("source").is_none() && json["spec"].get("requester").is_none());
    }

    #[test]
    fn a_request_is_of_one_namespace() {
        let wishes = || vec![wish("shop", "web"), wish("shop", "db"), wish("bank", "web")];
        let made = requests(wishes(), &Words::default(), true).unwrap();
        let counts: Vec<usize> = made.iter().map(|request| request.spec.targets.len()).collect();
        assert_eq!(counts, [1, 2]);
        assert_eq!(made[1].spec.title, "roll out Deployment web and 1 more");
        let named = Words { name: Some("v2".into()), ..Words::default() };
        assert!(requests(wishes(), &named, true).is_err());
        assert_eq!(requests(vec![wish("shop", "web")], &named, true).unwrap()[0].metadata.name.as_deref(), Some("v2"));
    }

    #[test]
    fn images_and_times_are_read() {
        assert_eq!(image("web=r/w:2@sha256:ab").unwrap(), ("web".to_owned(), "r/w:2@sha256:ab".to_owned()));
        assert!(image("web").is_err() && image("=x").is_err() && image("web=").is_err());
        assert!(time("2026-11-20T22:00:00+01:00").is_ok() && time("tomorrow").is_err());
    }
}
