//! What takes an approved change: alice asks with the line of a refusal, and others sign it off.

use foureyes_testbed::{Output, wait_for, with_four_eyes};
use serde_json::{Value, json};

use super::objects::eventually;
use super::who::{Who, denied, me, went};
use super::{PATIENCE, cluster, field, paste};

/// A change that somebody has asked for.
#[derive(Clone, Debug)]
pub struct Change {
    pub namespace: String,
    pub name: String,
}

/// The line of a refusal that asks for a change, and what it would create.
#[track_caller]
pub fn line(text: &str) -> (&str, Value) {
    let asks = |line: &&str| line.starts_with("echo '") && line.contains(r#""kind":"ChangeRequest""#);
    let line = text.lines().map(str::trim).find(asks).unwrap_or_else(|| panic!("no line that asks in:\n{text}"));
    (line, serde_json::from_str(line.split('\'').nth(1).unwrap()).unwrap())
}

/// Somebody asks with the line of a refusal.
#[track_caller]
pub fn asked(person: &str, refusal: &str) -> Change {
    asked_with(person, line(refusal).0)
}

/// The same with the line alone.
#[track_caller]
pub fn asked_with(person: &str, line: &str) -> Change {
    let manifest: Value = serde_json::from_str(line.split('\'').nth(1).unwrap()).unwrap();
    let created = went(&paste(person, line));
    let name = created.split([' ', '/']).nth(1).unwrap().to_owned();
    Change { namespace: manifest["metadata"]["namespace"].as_str().unwrap().to_owned(), name }
}

impl Change {
    #[track_caller]
    pub fn field(&self, path: &str) -> String {
        field(&self.namespace, "changerequest", &self.name, path)
    }

    #[track_caller]
    pub fn is(&self, phase: &str) {
        let mut last = String::new();
        let in_time = wait_for("the phase", PATIENCE, || {
            last = self.field("{.status.phase}");
            Ok((last == phase).then_some(()))
        });
        assert!(in_time.is_ok(), "{} stayed {last}, and never was {phase}", self.name);
    }

    /// A statement about it, once the controller has looked at it.
    pub fn statement(&self, says: &str) -> Value {
        eventually("the request to say what is signed off", || !self.field("{.status.requestDigest}").is_empty());
        let subject = json!({"kind": "ChangeRequest", "namespace": self.namespace, "name": self.name,
                             "uid": self.field("{.metadata.uid}")});
        json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "SignOff",
            "metadata": {"generateName": format!("{}-", self.name)},
            "spec": {"subject": subject, "says": says, "digest": self.field("{.status.requestDigest}")},
        })
    }

    #[track_caller]
    pub fn signed_off(&self, approvers: &[Who]) {
        for approver in approvers {
            approver.creates(&self.statement("Approve"));
        }
        self.is("Approved");
    }
}

/// Refused to everybody alone, and let go once it was asked for and signed off; the change that opened it.
#[track_caller]
pub fn opened_by(approvers: &[Who], code: &str, mut run: impl FnMut() -> Output) -> Change {
    let refusal = denied(code, &run());
    let change = asked("alice", &refusal);
    change.signed_off(approvers);
    // The webhooks may learn of it a moment later.
    let mut last = String::new();
    let went = wait_for("it to be let go", PATIENCE, || {
        let output = run();
        last = output.text();
        Ok(output.ok().then_some(()))
    });
    assert!(went.is_ok(), "refused in spite of {}:\n{last}", change.name);
    change
}

/// The same with bob.
#[track_caller]
pub fn opened(code: &str, run: impl FnMut() -> Output) -> Change {
    opened_by(&[me("bob")], code, run)
}

impl Who {
    /// Must succeed, by changes where it takes them; what was printed.
    #[track_caller]
    pub fn does_with_four_eyes(&self, args: &[&str]) -> String {
        went(&with_four_eyes(cluster(), &args.join(" "), || Ok(self.kubectl(args))).unwrap())
    }

    /// The same for what is created.
    #[track_caller]
    pub fn creates_with_four_eyes(&self, object: &Value) -> Value {
        let created = with_four_eyes(cluster(), "the creation", || Ok(self.create(object, &[]))).unwrap();
        serde_json::from_str(&went(&created)).unwrap()
    }
}
