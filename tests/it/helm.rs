//! Helm, as a team deploys with it: what it applies is judged like anybody's, in the server and by its own three-way
//! patches, and goes back by itself.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use foureyes_testbed::Output;
use foureyes_testbed::tools::HELM;

use crate::support::changes::opened;
use crate::support::objects::eventually;
use crate::support::{cluster, decisions, denied, field, me, production, went};

const IMAGE: &str = "registry.example.org/web";
const NEW: &str = "RolloutNotRequested";

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";
const VALUES: &str = "image: registry.example.org/web:1\nreplicas: 1\ngreeting: hello\n";
const TEMPLATES: &str = "
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  greeting: {{ .Values.greeting }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: { app.kubernetes.io/managed-by: {{ .Release.Service }}, helm.sh/chart: {{ .Chart.Name }} }
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: { app: {{ .Release.Name }} }
  template:
    metadata:
      labels: { app: {{ .Release.Name }} }
    spec:
      containers:
        - name: web
          image: {{ .Values.image }}
          ports: [{ containerPort: 8080 }]
          resources: { requests: { cpu: 100m } }
";

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| HELM.ensure(&|line| println!("{line}")).unwrap());

/// The folder of the chart, written once.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = cluster().layout().dir.join("helm/web");
    fs::create_dir_all(folder.join("templates")).unwrap();
    for (name, text) in [("Chart.yaml", CHART), ("values.yaml", VALUES), ("templates/web.yaml", TEMPLATES)] {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
});

/// One release of the chart.
struct Release {
    namespace: String,
    /// By whom.
    person: &'static str,
    /// `--server-side=…`.
    how: &'static str,
}

impl Release {
    fn helm(&self, args: &[&str]) -> Output {
        let mut command = cluster().command(&PROGRAM, self.person);
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, FOLDER.with_file_name("home"));
        }
        let output = command.args(["-n", &self.namespace]).args(args).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Output { stdout: text(&output.stdout), stderr: text(&output.stderr), code }
    }

    /// `helm upgrade` with these values.
    fn upgrade(&self, version: u32, flags: &[&str]) -> Output {
        let set = format!("--set=image={IMAGE}:{version}");
        let chart = FOLDER.display().to_string();
        self.helm(&[&["upgrade", "web", &chart, &set, self.how], flags].concat())
    }

    fn runs(&self) -> String {
        field(&self.namespace, "deployment", "web", "{.spec.template.spec.containers[*].image}*{.spec.replicas}")
    }

    #[track_caller]
    fn settled(&self, expected: &str) {
        me("admin").does(&["-n", &self.namespace, "rollout", "status", "deployment/web", "--timeout=60s"]);
        assert_eq!(self.runs(), expected);
    }

    /// Why the guard let the last change of the Deployment happen, if it was asked.
    fn reasons(&self) -> Vec<String> {
        let user = if self.person == "argocd" { "system:serviceaccount:argocd:argocd" } else { self.person };
        let mut decisions = decisions::by(user, &self.namespace, "web");
        decisions.retain(|line| line["resource"] == "deployments" && line["verdict"] == "allowed");
        decisions.sort_by_key(|line| line["timestamp"].to_string());
        decisions.iter().map(|line| line["code"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn because(&self, expected: &[&str]) {
        eventually(&format!("the reasons {expected:?}, not {:?}", self.reasons()), || self.reasons() == expected);
    }
}

/// The life of a release: what is new takes two people, and nothing else does.
#[track_caller]
fn lives(release: &Release) {
    // nothing is there yet, and what Helm noted of its failure stands in nobody's way
    let install = || release.upgrade(1, &["--install"]);
    opened(NEW, install).is("Succeeded");
    release.settled(&format!("{IMAGE}:1*1"));
    release.because(&["Confirmed"]);

    // what a template is not
    went(&release.upgrade(1, &["--set=replicas=3", "--set=greeting=servus"]));
    release.settled(&format!("{IMAGE}:1*3"));
    release.because(&["Confirmed"]);

    // a new version, that Helm takes back by itself when it is refused
    let new = |flags: &[&str]| release.upgrade(2, &[&["--reuse-values"], flags].concat());
    denied(NEW, &new(&["--rollback-on-failure", "--timeout=60s"]));
    release.settled(&format!("{IMAGE}:1*3"));
    opened(NEW, || new(&[])).is("Succeeded");
    release.settled(&format!("{IMAGE}:2*3"));
    release.because(&["Confirmed", "Confirmed"]);
    denied(NEW, &release.upgrade(3, &["--reuse-values"]));

    // the way back is always open, whatever of it Helm calls a revision
    went(&release.helm(&["rollback", "web", "1", release.how]));
    release.settled(&format!("{IMAGE}:1*1"));
    release.because(&["Confirmed", "Confirmed", "Recorded"]);
    // by replacement, which Helm does not do in the server: what is known goes, and what is new does not
    let force = ["--force-replace", "--server-side=false"];
    went(&release.upgrade(2, &force));
    release.settled(&format!("{IMAGE}:2*1"));
    release.because(&["Confirmed", "Confirmed", "Recorded", "Recorded"]);
    denied(NEW, &release.upgrade(3, &force));
    release.settled(&format!("{IMAGE}:2*1"));
}

#[test]
fn a_release_by_server_side_apply() {
    lives(&Release { namespace: production("helm-server"), person: "argocd", how: "--server-side=true" });
}

#[test]
fn a_release_by_three_way_patches() {
    lives(&Release { namespace: production("helm-client"), person: "eve", how: "--server-side=false" });
}
