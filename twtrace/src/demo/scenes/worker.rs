//! A client with few ports, each of which it leaves in TIME_WAIT: past the knee after 23 s, and
//! without a port from 45 s on. After 60 s the first expire, and it begins anew: of each minute
//! 15 s are without a port.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::Scene;
use crate::demo::{
    actor::Actor,
    client::{self, ask},
    server::{self, close_second},
};

pub(super) const SCENE: Scene = Scene {
    sysctls: &[
        // 45 s of them.
        ("ipv4/ip_local_port_range", "32768 34567"),
        // On loopback the kernel would take ports again after a second
        // (https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c, `tcp_twsk_unique`).
        ("ipv4/tcp_tw_reuse", "0"),
    ],
    actors: &[
        Actor { name: "demo-database", play: database },
        Actor { name: "demo-worker", play: worker },
    ],
};

/// A search that finds none walks the whole range: it costs 0.1 ms, so that is what bounds it.
const PER_SECOND: u32 = 40;

fn database() -> Result<()> {
    server::serve(&[destination()], close_second)
}

fn worker() -> Result<()> {
    client::call_at(PER_SECOND, |_| ask(destination()).map(drop))
}

fn destination() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 5_432).into()
}
