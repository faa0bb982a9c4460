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
use crate::{Result, SIZES, body, child, index, process};

const WARM_UP: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(2);
/// Between two looks at the clock.
const BATCH: u32 = 500;

pub fn measure(report: &mut Report) -> Result<()> {
    eprintln!("reviews through the router, without network");
    for size in SIZES {
        let said = child::ask(&["router", &size.to_string()])?;
        let target = if size == 6 { Some(Target::AtLeast(20_000.0)) } else { None };
        let (what, value): (String, f64) = (format!("router, {size} KB, reviews/s and core"), said.trim().parse()?);
        match target {
            Some(target) => report.figure(what, value, "/s", target),
            None => report.note(what, format!("{value:.0} /s")),
        }
    }
    Ok(())
}

/// In a process of its own, because its standard output is the log. Every thread's CPU counts, the log writer's too.
pub fn run(kilobytes: usize) -> Result<()> {
    let _logs = telemetry::init("info")?;
    let metrics = Metrics::new(None);
    let router = Limits::new(256, metrics.clone());
    let review = Bytes::from(body::deletion_in(index::PRODUCTION).review(kilobytes * 1000));
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
                if !answer.windows(20).any(|window| window == b"DeletionNotRequested") {
                    return Err("not the expected refusal".into());
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
