//! What foureyes costs, in one run: reviews per second and core, latency beside a server that only echoes, CPU per
//! review, and memory. `make bench` runs all of it; `cargo bench -p foureyes-bench -- latency cpu` runs parts of it.
//!
//! What is measured runs in a process of its own, which is this program again (`main` with a role).

mod body;
mod changes;
mod child;
mod client;
mod confirmed;
mod cpu;
mod floor;
mod index;
mod latency;
mod memory;
mod objects;
mod place;
mod process;
mod report;
mod rollout;
mod router;
mod served;

use std::error::Error;
use std::{env, io};

use report::Report;

/// Whatever breaks ends the run with its text.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Sizes of bodies, in kilobytes of 1,000 bytes.
const SIZES: [usize; 3] = [6, 17, 49];
/// The size that the limits are stated for.
const USUAL: usize = 17;
const PARTS: [&str; 6] = ["router", "latency", "cpu", "confirmed", "memory", "changes"];

fn main() -> Result<()> {
    // Only fails if there is one already, and nothing ran before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor", rest @ ..] => floor::run(rest),
        ["guard", requests, rest @ ..] => served::run(requests.parse()?, rest),
        ["router", review, kilobytes] if kilobytes.parse::<usize>().is_ok() => router::run(review, kilobytes.parse()?),
        parts => measure(parts),
    }
}

fn on_a_cluster(wanted: &impl Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    let cluster = foureyes_testbed::Cluster::start("bench")?;
    if wanted("confirmed") {
        confirmed::measure(&cluster, report)?;
    }
    if wanted("memory") || wanted("changes") {
        memory::stand_aside(&cluster)?;
    }
    if wanted("memory") {
        memory::requests(&cluster, report)?;
    }
    if wanted("changes") {
        memory::changes(&cluster, report)?;
    }
    Ok(())
}

fn measure(parts: &[&str]) -> Result<()> {
    if let Some(odd) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(format!("{odd} is none of {}", PARTS.join(", ")).into());
    }
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let mut report = Report::default();
    if wanted("router") {
        router::measure(&mut report)?;
    }
    if wanted("latency") {
        latency::measure(&mut report)?;
    }
    if wanted("cpu") {
        cpu::measure(&mut report)?;
    }
    if wanted("confirmed") || wanted("memory") || wanted("changes") {
        on_a_cluster(&wanted, &mut report)?;
    }
    report.print(&mut io::stdout())?;
    Ok(())
}
