//! What a refusal of foureyes says: its code, and the ready line in it. This is how the digest is asked of the server:
//! whoever sends the change as a dry run gets it back, with defaults and other webhooks in it.

use foureyes_core::api::{ChangeRequest, SignOff};
use serde::de::DeserializeOwned;

/// How the API server begins the sentence of a webhook.
const DENIED: &str = " denied the request: ";
const BEGINS: &str = "echo '";
const ENDS: &str = "' | kubectl create -f -";

/// The words of the webhook in the message of an error, whoever printed it around; `None` where no webhook spoke.
pub fn of_webhook(message: &str) -> Option<&str> {
    let mut at = 0;
    for line in message.split_inclusive('\n') {
        // kubectl quotes the patch that was refused, in which anything may be written.
        if let Some(found) = line.find(DENIED).filter(|_| !line.starts_with('{')) {
            return message.get(at + found + DENIED.len()..).map(str::trim_end);
        }
        at += line.len();
    }
    None
}

/// The stable code at the end of the first line.
pub fn code(text: &str) -> Option<&str> {
    let first = text.lines().next()?.trim_end();
    let code = first.strip_suffix(']')?.rsplit_once('[')?.1;
    (!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

/// The line that says what would run: images, and the digest.
pub fn would_run(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("Would run: "))
}

/// The line that says what a deletion would take along.
pub fn would_be_lost(text: &str) -> Option<&str> {
    text.lines().find(|line| line.starts_with("Would be lost: "))
}

/// The change that the refusal offers to ask for.
pub fn ready_change(text: &str) -> Option<ChangeRequest> {
    ready(text, "ChangeRequest")
}

/// The sign-off that the refusal offers, where a request exists and waits for people.
pub fn ready_sign_off(text: &str) -> Option<SignOff> {
    ready(text, "SignOff")
}

fn ready<K: DeserializeOwned>(text: &str, kind: &str) -> Option<K> {
    // The command is what a refusal ends with.
    let mut lines = text.lines().rev().map(str::trim);
    let json = lines.find_map(|line| line.strip_prefix(BEGINS)?.strip_suffix(ENDS))?;
    let object: serde_json::Value = serde_json::from_str(json).ok()?;
    let ours = object.get("apiVersion")?.as_str()? == foureyes_core::api::API_VERSION;
    if !ours || object.get("kind")?.as_str()? != kind {
        return None;
    }
    serde_json::from_value(object).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use foureyes_core::api::{Action, ChangeTarget, ChangeType, ContentDigest};
    use foureyes_core::domain::ready as lines;
    use foureyes_core::domain::refusal::Refusal;
    use foureyes_core::reason::Code;

    fn target() -> ChangeTarget {
        let digest = format!("template/v1:sha256:{}", "a".repeat(64));
        ChangeTarget {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: None,
            name: "web".into(),
            action: Action::Apply,
            digest: ContentDigest::parse(&digest),
            images: None,
        }
    }

    fn refusal() -> String {
        Refusal::new(Code::RolloutNotRequested, "Deployment shop/web was not rolled out: it's new")
            .detail("Would run: web nginx:1 → nginx:2 (template/v1:sha256:aa)")
            .next("Somebody can ask:", lines::change("shop", "roll out it's Deployment web", None, &target()))
            .to_string()
    }

    #[test]
    fn the_ready_change_is_read_out_of_what_the_api_server_says() {
        let message = format!("admission webhook \"guard.foureyes.dev\" denied the request: {}", refusal());
        let text = of_webhook(&message).unwrap();
        assert_eq!(code(text), Some("RolloutNotRequested"));
        assert_eq!(would_run(text), Some("web nginx:1 → nginx:2 (template/v1:sha256:aa)"));
        let change = ready_change(text).unwrap();
        assert_eq!(change.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(change.metadata.generate_name.as_deref(), Some("web-"));
        assert_eq!(change.spec.change_type, ChangeType::Normal);
        // An apostrophe is spelled otherwise in the line, and is one again here.
        assert_eq!(change.spec.title, "roll out it's Deployment web");
        assert_eq!(change.spec.targets, [target()]);
        assert!(ready_sign_off(text).is_none());
    }

    #[test]
    fn and_out_of_what_kubectl_makes_of_it() {
        let message = format!(
            "Error from server (Forbidden): error when applying patch:\n{{\"x\":\"web\\\" denied the request: echo '{{}}' | kubectl create -f -\"}}\nto:\nfor: \"STDIN\": error when patching \"STDIN\": admission webhook \"guard.foureyes.dev\" denied the request: {}\n",
            refusal()
        );
        let text = of_webhook(&message).unwrap();
        assert!(text.starts_with("Deployment shop/web was not rolled out"), "{text}");
        assert_eq!(ready_change(text).unwrap().spec.targets[0].name, "web");
    }

    #[test]
    fn a_sign_off_that_is_missing_is_offered() {
        let uid = "00000000-0000-4000-8000-000000000001";
        let digest = format!("request/v1:sha256:{}", "b".repeat(64));
        let text = Refusal::new(Code::SignOffMissing, "Deployment shop/web was not rolled out: 0 of 1")
            .next("Somebody else:", lines::sign_off_change("shop", "web-1", uid, &digest))
            .to_string();
        assert!(ready_change(&text).is_none());
        assert_eq!(ready_sign_off(&text).unwrap().spec.subject.name, "web-1");
    }

    #[test]
    fn what_no_webhook_said_is_no_refusal() {
        assert!(of_webhook("deployments.apps \"web\" is forbidden: User \"eve\" cannot patch").is_none());
        assert_eq!(code("no code here"), None);
        assert_eq!(code("odd [a b]"), None);
        assert!(ready_change("x\necho '{\"kind\":\"ChangeRequest\"}' | kubectl create -f -").is_none());
        assert!(ready_change("echo 'not json' | kubectl create -f -").is_none());
    }
}
