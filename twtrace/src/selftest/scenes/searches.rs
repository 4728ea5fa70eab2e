//! Searches for a local port, and which calls do one.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use rustix::{
    io::Errno,
    net::{bind, connect, listen},
};

use crate::selftest::{
    connection::{Role, accepted},
    scene::{CLIENT, LISTENER, Scene},
};

/// bind to port 0, to a port of our choice, and listen without a port.
pub(super) fn found(scene: &mut Scene) -> Result<()> {
    for port in [0, LISTENER] {
        let socket = scene.socket()?;
        bind(&socket, &scene.family.localhost(port)).context("cannot bind")?;
        // A port that is there already is not searched for again.
        listen(&socket, 1).context("cannot listen")?;
    }
    scene.did(&["port_search.bind.count", "port_search.bind_explicit.count"]);
    let unbound = scene.socket()?;
    listen(&unbound, 1).context("cannot listen")?;
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
        bind(&first, &address).context("cannot bind")?;
        scene.did(&keys[..1]);
        let bound = bind(&second, &address);
        ensure!(bound == Err(Errno::ADDRINUSE), "bind gave {bound:?} where no port is free");
        scene.did(&keys);
    }
    Ok(())
}

/// What each call that has to do with a port makes of it
/// ([`__inet_bind`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/af_inet.c#L450-L560),
/// [`inet_csk_listen_start`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c#L1250-L1290)).
pub(super) fn by_call(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    // Bound, and then listened to: a second check of the port, which is not counted.
    for (port, found) in
        [(0, "port_search.bind.count"), (CLIENT, "port_search.bind_explicit.count")]
    {
        let socket = bound(scene, port)?;
        scene.did(&[found]);
        listen(&socket, 1).context("cannot listen")?;
    }
    let unbound = scene.socket()?;
    listen(&unbound, 1).context("cannot listen without a port")?;
    scene.did(&["port_search.bind.count"]);
    // Connected from no port.
    let pair = scene.open(&listener)?;
    scene.close(pair, Role::Client)?;
    // From one that bind found: no second search.
    let socket = bound(scene, 0)?;
    scene.did(&["port_search.bind.count", "connects.ok"]);
    connect(&socket, &scene.family.localhost(LISTENER)).context("cannot connect")?;
    let pair = accepted(socket.into(), &listener)?;
    scene.close(pair, Role::Client)?;
    scene.settle()
}

fn bound(scene: &Scene, port: u16) -> Result<OwnedFd> {
    let socket = scene.socket()?;
    bind(&socket, &scene.family.localhost(port)).context("cannot bind")?;
    Ok(socket)
}
