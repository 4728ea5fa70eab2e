//! Connects that fail.

use std::{
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    io::Errno,
    net::{SocketFlags, sockopt},
};

use crate::selftest::{
    connection::{Pair, Role},
    scene::{LISTENER, Scene},
};

pub(super) fn refused(scene: &mut Scene) -> Result<()> {
    scene.fail_to_connect(Errno::CONNREFUSED)?;
    scene.did(&["connects.refused"]);
    Ok(())
}

pub(super) fn no_port(scene: &mut Scene) -> Result<()> {
    scene.leave_one_port()?;
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    scene.fail_to_connect(Errno::ADDRNOTAVAIL)?;
    scene.did(&["connects.no_port", "port_search.connect.failed"]);
    scene.close(pair, Role::Client)?;
    scene.settle()
}

pub(super) fn timed_out(scene: &mut Scene) -> Result<()> {
    // One SYN more than the first: 2 or 3 s.
    scene.set("ipv4/tcp_syn_retries", "1")?;
    let full = FullListener::new(scene)?;
    scene.aside(|scene| scene.fail_to_connect(Errno::TIMEDOUT))?;
    scene.did(&["connects.timed_out"]);
    full.close(scene)
}

/// The process closes the socket while it waits for an answer.
pub(super) fn given_up(scene: &mut Scene) -> Result<()> {
    let full = FullListener::new(scene)?;
    let socket = scene.socket_with(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let connected = rustix::net::connect(&socket, &scene.family.localhost(LISTENER));
    ensure!(connected == Err(Errno::INPROGRESS), "connect gave {connected:?} at a full listener");
    drop(socket);
    scene.did(&["connects.other", "port_search.connect.count"]);
    full.close(scene)
}

/// A listener with as many connections as it lets wait for accept: the kernel
/// drops every further SYN
/// ([`tcp_conn_request`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c)).
struct FullListener {
    listener: OwnedFd,
    clients: Vec<TcpStream>,
}

impl FullListener {
    /// With a backlog of 1, two may wait.
    const WAITING: usize = 2;

    fn new(scene: &mut Scene) -> Result<Self> {
        let listener = scene.socket()?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        rustix::net::bind(&listener, &scene.family.localhost(LISTENER)).context("cannot bind")?;
        rustix::net::listen(&listener, 1).context("cannot listen")?;
        scene.bound();
        let clients = (0..Self::WAITING).map(|_| scene.connect()).collect::<Result<_>>()?;
        Ok(Self { listener, clients })
    }

    /// Takes them in and closes them.
    fn close(self, scene: &mut Scene) -> Result<()> {
        let listener = TcpListener::from(self.listener);
        for client in self.clients {
            let (server, _) = listener.accept().context("cannot accept")?;
            let pair = Pair { client, server };
            scene.close(pair, Role::Client)?;
        }
        scene.settle()
    }
}
