//! The flags of the control plane's programs, and the files they read.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::balancer::Backend;
use crate::error::{Result, While};
use crate::kubeconfig::{self, Credential};
use crate::pki::{self, Authority};
use crate::ports;
use crate::programs::Programs;
use crate::supervisor::protocol::Process;

/// Every port of one cluster, all on the loopback address.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ports {
    pub api: u16,
    pub etcd: u16,
    pub etcd_peer: u16,
    /// In front of the two webhooks.
    pub balancer: u16,
    /// `webhook-a` and `webhook-b`.
    pub webhooks: [Backend; 2],
    pub controller_admin: u16,
}

impl Ports {
    pub fn choose() -> Result<Self> {
        let [api, etcd, etcd_peer, balancer, controller_admin, a, b, c, d] = ports::free()?;
        Ok(Self {
            api,
            etcd,
            etcd_peer,
            balancer,
            webhooks: [(a, b), (c, d)].map(|(serving, admin)| Backend { serving, admin }),
            controller_admin,
        })
    }

    pub fn api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api)
    }
}

/// Where things lie in a cluster's folder.
#[derive(Clone, Debug)]
pub struct Layout {
    pub dir: PathBuf,
}

impl Layout {
    pub fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// The authority that the API server, and so every client, trusts.
    pub fn ca(&self) -> PathBuf {
        self.pki().join("ca.crt")
    }

    /// The authority of what the API server presents to webhooks.
    pub fn webhook_client_ca(&self) -> PathBuf {
        self.pki().join("webhook-clients.crt")
    }

    /// Admission policies that the API server reads from files (KEP-5793), where the cluster has such.
    pub fn static_manifests(&self) -> PathBuf {
        self.dir.join("static")
    }

    /// A person's kubeconfig.
    pub fn person(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.kubeconfig"))
    }

    /// A program's kubeconfig.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("programs").join(format!("{name}.kubeconfig"))
    }
}

/// A client certificate's user and group, and whose kubeconfig it goes into.
pub struct User {
    pub file: &'static str,
    pub name: &'static str,
    pub group: Option<&'static str>,
}

const PROGRAM_USERS: [User; 3] = [
    User { file: "kube-controller-manager", name: "system:kube-controller-manager", group: None },
    User { file: "kube-scheduler", name: "system:kube-scheduler", group: None },
    User { file: "kwok", name: "system:serviceaccount:kube-system:kwok", group: None },
];

/// Writes certificates, keys, kubeconfigs and the API server's admission configuration.
pub fn write_files(layout: &Layout, ports: &Ports, people: &[User]) -> Result<()> {
    for dir in [layout.pki(), layout.dir.join("programs")] {
        fs::create_dir_all(&dir).at("making", &dir)?;
    }
    let ca = Authority::new("testbed")?;
    fs::write(layout.ca(), ca.certificate()).at("writing", &layout.ca())?;
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    ca.server("kube-apiserver", &names)?.write(&layout.pki(), "apiserver")?;
    let accounts = rcgen::KeyPair::generate()?;
    pki::write_secret(&layout.pki().join("service-accounts.key"), &accounts.serialize_pem())?;
    let public = layout.pki().join("service-accounts.pub");
    fs::write(&public, accounts.public_key_pem()).at("writing", &public)?;

    let programs = PROGRAM_USERS.iter().map(|u| (layout.program(u.file), u));
    let people = people.iter().map(|u| (layout.person(u.file), u));
    for (path, User { name, group, .. }) in programs.chain(people) {
        let credential = Credential::Certificate(ca.client(name, *group)?);
        kubeconfig::write(&path, &ports.api_url(), ca.certificate(), name, &credential)?;
    }
    write_webhook_client(layout, ports)
}

/// By an authority of its own: only the API server has a certificate of it, so who presents one is the API server.
fn write_webhook_client(layout: &Layout, ports: &Ports) -> Result<()> {
    let ca = Authority::new("testbed webhook clients")?;
    let path = layout.webhook_client_ca();
    fs::write(&path, ca.certificate()).at("writing", &path)?;
    let kubeconfig = layout.pki().join("webhook-client.kubeconfig");
    let address = format!("127.0.0.1:{}", ports.balancer);
    kubeconfig::write_for_webhooks(&kubeconfig, &address, ca.client("kube-apiserver", None)?)?;

    let plugin = |name: &str| {
        json!({ "name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": kubeconfig,
        }})
    };
    let mut plugins = vec![plugin("MutatingAdmissionWebhook"), plugin("ValidatingAdmissionWebhook")];
    if layout.static_manifests().is_dir() {
        plugins.push(json!({ "name": "ValidatingAdmissionPolicy", "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyConfiguration",
            "staticManifestsDir": layout.static_manifests(),
        }}));
    }
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": plugins,
    });
    let path = layout.pki().join("admission.yaml");
    fs::write(&path, format!("{config:#}\n")).at("writing", &path)
}

/// etcd and the API server, which the others need.
pub fn first(layout: &Layout, ports: &Ports, programs: &Programs) -> [Process; 2] {
    let pki = layout.pki();
    let file = |name: &str| pki.join(name).display().to_string();
    let etcd_url = format!("http://127.0.0.1:{}", ports.etcd);
    let peer_url = format!("http://127.0.0.1:{}", ports.etcd_peer);
    let mut api_server = vec![
        ("etcd-servers", etcd_url.clone()),
        ("bind-address", "127.0.0.1".into()),
        ("advertise-address", "127.0.0.1".into()),
        ("secure-port", ports.api.to_string()),
        ("tls-cert-file", file("apiserver.crt")),
        ("tls-private-key-file", file("apiserver.key")),
        ("client-ca-file", file("ca.crt")),
        ("authorization-mode", "Node,RBAC".into()),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-account-key-file", file("service-accounts.pub")),
        ("service-account-signing-key-file", file("service-accounts.key")),
        ("service-cluster-ip-range", "10.96.0.0/16".into()),
        ("admission-control-config-file", file("admission.yaml")),
        // A loopback address can't be an endpoint of the Service `kubernetes`, and nobody here asks for it.
        ("endpoint-reconciler-type", "none".into()),
        ("allow-privileged", "true".into()),
    ];
    if layout.static_manifests().is_dir() {
        api_server.push(("feature-gates", "ManifestBasedAdmissionControlConfig=true".into()));
    }
    [
        process(
            programs,
            "etcd",
            &[
                ("data-dir", layout.dir.join("etcd").display().to_string()),
                ("listen-client-urls", etcd_url.clone()),
                ("advertise-client-urls", etcd_url),
                ("listen-peer-urls", peer_url.clone()),
                ("initial-advertise-peer-urls", peer_url.clone()),
                ("initial-cluster", format!("default={peer_url}")),
                ("unsafe-no-fsync", "true".into()),
                ("log-level", "warn".into()),
            ],
        ),
        process(programs, "kube-apiserver", &api_server),
    ]
}

/// What runs once the API server answers.
pub fn rest(layout: &Layout, programs: &Programs) -> Result<[Process; 3]> {
    let pki = layout.pki();
    let file = |name: &str| pki.join(name).display().to_string();
    let kubeconfig = |name: &str| ("kubeconfig", layout.program(name).display().to_string());
    let mut kwok = vec![kubeconfig("kwok"), ("manage-all-nodes", "true".into())];
    for stage in programs.stages()? {
        kwok.push(("config", stage.display().to_string()));
    }
    Ok([
        process(
            programs,
            "kube-controller-manager",
            &[
                kubeconfig("kube-controller-manager"),
                ("use-service-account-credentials", "true".into()),
                ("service-account-private-key-file", file("service-accounts.key")),
                ("root-ca-file", file("ca.crt")),
                // Nothing renews the node's lease; and a machine that slept would find its pods unready for good.
                ("node-monitor-grace-period", "8760h".into()),
                ("leader-elect", "false".into()),
                ("secure-port", "0".into()),
            ],
        ),
        process(
            programs,
            "kube-scheduler",
            &[kubeconfig("kube-scheduler"), ("leader-elect", "false".into()), ("secure-port", "0".into())],
        ),
        process(programs, "kwok", &kwok),
    ])
}

fn process(programs: &Programs, name: &str, flags: &[(&str, String)]) -> Process {
    Process {
        name: name.to_owned(),
        program: programs.path(name),
        args: flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect(),
        env: BTreeMap::new(),
    }
}
