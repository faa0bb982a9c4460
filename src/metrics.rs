//! What `/metrics` shows. Labels come from fixed vocabularies (`&'static str`), never from a request.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::DroppedLines;

/// Upper bounds in seconds. Finer than the API server's own below 5 ms, where nearly all reviews end.
const REVIEW_BUCKETS: [f64; 13] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];
/// Upper bounds in seconds for calls to the API server.
const CALL_BUCKETS: [f64; 9] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

/// Labels of one counted decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Decision {
    /// `guard` or `stamp`.
    pub webhook: &'static str,
    /// `allowed`, `denied`, `warned` or `error`.
    pub verdict: &'static str,
    /// The stable reason code; for an allow, the kind of proof.
    pub code: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWebhook {
    webhook: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: &'static str,
}

/// An entry of the shipped webhook configurations, of which there are a fixed number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEntry {
    kind: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCall {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReconcile {
    controller: &'static str,
    outcome: &'static str,
}

/// All metrics of one process; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    decisions: Family<Decision, Counter>,
    durations: Family<OfWebhook, Histogram, fn() -> Histogram>,
    calls: Family<OfCall, Histogram, fn() -> Histogram>,
    reconciles: Family<OfReconcile, Counter>,
    shed: Family<OfReason, Counter>,
    handshake_failures: Family<OfReason, Counter>,
    in_flight: Gauge,
    connections: Gauge,
    index_age: Family<OfKind, Gauge<f64, std::sync::atomic::AtomicU64>>,
    index_objects: Family<OfKind, Gauge>,
    certificate_expiry: Gauge,
    enforcement: Family<OfEntry, Gauge>,
    retentions: Family<OfPhase, Gauge>,
    unsupervised: Family<OfReason, Gauge>,
    registry: Registry,
}

/// Reads the writer's own count at each scrape.
#[derive(Debug)]
struct LogLines(DroppedLines);

impl Collector for LogLines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let counter = ConstCounter::new(self.0.count());
        let metric = encoder.encode_descriptor(
            "log_lines_dropped",
            "Log lines dropped because standard output did not take them in time",
            None,
            counter.metric_type(),
        )?;
        counter.encode(metric)
    }
}

impl Metrics {
    /// A fresh registry; `dropped` is where the count of dropped log lines is read, absent where logs go elsewhere.
    pub fn new(dropped: Option<DroppedLines>) -> Self {
        let review: fn() -> Histogram = || Histogram::new(REVIEW_BUCKETS);
        let call: fn() -> Histogram = || Histogram::new(CALL_BUCKETS);
        let mut registry = Registry::with_prefix("foureyes");
        let decisions = Family::default();
        let durations = Family::new_with_constructor(review);
        let calls = Family::new_with_constructor(call);
        let reconciles = Family::default();
        let shed = Family::default();
        let handshake_failures = Family::default();
        let in_flight = Gauge::default();
        let connections = Gauge::default();
        let index_age = Family::default();
        let index_objects = Family::default();
        let certificate_expiry = Gauge::default();
        let enforcement = Family::default();
        let retentions = Family::default();
        let unsupervised = Family::default();

        let r = &mut registry;
        r.register(
            "admission_decisions",
            "Admission reviews answered, by webhook, verdict and reason code",
            Clone::clone(&decisions),
        );
        r.register_with_unit(
            "admission_duration",
            "Time from the whole request read to the answer made",
            Unit::Seconds,
            Clone::clone(&durations),
        );
        r.register_with_unit(
            "api_call_duration",
            "Time of calls to the Kubernetes API, by call and outcome",
            Unit::Seconds,
            Clone::clone(&calls),
        );
        r.register("reconciles", "Reconciliations ended, by controller and outcome", Clone::clone(&reconciles));
        r.register("requests_shed", "Requests turned away before a decision, by reason", Clone::clone(&shed));
        r.register(
            "connections_refused",
            "Connections that never came to a request, by reason",
            Clone::clone(&handshake_failures),
        );
        r.register("requests_in_flight", "Requests being answered", in_flight.clone());
        r.register("connections", "Open connections to the webhook port", connections.clone());
        r.register_with_unit(
            "index_sync_age",
            "Time since the index of this kind last heard from the API server",
            Unit::Seconds,
            Clone::clone(&index_age),
        );
        r.register("index_objects", "Objects in the index of this kind", Clone::clone(&index_objects));
        r.register(
            "serving_certificate_expiry_timestamp_seconds",
            "When the certificate being served ends, in seconds since 1970",
            certificate_expiry.clone(),
        );
        r.register(
            "enforcement_verified",
            "1 while this entry of the webhook configurations, or this admission policy, is as it was shipped, and a canary is kept",
            Clone::clone(&enforcement),
        );
        r.register(
            "backup_retentions",
            "BackupRetentions by phase; in Violated something is gone, or would go, that nobody had let go of",
            Clone::clone(&retentions),
        );
        r.register(
            "deletions_unsupervised",
            "Deletions that were executed and that nobody has supervised yet; one can be counted for several reasons",
            Clone::clone(&unsupervised),
        );
        if let Some(dropped) = dropped {
            r.register_collector(Box::new(LogLines(dropped)));
        }
        Self(Arc::new(Families {
            decisions,
            durations,
            calls,
            reconciles,
            shed,
            handshake_failures,
            in_flight,
            connections,
            index_age,
            index_objects,
            certificate_expiry,
            enforcement,
            retentions,
            unsupervised,
            registry,
        }))
    }

    /// Counts one answered review and its time.
    pub fn decided(&self, decision: Decision, took: Duration) {
        self.0.decisions.get_or_create(&decision).inc();
        let webhook = OfWebhook { webhook: decision.webhook };
        self.0.durations.get_or_create(&webhook).observe(took.as_secs_f64());
    }

    /// Counts one call to the Kubernetes API; `outcome` is `ok` or an error class.
    pub fn called(&self, call: &'static str, outcome: &'static str, took: Duration) {
        self.0.calls.get_or_create(&OfCall { call, outcome }).observe(took.as_secs_f64());
    }

    /// How many retentions stand where.
    pub fn retentions(&self, phase: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.retentions.get_or_create(&OfPhase { phase }).set(count);
    }

    /// Counts one ended reconciliation; `outcome` is `ok` or an error class.
    pub fn reconciled(&self, controller: &'static str, outcome: &'static str) {
        self.0.reconciles.get_or_create(&OfReconcile { controller, outcome }).inc();
    }

    /// Counts one request turned away (`overloaded`, `too_large`, `slow_body`).
    pub fn shed(&self, reason: &'static str) {
        self.0.shed.get_or_create(&OfReason { reason }).inc();
    }

    /// Counts one connection that never came to a request (`too_many`, `timeout`, `tls`).
    pub fn connection_refused(&self, reason: &'static str) {
        self.0.handshake_failures.get_or_create(&OfReason { reason }).inc();
    }

    /// The number of requests being answered.
    pub fn in_flight(&self) -> &Gauge {
        &self.0.in_flight
    }

    /// The number of open connections to the webhook port.
    pub fn connections(&self) -> &Gauge {
        &self.0.connections
    }

    /// Whether an entry of the webhook configurations was found as it was shipped.
    pub fn enforcement_verified(&self, kind: &str, verified: bool) {
        self.0.enforcement.get_or_create(&OfEntry { kind: kind.to_owned() }).set(i64::from(verified));
    }

    /// How many executed deletions nobody has supervised yet: all of them, and those with which something is wrong.
    pub fn unsupervised(&self, reason: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.unsupervised.get_or_create(&OfReason { reason }).set(count);
    }

    /// How long ago the index of `kind` last heard from the API server, and how many objects it holds.
    pub fn index(&self, kind: &'static str, age: Duration, objects: usize) {
        let kind = OfKind { kind };
        self.0.index_age.get_or_create(&kind).set(age.as_secs_f64());
        let objects = i64::try_from(objects).unwrap_or(i64::MAX);
        self.0.index_objects.get_or_create(&kind).set(objects);
    }

    /// When the certificate being served ends.
    pub fn certificate_ends(&self, at: jiff::Timestamp) {
        self.0.certificate_expiry.set(at.as_second());
    }

    /// All metrics in the `OpenMetrics` text format.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(4096);
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn decisions_are_counted_by_webhook_verdict_and_code() {
        let metrics = Metrics::new(None);
        let denied = Decision { webhook: "guard", verdict: "denied", code: "NeedsApproval" };
        metrics.decided(denied, Duration::from_micros(70));
        metrics.decided(denied, Duration::from_millis(3));
        metrics.shed("overloaded");
        metrics.in_flight().inc();
        metrics.index("SignOff", Duration::from_millis(1500), 7);
        metrics.called("get", "ok", Duration::from_millis(2));
        let text = metrics.text().unwrap();
        for line in [
            r#"foureyes_admission_decisions_total{webhook="guard",verdict="denied",code="NeedsApproval"} 2"#,
            r#"foureyes_admission_duration_seconds_bucket{le="0.0001",webhook="guard"} 1"#,
            r#"foureyes_admission_duration_seconds_count{webhook="guard"} 2"#,
            r#"foureyes_requests_shed_total{reason="overloaded"} 1"#,
            r"foureyes_requests_in_flight 1",
            r#"foureyes_index_sync_age_seconds{kind="SignOff"} 1.5"#,
            r#"foureyes_index_objects{kind="SignOff"} 7"#,
            r#"foureyes_api_call_duration_seconds_count{call="get",outcome="ok"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
