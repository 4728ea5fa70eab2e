//! A client that opens a connection for every question, and closes first: TIME_WAITs that are
//! its own. One in fifty it gives up, by RST.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use super::Scene;
use crate::{
    demo::{
        actor::Actor,
        client::{self, ask, cut_off},
        server::{self, close_second},
    },
    host,
};

pub(super) const SCENE: Scene = Scene {
    sysctls: &[],
    actors: &[
        Actor { name: "demo-catalog", play: catalog },
        Actor { name: "demo-shop", play: shop },
    ],
};

const PER_SECOND: u32 = 300;
/// One question in so many is given up.
const GIVEN_UP: u64 = 50;
/// Which destination is asked in turn: the first is asked most.
const TURNS: [usize; 8] = [0, 1, 0, 2, 0, 1, 0, 3];

fn catalog() -> Result<()> {
    server::serve(&destinations(), close_second)
}

fn shop() -> Result<()> {
    let destinations = destinations();
    client::call_at(PER_SECOND, |number| {
        let turn = TURNS[number as usize % TURNS.len()];
        let stream = ask(destinations[turn % destinations.len()])?;
        if number % GIVEN_UP == GIVEN_UP - 1 {
            return cut_off(stream);
        }
        drop(stream);
        Ok(())
    })
}

/// Without IPv6 one less.
fn destinations() -> Vec<SocketAddr> {
    let mut destinations: Vec<SocketAddr> = vec![
        (Ipv4Addr::new(127, 0, 1, 1), 8_080).into(),
        (Ipv4Addr::new(127, 0, 1, 2), 8_080).into(),
        (Ipv4Addr::new(127, 0, 1, 2), 8_443).into(),
    ];
    if host::has_ipv6() {
        destinations.push((Ipv6Addr::LOCALHOST, 8_080).into());
    }
    destinations
}
