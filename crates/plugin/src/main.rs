//! Reads the command line and runs one subcommand.

use std::process::ExitCode;

use clap::Parser;
use foureyes_plugin::cli::Cli;
use foureyes_plugin::commands;
use foureyes_plugin::error::Error;
use foureyes_plugin::output;

fn main() -> ExitCode {
    // Only fails if there is one already, and nothing ran before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .map_err(|error| Error::Other(error.to_string()))
        .and_then(|runtime| runtime.block_on(commands::run(cli)));
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::say(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
