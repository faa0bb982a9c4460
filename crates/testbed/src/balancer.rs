//! What a Service is in a cluster, in small: one loopback port in front of the webhook's processes.
//!
//! A new connection goes to a backend that says it is ready; a connection that stands is left alone until one of its
//! ends closes it, so a process that drains can finish what it was asked.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::error::{Result, While};

/// How often every backend is asked, and how long it may take to answer.
const PERIOD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(500);

/// Where a backend serves, and where it says whether it is ready (`GET /readyz`, plain HTTP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    pub serving: u16,
    pub admin: u16,
}

impl std::str::FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (serving, admin) = text.split_once('/').ok_or("expected <serving port>/<admin port>")?;
        let port = |text: &str| text.parse().map_err(|e| format!("port {text}: {e}"));
        Ok(Self { serving: port(serving)?, admin: port(admin)? })
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.serving, self.admin)
    }
}

struct Target {
    backend: Backend,
    ready: Cell<bool>,
}

/// Forwards `port` for ever.
pub fn run(port: u16, backends: &[Backend]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().during("starting the balancer")?;
    runtime.block_on(LocalSet::new().run_until(serve(port, backends)))
}

async fn serve(port: u16, backends: &[Backend]) -> Result<()> {
    let address = loopback(port);
    let listener = TcpListener::bind(address).await.during(format!("listening on {address}"))?;
    let targets: Rc<[Target]> = backends.iter().map(|&backend| Target { backend, ready: Cell::new(false) }).collect();
    for index in 0..targets.len() {
        let targets = Rc::clone(&targets);
        tokio::task::spawn_local(async move {
            loop {
                let target = &targets[index];
                let ready = timeout(PATIENCE, is_ready(target.backend.admin)).await;
                target.ready.set(matches!(ready, Ok(Ok(true))));
                sleep(PERIOD).await;
            }
        });
    }
    let mut turn = 0_usize;
    loop {
        let (stream, _) = listener.accept().await.during(format!("listening on {address}"))?;
        turn = turn.wrapping_add(1);
        tokio::task::spawn_local(forward(stream, Rc::clone(&targets), turn));
    }
}

/// With nobody ready the connection is closed at once, as a Service without endpoints refuses it.
async fn forward(mut client: TcpStream, targets: Rc<[Target]>, turn: usize) {
    for step in 0..targets.len() {
        let target = &targets[(turn + step) % targets.len()];
        if !target.ready.get() {
            continue;
        }
        if let Ok(mut server) = TcpStream::connect(loopback(target.backend.serving)).await {
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}

async fn is_ready(admin: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(loopback(admin)).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(start.ends_with(b" 200"))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
