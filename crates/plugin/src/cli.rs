//! The command line. Its `--help` is the first page of documentation that people read.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    approve, delete, describe, export, inventory, release, report, request, say, status, undo, withdraw,
};
use crate::output::Format;

const ABOUT: &str = "Ask for changes, look at what is asked for, and sign it off";
const LONG_ABOUT: &str = "\
Ask for changes, look at what is asked for, and sign it off.

foureyes lets something new run in production, or data go, only after a second person has signed
off exactly that. This plugin says in a few words what otherwise takes a manifest: it asks for a
change with the digest that the API server states, shows what would change before somebody
signs, and shows what waits for whom. It decides nothing itself.";
const AFTER_HELP: &str = "\
Examples:
  # What waits for me, everywhere?
  kubectl foureyes status -A

  # alice wants another image
  kubectl foureyes request change deploy/web --image web=registry.example.org/web:2 --ticket SHOP-17

  # … or a claim to go, and sees what would be lost
  kubectl foureyes delete pvc/reports -n shop --reason \"moved to the warehouse\"

  # bob looks at the difference and signs it off
  kubectl foureyes approve -n shop web-5d0c61a2f3

  # … or has a question first
  kubectl foureyes hold -n shop web-5d0c61a2f3 --comment \"Is the migration done?\"

  # Who said what, and what became of it?
  kubectl foureyes describe -n shop chg/web-5d0c61a2f3

  # What would be lost with it, and who uses it?
  kubectl foureyes inventory pvc/reports -n shop

  # That claim should not have gone
  kubectl foureyes undo pvc/reports -n shop

Names are those of ChangeRequests (chg/NAME) and DeletionRequests (del/NAME); a bare NAME is
looked up among both. kubectl takes flags only after the name of a plugin: `kubectl foureyes
status --context prod`.

Exit codes:
  0  done, or nothing to do
  1  the answer is no: foureyes refused, you answered no, or what you looked at has changed
  2  the command line or the cluster is the trouble";

/// The plugin's command line.
#[derive(Debug, Parser)]
#[command(name = "kubectl-foureyes", bin_name = "kubectl foureyes", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = AFTER_HELP, subcommand_required = true, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, propagate_version = true, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every subcommand takes, spelled as kubectl spells it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Namespace to work in; without it, that of the context
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig; without it $KUBECONFIG or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to impersonate; may be given again
    #[arg(long, global = true, value_name = "GROUP", requires = "as_user")]
    pub as_group: Vec<String>,
    /// How the result is written
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// Namespace that foureyes itself is installed in
    #[arg(long, global = true, env = "FOUREYES_NAMESPACE", default_value = "foureyes-system", value_name = "NAME")]
    pub foureyes_namespace: String,
}

impl Global {
    /// The same caller and place, for kubectl.
    pub fn kubectl_flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        let mut flag = |name: &str, value: Option<&str>| {
            flags.extend(value.map(|value| format!("--{name}={value}")));
        };
        flag("namespace", self.namespace.as_deref());
        flag("context", self.context.as_deref());
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.to_string_lossy());
        flag("kubeconfig", kubeconfig.as_deref());
        flag("as", self.as_user.as_deref());
        self.as_group.iter().for_each(|group| flag("as-group", Some(group)));
        flags
    }
}

/// One subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for something that needs a second person
    #[command(subcommand)]
    Request(Request),
    /// Ask for data to go: see what would be lost, and who signs that off
    Delete(delete::Delete),
    /// Look at a request, and sign exactly that off
    Approve(approve::Approve),
    /// End a request: what it asks for shall not happen
    Reject(say::Reject),
    /// Stop a request with a question, until you withdraw the hold
    Hold(say::Hold),
    /// End a request of your own
    Cancel(say::Cancel),
    /// Say that a deletion went as it was approved, after having looked
    Supervise(say::Supervise),
    /// Take back what you said about a request
    Withdraw(withdraw::Withdraw),
    /// What waits for you, and what waits for others
    Status(status::Status),
    /// One request: its content, who did what when, and what it waits for
    Describe(describe::Describe),
    /// The record of a deletion as Markdown, for the ticket
    Export(export::Export),
    /// Look before asking: what a deletion would lose, what would keep it, and who uses it
    Inventory(inventory::Inventory),
    /// Bring back what a deletion took, from the volumes that outlived it
    Undo(undo::Undo),
    /// Leave: ask for the webhook configurations of foureyes to be let go, and see what is next
    Release(release::Release),
    /// What enforcing would cost: rollouts that ran and would have been refused
    Report(report::Report),
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Request {
    /// Ask for something new to run, or to go
    Change(Box<request::Change>),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory as _;
    use rstest::rstest;

    fn help(path: &[&str]) -> String {
        let mut command = Cli::command();
        command.build();
        let found = path.iter().fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
        found.render_long_help().to_string()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case(&[])]
    #[case(&["request", "change"])]
    #[case(&["delete"])]
    #[case(&["approve"])]
    #[case(&["reject"])]
    #[case(&["hold"])]
    #[case(&["cancel"])]
    #[case(&["supervise"])]
    #[case(&["withdraw"])]
    #[case(&["status"])]
    #[case(&["describe"])]
    #[case(&["export"])]
    #[case(&["inventory"])]
    #[case(&["undo"])]
    #[case(&["release"])]
    #[case(&["report"])]
    fn every_help_teaches_by_an_example(#[case] path: &[&str]) {
        let help = help(path);
        assert!(help.contains("Examples:") && help.contains("  kubectl foureyes "), "{help}");
        for flag in ["--namespace", "--context", "--kubeconfig", "--as", "--as-group", "--output"] {
            assert!(help.contains(flag), "{path:?} has no {flag}");
        }
    }

    #[test]
    fn exit_codes_are_documented() {
        let help = help(&[]);
        for line in ["Exit codes:", "\n  0  ", "\n  1  ", "\n  2  "] {
            assert!(help.contains(line), "{line:?}");
        }
    }

    #[rstest]
    #[case("status -A --context prod", true)]
    #[case("status -A -n shop", false)]
    #[case("request change deploy/web --image web=registry/web:2", true)]
    #[case("request change -f -", true)]
    #[case("request change deploy/web -f x.yaml", false)]
    #[case("request change", false)]
    #[case("request change deploy/web --remove", true)]
    #[case("request change deploy/web --remove --image a=b", false)]
    #[case("delete pvc/reports -n shop --reason moved --ticket SHOP-17 --yes", true)]
    #[case("delete ns/old-shop --reason moved --dry-run=server --timeout 2m", true)]
    #[case("delete pvc/reports", false)]
    #[case("delete pvc/reports --reason ", false)]
    #[case("delete reports --reason moved", false)]
    #[case("delete deploy/web --reason moved", false)]
    #[case("delete pvc/reports --reason moved --timeout soon", false)]
    #[case("undo pvc/reports -n shop --dry-run --timeout 2m", true)]
    #[case("undo pvc/reports -n shop --volume pvc-1", true)]
    #[case("undo del/ns-old-shop-1", true)]
    #[case("undo ns/old-shop", true)]
    #[case("undo chg/web-1", false)]
    #[case("inventory pvc/reports -n shop -o json", true)]
    #[case("inventory ns/old-shop", true)]
    #[case("inventory del/ns-old-shop-1", true)]
    #[case("inventory deploy/web", false)]
    #[case("undo reports", false)]
    #[case("release --timeout 2m", true)]
    #[case("release --check", true)]
    #[case("release --check --yes", false)]
    #[case("approve del/ns-1 --yes -o json", true)]
    #[case("hold web-1", false)]
    #[case("hold web-1 --comment why?", true)]
    #[case("supervise del/ns-1 --verified looked", true)]
    #[case("supervise del/ns-1", false)]
    #[case("export del/ns-1", true)]
    #[case("status --as-group x", false)]
    #[case("request change deploy/web --type Unauthorized", false)]
    fn what_is_taken(#[case] line: &str, #[case] taken: bool) {
        let words = ["kubectl-foureyes"].into_iter().chain(line.split(' '));
        assert_eq!(Cli::try_parse_from(words).is_ok(), taken, "{line}");
    }

    #[test]
    fn kubectl_is_told_who_calls() {
        let line = "kubectl-foureyes status -n shop --as=bob --as-group=ops --as-group=x --kubeconfig /k";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let flags = cli.global.kubectl_flags();
        assert_eq!(flags, ["--namespace=shop", "--kubeconfig=/k", "--as=bob", "--as-group=ops", "--as-group=x"]);
    }
}
