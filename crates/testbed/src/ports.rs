//! Free loopback ports, so that one cluster never meets another.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// Below the range from which the kernel takes the ports of outgoing connections: a port found free here stays free
/// until the program that it is for binds it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// `N` different ports that nobody listens on.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // Two clusters that start at once look from different places.
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    let start = process::id().wrapping_mul(2_654_435_761).wrapping_add(clock);
    let offset = u16::try_from(start % u32::from(COUNT)).unwrap_or(0);

    let mut held: Vec<TcpListener> = Vec::with_capacity(N);
    let mut ports = [0; N];
    for step in 0..COUNT {
        if held.len() == N {
            break;
        }
        let port = FIRST + (offset + step) % COUNT;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            ports[held.len()] = port;
            held.push(listener);
        }
    }
    if held.len() == N {
        Ok(ports)
    } else {
        Err(Error::Other(format!("no {N} free ports between {FIRST} and {}", FIRST + COUNT)))
    }
}
