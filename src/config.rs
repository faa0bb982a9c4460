//! The command line. Its `--help` is the first page of documentation that people read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;

/// Where the value of `--namespace` may come from.
pub const NAMESPACE_ENV: &str = "FOUREYES_NAMESPACE";
/// The namespace of an installation that was not moved.
pub const DEFAULT_NAMESPACE: &str = "foureyes-system";

const ABOUT: &str = "Keeps a team from hurting its own production Kubernetes cluster";
const LONG_ABOUT: &str = "\
Keeps a team from hurting its own production Kubernetes cluster: nobody destroys production data alone.

A claim or a namespace with data is deleted only after a second person has looked at exactly what would be lost and
signed off exactly that. `foureyes webhook` decides, `foureyes controller` keeps the requests moving, `foureyes keys`
makes the key that sign-offs are sealed with, `foureyes verify` checks an exported sign-off anywhere, without a cluster.";
const AFTER_HELP: &str = "\
The cluster is found as kubectl finds it: $KUBECONFIG, ~/.kube/config, or the ServiceAccount of the pod.
Install with `kubectl apply -k config/observe` first (only warns), then with `config/default` (refuses).";

/// foureyes' command line.
#[derive(Debug, Parser)]
#[command(name = "foureyes", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Namespace that foureyes itself is installed in
    #[arg(long, global = true, env = NAMESPACE_ENV, default_value = DEFAULT_NAMESPACE, value_name = "NAME")]
    pub namespace: String,
    /// What to log: a level, or levels by module, such as `info,kube=warn,foureyes=debug`
    #[arg(long, global = true, env = "FOUREYES_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// The part to run.
    #[command(subcommand)]
    pub command: Command,
}

/// One part of foureyes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer the API server's admission reviews (run at least two)
    ///
    /// Serves /stamp and /guard over TLS. The certificate and the sealing key are read from their Secrets through the
    /// API every 10 s and exchanged when their content changes, without a restart.
    Webhook(WebhookArgs),
    /// Keep requests, sign-offs and the webhook's certificate authority up to date (run one)
    Controller(ControllerArgs),
    /// Make the sealing key if there is none, or rotate it, and publish the public keys
    ///
    /// The private key goes to the Secret foureyes-sealing-key, the public keys and the cluster's id to the ConfigMap
    /// foureyes-keys. With a key in place and without --rotate it only repairs the ConfigMap, so it may run again and
    /// again. Sign-offs sealed with an old key stay valid.
    Keys(KeysArgs),
    /// Check exported sign-offs without a cluster: who signed what, when, and whether the seal is true
    ///
    /// Get the keys once with
    ///
    ///   kubectl -n foureyes-system get configmap foureyes-keys -o yaml > keys.yaml
    ///
    /// and a sign-off with
    ///
    ///   kubectl get signoff NAME -o yaml | foureyes verify --keys keys.yaml -
    ///
    /// The exit code is 0 if every sign-off is valid, 1 if one is not, 2 if the input can't be read or holds none.
    /// Requests and policies beside the sign-offs are skipped.
    #[command(verbatim_doc_comment)]
    Verify(VerifyArgs),
    /// Print the CustomResourceDefinitions of this version as YAML
    Crds,
    /// Print the rights with which these people may break glass, as YAML
    ///
    /// Each gets a cluster role and a binding of their own, to act in the group foureyes:breakglass under their own name
    /// and no other:
    ///
    ///   foureyes responder dave | kubectl apply -f -
    ///
    /// dave then repeats a refused rollout with --as=dave --as-group=foureyes:breakglass, also while foureyes does not
    /// answer. It runs, is recorded, and waits for two people who look at it afterwards.
    #[command(verbatim_doc_comment)]
    Responder(ResponderArgs),
}

/// `foureyes webhook`
#[derive(Args, Clone, Debug)]
pub struct WebhookArgs {
    /// Where the API server's reviews are taken, over TLS
    #[arg(long, env = "FOUREYES_LISTEN", default_value = "0.0.0.0:9443", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served, over plain HTTP
    #[arg(long, env = "FOUREYES_ADMIN", default_value = "0.0.0.0:8080", value_name = "ADDR:PORT")]
    pub admin: SocketAddr,
    /// PEM file with the authority of the API server's client certificate; every review by a caller that shows none is
    /// then refused with `CallerUnverified`
    #[arg(long, env = "FOUREYES_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Name that the API server's client certificate must have (common name or DNS name); may be given again.
    /// Without it every certificate of that authority will do
    #[arg(long, env = "FOUREYES_CLIENT_NAME", value_delimiter = ',', requires = "client_ca", value_name = "NAME")]
    pub client_name: Vec<String>,
    /// How long to serve on after SIGTERM while the cluster learns that this replica is leaving
    #[arg(long, env = "FOUREYES_LAME_DUCK", default_value = "10s", value_name = "DURATION", value_parser = duration)]
    pub lame_duck: Duration,
    /// How long, after that, the last reviews may take
    #[arg(long, env = "FOUREYES_DRAIN", default_value = "10s", value_name = "DURATION", value_parser = duration)]
    pub drain: Duration,
    /// Reviews answered at a time; more get 503 with Retry-After
    #[arg(long, env = "FOUREYES_MAX_IN_FLIGHT", default_value_t = 256, value_name = "N")]
    pub max_in_flight: usize,
    /// Open connections to the review port; more are closed
    #[arg(long, env = "FOUREYES_MAX_CONNECTIONS", default_value_t = 1024, value_name = "N")]
    pub max_connections: usize,
}

/// `foureyes controller`
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Where /livez, /readyz and /metrics are served, over plain HTTP
    #[arg(long, env = "FOUREYES_ADMIN", default_value = "0.0.0.0:8081", value_name = "ADDR:PORT")]
    pub admin: SocketAddr,
    /// Further name or address of the webhook for its certificate; may be given again
    #[arg(long, env = "FOUREYES_SERVING_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub serving_name: Vec<String>,
}

/// `foureyes responder`
#[derive(Args, Clone, Debug)]
pub struct ResponderArgs {
    /// A person's name as `kubectl auth whoami` shows it to them
    #[arg(required = true, value_name = "NAME")]
    pub people: Vec<String>,
}

/// `foureyes keys`
#[derive(Args, Clone, Debug)]
pub struct KeysArgs {
    /// Make a new key even if there is one; the old public keys stay listed
    #[arg(long, conflicts_with = "rotate_after")]
    pub rotate: bool,
    /// Make a new key if the present one is older than this, such as 90d
    #[arg(long, env = "FOUREYES_ROTATE_AFTER", value_name = "DURATION", value_parser = duration)]
    pub rotate_after: Option<Duration>,
}

/// `foureyes verify`
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// The exported ConfigMap foureyes-keys, YAML or JSON
    #[arg(long, value_name = "FILE")]
    pub keys: PathBuf,
    /// Exported sign-offs, YAML or JSON, one or many, or a List; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub signoffs: Vec<PathBuf>,
}

/// A span of time with units, such as `90s`, `2m30s`, `12h`, `90d`. A day has 24 hours.
pub fn duration(text: &str) -> Result<Duration, String> {
    let days = |days: &str| {
        let hours = days.trim().parse::<i64>().ok()?.checked_mul(24)?;
        SignedDuration::try_from_hours(hours)
    };
    let length = match text.trim().strip_suffix('d').and_then(days) {
        Some(length) => length,
        None => text
            .parse::<SignedDuration>()
            .map_err(|_| "write a number with a unit, such as 10s, 5m, 12h or 90d".to_owned())?,
    };
    Duration::try_from(length).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_shipped_manifests() {
        let cli = Cli::try_parse_from(["foureyes", "webhook"]).unwrap();
        assert_eq!(cli.namespace, "foureyes-system");
        let Command::Webhook(webhook) = cli.command else { panic!("another command") };
        assert_eq!(webhook.listen.port(), 9443);
        assert_eq!(webhook.admin.port(), 8080);
        assert_eq!(webhook.lame_duck, Duration::from_secs(10));
    }

    #[test]
    fn names_may_be_given_again_or_with_commas() {
        let line = ["foureyes", "controller", "--serving-name", "a,b", "--serving-name", "127.0.0.1"];
        let Command::Controller(controller) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(controller.serving_name, ["a", "b", "127.0.0.1"]);
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90d").unwrap(), Duration::from_secs(90 * 86_400));
        assert_eq!(duration("2m30s").unwrap(), Duration::from_secs(150));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert!(duration("10").unwrap_err().contains("unit"));
        assert!(duration("-5s").is_err());
        assert!(duration("99999999999999999d").is_err());
    }

    #[test]
    fn a_client_name_without_an_authority_is_refused() {
        assert!(Cli::try_parse_from(["foureyes", "webhook", "--client-name", "x"]).is_err());
    }

    #[test]
    fn a_key_is_made_now_or_when_it_is_old() {
        let keys = |args: &[&str]| Cli::try_parse_from([&["foureyes", "keys"], args].concat()).is_ok();
        assert!(keys(&["--rotate"]) && keys(&["--rotate-after", "90d"]));
        assert!(!keys(&["--rotate", "--rotate-after", "90d"]));
    }

    #[test]
    fn commands_in_help_stand_on_lines_of_their_own() {
        let mut cli = Cli::command();
        let help = cli.find_subcommand_mut("verify").unwrap().render_long_help().to_string();
        for line in [
            "  kubectl -n foureyes-system get configmap foureyes-keys -o yaml > keys.yaml",
            "  kubectl get signoff NAME -o yaml | foureyes verify --keys keys.yaml -",
        ] {
            assert!(help.lines().any(|other| other == line), "{line} not in\n{help}");
        }
    }

    #[test]
    fn help_teaches_the_commands() {
        let help = Cli::command().render_long_help().to_string();
        for word in ["webhook", "controller", "keys", "verify", "crds", "config/observe", "KUBECONFIG"] {
            assert!(help.contains(word), "{word} not in\n{help}");
        }
    }
}
