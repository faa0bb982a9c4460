//! Clients of the Kubernetes API, and the deadline that every call through them gets.

use std::future::Future;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};

/// How long a TCP connection to the API server may take to come up.
const CONNECT: Duration = Duration::from_secs(3);
/// How long one write to the API server may stall.
const WRITE: Duration = Duration::from_secs(10);

/// How long the API server may say nothing on a connection: longer than a [watch](super::watch) of the controller
/// lasts, so that none is cut.
const SILENCE: Duration = Duration::from_secs(90);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a pod's ServiceAccount.
    #[error("no access to a cluster: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The configuration names something that can't be used.
    #[error("the client can't be made: {0}")]
    Build(#[from] kube::Error),
}

/// Why a call to the API server brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time. Whether a write was done is not known.
    #[error("the API server did not answer within {0:?}")]
    Deadline(Duration),
    /// An answer that says no, or a connection that broke.
    #[error("{}", said(.0))]
    Api(#[from] kube::Error),
}

/// The API server's own sentence; kube's text would repeat it in a dump of the whole answer.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

impl CallError {
    /// The class of error from a fixed vocabulary, fit for a metric label.
    pub fn class(&self) -> &'static str {
        let Self::Api(error) = self else {
            return "deadline";
        };
        let kube::Error::Api(status) = error else {
            return "connection";
        };
        match status.code {
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            422 => "invalid",
            429 => "throttled",
            500.. => "server",
            _ => "refused",
        }
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.class() == "not_found"
    }

    /// Somebody else wrote first: read again, then try again.
    pub fn is_conflict(&self) -> bool {
        self.class() == "conflict"
    }
}

/// The webhook's client: without retries, because a review has no time for them and they would cover writes, too.
pub async fn webhook_client() -> Result<Client, ClientError> {
    build(false, None).await
}

/// The client of the controller and of the commands: kube's retries on 429, 503 and 504 stay on, within the deadline
/// that each call gets.
pub async fn controller_client() -> Result<Client, ClientError> {
    build(true, Some(SILENCE)).await
}

async fn build(retry: bool, silence: Option<Duration>) -> Result<Client, ClientError> {
    let mut config = Config::infer().await?;
    config.default_retry = retry;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    // Calls have their deadlines; this is for a watch that never begins, which kube waits for without end.
    config.read_timeout = silence;
    Ok(ClientBuilder::try_from(config)?.build())
}

/// Gives up on `call` after `limit`; kube has no time limit of its own.
pub async fn with_deadline<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(CallError::Deadline(limit)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kube::core::Status;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_at_its_deadline() {
        let never = std::future::pending::<Result<(), kube::Error>>();
        let error = with_deadline(Duration::from_secs(2), never).await.unwrap_err();
        assert_eq!(error.class(), "deadline");
        assert_eq!(error.to_string(), "the API server did not answer within 2s");
    }

    #[test]
    fn answers_have_classes() {
        let answer = |code| CallError::Api(kube::Error::Api(Status::failure("no", "No").with_code(code).boxed()));
        assert!(answer(404).is_not_found());
        assert!(answer(409).is_conflict());
        assert_eq!(answer(403).class(), "forbidden");
        assert_eq!(answer(403).to_string(), "no");
        assert_eq!(answer(503).class(), "server");
        assert_eq!(answer(400).class(), "refused");
    }
}
