//! CPU of the serving process per review, over TLS with connections that stay open, on one core. The client has the
//! other cores.

use std::thread;

use crate::child::Server;
use crate::client::{Connection, Endpoint, request};
use crate::report::{Report, Target};
use crate::{Result, SIZES, USUAL, body, index, process};

/// The core that the server may use.
const CORE: &str = "0";
/// Connections that are busy at a time: enough that the core is never idle.
const CONNECTIONS: u32 = 4;
const WARM_UP: u32 = 500;
const CALLS: u32 = 8_000;

pub fn measure(report: &mut Report) -> Result<()> {
    eprintln!("CPU per review over TLS");
    for size in SIZES {
        let review = body::deletion_in(index::PRODUCTION).review(size * 1000);
        let floor = per_review(&Server::start(&["floor", CORE])?, &review, "\"allowed\":true")?;
        report.note(format!("CPU of the floor, {size} KB"), format!("{floor:.1} µs"));
        let guard = per_review(&Server::start(&["guard", "0", CORE])?, &review, "DeletionNotRequested")?;
        let what = format!("CPU of a refusal, {size} KB");
        if size == USUAL {
            report.figure(what, guard, "µs", Target::AtMost(40.0));
        } else {
            report.note(what, format!("{guard:.1} µs"));
        }
    }
    Ok(())
}

/// In microseconds.
fn per_review(server: &Server, review: &[u8], expected: &str) -> Result<f64> {
    let request = request(review);
    drive(&server.endpoint, &request, expected, WARM_UP)?;
    let before = process::cpu(&server.pid())?;
    drive(&server.endpoint, &request, expected, CALLS)?;
    let spent = process::cpu(&server.pid())?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / f64::from(CALLS * CONNECTIONS))
}

fn drive(endpoint: &Endpoint, request: &[u8], expected: &str, calls: u32) -> Result<()> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(endpoint)?;
                    for _ in 0..calls {
                        connection.call(request, expected)?;
                    }
                    Result::<()>::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })
}
