//! `reject`, `hold` and `cancel`: one word about a request, which stops it. `supervise`: one that closes it.

use clap::Args;
use foureyes_core::api::{Says, SignOff, SignOffSpec};
use kube::Api;
use kube::core::ObjectMeta;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::request::{Reference, Request, find};
use foureyes_core::domain::request::Stage;

const REJECT: &str = "\
Examples:
  kubectl foureyes reject -n shop web-5d0c61a2f3 --comment \"version 2 loses sessions\"

A rejection stays, and ends the request. Whoever asked asks again with another one. To ask something first, use hold.
Needs the right to approve there (role foureyes-approver).";
const HOLD: &str = "\
Examples:
  kubectl foureyes hold -n shop web-5d0c61a2f3 --comment \"Is the migration done?\"
  kubectl foureyes withdraw -n shop web-5d0c61a2f3 --only hold

While a hold stands, nothing happens on the strength of the request, however many have approved it. Only its author can
take it back.";
const CANCEL: &str = "\
Examples:
  kubectl foureyes cancel -n shop web-5d0c61a2f3

Only whoever asked for it can cancel it. Others say reject or hold.";

const SUPERVISE: &str = "\
Examples:
  kubectl foureyes describe del/ns-old-shop-031e0555bb
  kubectl foureyes supervise del/ns-old-shop-031e0555bb --verified \"both volumes are Released, the shop answers\"

After a deletion somebody else than its requester compares what went with what was approved, and says so;
by default the person who approved it. That closes the request. Where more went than was approved, it takes two. Needs the
right to supervise there (role foureyes-approver); once its namespace is gone, having approved it will do.";

/// `kubectl foureyes reject`
#[derive(Args, Clone, Debug)]
#[command(after_help = REJECT)]
pub struct Reject {
    /// The request: NAME, chg/NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
    /// Why, for whoever asked
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

/// `kubectl foureyes hold`
#[derive(Args, Clone, Debug)]
#[command(after_help = HOLD)]
pub struct Hold {
    /// The request: NAME, chg/NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
    /// The question
    #[arg(long, value_name = "TEXT")]
    pub comment: String,
}

/// `kubectl foureyes cancel`
#[derive(Args, Clone, Debug)]
#[command(after_help = CANCEL)]
pub struct Cancel {
    /// The request: NAME, chg/NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

/// `kubectl foureyes supervise`
#[derive(Args, Clone, Debug)]
#[command(after_help = SUPERVISE)]
pub struct Supervise {
    /// The request: NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
    /// What you have checked after the deletion
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub verified: String,
    /// What else there is to say
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

pub async fn reject(cluster: &Cluster, format: Format, args: Reject) -> Result<u8> {
    say(cluster, format, &args.request, Says::Reject, args.comment).await
}

pub async fn hold(cluster: &Cluster, format: Format, args: Hold) -> Result<u8> {
    say(cluster, format, &args.request, Says::Hold, Some(args.comment)).await
}

pub async fn cancel(cluster: &Cluster, format: Format, args: Cancel) -> Result<u8> {
    say(cluster, format, &args.request, Says::Cancel, args.comment).await
}

pub async fn supervise(cluster: &Cluster, format: Format, args: Supervise) -> Result<u8> {
    let request = find(cluster, &args.request).await?;
    if request.stage() != Stage::Done {
        return Err(Error::Refused(format!(
            "{} is {}: only a deletion that was executed is supervised, once; see `{}`",
            request.label(),
            request.phase(),
            describe(&request)
        )));
    }
    let words = Words { says: Says::Supervised, digest: None, verified: Some(args.verified), comment: args.comment };
    signed(cluster, format, &request, words).await
}

async fn say(
    cluster: &Cluster,
    format: Format,
    reference: &Reference,
    says: Says,
    comment: Option<String>,
) -> Result<u8> {
    let request = find(cluster, reference).await?;
    still_open(&request)?;
    let words = Words { says, digest: None, verified: None, comment };
    signed(cluster, format, &request, words).await
}

/// Nothing can be said about what has ended.
pub fn still_open(request: &Request) -> Result<()> {
    match request.stage() {
        Stage::Open => Ok(()),
        Stage::InUse | Stage::Done | Stage::Ended { .. } => Err(Error::Refused(format!(
            "{} is {}: nothing more can be said about it; see `{}`",
            request.label(),
            request.phase(),
            describe(request)
        ))),
    }
}

/// The command that shows a request.
pub fn describe(request: &Request) -> String {
    format!("kubectl foureyes describe{} {}", in_place(request), request.label())
}

/// ` -n shop` for a change, nothing for a deletion.
pub fn in_place(request: &Request) -> String {
    match request {
        Request::Change(_) => format!(" -n {}", request.place()),
        Request::Deletion(_) => String::new(),
    }
}

/// What somebody says.
pub struct Words {
    pub says: Says,
    pub digest: Option<String>,
    pub verified: Option<String>,
    pub comment: Option<String>,
}

/// Writes it down, and says so.
pub async fn signed(cluster: &Cluster, format: Format, request: &Request, words: Words) -> Result<u8> {
    let sign_off = sign_off(request, words)?;
    let says = sign_off.spec.says;
    let api: Api<SignOff> = Api::all(cluster.client.clone());
    let what = format!("{} could not be signed off", request.label());
    let written = cluster.create(&api, &what, &sign_off, false).await?;
    let done = match says {
        Says::Approve => "approved",
        Says::Reject => "rejected",
        Says::Hold => "on hold",
        Says::Cancel => "cancelled",
        Says::CustomerAgreed => "the customer agreed",
        Says::Release => "let go",
        Says::LegalHold => "under a legal hold",
        Says::ReleaseHold => "let the legal hold end",
        Says::Supervised => "supervised",
    };
    let name = format!("signoff.foureyes.dev/{}", written.metadata.name.as_deref().unwrap_or_default());
    output::print_object(format, &written, &name, &format!("created: {} {done}", request.label()))?;
    Ok(0)
}

fn sign_off(request: &Request, words: Words) -> Result<SignOff> {
    let name = request.name();
    let prefix = name.get(..200).unwrap_or(name).trim_end_matches(['.', '-']);
    let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
    let spec = SignOffSpec {
        subject: request.subject()?,
        says: words.says,
        digest: words.digest,
        verified: words.verified,
        comment: words.comment,
        reference: None,
        author: None,
        at: None,
        seal: None,
    };
    Ok(SignOff { metadata, spec })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::{boxed, change, deletion};
    use serde_json::json;

    #[test]
    fn a_word_is_about_one_request_by_its_uid() {
        let request = boxed(change(&json!({})));
        let words = Words { says: Says::Hold, digest: None, verified: None, comment: Some("why?".into()) };
        let written = serde_json::to_value(sign_off(&request, words).unwrap()).unwrap();
        let expected = json!({"apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff",
            "metadata": {"generateName": "web-1-"},
            "spec": {"says": "Hold", "comment": "why?", "subject": {"kind": "ChangeRequest", "namespace": "shop",
                "name": "web-1", "uid": "00000000-0000-4000-8000-000000000001"}}});
        assert_eq!(written, expected);
    }

    #[test]
    fn nothing_is_said_about_what_has_ended() {
        let ended = boxed(change(&json!({"status": {"phase": "Rejected"}})));
        let error = still_open(&ended).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("kubectl foureyes describe -n shop chg/web-1"));
        let going = Request::Deletion(Box::new(deletion(&json!({"status": {"phase": "Executing"}}))));
        assert!(still_open(&going).is_err());
        assert!(still_open(&boxed(change(&json!({})))).is_ok());
    }
}
