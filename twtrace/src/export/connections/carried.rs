//! What goes on from an earlier file of the same recording. Of what happened there nothing is
//! in this file's counts, so it is in no column.

use std::net::Ipv4Addr;

use twtrace_common::TcpState;

use super::life::{Life, MiniLife, stamp};
use crate::{
    event::Tuple,
    frame::{CarriedMini, CarriedSocket, Held, MiniOf},
};

/// A socket; `None` for a listener, which is no connection.
pub(super) fn socket(carried: &CarriedSocket) -> Option<Life> {
    let CarriedSocket { sk, state, role, owner, closer, held } = *carried;
    if state == Some(TcpState::Listen) {
        return None;
    }
    let (netns, tuple) = ends(&held);
    Some(Life { seeded: true, sk, state, role, owner, closer, ..Life::new(netns, tuple) })
}

/// A mini-socket.
pub(super) fn mini(carried: &CarriedMini) -> Life {
    let CarriedMini { tw, born_ns, substate, timestamps, netns, of, .. } = *carried;
    let mini = MiniLife {
        tw,
        born: stamp(born_ns),
        carried: true,
        substate: Some(substate),
        timestamps,
        ..MiniLife::default()
    };
    let (tuple, life) = match of {
        MiniOf::Closing(tuple) => (tuple, Life::new(Some(netns), tuple)),
        MiniOf::Closed { process, role, held } => {
            let tuple = ends(&held).1;
            (tuple, Life { role, closer: Some(process), ..Life::new(Some(netns), tuple) })
        }
    };
    Life { seeded: true, tuple, mini, ..life }
}

/// The ends of what is held, as far as they tell; later records tell the rest.
fn ends(held: &Held) -> (Option<u32>, Tuple) {
    let nowhere = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
    let nothing = Tuple { laddr: nowhere, raddr: nowhere, lport: 0, rport: 0 };
    match (held.ends(), held) {
        (Some((netns, tuple)), _) => (Some(netns), tuple),
        (None, Held::Port { netns, lport, .. }) => {
            (Some(*netns), Tuple { lport: *lport, ..nothing })
        }
        (None, _) => (None, nothing),
    }
}
