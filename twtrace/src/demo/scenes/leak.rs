//! A service that never closes what its clients have closed: its sockets stay in CLOSE_WAIT, and
//! their clients' linger in FIN_WAIT2 until the kernel gives them up.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use anyhow::Result;

use super::Scene;
use crate::demo::{
    actor::Actor,
    client::{self, ask},
    server,
};

pub(super) const SCENE: Scene = Scene {
    sysctls: &[],
    actors: &[
        Actor { name: "demo-leaky", play: leaky },
        Actor { name: "demo-caller", play: caller },
    ],
};

const PER_SECOND: u32 = 2;
/// With so many it lets go of all, as a service does that is restarted: below the limit on open
/// files of any system.
const RESTART: usize = 600;

fn leaky() -> Result<()> {
    let held = Mutex::new(Vec::new());
    server::serve(&[destination()], |stream| {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push(stream);
        if held.len() == RESTART {
            held.clear();
        }
        Ok(())
    })
}

fn caller() -> Result<()> {
    client::call_at(PER_SECOND, |_| ask(destination()).map(drop))
}

fn destination() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 9_090).into()
}
