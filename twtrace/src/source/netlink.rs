//! The `none` tier: where no BPF is allowed, sock_diag is asked every interval.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::Result;
use log::warn;
use twtrace_common::TcpState;

use super::{
    Interval, Source,
    close_waits::{Places, Watch},
    kernel_counters::KernelReader,
    pace::Pace,
    seeding,
    settings::SettingsReader,
};
use crate::{
    bpf::{offsets, preflight},
    frame::{Frame, Polled, PolledMini, SeedSocket},
    host::{self, Netns, Reach, Socket},
    probes::Hooks,
};

/// Starts polling: the first look at all sockets comes at once, another and a
/// tick every `interval`.
///
/// # Errors
/// No thread, no file descriptor.
pub fn start(reach: Reach, netns: Option<u32>, interval: Interval) -> Result<Source> {
    let meta = super::meta(Hooks::POLLING, netns, tw_counts_births());
    let home = meta.home_netns;
    let kernel = KernelReader::new(reach.clone(), home, netns);
    let mut settings = SettingsReader::new(reach.clone(), home, netns);
    let mut poller = Poller::new(reach.clone(), netns);
    let reaching = reach.clone();
    let source = Source::start("sock-diag", meta, move |sender, stop| {
        let mut close_waits = CloseWaits::start(reach, netns)?;
        let mut pace = Pace::new(interval);
        // What is there already, and what the kernel has counted until then.
        let mut frames = settings.all(host::monotonic_ns());
        frames.extend([poller.look(), Frame::Kernel(kernel.all())]);
        let mut stopping = false;
        loop {
            frames.extend(close_waits.news());
            if pace.is_due(host::monotonic_ns()) || stopping {
                // Nothing tells where anything happened.
                frames.extend(settings.all_now_and_then(host::monotonic_ns()));
                frames.extend([Frame::Kernel(kernel.all()), poller.look()]);
                frames.push(super::tick(host::monotonic_ns()));
            }
            for frame in frames.drain(..) {
                close_waits.learn(&frame);
                if sender.blocking_send(frame).is_err() {
                    return Ok(());
                }
            }
            if stopping {
                return Ok(());
            }
            let now_ns = host::monotonic_ns();
            close_waits.ask(now_ns);
            stopping = stop.wait(pace.until_next(now_ns).min(close_waits.until_next(now_ns)))?;
        }
    });
    source.map(|source| source.reaching(reaching))
}

/// Looks at sockets in CLOSE_WAIT where the last look at all sockets showed any.
#[derive(Debug)]
struct CloseWaits {
    watch: Watch,
    /// By the last look at all; everywhere, before a look at them has told what it can.
    polled: Places,
    /// Where there were any, or may have been; `None` before the first look at them.
    holding: Option<BTreeSet<u32>>,
}

impl CloseWaits {
    fn start(reach: Reach, only: Option<u32>) -> Result<Self> {
        Ok(Self { watch: Watch::start(reach, only)?, polled: Places::All, holding: None })
    }

    fn news(&mut self) -> Vec<Frame> {
        let news = self.watch.news();
        self.holding = news.holding.or(self.holding.take());
        news.frames
    }

    fn learn(&mut self, frame: &Frame) {
        let Frame::Polled(polled) = frame else { return };
        self.polled = match polled {
            None => Places::All,
            Some(look) => {
                let any = look.sockets.iter().filter(|it| it.state == TcpState::CloseWait);
                let any = any.filter_map(|it| it.netns);
                Places::Netns(any.chain(look.failed.iter().copied()).collect())
            }
        };
    }

    fn ask(&mut self, now_ns: u64) {
        if !self.watch.is_due(now_ns) {
            return;
        }
        let places = match (&self.polled, &self.holding) {
            (Places::Netns(polled), Some(holding)) => Places::Netns(polled | holding),
            _ => Places::All,
        };
        self.watch.ask(now_ns, places);
    }

    fn until_next(&self, now_ns: u64) -> Duration {
        self.watch.until_next(now_ns)
    }
}

/// By the kernel's types, which anybody may read; `None` on a kernel without.
fn tw_counts_births() -> Option<bool> {
    let resolved = offsets::resolve(Path::new(preflight::KERNEL_BTF));
    resolved.ok().map(|resolved| resolved.tw_counts_births)
}

/// Asks sock_diag, and says once what it did not answer.
#[derive(Debug)]
pub(super) struct Poller {
    reach: Reach,
    only: Option<u32>,
    warned: bool,
}

impl Poller {
    pub(super) fn new(reach: Reach, only: Option<u32>) -> Self {
        Self { reach, only, warned: false }
    }

    /// All sockets of the host, or of one namespace; `None` if no namespace
    /// could be looked at. One that is gone has no sockets.
    pub(super) fn look(&mut self) -> Frame {
        let mut look = Look::default();
        let time_ns = host::monotonic_ns();
        let looked = seeding::look(&self.reach, self.only, |netns| look.at(netns));
        let complete = looked.first.is_none();
        let answered = looked.looked_at > 0 || complete;
        if let Some(first) = looked.first.filter(|_| !std::mem::replace(&mut self.warned, true)) {
            warn!("some sockets are left out: {first}");
        }
        Frame::Polled(answered.then(|| Polled {
            time_ns,
            until_ns: host::monotonic_ns(),
            states: look.states.into_iter().collect(),
            sockets: look.sockets,
            minis: look.minis,
            looked_at: look.looked_at,
            failed: look.failed,
            complete,
        }))
    }
}

/// What one look shows.
#[derive(Debug, Default)]
struct Look {
    states: BTreeMap<TcpState, u64>,
    sockets: Vec<SeedSocket>,
    minis: Vec<PolledMini>,
    looked_at: Vec<u32>,
    failed: Vec<u32>,
}

impl Look {
    fn at(&mut self, netns: &Netns) -> Result<()> {
        let (known, known_sockets) = (self.minis.len(), self.sockets.len());
        let dump = host::visit_tcp_sockets(netns, host::ALL_STATES, |socket| {
            *self.states.entry(socket.state).or_default() += 1;
            self.minis.extend(socket.mini.then(|| mini(netns, socket)));
            let is_full = seeding::has_transitions(socket);
            self.sockets.extend(is_full.then(|| seeding::seed(netns, socket, true)));
        });
        if dump.is_ok() {
            self.looked_at.push(netns.inode);
        } else {
            // Those that a broken dump does not show need not be gone.
            self.minis.truncate(known);
            self.sockets.truncate(known_sockets);
            self.failed.push(netns.inode);
        }
        dump.map(drop)
    }
}

fn mini(netns: &Netns, socket: &Socket) -> PolledMini {
    PolledMini {
        netns: netns.inode,
        cookie: socket.cookie,
        substate: socket.state,
        expires_ms: socket.expires_ms,
        tuple: seeding::tuple(socket),
    }
}
