//! What one transition means, by the counting rules.
//!
//! The BPF programs count by this rule and the tracker credits processes by
//! it, so the totals and the rows under them cannot disagree.

use crate::{Search, TcpState};

/// The facts about one transition that decide its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state left.
    pub old: TcpState,
    /// The state entered; the kernel has not stored it yet when it tells.
    pub new: TcpState,
    /// Whether the fields below could be read at all.
    pub fields_known: bool,
    /// Whether the socket was locked by a process (`sk_lock.owned`), and not
    /// by a softirq or a timer.
    pub process_context: bool,
    /// `sk_err`: why the socket failed, 0 if it did not.
    pub error: u16,
    /// `sk_shutdown`, before the transition: 1 receive, 2 send.
    pub shutdown: u8,
    /// The local port in host order; 0 if none was found yet.
    pub lport: u16,
}

/// What a transition means. Each variant is one slot of [`crate::Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// A connect succeeded.
    ConnectOk = 0,
    /// A connect was answered with RST or an ICMP port unreachable (`ECONNREFUSED`).
    ConnectRefused = 1,
    /// A connect got no answer (`ETIMEDOUT`).
    ConnectTimedOut = 2,
    /// A connect found no free local port (`EADDRNOTAVAIL`).
    ConnectNoPort = 3,
    /// A connect ended otherwise: closed by its process, unreachable, and so on.
    ConnectOther = 4,
    /// A connect failed and this hook cannot tell why.
    ConnectUnexplained = 5,
    /// We sent the first FIN.
    CloseActive = 6,
    /// The peer sent the first FIN.
    ClosePassive = 7,
    /// Both FINs crossed; this socket was counted [`Self::CloseActive`] before.
    CloseSimultaneous = 8,
    /// An established connection was cut by a process on this host.
    ResetLocal = 9,
    /// An established connection was cut by the peer, or by a timeout.
    ResetRemote = 10,
    /// An established connection was cut and this hook cannot tell by whom.
    ResetUnexplained = 11,
}

/// The number of outcomes.
pub const OUTCOMES: usize = 12;

/// `RCV_SHUTDOWN` is 1, `SEND_SHUTDOWN` is 2.
/// <https://github.com/torvalds/linux/blob/v6.12/include/net/sock.h#L1470-L1472>
const SEND_SHUTDOWN: u8 = 2;

/// errno values, the same on x86_64 and aarch64.
/// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/asm-generic/errno.h#L86-L94>
const ECONNABORTED: u16 = 103;
const ETIMEDOUT: u16 = 110;
const ECONNREFUSED: u16 = 111;

impl Outcome {
    /// All outcomes, in slot order.
    pub const ALL: [Self; OUTCOMES] = [
        Self::ConnectOk,
        Self::ConnectRefused,
        Self::ConnectTimedOut,
        Self::ConnectNoPort,
        Self::ConnectOther,
        Self::ConnectUnexplained,
        Self::CloseActive,
        Self::ClosePassive,
        Self::CloseSimultaneous,
        Self::ResetLocal,
        Self::ResetRemote,
        Self::ResetUnexplained,
    ];
}

impl Change {
    /// What this transition means; `None` if it opens, continues or ends
    /// nothing that is counted.
    #[inline(always)]
    pub const fn outcome(&self) -> Option<Outcome> {
        use TcpState::{Close, CloseWait, Closing, Established, FinWait1, SynRecv, SynSent};
        Some(match (self.old, self.new) {
            // SYN_SENT → SYN_RECV is a simultaneous open, as when a socket
            // connects to itself; the SYN-ACK cannot fail to arrive any more
            // than the ACK of an ordinary handshake can.
            (SynSent, Established | SynRecv) => Outcome::ConnectOk,
            (SynSent, Close) => self.failed_connect(),
            (SynRecv | Established, FinWait1) => Outcome::CloseActive,
            (SynRecv | Established, CloseWait) => Outcome::ClosePassive,
            (FinWait1, Closing) => Outcome::CloseSimultaneous,
            (Established, Close) => self.reset(),
            _ => return None,
        })
    }

    /// The port search that begins with this transition. The state changes
    /// before the search, so the socket has a port only if it was bound:
    /// [`tcp_v4_connect`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_ipv4.c#L296-L305),
    /// [`inet_csk_listen_start`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c#L1272-L1310).
    #[inline(always)]
    pub const fn search(&self) -> Option<Search> {
        match (self.old, self.new) {
            (TcpState::Close, TcpState::SynSent) if self.lport == 0 => Some(Search::Connect),
            (TcpState::Close, TcpState::Listen) if self.lport == 0 => Some(Search::Listen),
            _ => None,
        }
    }

    /// Whether a record of this transition is written; it is counted anyway.
    ///
    /// A listener's child leaves SYN_RECV within the softirq that made it, and
    /// only then has its identity on kernels before 6.18: its first record is
    /// the one that tells something.
    #[inline(always)]
    pub const fn has_record(&self) -> bool {
        !matches!((self.old, self.new), (TcpState::Listen, TcpState::SynRecv))
    }

    /// Why a connect failed. The kernel sets `sk_err` before it closes the socket:
    /// [`tcp_reset`](https://github.com/torvalds/linux/blob/v5.10/net/ipv4/tcp_input.c#L4230-L4262),
    /// [`tcp_write_err`](https://github.com/torvalds/linux/blob/v5.10/net/ipv4/tcp_timer.c#L66-L75).
    ///
    /// Without an error connect() gave up by itself, for want of a port, or the
    /// process closed the socket, which shuts it down first. A process that takes
    /// a pending connect back by `connect(AF_UNSPEC)` looks like the former; a
    /// route that vanishes between search and SYN does too.
    #[inline(always)]
    const fn failed_connect(&self) -> Outcome {
        if !self.fields_known {
            return Outcome::ConnectUnexplained;
        }
        match self.error {
            ECONNREFUSED => Outcome::ConnectRefused,
            ETIMEDOUT => Outcome::ConnectTimedOut,
            0 if self.process_context && self.shutdown & SEND_SHUTDOWN == 0 => {
                Outcome::ConnectNoPort
            }
            _ => Outcome::ConnectOther,
        }
    }

    /// Who cut an established connection.
    ///
    /// An RST from the peer and every timeout set `sk_err` first. A process that
    /// closes with SO_LINGER 0 or unread data sets `sk_shutdown` and no error
    /// ([`__tcp_close`](https://github.com/torvalds/linux/blob/v5.10/net/ipv4/tcp.c#L2645-L2690)),
    /// `connect(AF_UNSPEC)` neither, `ss -K` the error `ECONNABORTED`. A listener
    /// that closes takes the connections nobody accepted with it, without their
    /// lock and without an error
    /// ([`inet_child_forget`](https://github.com/torvalds/linux/blob/v5.10/net/ipv4/inet_connection_sock.c#L890-L912)).
    #[inline(always)]
    const fn reset(&self) -> Outcome {
        if !self.fields_known {
            Outcome::ResetUnexplained
        } else if self.error == 0
            || (self.process_context
                && (self.error == ECONNABORTED || self.shutdown & SEND_SHUTDOWN != 0))
        {
            Outcome::ResetLocal
        } else {
            Outcome::ResetRemote
        }
    }

    /// Whether the task that runs now is the one that caused this transition,
    /// so that it may be credited: never the task that a softirq interrupted.
    ///
    /// `connect()`, `listen()`, `shutdown()` and `close()` lock the socket and
    /// change the state themselves. Other transitions can run under the lock
    /// too, when the process works off the backlog, but it did not cause them.
    #[inline(always)]
    pub const fn has_owner(&self) -> bool {
        use TcpState::{
            Close, CloseWait, Established, FinWait1, LastAck, Listen, SynRecv, SynSent,
        };
        match (self.old, self.new) {
            (Close, SynSent | Listen)
            | (SynRecv | Established, FinWait1)
            | (CloseWait, LastAck) => self.process_context || !self.fields_known,
            (Established, Close) => matches!(self.reset(), Outcome::ResetLocal),
            _ => false,
        }
    }

    /// Whether the meaning of a transition from `old` to `new` depends on who
    /// holds the socket lock; otherwise nobody needs to look.
    #[inline(always)]
    pub const fn depends_on_context(old: TcpState, new: TcpState) -> bool {
        use TcpState::{
            Close, CloseWait, Established, FinWait1, LastAck, Listen, SynRecv, SynSent,
        };
        matches!(
            (old, new),
            (Close, SynSent | Listen)
                | (SynRecv | Established, FinWait1)
                | (CloseWait, LastAck)
                | (SynSent | Established, Close)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::*;

    fn change(old: TcpState, new: TcpState) -> Change {
        Change {
            old,
            new,
            fields_known: true,
            process_context: false,
            error: 0,
            shutdown: 0,
            lport: 40_000,
        }
    }

    #[test]
    fn slots_are_dense_and_in_order() {
        for (slot, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, slot);
        }
    }

    #[test]
    fn connects_by_error() {
        let failed = |error, lport, shutdown| {
            let process_context = error == 0;
            let failed =
                Change { error, lport, shutdown, process_context, ..change(SynSent, Close) };
            failed.outcome().unwrap()
        };
        assert_eq!(failed(111, 40_000, 0), Outcome::ConnectRefused);
        assert_eq!(failed(110, 40_000, 0), Outcome::ConnectTimedOut);
        assert_eq!(failed(0, 0, 0), Outcome::ConnectNoPort);
        assert_eq!(failed(0, 40_000, 0), Outcome::ConnectNoPort, "of a socket used before");
        assert_eq!(failed(0, 40_000, 3), Outcome::ConnectOther, "closed while connecting");
        assert_eq!(failed(113, 40_000, 0), Outcome::ConnectOther, "no route to host");
        let blind = Change { fields_known: false, ..change(SynSent, Close) };
        assert_eq!(blind.outcome(), Some(Outcome::ConnectUnexplained));
        assert_eq!(change(SynSent, Established).outcome(), Some(Outcome::ConnectOk));
        assert_eq!(change(SynSent, SynRecv).outcome(), Some(Outcome::ConnectOk));
        assert_eq!(change(SynRecv, Established).outcome(), None);
    }

    #[test]
    fn resets_by_who_did_it() {
        let cut = |process_context, error, shutdown| Change {
            process_context,
            error,
            shutdown,
            ..change(Established, Close)
        };
        let linger_zero = cut(true, 0, 3);
        assert_eq!(linger_zero.outcome(), Some(Outcome::ResetLocal));
        assert!(linger_zero.has_owner());
        assert_eq!(cut(true, 0, 0).outcome(), Some(Outcome::ResetLocal), "connect(AF_UNSPEC)");
        assert_eq!(cut(true, 103, 0).outcome(), Some(Outcome::ResetLocal), "ss -K");
        let backlog = cut(true, 104, 0);
        assert_eq!(backlog.outcome(), Some(Outcome::ResetRemote), "RST met in the backlog");
        assert!(!backlog.has_owner());
        assert_eq!(cut(false, 104, 0).outcome(), Some(Outcome::ResetRemote));
        let unaccepted = cut(false, 0, 0);
        assert_eq!(unaccepted.outcome(), Some(Outcome::ResetLocal), "its listener was closed");
        assert!(unaccepted.has_owner());
        assert_eq!(cut(false, 110, 0).outcome(), Some(Outcome::ResetRemote), "keepalive gave up");
        let blind = Change { fields_known: false, ..change(Established, Close) };
        assert_eq!(blind.outcome(), Some(Outcome::ResetUnexplained));
    }

    #[test]
    fn a_peer_that_closed_first_was_not_reset() {
        assert_eq!(change(CloseWait, Close).outcome(), None);
        assert_eq!(change(FinWait1, Close).outcome(), None);
        assert_eq!(change(SynRecv, Close).outcome(), None, "it had never been established");
        assert_eq!(change(Listen, Close).outcome(), None);
    }

    #[test]
    fn the_interrupted_task_is_never_the_owner() {
        for (old, new) in [(Close, SynSent), (Established, FinWait1), (CloseWait, LastAck)] {
            assert!(!change(old, new).has_owner());
            assert!(Change { process_context: true, ..change(old, new) }.has_owner());
        }
        let backlog = Change { process_context: true, ..change(FinWait2, Close) };
        assert!(!backlog.has_owner());
    }
}
