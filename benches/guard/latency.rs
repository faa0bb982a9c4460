//! Latency over TLS on loopback, each server in turn for every call, so that whatever disturbs the machine hits all.

use std::time::Duration;

use crate::child::Server;
use crate::client::{Connection, Endpoint, request};
use crate::report::{Report, Target};
use crate::rollout::Step;
use crate::{Result, SIZES, USUAL, body, index, rollout};

const WARM_UP: usize = 500;
const ROUNDS: usize = 8_000;
/// How many requests and sign-offs the full index holds.
const MANY: &str = "10000";

/// One connection, and what is asked over it.
pub struct Lane {
    connection: Connection,
    request: Vec<u8>,
    expected: &'static str,
    took: Vec<Duration>,
}

impl Lane {
    pub fn new(endpoint: &Endpoint, review: &[u8], expected: &'static str) -> Result<Self> {
        let connection = Connection::open(endpoint)?;
        Ok(Self { connection, request: request(review), expected, took: Vec::new() })
    }

    fn call(&mut self) -> Result<Duration> {
        self.connection.call(&self.request, self.expected)
    }

    /// The time within which this share of the calls was answered.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = (last as f64 * share).round() as usize;
        sorted.get(rank).copied().unwrap_or_default()
    }
}

/// Calls every lane once a round; who begins changes with the round.
pub fn race(lanes: &mut [Lane], warm_up: usize, rounds: usize) -> Result<()> {
    let many = lanes.len();
    for round in 0..warm_up + rounds {
        for turn in 0..many {
            let lane = &mut lanes[(round + turn) % many];
            let took = lane.call()?;
            if round >= warm_up {
                lane.took.push(took);
            }
        }
    }
    Ok(())
}

pub fn measure(report: &mut Report) -> Result<()> {
    eprintln!("latency over TLS on loopback");
    let (floor, guard, full) =
        (Server::start(&["floor"])?, Server::start(&["guard", "0"])?, Server::start(&["guard", MANY])?);
    for size in SIZES {
        let governed = body::deletion_in(index::PRODUCTION).review(size * 1000);
        let unguarded = body::deletion_in(index::ELSEWHERE).review(size * 1000);
        let mut lanes = [
            Lane::new(&floor.endpoint, &governed, "\"allowed\":true")?,
            Lane::new(&guard.endpoint, &governed, "\"decision\":\"DeletionNotRequested\"")?,
            Lane::new(&guard.endpoint, &unguarded, "\"decision\":\"NonProduction\"")?,
            Lane::new(&full.endpoint, &governed, "\"decision\":\"DeletionNotRequested\"")?,
        ];
        race(&mut lanes, WARM_UP, ROUNDS)?;
        let [floor, refused, unguarded, full] = &lanes;
        tell(report, &format!("floor, {size} KB"), floor);
        tell(report, &format!("refusal, {size} KB"), refused);
        tell(report, &format!("unguarded, {size} KB"), unguarded);
        for (what, lane) in [("refusal", refused), ("unguarded", unguarded)] {
            let limit = (size == USUAL).then_some(Target::AtMost(1.5));
            ratio(report, &format!("{what}, {size} KB, p99 over floor"), lane, floor, limit);
        }
        let limit = (size == USUAL).then_some(Target::AtMost(1.2));
        ratio(report, &format!("refusal, {size} KB, p99 with 10,000 over none"), full, refused, limit);
    }
    for size in SIZES {
        rollouts(report, &floor.endpoint, &guard.endpoint, size)?;
    }
    Ok(())
}

fn rollouts(report: &mut Report, floor: &Endpoint, guard: &Endpoint, size: usize) -> Result<()> {
    let review = |step| rollout::step(index::PRODUCTION, step, size * 1000);
    let refused = review(Step::Image)?;
    let mut lanes = [
        Lane::new(floor, &refused, "\"allowed\":true")?,
        Lane::new(guard, &review(Step::Unchanged)?, "\"decision\":\"Unchanged\"")?,
        Lane::new(guard, &review(Step::Restart)?, "\"decision\":\"Unchanged\"")?,
        Lane::new(guard, &refused, "\"decision\":\"RolloutNotRequested\"")?,
    ];
    race(&mut lanes, WARM_UP, ROUNDS)?;
    let [floor, lanes @ ..] = &lanes;
    tell(report, &format!("rollouts: floor, {size} KB"), floor);
    let limits = [Some(1.3), None, Some(1.5)];
    for ((what, lane), limit) in ["unchanged template", "restart", "refusal"].iter().zip(lanes).zip(limits) {
        tell(report, &format!("{what}, {size} KB"), lane);
        let limit = limit.filter(|_| size == USUAL).map(Target::AtMost);
        ratio(report, &format!("{what}, {size} KB, p99 over floor"), lane, floor, limit);
    }
    Ok(())
}

pub fn tell(report: &mut Report, what: &str, lane: &Lane) {
    let micros = |share| lane.quantile(share).as_secs_f64() * 1e6;
    report.note(format!("{what}, p50 and p99"), format!("{:.0} {:.0} µs", micros(0.5), micros(0.99)));
}

fn ratio(report: &mut Report, what: &str, one: &Lane, other: &Lane, limit: Option<Target>) {
    let value = one.quantile(0.99).as_secs_f64() / other.quantile(0.99).as_secs_f64();
    match limit {
        Some(limit) => report.figure(what, value, "×", limit),
        None => report.note(what, format!("{value:.2} ×")),
    }
}
