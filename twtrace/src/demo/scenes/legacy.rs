//! A server that closes first, as those of HTTP/1.0 do: the TIME_WAITs are the server's.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::Scene;
use crate::demo::{
    actor::Actor,
    client::{self, ask, expect_end},
    server::{self, close_first},
};

pub(super) const SCENE: Scene = Scene {
    sysctls: &[],
    actors: &[
        Actor { name: "demo-legacy", play: legacy },
        Actor { name: "demo-poller", play: poller },
    ],
};

const PER_SECOND: u32 = 40;

fn legacy() -> Result<()> {
    server::serve(&[destination()], close_first)
}

fn poller() -> Result<()> {
    client::call_at(PER_SECOND, |_| expect_end(ask(destination())?))
}

fn destination() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 8_000).into()
}
