//! Payloads of SEED, LOOK and CLOSE_WAIT: sockets, a row each, their bytes in columns.

use std::num::NonZeroU64;

use twtrace_common::{ProcessKey, TcpState};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use super::{
    Malformed,
    columns::{Cursor, put_rows},
};
use crate::{
    event::{PortRange, Role, Tuple},
    frame::{
        AskedRange, CarriedDestination, CarriedMini, CarriedOpener, CarriedSocket, CloseWaiting,
        Held, HeldClient, HeldDestination, MiniOf, PolledMini, SeedMini, SeedSocket,
    },
};

/// A kind of row, and what it stands for.
pub(super) trait Row: Sized {
    /// Its form on disk.
    type Stored: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned;

    /// As it is stored.
    fn stored(&self) -> Self::Stored;

    /// What was stored; `None` of what has no meaning.
    fn restored(stored: &Self::Stored) -> Option<Self>;
}

/// Writes rows of `N` bytes each.
pub(super) fn put<R: Row, const N: usize>(out: &mut Vec<u8>, rows: &[R]) {
    const { assert!(size_of::<R::Stored>() == N) };
    let bytes = |row: &R| -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(row.stored().as_bytes());
        bytes
    };
    let stored: Vec<[u8; N]> = rows.iter().map(bytes).collect();
    put_rows(out, &stored);
}

/// The rows of the next column.
pub(super) fn read<R: Row, const N: usize>(cursor: &mut Cursor<'_>) -> Result<Vec<R>, Malformed> {
    const { assert!(size_of::<R::Stored>() == N) };
    let rows = cursor.rows::<N>()?;
    let row = |bytes: [u8; N]| {
        let stored = R::Stored::read_from_bytes(&bytes).map_err(|_| Malformed::Short)?;
        R::restored(&stored).ok_or(Malformed::Unknown("a row"))
    };
    rows.iter().map(row).collect()
}

/// The lengths of rows.
pub(super) const SEED_SOCKET: usize = size_of::<StoredSeedSocket>();
pub(super) const SEED_MINI: usize = size_of::<StoredSeedMini>();
pub(super) const POLLED_MINI: usize = size_of::<StoredPolledMini>();
pub(super) const SOCKET: usize = size_of::<StoredSocket>();
pub(super) const OPENER: usize = size_of::<StoredOpener>();
pub(super) const MINI: usize = size_of::<StoredMini>();
pub(super) const DESTINATION: usize = size_of::<StoredDestination>();
pub(super) const CLOSE_WAITING: usize = size_of::<StoredCloseWaiting>();
pub(super) const COOKIE: usize = size_of::<U64>();
const _: () = assert!(SEED_SOCKET == 42 && SEED_MINI == 45 && POLLED_MINI == 53);
const _: () = assert!(CLOSE_WAITING == 77 && COOKIE == 8);
const _: () = assert!(SOCKET == 77 && OPENER == 20 && MINI == 86 && DESTINATION == 63);

#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredTuple {
    laddr: [u8; 16],
    raddr: [u8; 16],
    lport: U16,
    rport: U16,
}

impl StoredTuple {
    fn new(tuple: &Tuple) -> Self {
        let Tuple { laddr, raddr, lport, rport } = *tuple;
        Self { laddr, raddr, lport: lport.into(), rport: rport.into() }
    }

    fn get(&self) -> Tuple {
        let Self { laddr, raddr, lport, rport } = *self;
        Tuple { laddr, raddr, lport: lport.get(), rport: rport.get() }
    }
}

/// A process; 0 and 0 for none.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredProcess {
    start_time_ns: U64,
    tgid: U32,
}

impl StoredProcess {
    fn new(process: Option<ProcessKey>) -> Self {
        let (start_time_ns, tgid) = process.map_or((0, 0), |key| (key.start_time_ns, key.tgid));
        Self { start_time_ns: start_time_ns.into(), tgid: tgid.into() }
    }

    fn get(&self) -> Option<ProcessKey> {
        let (start_time_ns, tgid) = (self.start_time_ns.get(), self.tgid.get());
        (start_time_ns != 0 || tgid != 0).then_some(ProcessKey { start_time_ns, tgid, padding: 0 })
    }
}

/// A full socket by sock_diag; a namespace of 0 is not known.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredSeedSocket {
    netns: U32,
    netns_known: u8,
    state: u8,
    tuple: StoredTuple,
}

impl Row for SeedSocket {
    type Stored = StoredSeedSocket;

    fn stored(&self) -> StoredSeedSocket {
        StoredSeedSocket {
            netns: self.netns.unwrap_or(0).into(),
            netns_known: self.netns.is_some().into(),
            state: self.state as u8,
            tuple: StoredTuple::new(&self.tuple),
        }
    }

    fn restored(stored: &StoredSeedSocket) -> Option<Self> {
        Some(Self {
            netns: flag(stored.netns_known)?.then_some(stored.netns.get()),
            state: TcpState::from_raw(stored.state)?,
            tuple: stored.tuple.get(),
        })
    }
}

/// A mini-socket by sock_diag.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredSeedMini {
    netns: U32,
    substate: u8,
    expires_ms: U32,
    tuple: StoredTuple,
}

impl Row for SeedMini {
    type Stored = StoredSeedMini;

    fn stored(&self) -> StoredSeedMini {
        StoredSeedMini {
            netns: self.netns.into(),
            substate: self.substate as u8,
            expires_ms: self.expires_ms.into(),
            tuple: StoredTuple::new(&self.tuple),
        }
    }

    fn restored(stored: &StoredSeedMini) -> Option<Self> {
        Some(Self {
            netns: stored.netns.get(),
            substate: TcpState::from_raw(stored.substate)?,
            expires_ms: stored.expires_ms.get(),
            tuple: stored.tuple.get(),
        })
    }
}

/// A mini-socket of a look.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredPolledMini {
    cookie: U64,
    mini: StoredSeedMini,
}

impl Row for PolledMini {
    type Stored = StoredPolledMini;

    fn stored(&self) -> StoredPolledMini {
        let PolledMini { netns, cookie, substate, expires_ms, tuple } = *self;
        let mini = SeedMini { netns, substate, expires_ms, tuple }.stored();
        StoredPolledMini { cookie: cookie.into(), mini }
    }

    fn restored(stored: &StoredPolledMini) -> Option<Self> {
        let SeedMini { netns, substate, expires_ms, tuple } = SeedMini::restored(&stored.mini)?;
        Some(PolledMini { netns, cookie: stored.cookie.get(), substate, expires_ms, tuple })
    }
}

/// A socket in CLOSE_WAIT.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredCloseWaiting {
    cookie: U64,
    netns: U32,
    tuple: StoredTuple,
    seen_ns: U64,
    since_ns: U64,
    accepted: u8,
    holder: StoredProcess,
}

impl Row for CloseWaiting {
    type Stored = StoredCloseWaiting;

    fn stored(&self) -> StoredCloseWaiting {
        StoredCloseWaiting {
            cookie: self.cookie.into(),
            netns: self.netns.into(),
            tuple: StoredTuple::new(&self.tuple),
            seen_ns: self.seen_ns.into(),
            since_ns: self.since_ns.into(),
            accepted: self.accepted.into(),
            holder: StoredProcess::new(self.holder),
        }
    }

    fn restored(stored: &StoredCloseWaiting) -> Option<Self> {
        Some(Self {
            cookie: stored.cookie.get(),
            netns: stored.netns.get(),
            tuple: stored.tuple.get(),
            seen_ns: stored.seen_ns.get(),
            since_ns: stored.since_ns.get(),
            accepted: flag(stored.accepted)?,
            holder: stored.holder.get(),
        })
    }
}

/// A cookie of sock_diag.
impl Row for u64 {
    type Stored = U64;

    fn stored(&self) -> U64 {
        (*self).into()
    }

    fn restored(stored: &U64) -> Option<Self> {
        Some(stored.get())
    }
}

/// What a socket keeps from others.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredHeld {
    /// 0 nothing, 1 listener, 2 port, 3 quadruplet; of 2 and 3, 16 more where there was no
    /// room for the destination or client.
    kind: u8,
    bound: u8,
    netns: U32,
    tuple: StoredTuple,
}

const NO_ROOM: u8 = 16;

impl StoredHeld {
    fn new(held: &Held) -> Self {
        let nowhere = Tuple { laddr: [0; 16], raddr: [0; 16], lport: 0, rport: 0 };
        let (kind, bound, netns, tuple) = match *held {
            Held::Nothing => (0, false, 0, nowhere),
            Held::Listener { netns, .. } => {
                let tuple = held.ends().map_or(nowhere, |(_, tuple)| tuple);
                (1, false, netns, tuple)
            }
            Held::Port { netns, destination: Some(to), lport, bound } => {
                let HeldDestination { laddr, raddr, rport } = to;
                (2, bound, netns, Tuple { laddr, raddr, lport, rport })
            }
            Held::Port { netns, destination: None, lport, bound } => {
                (2 + NO_ROOM, bound, netns, Tuple { lport, ..nowhere })
            }
            Held::Quadruplet(Some(HeldClient { netns, laddr, lport, raddr, rport })) => {
                (3, false, netns, Tuple { laddr, raddr, lport, rport })
            }
            Held::Quadruplet(None) => (3 + NO_ROOM, false, 0, nowhere),
        };
        Self { kind, bound: bound.into(), netns: netns.into(), tuple: StoredTuple::new(&tuple) }
    }

    fn get(&self) -> Option<Held> {
        let (netns, tuple) = (self.netns.get(), self.tuple.get());
        let Tuple { laddr, raddr, lport, rport } = tuple;
        let bound = flag(self.bound)?;
        Some(match self.kind {
            0 => Held::Nothing,
            1 => Held::Listener { netns, lport, is_v4: tuple.is_v4() },
            2 => {
                let destination = Some(HeldDestination { laddr, raddr, rport });
                Held::Port { netns, destination, lport, bound }
            }
            3 => Held::Quadruplet(Some(HeldClient { netns, laddr, lport, raddr, rport })),
            kind if kind == 2 + NO_ROOM => Held::Port { netns, destination: None, lport, bound },
            kind if kind == 3 + NO_ROOM => Held::Quadruplet(None),
            _ => return None,
        })
    }
}

/// A socket that was met.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredSocket {
    sk: U64,
    /// 0 if it was not counted in any.
    state: u8,
    role: u8,
    owner: StoredProcess,
    /// Whether it has sent its FIN.
    has_closed: u8,
    closer: StoredProcess,
    held: StoredHeld,
}

impl Row for CarriedSocket {
    type Stored = StoredSocket;

    fn stored(&self) -> StoredSocket {
        StoredSocket {
            sk: self.sk.into(),
            state: self.state.map_or(0, |state| state as u8),
            role: role_number(self.role),
            owner: StoredProcess::new(self.owner),
            has_closed: self.closer.is_some().into(),
            closer: StoredProcess::new(self.closer.flatten()),
            held: StoredHeld::new(&self.held),
        }
    }

    fn restored(stored: &StoredSocket) -> Option<Self> {
        let state = match stored.state {
            0 => None,
            state => Some(TcpState::from_raw(state)?),
        };
        Some(Self {
            sk: stored.sk.get(),
            state,
            role: role(stored.role)?,
            owner: stored.owner.get(),
            closer: flag(stored.has_closed)?.then(|| stored.closer.get()),
            held: stored.held.get()?,
        })
    }
}

/// Who connected the socket of a mini-socket.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredOpener {
    tw: U64,
    process: StoredProcess,
}

impl Row for CarriedOpener {
    type Stored = StoredOpener;

    fn stored(&self) -> StoredOpener {
        StoredOpener { tw: self.tw.into(), process: StoredProcess::new(Some(self.process)) }
    }

    fn restored(stored: &StoredOpener) -> Option<Self> {
        Some(Self { tw: stored.tw.get(), process: stored.process.get()? })
    }
}

/// A mini-socket whose birth was seen.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredMini {
    tw: U64,
    born_ns: U64,
    substate: u8,
    /// 0 if that was not seen.
    time_wait_ns: U64,
    /// 0 no, 1 yes, 2 not known.
    timestamps: u8,
    netns: U32,
    /// 0: of a socket that is about to close; 1: of one that has.
    of: u8,
    role: u8,
    process: StoredProcess,
    held: StoredHeld,
}

impl Row for CarriedMini {
    type Stored = StoredMini;

    fn stored(&self) -> StoredMini {
        let (of, who, process, held) = match self.of {
            MiniOf::Closed { process, role, held } => (1, role, process, StoredHeld::new(&held)),
            MiniOf::Closing(tuple) => {
                let held = StoredHeld {
                    tuple: StoredTuple::new(&tuple),
                    ..StoredHeld::new(&Held::Nothing)
                };
                (0, Role::Unknown, None, held)
            }
        };
        StoredMini {
            tw: self.tw.into(),
            born_ns: self.born_ns.into(),
            substate: self.substate as u8,
            time_wait_ns: self.time_wait_ns.map_or(0, NonZeroU64::get).into(),
            timestamps: self.timestamps.map_or(2, u8::from),
            netns: self.netns.into(),
            of,
            role: role_number(who),
            process: StoredProcess::new(process),
            held,
        }
    }

    fn restored(stored: &StoredMini) -> Option<Self> {
        let of = match stored.of {
            0 => MiniOf::Closing(stored.held.tuple.get()),
            1 => MiniOf::Closed {
                process: stored.process.get(),
                role: role(stored.role)?,
                held: stored.held.get()?,
            },
            _ => return None,
        };
        let timestamps = match stored.timestamps {
            2 => None,
            known => Some(flag(known)?),
        };
        Some(Self {
            tw: stored.tw.get(),
            born_ns: stored.born_ns.get(),
            substate: TcpState::from_raw(stored.substate)?,
            time_wait_ns: NonZeroU64::new(stored.time_wait_ns.get()),
            timestamps,
            netns: stored.netns.get(),
            of,
        })
    }
}

/// What local ports are taken towards.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StoredDestination {
    netns: U32,
    laddr: [u8; 16],
    raddr: [u8; 16],
    rport: U16,
    /// 0: no connect has searched yet; 1: all the namespace's range; 2: all one of their
    /// own; 3: not all the same.
    asked: u8,
    low: U16,
    high: U16,
    /// When, and whose connect came last.
    opened_ns: U64,
    opener: StoredProcess,
}

impl Row for CarriedDestination {
    type Stored = StoredDestination;

    fn stored(&self) -> StoredDestination {
        let HeldDestination { laddr, raddr, rport } = self.destination;
        let (asked, PortRange { low, high }) = match self.asked {
            AskedRange::Nothing => (0, NO_RANGE),
            AskedRange::Alike(None) => (1, NO_RANGE),
            AskedRange::Alike(Some(range)) => (2, range),
            AskedRange::Mixed => (3, NO_RANGE),
        };
        StoredDestination {
            netns: self.netns.into(),
            laddr,
            raddr,
            rport: rport.into(),
            asked,
            low: low.into(),
            high: high.into(),
            opened_ns: self.last_opened.map_or(0, |(opened_ns, _)| opened_ns).into(),
            opener: StoredProcess::new(self.last_opened.map(|(_, opener)| opener)),
        }
    }

    fn restored(stored: &StoredDestination) -> Option<Self> {
        let StoredDestination { laddr, raddr, .. } = *stored;
        let range = PortRange { low: stored.low.get(), high: stored.high.get() };
        Some(Self {
            netns: stored.netns.get(),
            destination: HeldDestination { laddr, raddr, rport: stored.rport.get() },
            asked: match stored.asked {
                0 => AskedRange::Nothing,
                1 => AskedRange::Alike(None),
                2 => AskedRange::Alike(Some(range)),
                3 => AskedRange::Mixed,
                _ => return None,
            },
            last_opened: stored.opener.get().map(|opener| (stored.opened_ns.get(), opener)),
        })
    }
}

const NO_RANGE: PortRange = PortRange { low: 0, high: 0 };

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn role_number(role: Role) -> u8 {
    match role {
        Role::Unknown => 0,
        Role::Client => 1,
        Role::Server => 2,
    }
}

fn role(number: u8) -> Option<Role> {
    match number {
        0 => Some(Role::Unknown),
        1 => Some(Role::Client),
        2 => Some(Role::Server),
        _ => None,
    }
}
