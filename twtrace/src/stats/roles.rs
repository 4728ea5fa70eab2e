//! How sockets closed and mini-sockets came, by the role of their process: as far as records
//! tell, of all rows together.

use twtrace_common::{OUTCOMES, Outcome};

use super::snapshot::{RoleCounts, Roles as Shown};
use crate::{
    event::Role,
    tracker::{Credit, Mini, Transition},
};

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    client: Counts,
    server: Counts,
    unknown: Counts,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    outcomes: [u64; OUTCOMES],
    /// Active closes that turned out to be simultaneous.
    withdrawn: u64,
    born: u64,
}

impl Roles {
    /// A socket changed its state.
    pub(super) fn apply(&mut self, transition: &Transition) {
        let counts = self.of(transition.role);
        if let Some(outcome) = transition.outcome {
            counts.outcomes[outcome as usize] += 1;
        }
        let withdrawn = matches!(transition.credit, Some((Credit::ActiveCloseWithdrawn, _)));
        counts.withdrawn += u64::from(withdrawn);
        // A socket has its role from the first that is seen of it, and one that begins anew has
        // nothing to be withdrawn: it is taken from the role that it was given to.
        let active = counts.outcomes[Outcome::CloseActive as usize];
        debug_assert!(counts.withdrawn <= active, "withdrawn from a role that had none");
    }

    /// A close left a mini-socket.
    pub(super) fn born(&mut self, mini: &Mini) {
        self.of(mini.maker.role).born += 1;
    }

    /// As shown; `births_seen` says whether mini-sockets are followed.
    pub(super) fn shown(&self, births_seen: bool) -> Shown {
        Shown {
            client: self.client.shown(births_seen),
            server: self.server.shown(births_seen),
            unknown: self.unknown.shown(births_seen),
        }
    }

    fn of(&mut self, role: Role) -> &mut Counts {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
            Role::Unknown => &mut self.unknown,
        }
    }
}

impl Counts {
    fn shown(&self, births_seen: bool) -> RoleCounts {
        let of = |outcome: Outcome| self.outcomes[outcome as usize];
        let resets = [Outcome::ResetLocal, Outcome::ResetRemote, Outcome::ResetUnexplained];
        RoleCounts {
            active: of(Outcome::CloseActive).saturating_sub(self.withdrawn),
            passive: of(Outcome::ClosePassive),
            simultaneous: of(Outcome::CloseSimultaneous),
            reset: resets.into_iter().map(of).sum(),
            time_wait_born: births_seen.then_some(self.born),
        }
    }
}
