//! What a scene is played with. Each step is done with real sockets and booked.

use std::{
    io::{ErrorKind, Read},
    net::{Shutdown, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    io::Errno,
    net::{SocketFlags, SocketType, sockopt},
};

use super::{
    case::{Count, Done, Key},
    connection::{Family, Pair, Role, STEP, accepted, cut_off, expect_end},
};
use crate::{
    cli::HOLD,
    host::{self, PrivateNetns},
};

/// Between two looks at what the kernel counts.
const LOOK: Duration = Duration::from_millis(10);
/// Where the listener listens.
pub(super) const LISTENER: u16 = 9_000;
/// A client's port, where it chooses one, or has no choice.
pub(super) const CLIENT: u16 = 9_998;

/// What a FIN for a FIN_WAIT2 mini-socket does.
pub(super) const STEP_TO_TIME_WAIT: [Key; 2] = ["fin_wait2.to_time_wait", "time_wait.rearmed"];

/// One scene acts at a time. On kernels that let programs be preempted, a crowd
/// makes them miss runs; and a process that is started has for a moment all that
/// is open here, so that another scene's connection could be closed by it.
static FLOOR: Mutex<()> = Mutex::new(());

/// The calling thread's namespace, and what was done there.
pub(super) struct Scene {
    /// `None` while it only waits.
    floor: Option<MutexGuard<'static, ()>>,
    pub(super) netns: PrivateNetns,
    pub(super) family: Family,
    pub(super) done: Done,
    /// Mini-sockets that must be there.
    alive: u64,
    /// The kernel makes none.
    refuses: bool,
}

impl Scene {
    pub(super) fn new(netns: PrivateNetns, family: Family) -> Self {
        let floor = Some(take_the_floor());
        Self { floor, netns, family, done: Done::default(), alive: 0, refuses: false }
    }

    /// Does what takes time and closes nothing; others act meanwhile.
    pub(super) fn aside<T>(&mut self, wait: impl FnOnce(&mut Self) -> T) -> T {
        self.floor = None;
        let waited = wait(self);
        self.floor = Some(take_the_floor());
        waited
    }

    /// Each of these happened once more.
    pub(super) fn did(&mut self, keys: &[Key]) {
        for key in keys {
            self.done.add(key, 1);
        }
    }

    /// A port of our choice was checked, which the scene is not about.
    pub(super) fn bound(&mut self) {
        self.done.add_background("port_search.bind_explicit.count");
    }

    /// How long the mini-sockets of `role` lived, in whole seconds.
    pub(super) fn lived(&mut self, role: Role, least: u64, most: u64) {
        self.done.is(role.lifetime(), Count::between(least, most));
    }

    /// Sets a sysctl, such as `ipv4/tcp_fin_timeout`.
    pub(super) fn set(&self, key: &str, value: &str) -> Result<()> {
        self.netns.set(key, value)
    }

    /// Leaves one port to connect from, and to be found by bind.
    pub(super) fn leave_one_port(&self) -> Result<()> {
        self.set("ipv4/ip_local_port_range", &format!("{CLIENT} {CLIENT}"))
    }

    /// From now on the kernel makes no mini-socket.
    pub(super) fn refuse_minis(&mut self) -> Result<()> {
        self.refuses = true;
        self.set("ipv4/tcp_max_tw_buckets", "0")
    }

    /// Listens on a port of our choice, which is checked once.
    pub(super) fn listen(&mut self) -> Result<TcpListener> {
        let listener = TcpListener::bind(self.family.any(LISTENER)).context("cannot listen")?;
        // Bounds accept; what it returns inherits it.
        sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(STEP))?;
        self.bound();
        Ok(listener)
    }

    /// Connects from a port that the kernel finds.
    pub(super) fn open(&mut self, listener: &TcpListener) -> Result<Pair> {
        let client = self.connect()?;
        accepted(client, listener)
    }

    /// The client's end alone.
    pub(super) fn connect(&mut self) -> Result<TcpStream> {
        let client =
            TcpStream::connect(self.family.localhost(LISTENER)).context("cannot connect")?;
        self.did(&["connects.ok", "port_search.connect.count"]);
        Ok(client)
    }

    /// Connects from a port of our choice, which nobody searches for.
    pub(super) fn open_bound(&mut self, listener: &TcpListener) -> Result<Pair> {
        let socket = self.socket()?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &self.family.localhost(CLIENT)).context("cannot bind")?;
        rustix::net::connect(&socket, &self.family.localhost(LISTENER))
            .context("cannot connect from a bound port")?;
        self.did(&["connects.ok"]);
        self.bound();
        accepted(socket.into(), listener)
    }

    pub(super) fn socket(&self) -> Result<OwnedFd> {
        self.socket_with(SocketFlags::CLOEXEC)
    }

    pub(super) fn socket_with(&self, flags: SocketFlags) -> Result<OwnedFd> {
        rustix::net::socket_with(self.family.domain(), SocketType::STREAM, flags, None)
            .context("cannot make a socket")
    }

    /// Connects from a port that the kernel is to find, and fails.
    pub(super) fn fail_to_connect(&mut self, errno: Errno) -> Result<()> {
        let socket = self.socket()?;
        let connected = rustix::net::connect(&socket, &self.family.localhost(LISTENER));
        ensure!(connected == Err(errno), "connect gave {connected:?} where {errno:?} was due");
        self.did(&["port_search.connect.count"]);
        Ok(())
    }

    /// `first` sends its FIN and waits for the other's: its mini-socket is born
    /// in TIME_WAIT.
    pub(super) fn close(&mut self, pair: Pair, first: Role) -> Result<()> {
        let (mut end, mut other) = pair.ends(first);
        end.shutdown(Shutdown::Write).context("cannot shut down")?;
        expect_end(&mut other)?;
        drop(other);
        expect_end(&mut end)?;
        self.closed(first);
        self.did(&[first.other().peer_closes()]);
        if self.refuses {
            self.did(&["time_wait.refused"]);
        } else {
            self.born();
        }
        Ok(())
    }

    /// `first` closes; the other end, which is returned, has seen it and stays
    /// open, so that the mini-socket is born in FIN_WAIT2.
    pub(super) fn close_alone(&mut self, pair: Pair, first: Role) -> Result<TcpStream> {
        let (end, mut other) = pair.ends(first);
        drop(end);
        expect_end(&mut other)?;
        self.did(&[first.active_closes()]);
        self.left_alone()?;
        Ok(other)
    }

    /// The end of another process was closed, as in [`Self::close_alone`].
    pub(super) fn process_closed(&mut self, other: &mut TcpStream) -> Result<()> {
        expect_end(other)?;
        self.did(&["closers.child.active_closes"]);
        self.left_alone()
    }

    fn left_alone(&mut self) -> Result<()> {
        self.did(&["closes.active", "closes.passive", "fin_wait2.born"]);
        self.born();
        // The acknowledgement of the FIN may be delayed, and the birth with it.
        self.settle()
    }

    fn closed(&mut self, first: Role) {
        self.did(&["closes.active", "closes.passive", first.active_closes()]);
    }

    /// The other end of [`Self::close_alone`] closes: FIN_WAIT2 becomes TIME_WAIT.
    pub(super) fn close_second(&mut self, end: TcpStream, role: Role) {
        drop(end);
        self.did(&[role.peer_closes()]);
        STEP_TO_TIME_WAIT.iter().for_each(|key| self.done.add_background(key));
    }

    /// `first` cuts the connection with SO_LINGER 0.
    pub(super) fn cut(&mut self, pair: Pair, first: Role) -> Result<()> {
        let (end, mut other) = pair.ends(first);
        cut_off(end)?;
        self.was_cut(&mut other, first)
    }

    /// `other` sees the RST of `first`.
    pub(super) fn was_cut(&mut self, other: &mut TcpStream, first: Role) -> Result<()> {
        match other.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            read => bail!("the other end saw {read:?} where an RST was due"),
        }
        self.done.add("closes.reset", 2);
        self.did(&["closes.reset_local", "closes.reset_remote", first.resets()]);
        Ok(())
    }

    /// Hands `end` to a process of its own, which holds it until it is killed
    /// or reads a byte.
    pub(super) fn give_to_a_process(&self, end: TcpStream) -> Result<Child> {
        Command::new("/proc/self/exe")
            .arg0("twtrace")
            .arg(HOLD)
            .stdin(OwnedFd::from(end))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a process of our own program: mount /proc")
    }

    pub(super) fn born(&mut self) {
        self.did(&["time_wait.born"]);
        self.alive += 1;
    }

    /// A mini-socket came to this end.
    pub(super) fn ended(&mut self, end: Key) {
        self.did(&[end]);
        self.alive = self.alive.saturating_sub(1);
    }

    /// Waits until the kernel has as many mini-sockets as there must be.
    pub(super) fn settle(&self) -> Result<()> {
        self.settle_within(STEP)
    }

    pub(super) fn settle_within(&self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let there = host::tcp_counters(self.netns.handle())?.tw_sockets;
            if there == Some(self.alive) {
                return Ok(());
            }
            ensure!(
                start.elapsed() < limit,
                "the kernel has {there:?} mini-sockets (sockstat), where {} are due",
                self.alive
            );
            thread::sleep(LOOK);
        }
    }
}

fn take_the_floor() -> MutexGuard<'static, ()> {
    FLOOR.lock().unwrap_or_else(PoisonError::into_inner)
}
