//! `foureyes-testbed`: a real cluster with foureyes in it, in one command.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("foureyes-testbed: {error}");
            ExitCode::FAILURE
        }
    }
}
