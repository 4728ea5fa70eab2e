//! Searches for a local port that are not connect's.

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;

use crate::selftest::scene::{LISTENER, Scene};

/// bind to port 0, to a port of our choice, and listen without a port.
pub(super) fn found(scene: &mut Scene) -> Result<()> {
    for port in [0, LISTENER] {
        let socket = scene.socket()?;
        rustix::net::bind(&socket, &scene.family.localhost(port)).context("cannot bind")?;
        // A port that is there already is not searched for again.
        rustix::net::listen(&socket, 1).context("cannot listen")?;
    }
    scene.did(&["port_search.bind.count", "port_search.bind_explicit.count"]);
    let unbound = scene.socket()?;
    rustix::net::listen(&unbound, 1).context("cannot listen")?;
    scene.did(&["port_search.bind.count"]);
    Ok(())
}

/// EADDRINUSE: by a port of our choice that is taken, and by none that is left.
pub(super) fn failed(scene: &mut Scene) -> Result<()> {
    scene.leave_one_port()?;
    for (port, keys) in [
        (LISTENER, ["port_search.bind_explicit.count", "port_search.bind_explicit.failed"]),
        (0, ["port_search.bind.count", "port_search.bind.failed"]),
    ] {
        let (first, second) = (scene.socket()?, scene.socket()?);
        let address = scene.family.localhost(port);
        rustix::net::bind(&first, &address).context("cannot bind")?;
        scene.did(&keys[..1]);
        let bound = rustix::net::bind(&second, &address);
        ensure!(bound == Err(Errno::ADDRINUSE), "bind gave {bound:?} where no port is free");
        scene.did(&keys);
    }
    Ok(())
}
