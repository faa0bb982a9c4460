//! Reviews per second and core through the whole router, with its limits, its counting and its log, and no network.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use foureyes::metrics::Metrics;
use foureyes::server::limits::Limits;
use foureyes::telemetry;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::report::{Report, Target};
use crate::rollout::Step;
use crate::{Result, SIZES, body, child, index, process, rollout};

const WARM_UP: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(2);
/// Between two looks at the clock.
const BATCH: u32 = 500;

/// What is sent, and what is answered.
const REVIEWS: [(&str, &str); 4] = [
    ("deletion", "DeletionNotRequested"),
    ("unchanged", "Unchanged"),
    ("restart", "Unchanged"),
    ("rollout", "RolloutNotRequested"),
];

pub fn measure(report: &mut Report) -> Result<()> {
    eprintln!("reviews through the router, without network");
    for size in SIZES {
        for (what, _) in REVIEWS {
            let said = child::ask(&["router", what, &size.to_string()])?;
            let value: f64 = said.trim().parse()?;
            let row = format!("router, {what}, {size} KB, reviews/s and core");
            match (what, size) {
                ("deletion", 6) => report.figure(row, value, "/s", Target::AtLeast(20_000.0)),
                _ => report.note(row, format!("{value:.0} /s")),
            }
        }
    }
    Ok(())
}

fn review(what: &str, bytes: usize) -> Result<Vec<u8>> {
    let step = match what {
        "unchanged" => Step::Unchanged,
        "restart" => Step::Restart,
        "rollout" => Step::Image,
        _ => return Ok(body::deletion_in(index::PRODUCTION).review(bytes)),
    };
    rollout::step(index::PRODUCTION, step, bytes)
}

/// In a process of its own, because its standard output is the log. Every thread's CPU counts, the log writer's too.
pub fn run(what: &str, kilobytes: usize) -> Result<()> {
    let (_, expected) = REVIEWS.into_iter().find(|(known, _)| *known == what).ok_or("no such review")?;
    let _logs = telemetry::init("info")?;
    let metrics = Metrics::new(None);
    let router = Limits::new(256, metrics.clone());
    let review = Bytes::from(review(what, kilobytes * 1000)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let per_second = runtime.block_on(async {
        let router = router.around(index::routes(0, &metrics)?);
        let batch = async || -> Result<()> {
            for _ in 0..BATCH {
                let request = Request::post("/guard?timeout=5s").header("content-type", "application/json");
                let request = request.body(Body::from(review.clone()))?;
                let response = router.clone().oneshot(request).await?;
                if response.status() != StatusCode::OK {
                    return Err(response.status().to_string().into());
                }
                let answer = response.into_body().collect().await?.to_bytes();
                if !answer.windows(expected.len()).any(|window| window == expected.as_bytes()) {
                    return Err("not the expected answer".into());
                }
            }
            Ok(())
        };
        let began = Instant::now();
        while began.elapsed() < WARM_UP {
            batch().await?;
        }
        let (began, before) = (Instant::now(), process::cpu("self")?);
        let mut reviews = 0;
        while began.elapsed() < LONG {
            batch().await?;
            reviews += BATCH;
        }
        let spent = process::cpu("self")?.saturating_sub(before);
        Result::<f64>::Ok(f64::from(reviews) / spent.as_secs_f64())
    })?;
    eprintln!("{per_second}");
    Ok(())
}
