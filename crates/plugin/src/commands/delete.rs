//! `delete`: asks for a deletion, and shows what it would take along. It deletes nothing.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use foureyes_core::api::{DeletionRequest, DeletionRequestSpec, Shutdown, Target};
use foureyes_core::domain::ready;
use foureyes_core::domain::request::Request as _;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::core::ObjectMeta;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, call};
use crate::commands::inventory::around;
use crate::commands::request::DryRun;
use crate::commands::say::{describe, still_open};
use crate::deletion::{Asked, Doomed, There, judged};
use crate::error::{Error, Result};
use crate::keeping::keeping;
use crate::losing::without_digest;
use crate::output::{self, Format};
use crate::request::Request;
use crate::using::using;
use crate::view;

/// Between two looks at a request that says nothing yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between two lines that say so.
const PROGRESS: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  # A claim shall go: ask, and see what would be lost
  kubectl foureyes delete pvc/reports -n shop --reason \"moved to the warehouse\" --ticket SHOP-17

  # A namespace, with all that is in it
  kubectl foureyes delete ns/old-shop --reason \"the new shop has run for a quarter\"

  # The same, and foureyes scales down what runs in it once the deletion is signed off
  kubectl foureyes delete ns/old-shop --reason \"the new shop has run for a quarter\" --shutdown scale

  # In a script: the name alone, once it can be signed off
  kubectl foureyes delete pvc/reports -n shop --reason \"moved to the warehouse\" --yes -o name

  # Only look: print the request, for example to commit it
  kubectl foureyes delete pvc/reports -n shop --reason \"moved to the warehouse\" --dry-run > request.yaml

Deletes nothing. It shows who uses the object and what would keep its data (as `kubectl foureyes
inventory` does), opens a DeletionRequest for exactly this object, by its UID, waits until
foureyes has listed what would be lost, and says who signs that off and what deletes then. Once
it is signed off, what uses it has to be switched off for a while before it may go, its volumes
are kept, and `kubectl foureyes undo` brings it back from them. If somebody has asked already,
that request is shown instead. Whether one is needed is asked of the
API server by a dry run of the deletion: if that is allowed, none is. Needs the right to request
there (role foureyes-requester) and to read the object.";

/// `kubectl foureyes delete`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Delete {
    /// What shall go: pvc/NAME or ns/NAME
    #[arg(value_name = "KIND/NAME")]
    pub object: Doomed,
    /// Why it shall go, for whoever signs it off
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Where it is tracked elsewhere
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
    /// Who shuts down what uses it, once it is signed off: people, or foureyes in your name, which scales to zero what you
    /// may scale, and back if nothing is deleted [default: as the policy says]
    #[arg(long, value_enum, value_name = "WHO")]
    pub shutdown: Option<By>,
    /// Ask for it although the dry run was allowed, for example while the policy only warns
    #[arg(long)]
    pub anyway: bool,
    /// Open the request without asking you first
    #[arg(short, long)]
    pub yes: bool,
    /// Print the request instead of creating it; with =server the server checks it first
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", value_name = "WHERE")]
    pub dry_run: Option<DryRun>,
    /// How long to wait until the request says what would be lost
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
}

/// Who shuts down what uses the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// People do it
    Manual,
    /// foureyes scales to zero
    Scale,
}

impl From<By> for Shutdown {
    fn from(by: By) -> Self {
        match by {
            By::Manual => Self::Manual,
            By::Scale => Self::Scale,
        }
    }
}

/// A duration on the command line.
pub fn duration(text: &str) -> std::result::Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().filter(|parsed| !parsed.is_negative());
    parsed.map(SignedDuration::unsigned_abs).ok_or_else(|| "give a duration, for example 30s or 2m".to_owned())
}

pub async fn run(cluster: &Cluster, format: Format, args: &Delete) -> Result<u8> {
    let there = There::read(cluster, &args.object).await?;
    let text = there.target.text();
    if there.is_going {
        output::say(&format!("{text} is being deleted already: there is nothing to ask for"));
        return Ok(0);
    }
    let asked = Asked::read(cluster, &there.target).await?;
    if let Some(open) = asked.open {
        output::say(&format!("The deletion of {text} is asked for already; nothing new was asked for."));
        return followed(cluster, format, args.timeout, open).await;
    }
    let has_outgrown = asked.outgrown.is_some();
    let judged = judged(there.tried(cluster).await?, &there.target, has_outgrown, args.anyway)?;
    judged.notes.iter().for_each(|note| output::say(note));
    if let Some(why) = judged.not_needed {
        output::say(&why);
        return Ok(0);
    }
    if let Some(outgrown) = &asked.outgrown {
        output::say(&format!("note: there is more now than del/{} was signed off for", outgrown.name()));
    }
    let request = request(&there.target, args);
    let api: Api<DeletionRequest> = Api::all(cluster.client.clone());
    let create = async |dry_run| cluster.create(&api, "the request could not be created", &request, dry_run).await;
    match args.dry_run {
        Some(DryRun::Client) => return print(format, &request),
        Some(DryRun::Server) => return print(format, &create(true).await?),
        None => {}
    }
    show_around(cluster, &there).await;
    if !args.yes && !output::confirmed(&question(&there, Timestamp::now()))? {
        return Err(Error::Refused(format!("the deletion of {text} was not asked for: you did not say yes")));
    }
    let created = create(false).await?;
    if format == Format::Table {
        output::print_object(format, &created, &full_name(&created), "created")?;
    }
    followed(cluster, format, args.timeout, created).await
}

/// Who uses it, and what would keep it, as far as it can be read: whoever asks had better know.
async fn show_around(cluster: &Cluster, there: &There) {
    if !there.target.kind.is_in_use() {
        return;
    }
    let Ok(mut losing) = without_digest(cluster, &there.target).await else { return };
    let kept_by = keeping(cluster, &there.target, &mut losing).await;
    let used_by = using(cluster, &there.target, &mut losing).await;
    output::say(around(&kept_by, &used_by).trim_start());
}

fn question(there: &There, now: Timestamp) -> String {
    let age = there.created.map(|created| format!(", {} old", output::age(created, now))).unwrap_or_default();
    format!("Ask for the deletion of {} (UID {}{age})?", there.target.text(), output::plain(&there.target.uid))
}

fn request(target: &Target, args: &Delete) -> DeletionRequest {
    let metadata = ObjectMeta { generate_name: Some(ready::request_prefix(target)), ..ObjectMeta::default() };
    let spec = DeletionRequestSpec {
        target: target.clone(),
        reason: args.reason.clone(),
        ticket: args.ticket.clone(),
        backups: Vec::new(),
        retention: None,
        shutdown: args.shutdown.map(Shutdown::from),
        requester: None,
    };
    DeletionRequest { metadata, spec, status: None }
}

/// A request as it can be kept in a file.
fn print(format: Format, request: &DeletionRequest) -> Result<u8> {
    let format = if format == Format::Table { Format::Yaml } else { format };
    output::print_object(format, request, &full_name(request), "")?;
    Ok(0)
}

fn full_name(request: &DeletionRequest) -> String {
    let metadata = &request.metadata;
    let name = metadata.name.as_ref().or(metadata.generate_name.as_ref()).map(String::as_str).unwrap_or_default();
    format!("deletionrequest.foureyes.dev/{name}")
}

/// Waits until the request says what would be lost, shows that, and says what is next. The request is there, whatever
/// comes of the waiting, so whoever reads data gets it all the same.
async fn followed(cluster: &Cluster, format: Format, patience: Duration, request: DeletionRequest) -> Result<u8> {
    let listed = listed(cluster, &request, patience).await;
    let (request, trouble) = match listed {
        Ok(listed) => (listed, None),
        Err(error) => (request, Some(error)),
    };
    if format != Format::Table {
        print(format, &request)?;
    }
    if let Some(error) = trouble {
        return Err(error);
    }
    let lost = view::inventory(&request);
    let ahead = ahead(&request);
    let request = Request::Deletion(Box::new(request));
    if format == Format::Table {
        output::print(&format!("{}\n{lost}\n", view::header(&request, None, Timestamp::now())))?;
    }
    still_open(&request)?;
    output::say(&ahead);
    Ok(0)
}

/// The request once its status lists what would be lost.
async fn listed(cluster: &Cluster, request: &DeletionRequest, patience: Duration) -> Result<DeletionRequest> {
    let api: Api<DeletionRequest> = Api::all(cluster.client.clone());
    let (name, text) = (request.name(), request.spec.target.text());
    let what = format!("DeletionRequest {name} is there, but could not be read again");
    let begun = Instant::now();
    let mut said = Duration::ZERO;
    loop {
        let read = call(&what, api.get_opt(name)).await?.filter(|read| read.uid() == request.uid());
        let read = read.ok_or_else(|| Error::Refused(format!("del/{name} is gone: somebody has taken it back")))?;
        if is_listed(&read) {
            return Ok(read);
        }
        let waited = begun.elapsed();
        if waited >= patience {
            return Err(unanswered(cluster, &Request::Deletion(Box::new(read)), patience));
        }
        if said.is_zero() {
            output::say(&format!("Waiting until foureyes has listed what the deletion of {text} would lose …"));
            said = PROGRESS;
        } else if waited >= said {
            output::say(&format!("… for {} seconds now", waited.as_secs()));
            said += PROGRESS;
        }
        sleep(LOOK_AGAIN.min(patience.saturating_sub(waited))).await;
    }
}

fn is_listed(request: &DeletionRequest) -> bool {
    let has_inventory = request.status.as_ref().is_some_and(|status| status.inventory.is_some());
    has_inventory && request.current_digest().is_some() || request.stage().is_over()
}

fn unanswered(cluster: &Cluster, request: &Request, patience: Duration) -> Error {
    Error::Other(format!(
        "{} is asked for and stays so, but foureyes has not listed within {patience:?} what would be lost, and nobody can sign it off before. See whether its controller runs with `kubectl -n {} get pods`, and look again with `{}`",
        request.label(),
        cluster.own_namespace,
        describe(request)
    ))
}

/// Who does what next.
fn ahead(request: &DeletionRequest) -> String {
    let target = &request.spec.target;
    let delete = ready::delete(target);
    let name = request.name();
    let inventory = request.status.as_ref().and_then(|status| status.inventory.as_ref());
    let holds_data = inventory.is_none_or(|inventory| inventory.total > 0);
    let request = Request::Deletion(Box::new(request.clone()));
    let waiting = request.waiting_for().unwrap_or("its deletion");
    if !holds_data {
        return format!(
            "It holds no data, so whoever may delete it needs nobody's word:\n  {delete}\nTake the request back with:\n  kubectl foureyes cancel del/{name}"
        );
    }
    if request.is_ready() {
        return format!("It is signed off, and waits for {waiting}:\n  {delete}");
    }
    if !request.is_pending() {
        return format!("It waits for {waiting}. See it with:\n  {}", describe(&request));
    }
    format!(
        "Somebody else who may approve in {} (role foureyes-approver) looks at it and signs it off with:\n  kubectl foureyes approve del/{name}\nWithout this plugin, the line that does it is in status.signOffCommand of {}.\nOnce it is signed off, whoever may delete it can do so with:\n  {delete}",
        request.place(),
        request.full_name()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::deletion;
    use clap::Parser as _;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn standing(phase: &str, waiting: &str, total: i32) -> DeletionRequest {
        let inventory = json!({"digest": "d", "total": total, "summary": "1 claim"});
        let status = json!({"phase": phase, "waitingFor": waiting, "subjectDigest": "s", "inventory": inventory});
        deletion(&json!({"status": status}))
    }

    #[test]
    fn what_waits_for_people_says_whom_and_what_then() {
        let expected = "\
Somebody else who may approve in old-shop (role foureyes-approver) looks at it and signs it off with:
  kubectl foureyes approve del/web-1
Without this plugin, the line that does it is in status.signOffCommand of deletionrequest.foureyes.dev/web-1.
Once it is signed off, whoever may delete it can do so with:
  kubectl delete namespace old-shop";
        assert_eq!(ahead(&standing("Pending", "sign-off by 1 person", 2)), expected);
    }

    #[test]
    fn later_and_empty_requests_say_another_next_step() {
        let ready = ahead(&standing("Executable", "deletion by anybody who may", 2));
        assert_eq!(
            ready,
            "It is signed off, and waits for deletion by anybody who may:\n  kubectl delete namespace old-shop"
        );
        let held = ahead(&standing("Approved", "the question of bob (hold)", 2));
        assert!(held.contains("the question of bob (hold)") && held.contains("foureyes describe del/web-1"), "{held}");
        let empty = ahead(&standing("Pending", "sign-off by 1 person", 0));
        assert!(empty.contains("holds no data") && empty.contains("foureyes cancel del/web-1"), "{empty}");
    }

    #[rstest]
    #[case(json!({}), false)]
    #[case(json!({"status": {"phase": "Pending"}}), false)]
    #[case(json!({"status": {"inventory": {"digest": "d", "total": 1, "summary": "1 claim"}}}), false)]
    #[case(json!({"status": {"subjectDigest": "s", "inventory": {"digest": "d", "total": 1, "summary": "1 claim"}}}), true)]
    #[case(json!({"status": {"phase": "Cancelled"}}), true)]
    fn it_is_waited_for_until_it_can_be_signed_off_or_has_ended(#[case] extra: Value, #[case] listed: bool) {
        assert_eq!(is_listed(&deletion(&extra)), listed);
    }

    #[test]
    fn who_shuts_it_down_is_said_only_if_somebody_said_it() {
        let target = deletion(&json!({})).spec.target;
        let args = |more: &[&str]| {
            let line = [&["kubectl-foureyes", "delete", "ns/old-shop", "--reason", "r"], more].concat();
            match crate::cli::Cli::try_parse_from(line).unwrap().command {
                crate::cli::Command::Delete(args) => args,
                _ => unreachable!(),
            }
        };
        let asked = |more: &[&str]| request(&target, &args(more)).spec.shutdown;
        assert_eq!((asked(&[]), asked(&["--shutdown", "scale"])), (None, Some(Shutdown::Scale)));
        assert_eq!(asked(&["--shutdown=manual"]), Some(Shutdown::Manual));
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("-5s").is_err() && duration("soon").is_err());
    }
}
