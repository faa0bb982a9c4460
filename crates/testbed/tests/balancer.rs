//! The balancer sends new connections to ready backends and leaves standing ones alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use foureyes_testbed::wait_until;

const LIMIT: Duration = Duration::from_secs(10);

/// Says its name on every line it hears.
struct Backend {
    argument: String,
    ready: Arc<AtomicBool>,
}

impl Backend {
    fn new(name: &'static str) -> Self {
        let serving = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |l: &TcpListener| l.local_addr().unwrap().port();
        let argument = format!("{}/{}", port(&serving), port(&admin));
        let ready = Arc::new(AtomicBool::new(true));
        let says = Arc::clone(&ready);
        thread::spawn(move || {
            for stream in admin.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let code = if says.load(Ordering::SeqCst) { "200 OK" } else { "503 Not" };
                let _ = write!(stream, "HTTP/1.1 {code}\r\nContent-Length: 0\r\n\r\n");
            }
        });
        thread::spawn(move || {
            for stream in serving.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    while matches!(stream.read(&mut [0; 1]), Ok(n) if n > 0) {
                        let _ = stream.write_all(name.as_bytes());
                    }
                });
            }
        });
        Self { argument, ready }
    }
}

struct Balancer {
    port: u16,
    child: Child,
}

impl Balancer {
    fn new(backends: &[&Backend]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(env!("CARGO_BIN_EXE_foureyes-testbed"))
            .arg("balance")
            .arg(port.to_string())
            .args(backends.iter().map(|b| &b.argument))
            .spawn()
            .unwrap();
        Self { port, child }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }

    /// Who answers a new connection; nothing when nobody does.
    fn asks(&self) -> Option<char> {
        ask(&mut TcpStream::connect(("127.0.0.1", self.port)).ok()?)
    }

    fn answers(&self) -> String {
        let mut names: Vec<_> = (0..8).filter_map(|_| self.asks()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(stream: &mut TcpStream) -> Option<char> {
    stream.write_all(b"?").ok()?;
    let mut name = [0; 1];
    stream.read_exact(&mut name).ok()?;
    Some(name[0].into())
}

#[test]
fn new_connections_follow_readiness_and_standing_ones_stay() {
    let (a, b) = (Backend::new("a"), Backend::new("b"));
    let balancer = Balancer::new(&[&a, &b]);
    wait_until("both", LIMIT, || balancer.answers() == "ab").unwrap();

    let mut standing: Vec<_> = (0..4).map(|_| balancer.connect()).collect();
    let before: Vec<_> = standing.iter_mut().map(ask).collect();

    a.ready.store(false, Ordering::SeqCst);
    wait_until("b alone", LIMIT, || balancer.answers() == "b").unwrap();
    let after: Vec<_> = standing.iter_mut().map(ask).collect();
    assert_eq!(before, after);
    assert!(before.contains(&Some('a')));

    b.ready.store(false, Ordering::SeqCst);
    wait_until("nobody", LIMIT, || balancer.answers().is_empty()).unwrap();
    a.ready.store(true, Ordering::SeqCst);
    wait_until("a alone", LIMIT, || balancer.answers() == "a").unwrap();
}
