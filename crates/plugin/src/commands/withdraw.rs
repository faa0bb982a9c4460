//! `withdraw`: takes back what one said oneself.

use clap::{Args, ValueEnum};
use foureyes_core::api::{Author, Says, SignOff};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use crate::cluster::{Cluster, call};
use crate::commands::say::describe;
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::request::{Reference, Request, find};

const EXAMPLES: &str = "\
Examples:
  # My question is answered
  kubectl foureyes withdraw -n shop web-5d0c61a2f3 --only hold

  # I no longer stand by any of it
  kubectl foureyes withdraw -n shop web-5d0c61a2f3

Deletes your own sign-offs about the request, and nobody else's. What has ended the request
stays as the reason why.";

/// `kubectl foureyes withdraw`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Withdraw {
    /// The request: NAME, chg/NAME or del/NAME
    #[arg(value_name = "NAME")]
    pub request: Reference,
    /// Only sign-offs that say this
    #[arg(long, value_enum, value_name = "WORD")]
    pub only: Option<Word>,
}

/// What a sign-off can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Word {
    Approve,
    Reject,
    Hold,
    Cancel,
}

impl Word {
    const fn says(self) -> Says {
        match self {
            Self::Approve => Says::Approve,
            Self::Reject => Says::Reject,
            Self::Hold => Says::Hold,
            Self::Cancel => Says::Cancel,
        }
    }
}

pub async fn run(cluster: &Cluster, format: Format, args: &Withdraw) -> Result<u8> {
    let request = find(cluster, &args.request).await?;
    let me = cluster.me().await?;
    let said = cluster.sign_offs(request.uid()).await?;
    let own: Vec<&SignOff> = said.iter().filter(|sign_off| is_own(sign_off, &me, args.only)).collect();
    if own.is_empty() {
        return Err(nothing(&request, &me));
    }
    let api: Api<SignOff> = Api::all(cluster.client.clone());
    for sign_off in own {
        let name = sign_off.metadata.name.as_deref().unwrap_or_default();
        let preconditions = Preconditions { uid: sign_off.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        call(&format!("sign-off {name} could not be withdrawn"), api.delete(name, &params)).await?;
        let done = format!("withdrawn: {} on {}", sign_off.spec.says.as_str(), request.label());
        output::print_object(format, sign_off, &format!("signoff.foureyes.dev/{name}"), &done)?;
    }
    Ok(0)
}

/// Only the very same account takes something back.
fn is_own(sign_off: &SignOff, me: &Author, only: Option<Word>) -> bool {
    let same = |author: &Author| author.username == me.username && author.uid == me.uid;
    sign_off.spec.author.as_ref().is_some_and(same) && only.is_none_or(|only| only.says() == sign_off.spec.says)
}

fn nothing(request: &Request, me: &Author) -> Error {
    let entries = request.sign_offs().map(|summary| summary.entries.as_slice()).unwrap_or_default();
    let annotated = entries.iter().any(|entry| entry.name == "annotation" && entry.author == me.username);
    let label = request.label();
    if let (true, Request::Deletion(deletion)) = (annotated, request) {
        let target = &deletion.spec.target;
        let object = target.namespace.as_ref().map_or_else(
            || format!("namespace {}", target.name),
            |namespace| format!("pvc {} -n {namespace}", target.name),
        );
        return Error::Refused(format!(
            "you approved {label} by annotation; take it back with `kubectl annotate {object} foureyes.dev/approved-by-`"
        ));
    }
    Error::Refused(format!("you have said nothing like that about {label}: see `{}`", describe(request)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn only_ones_own_words_are_taken_back() {
        let said = |author: &str, uid: Option<&str>, says: &str| -> SignOff {
            serde_json::from_value(json!({"metadata": {}, "spec": {"says": says,
                "subject": {"kind": "DeletionRequest", "name": "x", "uid": "u"},
                "author": {"username": author, "uid": uid}}}))
            .unwrap()
        };
        let bob = Author { username: "bob".into(), ..Author::default() };
        assert!(is_own(&said("bob", None, "Hold"), &bob, None));
        assert!(is_own(&said("bob", None, "Hold"), &bob, Some(Word::Hold)));
        assert!(!is_own(&said("bob", None, "Approve"), &bob, Some(Word::Hold)));
        assert!(!is_own(&said("Bob", None, "Hold"), &bob, None));
        assert!(!is_own(&said("bob", Some("another"), "Hold"), &bob, None));
    }
}
