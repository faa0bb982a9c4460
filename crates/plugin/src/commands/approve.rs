//! `approve`: shows what a request is about, and signs exactly that off.

use clap::Args;
use foureyes_core::api::Says;
use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::commands::say::{Words, in_place, signed, still_open};
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::request::{Kind, Reference, Request, find};
use crate::view;
use crate::waiting::is_own;

const EXAMPLES: &str = "\
Examples:
  # Look, answer y, done
  kubectl foureyes approve -n shop web-5d0c61a2f3 --verified \"ran in staging since Monday\"

  # In a script, which has looked itself
  kubectl foureyes approve -n shop chg/web-5d0c61a2f3 --digest request/v1:sha256:… --yes

A change is shown as the difference between what runs and what would run, where that can be
established; a deletion by everything that would be lost. What you sign is the digest of what
was shown: it is made here, compared with the one that the request's status states, and once
more after your answer. Needs the right to approve there (role foureyes-approver), and that
somebody else asked.";

/// `kubectl foureyes approve`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Approve {
    /// The request: NAME, chg/NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
    /// What you have checked, in words
    #[arg(long, value_name = "TEXT")]
    pub verified: Option<String>,
    /// Anything else
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Sign only if this is the digest
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

pub async fn run(cluster: &Cluster, format: Format, args: &Approve) -> Result<u8> {
    let request = find(cluster, &args.request).await?;
    still_open(&request)?;
    let me = cluster.me().await?;
    if is_own(&request, &me) {
        return Err(Error::Refused(format!(
            "{} is your own request: a second person signs it off, with `kubectl foureyes approve{} {}`",
            request.label(),
            in_place(&request),
            request.label()
        )));
    }
    let digest = request.digest()?;
    if let Some(wanted) = args.digest.as_ref().filter(|wanted| **wanted != digest) {
        return Err(Error::Refused(format!(
            "{} was not signed off: its digest is {digest}, not {}; look at it again",
            request.label(),
            output::plain(wanted)
        )));
    }
    let colours = format == Format::Table && output::colours();
    let shown = shown(cluster, &request, &digest, colours).await;
    if format == Format::Table {
        output::print(&shown)?;
    } else {
        output::say(&shown);
    }
    if !args.yes && !output::confirmed(&format!("Approve {} as {}?", request.label(), output::plain(&me.username)))? {
        return Err(Error::Refused(format!("{} was not signed off: you did not say yes", request.label())));
    }
    let again = find(cluster, &exactly(&request)).await?;
    unchanged(&request, &again, &digest)?;
    let words = Words {
        says: Says::Approve,
        digest: Some(digest),
        verified: args.verified.clone(),
        comment: args.comment.clone(),
    };
    signed(cluster, format, &again, words).await
}

async fn shown(cluster: &Cluster, request: &Request, digest: &str, colours: bool) -> String {
    let mut text = view::header(request, Some(digest), Timestamp::now());
    text.push('\n');
    match request {
        Request::Change(change) => {
            let floor = cluster.floor().await;
            text.push_str(&view::targets(cluster, change, &floor, colours).await);
        }
        Request::Deletion(deletion) => text.push_str(&view::inventory(deletion)),
    }
    text.push('\n');
    text
}

/// The same request again, by its kind.
fn exactly(request: &Request) -> Reference {
    let kind = match request {
        Request::Change(_) => Kind::Change,
        Request::Deletion(_) => Kind::Deletion,
    };
    Reference { kind: Some(kind), name: request.name().to_owned() }
}

/// What was shown is what is there now.
fn unchanged(shown: &Request, now: &Request, digest: &str) -> Result<()> {
    still_open(now)?;
    if shown.uid() == now.uid() && now.digest()? == digest {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{} was not signed off: it has changed since it was shown; repeat the command and look again",
        shown.label()
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::{boxed, change};
    use foureyes_core::domain::statement::request_digest;
    use serde_json::json;

    #[test]
    fn only_what_was_shown_is_signed() {
        let digest = request_digest(&change(&json!({})).spec).unwrap();
        let stated = |extra: serde_json::Value| {
            let mut object = json!({"status": {"phase": "Pending", "requestDigest": digest}});
            json_patch::merge(&mut object, &extra);
            boxed(change(&object))
        };
        let shown = stated(json!({}));
        assert!(unchanged(&shown, &stated(json!({})), &digest).is_ok());
        for other in [
            json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000009"}}),
            json!({"spec": {"title": "something else"}}),
            json!({"status": {"requestDigest": format!("request/v1:sha256:{}", "0".repeat(64))}}),
            json!({"status": {"phase": "Cancelled"}}),
        ] {
            let error = unchanged(&shown, &stated(other), &digest).unwrap_err();
            assert_eq!(error.exit_code(), 1, "{error}");
        }
    }
}
