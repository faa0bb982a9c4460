//! Who does something: one of the people with their own kubeconfig, or somebody whom the admin impersonates.

use std::sync::Once;

use foureyes_testbed::Output;
use serde_json::Value;

use super::cluster;

#[derive(Clone, Debug)]
pub struct Who {
    kubeconfig: &'static str,
    flags: Vec<String>,
}

/// One of the people, under their own certificate or token.
pub fn me(person: &'static str) -> Who {
    Who { kubeconfig: person, flags: Vec::new() }
}

/// Anybody, in these groups and no other (but `system:authenticated`).
pub fn acting(name: &str, groups: &[&str]) -> Who {
    let groups = groups.iter().map(|group| format!("--as-group={group}"));
    Who { kubeconfig: "admin", flags: std::iter::once(format!("--as={name}")).chain(groups).collect() }
}

/// A ServiceAccount, by its name alone.
pub fn account(namespace: &str, name: &str) -> Who {
    acting(&format!("system:serviceaccount:{namespace}:{name}"), &[])
}

/// Somebody of the break-glass group, with the rights that it ships with.
pub fn responder() -> Who {
    acting("dave", &["foureyes:breakglass"])
}

/// A person of the storage team, who may change and delete claims everywhere: where a namespace is going, the bindings
/// of everybody else go with it.
pub fn storekeeper() -> Who {
    everywhere();
    acting("paula", &[])
}

/// The machine of the storage team, with the same rights.
pub fn storage_operator() -> Who {
    everywhere();
    account("storage", "operator")
}

fn everywhere() {
    static BOUND: Once = Once::new();
    BOUND.call_once(|| {
        let rights = ["--verb=get,list,patch,update,delete", "--resource=persistentvolumeclaims"];
        me("admin").does(&[&["create", "clusterrole", "storage"], &rights[..]].concat());
        let who = ["--clusterrole=storage", "--user=paula", "--serviceaccount=storage:operator"];
        me("admin").does(&[&["create", "clusterrolebinding", "storage"], &who[..]].concat());
    });
}

impl Who {
    /// The same with another fact that an authenticator would give.
    pub fn extra(mut self, key: &str, value: &str) -> Self {
        self.flags.push(format!("--as-user-extra={key}={value}"));
        self
    }

    /// Runs kubectl, whatever comes of it.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_with(args, None)
    }

    /// The same with an object on its standard input.
    pub fn kubectl_with(&self, args: &[&str], object: Option<&Value>) -> Output {
        let args: Vec<&str> = args.iter().copied().chain(self.flags.iter().map(String::as_str)).collect();
        let text = object.map(Value::to_string);
        cluster().kubectl_with(self.kubeconfig, &args, text.as_deref()).unwrap()
    }

    /// Creates an object, whatever comes of it.
    pub fn create(&self, object: &Value, flags: &[&str]) -> Output {
        self.kubectl_with(&[&["create", "-f", "-", "-o=json"], flags].concat(), Some(object))
    }

    /// Must succeed; what was printed.
    #[track_caller]
    pub fn does(&self, args: &[&str]) -> String {
        went(&self.kubectl(args))
    }

    /// Must succeed; what was created.
    #[track_caller]
    pub fn creates(&self, object: &Value) -> Value {
        serde_json::from_str(&went(&self.create(object, &[]))).unwrap()
    }

    /// Must be refused with this reason code; all that was said.
    #[track_caller]
    pub fn cannot(&self, code: &str, args: &[&str]) -> String {
        denied(code, &self.kubectl(args))
    }

    /// Must be refused with this reason code; all that was said.
    #[track_caller]
    pub fn cannot_create(&self, code: &str, object: &Value) -> String {
        denied(code, &self.create(object, &[]))
    }
}

/// What a command printed that must have succeeded.
#[track_caller]
pub fn went(output: &Output) -> String {
    assert!(output.ok(), "refused:\n{}", output.text());
    output.stdout.clone()
}

/// What a command said that must have been refused by foureyes with this reason code.
#[track_caller]
pub fn denied(code: &str, output: &Output) -> String {
    let text = output.text();
    assert!(!output.ok(), "not refused with {code}:\n{text}");
    assert!(text.contains(&format!("[{code}]")), "refused, but without the code {code}:\n{text}");
    text
}

/// What a command said that must have been refused by somebody else, in these words.
#[track_caller]
pub fn denied_in_words(words: &str, output: &Output) -> String {
    let text = output.text();
    assert!(!output.ok(), "not refused with {words:?}:\n{text}");
    assert!(text.contains(words), "refused, but without {words:?}:\n{text}");
    text
}
