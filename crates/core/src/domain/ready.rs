//! Commands that work when pasted, with nothing but kubectl. Most of what is put into them has been validated by the
//! API server; what somebody merely wrote into a request or a sign-off has not, so every word is quoted that needs it.

use std::borrow::Cow;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::api::{API_VERSION, APPROVED_BY, BREAK_GLASS_GROUP, ChangeTarget, Target};
use crate::digest::hex;

/// Approves the deletion of an object that a person can patch.
pub fn annotate(target: &Target, short_digest: &str) -> String {
    format!("{} --overwrite {APPROVED_BY}=me@{short_digest}", annotating(target))
}

/// Takes such an approval away.
pub fn unannotate(target: &Target) -> String {
    format!("{} {APPROVED_BY}-", annotating(target))
}

fn annotating(target: &Target) -> String {
    match &target.namespace {
        Some(namespace) => {
            format!("kubectl -n {} annotate {} {}", word(namespace), target.kind.word(), word(&target.name))
        }
        None => format!("kubectl annotate {} {}", target.kind.word(), word(&target.name)),
    }
}

/// What the name of a request about a target begins with.
pub fn request_prefix(target: &Target) -> String {
    format!("{}-{}-", target.kind.prefix(), truncated(&target.name))
}

/// Opens a request.
pub fn request(target: &Target) -> String {
    if !target.kind.is_in_use() {
        return request_excepting(target);
    }
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "DeletionRequest",
        "metadata": {"generateName": request_prefix(target)},
        "spec": {"target": target, "reason": "requested after a refused deletion"},
    });
    create(&object)
}

/// Opens a request for what nothing can keep, too.
pub fn request_excepting(target: &Target) -> String {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "DeletionRequest",
        "metadata": {"generateName": request_prefix(target)},
        "spec": {"target": target, "reason": "requested after a refused deletion", "retention": {"exception": true}},
    });
    create(&object)
}

/// Says that a customer agreed; the shell asks who did.
pub fn agree(request: &str, uid: &str, subject_digest: &str) -> String {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "SignOff",
        "metadata": {"generateName": format!("{}-", truncated(request))},
        "spec": {
            "subject": {"kind": "DeletionRequest", "name": request, "uid": uid},
            "says": "CustomerAgreed",
            "digest": subject_digest,
            "reference": "$AGREED",
        },
    });
    let line = create(&object).replace("$AGREED", r#"'"$AGREED"'"#);
    format!("printf 'Who agreed, and where is that recorded? '; read -r AGREED; {line}")
}

/// Signs a request off.
pub fn sign_off(request: &str, uid: &str, subject_digest: &str) -> String {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "SignOff",
        "metadata": {"generateName": format!("{}-", truncated(request))},
        "spec": {
            "subject": {"kind": "DeletionRequest", "name": request, "uid": uid},
            "says": "Approve",
            "digest": subject_digest,
        },
    });
    create(&object)
}

/// Signs a change off.
pub fn sign_off_change(namespace: &str, change: &str, uid: &str, request_digest: &str) -> String {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "SignOff",
        "metadata": {"generateName": format!("{}-", truncated(change))},
        "spec": {
            "subject": {"kind": "ChangeRequest", "namespace": namespace, "name": change, "uid": uid},
            "says": "Approve",
            "digest": request_digest,
        },
    });
    create(&object)
}

/// Lets go of what a retention keeps.
pub fn release_retention(retention: &str, uid: &str, digest: &str) -> String {
    about_retention(retention, uid, "Release", Some(digest))
}

/// Says that a legal hold may end.
pub fn release_hold(retention: &str, uid: &str) -> String {
    about_retention(retention, uid, "ReleaseHold", None)
}

/// Says something about a retention.
pub fn about_retention(retention: &str, uid: &str, says: &str, digest: Option<&str>) -> String {
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": "SignOff",
        "metadata": {"generateName": format!("{}-", truncated(retention))},
        "spec": {
            "subject": {"kind": "BackupRetention", "name": retention, "uid": uid},
            "says": says,
        },
    });
    if let Some(digest) = digest {
        object["spec"]["digest"] = digest.into();
    }
    create(&object)
}

/// Holds a volume that no retention holds.
pub fn retain(volume: &str, uid: &str, handle: Option<&str>) -> String {
    let mut keeper = json!({"kind": "PersistentVolume", "name": volume, "uid": uid});
    if let Some(handle) = handle {
        keeper["handle"] = handle.into();
    }
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "BackupRetention",
        "metadata": {"generateName": format!("pv-{}-", truncated(volume))},
        "spec": {
            "keepers": [keeper],
            "retainDays": 1,
            "mode": "Governance",
            "afterwards": "Keep",
            "reason": "held after a refused deletion",
        },
    });
    create(&object)
}

/// Shows a retention.
pub fn show_retention(retention: &str) -> String {
    format!("kubectl get backupretention {} -o yaml", word(retention))
}

/// Deletes a volume.
pub fn delete_volume(volume: &str) -> String {
    format!("kubectl delete pv {}", word(volume))
}

/// Shows a volume.
pub fn show_volume(volume: &str) -> String {
    format!("kubectl get pv {} -o yaml", word(volume))
}

/// Keeps the data of a volume when its claim goes.
pub fn put_on_retain(volume: &str) -> String {
    format!("kubectl patch pv {} -p '{{\"spec\":{{\"persistentVolumeReclaimPolicy\":\"Retain\"}}}}'", word(volume))
}

/// Opens a change of one target in a namespace. Whoever signs it off reads the description beside the digest.
pub fn change(namespace: &str, title: &str, description: Option<&str>, target: &ChangeTarget) -> String {
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": "ChangeRequest",
        "metadata": {"generateName": format!("{}-", truncated(&target.name)), "namespace": namespace},
        "spec": {"type": "Normal", "title": title, "targets": [target]},
    });
    if let Some(description) = description {
        object["spec"]["description"] = description.into();
    }
    create(&object)
}

/// Opens the change that lets webhook configurations of ours go; kind and name of each.
pub fn release(namespace: &str, configurations: &[(&str, &str)]) -> String {
    create(&release_change(namespace, configurations))
}

/// The change itself.
pub fn release_change(namespace: &str, configurations: &[(&str, &str)]) -> serde_json::Value {
    let target = |(kind, name): &(&str, &str)| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "name": name, "action": "Remove"});
    json!({
        "apiVersion": API_VERSION,
        "kind": "ChangeRequest",
        "metadata": {"generateName": "release-", "namespace": namespace},
        "spec": {
            "type": "Normal",
            "title": "let the webhook configurations of foureyes go",
            "targets": configurations.iter().map(target).collect::<Vec<_>>(),
        },
    })
}

/// Shows a change.
pub fn show_change(namespace: &str, change: &str) -> String {
    format!("kubectl -n {} get changerequest {} -o yaml", word(namespace), word(change))
}

/// Deletes the target.
pub fn delete(target: &Target) -> String {
    match &target.namespace {
        Some(namespace) => {
            format!("kubectl -n {} delete {} {}", word(namespace), target.kind.word(), word(&target.name))
        }
        None => format!("kubectl delete {} {}", target.kind.word(), word(&target.name)),
    }
}

/// The end of a command by which a member of the break-glass group acts as such, under their own name.
pub fn break_glass() -> String {
    format!(
        "--as=\"$(kubectl auth whoami -o jsonpath='{{.status.userInfo.username}}')\" --as-group={BREAK_GLASS_GROUP}"
    )
}

/// Shows a request.
pub fn show(request: &str) -> String {
    format!("kubectl get deletionrequest {} -o yaml", word(request))
}

/// Shows the requests about a target, by its UID, each with the line that signs it off.
pub fn requests(target_uid: &str) -> String {
    format!(
        "kubectl get deletionrequests --field-selector spec.target.uid={} -o custom-columns=NAME:.metadata.name,PHASE:.status.phase,SIGN-OFF:.status.signOffCommand",
        word(target_uid)
    )
}

/// Shows what was said about a request, by its UID.
pub fn statements(uid: &str) -> String {
    format!(
        "kubectl get signoffs --field-selector spec.subject.uid={} -o custom-columns=NAME:.metadata.name,AUTHOR:.spec.author.username,SAYS:.spec.says,COMMENT:.spec.comment",
        word(uid)
    )
}

/// Withdraws a sign-off.
pub fn withdraw(sign_off: &str) -> String {
    format!("kubectl delete signoff {}", word(sign_off))
}

/// Shows the UID of a target.
pub fn see_uid(target: &Target) -> String {
    let object = match &target.namespace {
        Some(namespace) => {
            format!("-n {} get {} {}", word(namespace), target.kind.word(), word(&target.name))
        }
        None => format!("get {} {}", target.kind.word(), word(&target.name)),
    };
    format!("kubectl {object} -o jsonpath='{{.metadata.uid}}'")
}

/// Gives somebody one of our roles in a namespace, or (the empty one) in the whole cluster, by a binding of their own: the role's name may be taken.
pub fn bind(namespace: &str, role: &str, username: &str) -> String {
    if namespace.is_empty() {
        return bind_everywhere(role, username);
    }
    format!(
        "kubectl -n {} create rolebinding {} --clusterrole={role} --user={}",
        word(namespace),
        binding(role, username),
        word(username)
    )
}

/// The name of somebody's binding to a role.
fn binding(role: &str, username: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if username.len() <= 40 && !username.is_empty() && username.bytes().all(plain) {
        format!("{role}-{username}")
    } else {
        format!("{role}-{}", hex(&Sha256::digest(username)[..6]))
    }
}

/// Gives somebody one of our roles everywhere.
pub fn bind_everywhere(role: &str, username: &str) -> String {
    format!(
        "kubectl create clusterrolebinding {} --clusterrole={role} --user={}",
        binding(role, username),
        word(username)
    )
}

/// One word for a shell, whatever is in it.
pub fn word(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@=,".contains(&byte);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    // A line of its own could pass for another command, even inside quotes; and no name begins with a dash, an option
    // does.
    let one_line = text.trim_start_matches('-').replace(char::is_control, " ");
    Cow::Owned(format!("'{}'", one_line.replace('\'', r"'\''")))
}

fn create(object: &serde_json::Value) -> String {
    // An apostrophe would end the shell's quotes; JSON has another spelling for it.
    let object = object.to_string().replace('\'', r"\u0027");
    format!("echo '{object}' | kubectl create -f -")
}

/// Leaves room for a suffix within the 253 characters of a name.
fn truncated(name: &str) -> &str {
    name.get(..200).unwrap_or(name).trim_end_matches(['.', '-'])
}
