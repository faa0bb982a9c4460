//! Logs: one JSON object a line on standard output, through a bounded queue that drops lines rather than make a review wait.

mod lines;

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt;

use lines::{Lines, Rest};

/// What a log filter or a second subscriber did wrong.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not of the form `info` or `foureyes=debug,kube=warn`.
    #[error("the log filter {filter:?} can't be read: {source}")]
    Filter {
        /// As given.
        filter: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no thread to write with.
    #[error("logging could not start: {0}")]
    Thread(#[from] io::Error),
    /// Something else in this process already takes the logs.
    #[error("logging was already set up: {0}")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// Keep it until the program ends: dropping it writes out the lines still queued.
#[derive(Debug)]
pub struct Telemetry {
    lines: Lines,
    _rest: Rest,
}

/// A handle on the number of lines that were dropped.
#[derive(Clone, Debug)]
pub struct DroppedLines(Lines);

impl DroppedLines {
    /// Lines dropped since the start because standard output did not take them in time.
    pub fn count(&self) -> u64 {
        self.0.dropped()
    }
}

impl Telemetry {
    /// The count of dropped lines, for the metrics.
    pub fn dropped_lines(&self) -> DroppedLines {
        DroppedLines(self.lines.clone())
    }
}

/// Sends this process' logs to standard output as JSON lines. `filter` is in the notation of `RUST_LOG`.
pub fn init(filter: &str) -> Result<Telemetry, TelemetryError> {
    let (subscriber, telemetry) = subscriber(filter, io::stdout())?;
    subscriber.try_init()?;
    // Where, not what: a panic's text may quote the value that it stumbled over.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panic");
    }));
    Ok(telemetry)
}

fn subscriber(
    filter: &str,
    to: impl io::Write + Send + 'static,
) -> Result<(impl tracing::Subscriber + Send + Sync, Telemetry), TelemetryError> {
    let filter =
        EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let (lines, rest) = Lines::to(to)?;
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(lines.clone())
        .finish()
        // It logs whole bodies that it can't decode, whatever is in them; every error of it is ours to log.
        .with(filter_fn(|line| !line.target().starts_with("kube_client")));
    let telemetry = Telemetry { lines, _rest: rest };
    Ok((subscriber, telemetry))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use lines::QUEUED_LINES;
    use std::io::Write;
    use std::sync::{Arc, Mutex, mpsc};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A standard output that nobody reads.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object() {
        let page = Page::default();
        let (subscriber, telemetry) = subscriber("info", page.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(uid = "a\nb", verdict = "denied", "decision");
            tracing::debug!("filtered out");
        });
        drop(telemetry);
        let bytes = page.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["uid"], "a\nb");
        assert_eq!(line["verdict"], "denied");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let (release, held) = mpsc::channel();
        let (subscriber, telemetry) = subscriber("info", Stuck(held)).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..QUEUED_LINES + 500 {
                tracing::info!(n, "line");
            }
        });
        let dropped = telemetry.dropped_lines().count();
        assert_eq!(dropped, 500);
        drop(release);
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = subscriber("foureyes=loud", std::io::sink()).err().unwrap();
        assert!(error.to_string().contains("foureyes=loud"), "{error}");
    }
}
