//! Reads the command line and starts one part.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use foureyes::cluster::client::controller_client;
use foureyes::config::{Cli, Command};
use foureyes::server::process::{Process, runtime};
use foureyes::server::{controller, webhook};
use foureyes::{admission, clock::Clock, controllers, keys, manifests, verify};

fn main() -> ExitCode {
    // Only fails if there is one already, and nothing ran before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let ended = runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(start(cli)));
    ended.unwrap_or_else(|error: Box<dyn Error>| {
        eprintln!("foureyes: {error}");
        ExitCode::from(2)
    })
}

async fn start(cli: Cli) -> Result<ExitCode, Box<dyn Error>> {
    match cli.command {
        Command::Webhook(args) => {
            let process = Process::begin(&cli.log)?;
            webhook::run(&cli.namespace, &args, &process, async |parts| admission::start(parts)).await?;
        }
        Command::Controller(args) => {
            let process = Process::begin(&cli.log)?;
            controller::run(&cli.namespace, &args, &process, controllers::run).await?;
        }
        Command::Keys(args) => {
            let client = controller_client().await?;
            let said = keys::run(&client, &cli.namespace, &args, &Clock::system()).await?;
            print!("{said}");
        }
        Command::Verify(args) => {
            let report = verify::run(&args)?;
            print!("{}", report.text);
            if report.skipped > 0 {
                eprintln!("foureyes: skipped {} requests and policies beside the sign-offs", report.skipped);
            }
            return Ok(ExitCode::from(u8::from(!report.all_valid)));
        }
        Command::Crds => print!("{}", manifests::crds::text()?),
        Command::Responder(args) => print!("{}", manifests::responder::text(&args.people)?),
    }
    Ok(ExitCode::SUCCESS)
}
