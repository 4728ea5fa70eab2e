//! Ways to close a connection.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    process::Child,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::selftest::{
    connection::{Role, await_connection},
    scene::{STEP_TO_TIME_WAIT, Scene},
};

pub(super) fn by_client(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    scene.close(pair, Role::Client)?;
    scene.settle()
}

pub(super) fn by_server(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    scene.close(pair, Role::Server)?;
    scene.settle()
}

/// The server closes when the mini-socket waits for it.
pub(super) fn by_client_alone(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    let server = scene.close_alone(pair, Role::Client)?;
    scene.close_second(server, Role::Server);
    scene.done.about(&STEP_TO_TIME_WAIT);
    scene.settle()
}

/// Both FINs are sent before either end has seen the other's; the client's
/// waits behind data that the server has not read, so that the server's meets a
/// client in FIN_WAIT1. The server's own is acknowledged by the time the client's
/// comes: of the two only the client goes through CLOSING.
pub(super) fn simultaneous(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let mut pair = scene.open(&listener)?;
    for end in [&mut pair.client, &mut pair.server] {
        fill(end).context("cannot fill a connection")?;
    }
    for end in [&pair.client, &pair.server] {
        end.shutdown(Shutdown::Write).context("cannot shut down")?;
    }
    for end in [&mut pair.client, &mut pair.server] {
        io::copy(end, &mut io::sink()).context("cannot read what the other end had sent")?;
    }
    scene.did(&["closes.active", "closers.server.active_closes", "closes.simultaneous"]);
    scene.born();
    scene.born();
    scene.settle()
}

/// Writes until nothing fits any more at either end.
fn fill(end: &mut TcpStream) -> io::Result<()> {
    /// What is under way can make room once more; so many refusals are final.
    const FINAL: u32 = 10;
    end.set_nonblocking(true)?;
    let mut refusals = 0;
    while refusals < FINAL {
        match end.write(&[0; 65_536]) {
            Ok(_) => refusals = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refusals += 1;
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
    end.set_nonblocking(false)
}

pub(super) fn cut_with_linger(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    for first in [Role::Client, Role::Server] {
        let pair = scene.open(&listener)?;
        scene.cut(pair, first)?;
    }
    scene.settle()
}

pub(super) fn cut_with_unread_data(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let mut pair = scene.open(&listener)?;
    pair.server.write_all(b"unread").context("cannot send")?;
    pair.client.peek(&mut [0]).context("cannot receive")?;
    drop(pair.client);
    scene.was_cut(&mut pair.server, Role::Client)?;
    scene.settle()
}

/// A listener that closes cuts what nobody has accepted.
pub(super) fn unaccepted(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let mut client = scene.connect()?;
    // The client is connected before its ACK is processed: earlier there is no socket to cut.
    await_connection(&listener)?;
    drop(listener);
    match client.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        read => bail!("the client saw {read:?} where an RST was due"),
    }
    scene.done.add("closes.reset", 2);
    scene.did(&["closes.reset_local", "closes.reset_remote", "closers.server.resets"]);
    scene.settle()
}

pub(super) fn process_killed(scene: &mut Scene) -> Result<()> {
    held_by_a_process(scene, |process, _| process.kill().context("cannot kill a process"))
}

pub(super) fn process_exited(scene: &mut Scene) -> Result<()> {
    // The process waits for a byte.
    held_by_a_process(scene, |_, server| server.write_all(b"x").context("cannot send"))
}

/// The client's end is closed by the kernel, for a process that is no more.
fn held_by_a_process(
    scene: &mut Scene,
    end: impl FnOnce(&mut Child, &mut TcpStream) -> Result<()>,
) -> Result<()> {
    let listener = scene.listen()?;
    let mut pair = scene.open(&listener)?;
    let mut process = scene.give_to_a_process(pair.client)?;
    let ended = end(&mut process, &mut pair.server);
    if ended.is_err() {
        // It ends by itself, too, when its end of the connection is closed.
        let _ = process.kill();
    }
    process.wait().context("cannot wait for a process")?;
    ended?;
    scene.process_closed(&mut pair.server)?;
    scene.close_second(pair.server, Role::Server);
    scene.settle()
}

/// The kernel makes no mini-socket above `tcp_max_tw_buckets`.
pub(super) fn refused_a_mini(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    scene.refuse_minis()?;
    for first in [Role::Client, Role::Server] {
        let pair = scene.open(&listener)?;
        scene.close(pair, first)?;
    }
    scene.settle()
}
