//! Ends of mini-sockets.

use std::{io::Write, thread, time::Duration};

use anyhow::{Context, Result};

use crate::{
    host,
    selftest::{
        connection::{Role, cut_off},
        scene::Scene,
        segment,
    },
};

/// TIME_WAIT takes 60 s, and the timer wheel up to 5 s more (at HZ=100).
const EXPIRY: Duration = Duration::from_secs(70);
/// In whole seconds; a busy machine may need one more.
const EXPIRES: (u64, u64) = (60, 66);
/// `tcp_tw_reuse_delay` is a second; before it, up to the next second.
const REUSE_DELAY: Duration = Duration::from_millis(1_100);

pub(super) fn expired(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    for first in [Role::Client, Role::Server] {
        let pair = scene.open(&listener)?;
        scene.close(pair, first)?;
        scene.lived(first, EXPIRES.0, EXPIRES.1);
    }
    scene.settle()?;
    scene.ended("time_wait.ended.expired");
    scene.ended("time_wait.ended.expired");
    scene.aside(|scene| scene.settle_within(EXPIRY))
}

pub(super) fn expired_out_of_fin_wait2(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    let server = scene.close_alone(pair, Role::Client)?;
    scene.close_second(server, Role::Server);
    scene.ended("time_wait.ended.expired");
    scene.lived(Role::Client, EXPIRES.0, EXPIRES.1);
    scene.aside(|scene| scene.settle_within(EXPIRY))
}

/// The peer never closes.
pub(super) fn fin_wait2_timeout(scene: &mut Scene) -> Result<()> {
    // Long enough to be seen alive on a busy machine.
    scene.set("ipv4/tcp_fin_timeout", "2")?;
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    let server = scene.close_alone(pair, Role::Client)?;
    scene.ended("time_wait.ended.fin_wait2_timeout");
    scene.lived(Role::Client, 2, 3);
    scene.aside(|scene| scene.settle())?;
    drop(server);
    scene.did(&["closers.server.peer_closes"]);
    Ok(())
}

/// An old duplicate makes it start its 60 s anew; the RST that follows is
/// ignored, as [RFC 1337](https://www.rfc-editor.org/rfc/rfc1337) recommends.
pub(super) fn rearmed(scene: &mut Scene) -> Result<()> {
    scene.set("ipv4/tcp_rfc1337", "1")?;
    meet_an_old_duplicate(scene)?;
    scene.done.about(&["time_wait.rearmed"]);
    scene.settle()
}

/// Without that, the RST ends it: the hazard H2 of RFC 1337. The other end does
/// not know the connection any more that the acknowledgement is for.
pub(super) fn reset_in_time_wait(scene: &mut Scene) -> Result<()> {
    meet_an_old_duplicate(scene)?;
    scene.ended("time_wait.ended.reset");
    scene.settle()
}

fn meet_an_old_duplicate(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    let ends = pair.server.local_addr().and_then(|from| Ok((from, pair.client.local_addr()?)));
    scene.close(pair, Role::Client)?;
    scene.settle()?;
    drop(listener);
    let (from, to) = ends.context("a connection has no addresses")?;
    segment::send_old_duplicate(from, to)?;
    scene.done.add_background("time_wait.rearmed");
    Ok(())
}

/// There is but one port, and it is given up after the delay.
pub(super) fn reused(scene: &mut Scene) -> Result<()> {
    scene.leave_one_port()?;
    scene.set("ipv4/tcp_tw_reuse", "1")?;
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    scene.close(pair, Role::Client)?;
    scene.settle()?;
    // Nothing tells when it is over but the clock.
    scene.aside(|_| thread::sleep(REUSE_DELAY));
    let pair = scene.open(&listener)?;
    scene.ended("time_wait.ended.reused");
    scene.close(pair, Role::Client)?;
    scene.settle()
}

/// A port of one's own choice is given up at once, whatever tcp_tw_reuse says.
pub(super) fn reused_bound(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open_bound(&listener)?;
    scene.close(pair, Role::Client)?;
    scene.settle()?;
    let pair = scene.open_bound(&listener)?;
    scene.did(&["time_wait.ended.reused_bound"]);
    scene.ended("time_wait.ended.reused");
    scene.close(pair, Role::Client)?;
    scene.settle()
}

/// The server has the mini-socket; its client comes again from the same port.
pub(super) fn replaced(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open_bound(&listener)?;
    scene.close(pair, Role::Server)?;
    scene.settle()?;
    let pair = scene.open_bound(&listener)?;
    scene.ended("time_wait.ended.replaced");
    scene.close(pair, Role::Server)?;
    scene.settle()
}

pub(super) fn reset_in_fin_wait2(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    let server = scene.close_alone(pair, Role::Client)?;
    cut_off(server)?;
    scene.ended("time_wait.ended.reset");
    scene.settle()
}

/// Data that nobody will ever read.
pub(super) fn rejected(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    let mut server = scene.close_alone(pair, Role::Client)?;
    server.write_all(b"too late").context("cannot send")?;
    scene.ended("time_wait.ended.rejected");
    scene.settle()
}

/// Both substates, as `ss --kill` does it.
pub(super) fn aborted(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    let pair = scene.open(&listener)?;
    scene.close(pair, Role::Client)?;
    let pair = scene.open(&listener)?;
    let server = scene.close_alone(pair, Role::Client)?;
    for socket in host::tcp_sockets(scene.netns.handle(), host::ALL_STATES)? {
        if !socket.mini {
            continue;
        }
        if host::destroy(scene.netns.handle(), &socket)? {
            scene.ended("time_wait.ended.aborted");
        } else {
            let why = "it ends no mini-socket on demand (SOCK_DESTROY: EOPNOTSUPP)";
            scene.done.impossible = Some(why.to_owned());
        }
    }
    scene.settle()?;
    if scene.done.impossible.is_some() {
        scene.close_second(server, Role::Server);
    } else {
        // Nobody knows of its connection any more.
        drop(server);
        scene.did(&["closers.server.peer_closes"]);
    }
    Ok(())
}

/// They go with their network namespace, which this scene leaves.
pub(super) fn purged(scene: &mut Scene) -> Result<()> {
    let listener = scene.listen()?;
    for _ in 0..3 {
        let pair = scene.open(&listener)?;
        scene.close(pair, Role::Client)?;
    }
    scene.settle()?;
    for _ in 0..3 {
        scene.ended("time_wait.ended.purged");
    }
    Ok(())
}
