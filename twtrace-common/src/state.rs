//! TCP states, numbered as the kernel numbers them.

/// A TCP state.
///
/// The values are those of the kernel's
/// [`tcp_states.h`](https://github.com/torvalds/linux/blob/v6.12/include/net/tcp_states.h#L12-L28).
/// A listener's half-open requests (`NEW_SYN_RECV`, 12) and bound sockets
/// (`BOUND_INACTIVE`, 13) emit no transition and have no place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TcpState {
    /// Data may flow both ways.
    Established = 1,
    /// `connect()` sent its SYN, or is about to.
    SynSent = 2,
    /// A SYN arrived; the handshake is not complete.
    SynRecv = 3,
    /// We closed first; our FIN is not acknowledged yet.
    FinWait1 = 4,
    /// We closed first; the peer has not closed yet.
    FinWait2 = 5,
    /// Never seen in a transition: the kernel replaces the socket by a mini-socket.
    TimeWait = 6,
    /// Not connected, or gone.
    Close = 7,
    /// The peer closed first; we have not closed yet.
    CloseWait = 8,
    /// The peer closed first, then we did; our FIN is not acknowledged yet.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Both ends closed at once; our FIN is not acknowledged yet.
    Closing = 11,
}

/// One more than the largest state number.
pub const STATES: usize = 12;

impl TcpState {
    /// All states, in the kernel's order.
    pub const ALL: [Self; STATES - 1] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// The state with the kernel's number `raw`; `None` if there is none.
    #[inline(always)]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    /// The name without the kernel's `TCP_` prefix, as ss and tcpstates print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_numbers_round_trip() {
        for raw in 0..=u8::MAX {
            match TcpState::from_raw(raw) {
                Some(state) => assert_eq!(state as u8, raw),
                None => assert!(raw == 0 || raw >= STATES as u8),
            }
        }
        assert_eq!(TcpState::ALL.len(), STATES - 1);
    }
}
