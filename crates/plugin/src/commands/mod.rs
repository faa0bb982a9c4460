//! One file per subcommand.

pub mod approve;
pub mod delete;
pub mod describe;
pub mod export;
pub mod inventory;
pub mod release;
pub mod report;
pub mod request;
pub mod say;
pub mod status;
pub mod undo;
pub mod withdraw;

use crate::cli::{Cli, Command, Request};
use crate::cluster::Cluster;
use crate::error::Result;

/// Runs one subcommand; its exit code.
pub async fn run(cli: Cli) -> Result<u8> {
    let cluster = Cluster::connect(&cli.global).await?;
    let format = cli.global.output;
    match cli.command {
        Command::Request(Request::Change(args)) => request::run(&cluster, format, &args).await,
        Command::Delete(args) => delete::run(&cluster, format, &args).await,
        Command::Approve(args) => approve::run(&cluster, format, &args).await,
        Command::Reject(args) => say::reject(&cluster, format, args).await,
        Command::Hold(args) => say::hold(&cluster, format, args).await,
        Command::Cancel(args) => say::cancel(&cluster, format, args).await,
        Command::Supervise(args) => say::supervise(&cluster, format, args).await,
        Command::Withdraw(args) => withdraw::run(&cluster, format, &args).await,
        Command::Status(args) => status::run(&cluster, format, &args).await,
        Command::Describe(args) => describe::run(&cluster, format, &args).await,
        Command::Export(args) => export::run(&cluster, format, &args).await,
        Command::Inventory(args) => inventory::run(&cluster, format, &args).await,
        Command::Undo(args) => undo::run(&cluster, format, &args).await,
        Command::Release(args) => release::run(&cluster, format, &args).await,
        Command::Report(args) => report::run(&cluster, format, &args).await,
    }
}
