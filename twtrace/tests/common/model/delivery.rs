//! How what happened gets told: in order and completely, or not.

use std::fmt;

use bytes::Bytes;
use proptest::prelude::*;
use twtrace::{
    event::{ConnectEvent, MiniEvent, SearchEvent},
    frame::{Frame, SeedMini, SeedSocket},
    probes::{Capability, Hooks},
};
use twtrace_common::{ProcessKey, Search, TcpState};

use super::{
    life::{Act, Birth, Change},
    world::{Happening, History},
};
use crate::common::kernel::{Fate, PaperKernel, Seen, Task, at, bound};

/// When the last Snapshot is taken, after the start: everything has happened by then.
pub(crate) const END_S: f64 = 10.0;

/// What becomes of the record of one thing.
#[derive(Clone, Copy)]
pub(crate) struct Luck {
    pub(crate) fate: Fate,
    /// It comes twice.
    pub(crate) doubled: bool,
    /// So many others overtake it.
    pub(crate) late: usize,
    /// So much earlier says the clock of its processor.
    pub(crate) back_ns: u64,
}

/// A failure is easier to read if it shows what went wrong alone.
impl fmt::Debug for Luck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fate, doubled, late, back_ns } = *self;
        let wrong = [
            (fate != Fate::Written).then(|| format!("{fate:?}")),
            doubled.then(|| "Doubled".to_owned()),
            (late > 0).then(|| format!("Late({late})")),
            (back_ns > 0).then(|| format!("Back({back_ns} ns)")),
        ];
        let wrong: Vec<String> = wrong.into_iter().flatten().collect();
        let shown = wrong.join("+");
        f.write_str(if wrong.is_empty() { "Good" } else { &shown })
    }
}

/// What was told, and what was lost on the way.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Each with the totals after it, and how long after the start that is, in seconds.
    pub(crate) batches: Vec<([Frame; 2], f64)>,
    pub(crate) seed: Option<Frame>,
    pub(crate) ring_full: u64,
    pub(crate) missed: u64,
    /// Of `missed`, births.
    pub(crate) births_missed: u64,
    pub(crate) doubled: u64,
    /// Records of which anything went wrong.
    pub(crate) wrong: u64,
}

impl Luck {
    fn is_good(&self) -> bool {
        let Self { fate, doubled, late, back_ns } = *self;
        (fate, doubled, late, back_ns) == (Fate::Written, false, 0, 0)
    }
}

/// Everything in order, and nothing lost.
pub(crate) fn good() -> Luck {
    Luck { fate: Fate::Written, doubled: false, late: 0, back_ns: 0 }
}

/// Records that find no room, now and then.
pub(crate) fn full_ring() -> impl Strategy<Value = Luck> {
    let fate = prop_oneof![4 => Just(Fate::Written), 1 => Just(Fate::RingFull)];
    fate.prop_map(|fate| Luck { fate, ..good() })
}

/// Whatever can go wrong.
pub(crate) fn any_luck() -> impl Strategy<Value = Luck> {
    let fate = prop_oneof![
        12 => Just(Fate::Written),
        1 => Just(Fate::RingFull),
        1 => Just(Fate::Missed),
    ];
    let back = prop_oneof![12 => Just(0), 1 => 0_u64..2_000_000_000, 1 => Just(u64::MAX)];
    let late = prop_oneof![8 => Just(0), 1 => 1_usize..6];
    (fate, prop::bool::weighted(0.05), late, back).prop_map(|(fate, doubled, late, back_ns)| Luck {
        fate,
        doubled,
        late,
        back_ns,
    })
}

/// Tells it in `parts`.
pub(crate) fn tell(history: &History, hooks: Hooks, parts: usize) -> Told {
    let mut kernel = PaperKernel::new(hooks);
    let mut told = Told { seed: Some(seed(history, hooks)), ..Told::default() };
    let mut pieces = Vec::new();
    let part = history.happenings.len().div_ceil(parts).max(1);
    for (number, happening) in history.happenings.iter().enumerate() {
        let luck = happening.luck;
        told.wrong += u64::from(!luck.is_good());
        let records = act(&mut kernel, hooks, happening, &mut told);
        pieces.push((number + luck.late, number, records.clone()));
        if luck.doubled && !records.is_empty() {
            told.doubled += 1;
            pieces.push((number + luck.late + 1, number, records));
        }
        if (number + 1) % part == 0 {
            let after_s = (happening.time_ns - at(0.0)) as f64 / 1e9;
            told.batches.push(([batch(&mut pieces, number), kernel.totals()], after_s));
        }
    }
    let rest = batch(&mut pieces, usize::MAX);
    told.batches.push(([rest, kernel.totals()], END_S));
    told
}

/// What has arrived by now, in the order in which it does.
fn batch(pieces: &mut Vec<(usize, usize, Bytes)>, now: usize) -> Frame {
    pieces.sort_by_key(|(arrives, number, _)| (*arrives, *number));
    let (here, later): (Vec<_>, Vec<_>) =
        std::mem::take(pieces).into_iter().partition(|(arrives, ..)| *arrives <= now);
    *pieces = later;
    Frame::Records(here.iter().flat_map(|(.., records)| records.iter().copied()).collect())
}

fn act(kernel: &mut PaperKernel, hooks: Hooks, it: &Happening, told: &mut Told) -> Bytes {
    let luck = it.luck;
    let time_ns = it.time_ns.saturating_sub(luck.back_ns);
    let mini = |substate| MiniEvent {
        time_ns,
        tw: it.tw,
        netns: it.netns,
        substate,
        tuple: it.tuple,
        timestamps: None,
    };
    let is_missed = luck.fate == Fate::Missed;
    let missed = kernel.missed();
    let lost = kernel.lost();
    match it.step.act {
        Act::Transition(_) if is_missed => kernel.miss(),
        Act::Transition(change) => kernel.transition(&seen(it, change, time_ns, luck)),
        Act::Located => located(kernel, hooks, it, time_ns, luck.fate),
        Act::Birth(substate) => {
            kernel.birth(&mini(substate), luck.fate);
            told.births_missed += u64::from(is_missed);
        }
        Act::Step => kernel.step(&mini(TcpState::TimeWait), luck.fate),
        Act::End(substate, end) => kernel.end(&mini(substate), end, luck.fate),
        Act::Refuse => kernel.refuse(&mini(TcpState::TimeWait), luck.fate),
    }
    told.missed += kernel.missed() - missed;
    told.ring_full += kernel.lost() - lost;
    match kernel.records() {
        Frame::Records(records) => records,
        other => panic!("no records: {other:?}"),
    }
}

fn seen(it: &Happening, change: Change, time_ns: u64, luck: Luck) -> Seen {
    Seen {
        time_ns,
        sk: it.sk,
        netns: it.netns,
        old: change.old,
        new: change.new,
        tuple: it.tuple,
        locked: change.by.is_some(),
        error: change.error,
        shutdown: change.shutdown,
        own_range: None,
        current: change.by.map(|by| Task::new(by, 1, b"process")),
        ring_full: luck.fate == Fate::RingFull,
    }
}

/// Where the function is probed its return tells it, else what comes after it.
fn located(kernel: &mut PaperKernel, hooks: Hooks, it: &Happening, time_ns: u64, fate: Fate) {
    let (sk, lport) = (it.sk, it.tuple.lport);
    if !hooks.probes_functions(Capability::PortSearch) {
        return kernel.connect(&ConnectEvent { time_ns, sk, lport }, fate);
    }
    // The paper kernel loses no searches.
    let owner = ProcessKey { start_time_ns: 1_000_000_000, tgid: it.life.opener, padding: 0 };
    let search = SearchEvent {
        time_ns,
        sk,
        lport,
        raddr: it.tuple.raddr,
        rport: it.tuple.rport,
        ..bound(it.netns, Search::Connect, 1_000, owner)
    };
    kernel.search(time_ns, lport, &search, &Task::new(it.life.opener, 1, b"process"));
}

/// What sock_diag tells of before.
fn seed(history: &History, hooks: Hooks) -> Frame {
    let minis = history.before.iter().filter(|(life, ..)| life.birth == Birth::MiniFromBefore);
    let sockets = history.before.iter().filter(|(life, ..)| life.birth == Birth::FromBefore);
    Frame::Seed {
        sockets: sockets
            .map(|&(_, netns, tuple)| SeedSocket {
                netns: hooks.fields_known.then_some(netns),
                state: TcpState::Established,
                tuple,
            })
            .collect(),
        minis: minis
            .map(|&(_, netns, tuple)| SeedMini {
                netns,
                substate: TcpState::TimeWait,
                expires_ms: 30_000,
                tuple,
            })
            .collect(),
        until_ns: at(0.0),
        complete: true,
    }
}
