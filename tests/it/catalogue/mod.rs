//! Every way to destroy: kinds whose objects keep data or decide about it, with the definitions that their projects ship,
//! each with what is refused and what goes on.

mod k8up;
mod owners;
mod snapshots;
mod velero;

use serde_json::{Value, json};

use crate::support::objects::eventually;
use crate::support::requests::{Asked, asked, request};
use crate::support::{Who, acting, cluster, me};

/// A kind, as kubectl takes it.
#[derive(Clone, Copy)]
struct Of {
    api_version: &'static str,
    kind: &'static str,
    word: &'static str,
}

impl Of {
    fn object(self, namespace: &str, name: &str, spec: &Value) -> Value {
        let mut metadata = json!({"name": name});
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.into();
        }
        json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, "spec": spec})
    }

    fn field(self, namespace: &str, name: &str, path: &str) -> String {
        crate::support::field(namespace, self.word, name, path)
    }

    fn exists(self, namespace: &str, name: &str) -> bool {
        crate::support::exists(namespace, self.word, name)
    }

    fn target(self, namespace: &str, name: &str) -> Value {
        let uid = self.field(namespace, name, "{.metadata.uid}");
        let mut target = json!({"apiVersion": self.api_version, "kind": self.kind, "name": name, "uid": uid});
        if !namespace.is_empty() {
            target["namespace"] = namespace.into();
        }
        target
    }

    fn delete(self, who: &Who, namespace: &str, name: &str, flags: &[&str]) -> foureyes_testbed::Output {
        who.kubectl(&[&["-n", namespace, "delete", self.word, name, "--wait=false"], flags].concat())
    }

    fn patch(self, who: &Who, namespace: &str, name: &str, patch: &Value, flags: &[&str]) -> foureyes_testbed::Output {
        let patch = patch.to_string();
        who.kubectl(&[&["-n", namespace, "patch", self.word, name, "--type=merge", "-p", &patch], flags].concat())
    }

    /// alice asks for its deletion, bob and another of their colleagues sign it off.
    #[track_caller]
    fn approved(self, namespace: &str, name: &str) -> Asked {
        let mut wish = request(name, &self.target(namespace, name));
        wish["spec"]["retention"] = json!({"exception": true});
        let created = me("alice").creates(&wish);
        let asked = asked(created["metadata"]["name"].as_str().unwrap());
        asked.said(&me("bob"), "Approve");
        asked.wait_field("{.status.signOffs.text}", "1/2");
        asked.said(&third(), "Approve");
        asked.wait_phase("Executable");
        asked
    }
}

/// A third of those who approve.
fn third() -> Who {
    acting("olga", &["ops"])
}

/// A machine that may do all that its tool does.
fn machine(namespace: &str, name: &str) -> Who {
    let account = format!("{namespace}:{name}");
    let binding = format!("tool-{namespace}-{name}");
    cluster()
        .apply(&format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {binding}}}, roleRef: \
             {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}, subjects: [{{kind: \
             ServiceAccount, namespace: {namespace}, name: {name}}}]}}"
        ))
        .unwrap();
    let who = crate::support::account(namespace, name);
    eventually(&format!("{account} to have its rights"), || who.kubectl(&["auth", "can-i", "delete", "nodes"]).ok());
    who
}

/// A person who may do everything, and is nobody special to foureyes.
fn admin() -> Who {
    me("admin")
}
