//! Connections that are opened and closed at full speed: always the same ones, and no two alike.
//!
//! What the regression guard counts, it counts for these.

use twtrace::{
    event::{ConnectEvent, MiniEvent, Tuple},
    frame::Frame,
};
use twtrace_common::{
    End,
    TcpState::{
        self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
    },
};

use super::kernel::{Fate, NETNS, PaperKernel, STARTED_NS, Seen, TP_BTF, Task, tick};

/// Events of a connection: nine transitions of both ends that have a record, the connect, and the
/// mini-socket's birth and end. Processes are introduced besides.
pub(crate) const EVENTS: u64 = 12;
/// How long a mini-socket is there.
const TIME_WAIT_NS: u64 = 60_000_000_000;

/// See the module's documentation.
pub(crate) struct Stream {
    kernel: PaperKernel,
    /// Connections between two ticks.
    a_second: u32,
    /// The last number of a sequence without a pattern.
    dice: u64,
    now_ns: u64,
    second: u32,
    /// Mini-sockets, in the order in which they will end.
    minis: Vec<MiniEvent>,
}

impl Stream {
    pub(crate) fn new(a_second: u32) -> Self {
        let kernel = PaperKernel::new(TP_BTF);
        Self { kernel, a_second, dice: 1, now_ns: STARTED_NS, second: 0, minis: Vec::new() }
    }

    /// What there is to read of the next second.
    pub(crate) fn second(&mut self) -> [Frame; 3] {
        let first = self.second * self.a_second;
        (first..first + self.a_second).for_each(|number| self.connection(number));
        self.expire();
        self.second += 1;
        self.now_ns = STARTED_NS + u64::from(self.second) * 1_000_000_000;
        [self.kernel.records(), self.kernel.totals(), tick(f64::from(self.second))]
    }

    /// Whatever time is left, all mini-sockets end: their events are counted with their connection.
    pub(crate) fn end(&mut self) -> [Frame; 3] {
        self.now_ns += TIME_WAIT_NS;
        self.expire();
        self.second += 60;
        [self.kernel.records(), self.kernel.totals(), tick(f64::from(self.second))]
    }

    /// From connect to TIME_WAIT, the client first.
    fn connection(&mut self, number: u32) {
        let client = Task::new(100 + number % 7, 1, b"client");
        let server = Task::new(200 + number % 3, 1, b"server");
        self.step(number, true, [Close, SynSent], Some(client));
        let (sk, lport) = (address(number, true), tuple(number, true).lport);
        let connect = ConnectEvent { time_ns: self.later(), sk, lport };
        self.kernel.connect(&connect, Fate::Written);
        self.step(number, false, [Listen, SynRecv], None);
        self.step(number, true, [SynSent, Established], None);
        self.step(number, false, [SynRecv, Established], None);
        self.step(number, true, [Established, FinWait1], Some(client));
        self.step(number, false, [Established, CloseWait], None);
        self.step(number, true, [FinWait1, FinWait2], None);
        self.step(number, false, [CloseWait, LastAck], Some(server));
        let mini = MiniEvent {
            time_ns: self.later(),
            tw: 0xffff_8881_0000_0000 + u64::from(number) * 256,
            netns: NETNS,
            substate: TcpState::TimeWait,
            tuple: tuple(number, true),
            timestamps: None,
        };
        self.kernel.birth(&mini, Fate::Written);
        self.minis.push(mini);
        self.step(number, true, [FinWait2, Close], None);
        self.step(number, false, [LastAck, Close], None);
    }

    fn expire(&mut self) {
        let (now_ns, kernel) = (self.now_ns, &mut self.kernel);
        self.minis.retain(|mini| {
            let ends_ns = mini.time_ns + TIME_WAIT_NS;
            if ends_ns <= now_ns {
                kernel.end(&MiniEvent { time_ns: ends_ns, ..*mini }, End::Expired, Fate::Written);
            }
            ends_ns > now_ns
        });
    }

    fn step(
        &mut self,
        number: u32,
        is_client: bool,
        [old, new]: [TcpState; 2],
        current: Option<Task>,
    ) {
        let mut tuple = tuple(number, is_client);
        if new == SynSent {
            // It has none yet: connect searches for one.
            tuple.lport = 0;
        }
        let time_ns = self.later();
        self.kernel.transition(&Seen {
            time_ns,
            sk: address(number, is_client),
            netns: NETNS,
            old,
            new,
            tuple,
            locked: current.is_some(),
            error: 0,
            shutdown: 3,
            own_range: None,
            current,
            ring_full: false,
        });
    }

    /// A few microseconds later, now more and now less.
    fn later(&mut self) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.now_ns += 2_000 + (self.dice >> 52);
        self.now_ns
    }
}

/// Sockets lie where others have lain before.
fn address(number: u32, is_client: bool) -> u64 {
    let place = number.wrapping_mul(2_654_435_761) >> 18;
    0xffff_8880_0000_0000 + (u64::from(place) * 2 + u64::from(is_client)) * 2_432
}

/// One of three destinations, from a port of the usual range.
fn tuple(number: u32, is_client: bool) -> Tuple {
    let mapped = |last: [u8; 4]| {
        let mut address = [0; 16];
        address[10..12].fill(0xff);
        address[12..].copy_from_slice(&last);
        address
    };
    let port = 32_768 + (number.wrapping_mul(7_919) % 28_232) as u16;
    let destination = (number % 3) as u8;
    let ends = [
        (mapped([10, 0, 0, 1]), port),
        (mapped([10, 0, 1, destination]), 80 + u16::from(destination)),
    ];
    let [(laddr, lport), (raddr, rport)] = if is_client { ends } else { [ends[1], ends[0]] };
    Tuple { laddr, raddr, lport, rport }
}
