//! Many lives at the same time.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};
use twtrace::event::Tuple;
use twtrace_common::TcpState;

use super::{
    delivery::Luck,
    life::{Act, Birth, Change, Life, Step, any_life},
};
use crate::common::kernel::{NETNS, at};

/// The first address of sockets, and of mini-sockets.
const SOCKETS: u64 = 0xffff_8880_0000_0000;
const MINIS: u64 = 0xffff_8881_0000_0000;
/// The first port that connects take.
const PORTS: u16 = 32_768;
/// Between two things that happen.
const APART_NS: u64 = 1_000_000;
/// Where who connects and who accepts is.
const HERE: [u8; 16] = mapped([10, 0, 0, 1]);

/// Lives at most.
const LIVES: usize = 40;

/// A life, when each of its steps is taken, and what becomes of the records. All of it goes with the
/// life, so that a failure stays one when other lives are taken away.
#[derive(Clone, Debug)]
pub(crate) struct Lived {
    life: Life,
    /// How long it waits before each step; again from the first when there is no more.
    pace: Vec<u8>,
    /// The same of its records' luck.
    luck: Vec<Luck>,
}

impl Lived {
    /// One that waits for nobody.
    pub(crate) fn at_once(life: Life, luck: Vec<Luck>) -> Self {
        Self { life, pace: vec![0], luck }
    }
}

/// Any lives, with luck of this kind.
pub(crate) fn any_lives(luck: impl Strategy<Value = Luck>) -> impl Strategy<Value = Vec<Lived>> {
    let lived = (any_life(), vec(any::<u8>(), 1..8), vec(luck, 1..12));
    vec(lived.prop_map(|(life, pace, luck)| Lived { life, pace, luck }), 0..LIVES)
}

/// One thing that happened, in the order of things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happening {
    pub(crate) time_ns: u64,
    pub(crate) luck: Luck,
    pub(crate) life: Life,
    pub(crate) step: Step,
    pub(crate) sk: u64,
    pub(crate) tw: u64,
    pub(crate) netns: u32,
    pub(crate) tuple: Tuple,
    /// When its mini-socket was born, if it was.
    pub(crate) born_ns: Option<u64>,
}

/// Everything there is to tell.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Lives that had begun before.
    pub(crate) before: Vec<(Life, u32, Tuple)>,
    pub(crate) happenings: Vec<Happening>,
}

/// The lowest number that nobody has.
#[derive(Debug, Default)]
struct Numbers(BTreeSet<u64>);

impl Numbers {
    fn take(&mut self) -> u64 {
        let free = (0..).find(|number| !self.0.contains(number)).expect("there are many");
        self.0.insert(free);
        free
    }

    fn give_back(&mut self, number: u64) {
        self.0.remove(&number);
    }
}

/// A life that is being led.
#[derive(Debug)]
struct Led {
    life: Life,
    steps: Vec<Step>,
    /// Its address, from its first step to its last.
    place: Option<u64>,
    mini: Option<u64>,
    port: u64,
    born_ns: Option<u64>,
}

/// Leads them all.
pub(crate) fn lead(lives: &[Lived]) -> History {
    let mut world = World::default();
    let mut led: Vec<Led> = lives.iter().map(|lived| world.begin(lived.life)).collect();
    let mut agenda: Vec<(u32, usize, usize)> = Vec::new();
    for (who, (lived, led)) in lives.iter().zip(&led).enumerate() {
        let mut moment = 0;
        for (number, pause) in (0..led.steps.len()).zip(lived.pace.iter().cycle()) {
            moment += u32::from(*pause);
            agenda.push((moment, who, number));
        }
    }
    agenda.sort_unstable();
    for (_, who, number) in agenda {
        let luck = lives[who].luck[number % lives[who].luck.len()];
        world.go_on(&mut led[who], number, luck);
    }
    world.history
}

#[derive(Debug, Default)]
struct World {
    sockets: Numbers,
    minis: Numbers,
    ports: Numbers,
    history: History,
}

impl World {
    fn begin(&mut self, life: Life) -> Led {
        let port = self.ports.take();
        let mut led =
            Led { life, steps: life.steps(), place: None, mini: None, port, born_ns: None };
        match life.birth {
            Birth::FromBefore => led.place = Some(self.sockets.take()),
            Birth::MiniFromBefore => led.mini = Some(self.minis.take()),
            _ => return led,
        }
        self.history.before.push((life, NETNS + life.netns, tuple(&life, port)));
        led
    }

    fn go_on(&mut self, led: &mut Led, number: usize, luck: Luck) {
        let step = led.steps[number];
        let time_ns = at(0.0) + (self.history.happenings.len() as u64 + 1) * APART_NS;
        if matches!(step.act, Act::Transition(_)) {
            led.place.get_or_insert_with(|| self.sockets.take());
        }
        if let Act::Birth(_) = step.act {
            led.mini = Some(self.minis.take());
            led.born_ns = Some(time_ns);
        }
        let mut tuple = tuple(&led.life, led.port);
        let change = if let Act::Transition(change) = step.act { Some(change) } else { None };
        let is_unbound =
            |Change { old, new, .. }: Change| (old, new) == (TcpState::Close, TcpState::SynSent);
        if change.is_some_and(is_unbound) || led.life.birth == Birth::NoPort {
            tuple.lport = 0;
        }
        self.history.happenings.push(Happening {
            time_ns,
            luck,
            life: led.life,
            step,
            sk: SOCKETS + led.place.unwrap_or(0) * 64,
            tw: MINIS + led.mini.unwrap_or(0) * 64,
            netns: NETNS + led.life.netns,
            tuple,
            born_ns: led.born_ns,
        });
        let is_gone = change.is_some_and(|change| change.new == TcpState::Close);
        let is_over = matches!(step.act, Act::End(..));
        self.gives_back(led, is_gone, is_over);
    }

    /// What another may have from now on.
    fn gives_back(&mut self, led: &mut Led, is_gone: bool, is_over: bool) {
        if is_gone && let Some(place) = led.place.take() {
            self.sockets.give_back(place);
        }
        if is_over && let Some(mini) = led.mini.take() {
            self.minis.give_back(mini);
        }
        if (is_gone && led.mini.is_none()) || is_over {
            self.ports.give_back(led.port);
        }
    }
}

const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

fn tuple(life: &Life, port: u64) -> Tuple {
    let there = mapped([10, 0, 1, life.destination]);
    let port = PORTS + port as u16;
    match life.birth {
        Birth::Listener => Tuple { laddr: [0; 16], raddr: [0; 16], lport: port, rport: 0 },
        _ if life.is_server() => Tuple { laddr: HERE, raddr: there, lport: 80, rport: port },
        _ => Tuple { laddr: HERE, raddr: there, lport: port, rport: 443 },
    }
}
