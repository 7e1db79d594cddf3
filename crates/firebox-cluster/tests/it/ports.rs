//! Ports for servers that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};

/// A loopback port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
