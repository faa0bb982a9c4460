//! The process that owns a cluster's programs. It ends them all when its standard input closes, so that a test run that
//! was killed leaves nothing behind; and when it is killed itself, the kernel ends them.

mod child;
pub mod client;
pub mod protocol;
mod table;

use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use std::{fs, io, thread};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::sleep;

pub use child::tether;
use protocol::{Answer, LOGS, Request, SOCKET};
use table::Table;

use crate::error::{Result, While};

const FOLDER_CHECK: Duration = Duration::from_secs(1);

/// Serves the socket in `dir` until it is told to shut down, is signalled, its standard input closes or its folder is removed. A detached one
/// leaves its terminal and does not look at its standard input.
pub fn run(dir: &Path, detached: bool) -> Result<()> {
    if detached {
        nix::unistd::setsid().map_err(io::Error::from).during("leaving the terminal")?;
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().during("starting the supervisor")?;
    runtime.block_on(LocalSet::new().run_until(serve(dir, detached)))
}

async fn serve(dir: &Path, detached: bool) -> Result<()> {
    let logs = dir.join(LOGS);
    fs::create_dir_all(&logs).at("making", &logs)?;
    let socket = dir.join(SOCKET);
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).at("listening on", &socket)?;

    let (end, mut ended) = mpsc::channel::<()>(1);
    if !detached {
        let end = end.clone();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while matches!(io::stdin().read(&mut buffer), Ok(n) if n > 0) {}
            let _ = end.blocking_send(());
        });
    }
    let mut terminate = signal(SignalKind::terminate()).during("watching for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).during("watching for SIGINT")?;

    let table = Rc::new(Table::new(logs));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.at("listening on", &socket)?;
                tokio::task::spawn_local(converse(stream, Rc::clone(&table), end.clone()));
            }
            () = removed(&socket) => break,
            _ = ended.recv() => break,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    table.shut_down().await;
    let _ = fs::remove_file(&socket);
    Ok(())
}

/// Without its socket nobody can reach the supervisor any more: the cluster's folder was removed.
async fn removed(socket: &Path) {
    while socket.exists() {
        sleep(FOLDER_CHECK).await;
    }
}

async fn converse(stream: UnixStream, table: Rc<Table>, end: mpsc::Sender<()>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request = serde_json::from_str::<Request>(&line);
        let shut_down = matches!(request, Ok(Request::Shutdown));
        let answer = match request {
            Ok(request) => table.serve(request).await,
            Err(error) => Answer::Refused(error.to_string()),
        };
        let Ok(mut text) = serde_json::to_string(&answer) else {
            return;
        };
        text.push('\n');
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        if shut_down {
            let _ = end.send(()).await;
        }
    }
}
