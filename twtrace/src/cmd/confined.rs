//! A source whose process keeps none of the rights that attaching took.

use anyhow::Result;
use log::{info, warn};
use rustix::thread::CapabilitySet;

use crate::{
    bpf::attach::Session,
    cli::HELPER,
    host::{Helper, Reach},
    privileges::{self, Keep, Left, Privileges, Purpose},
    source::Reaches,
};

/// How the rest of the host will be reached. To be asked for before anything is attached, so that
/// a helper has nothing of that.
///
/// # Errors
/// The helper cannot be started.
pub(super) fn reaches(privileges: Privileges) -> Result<Reaches> {
    let helped = || Helper::start(HELPER).map(Reach::through);
    Ok(match privileges {
        Privileges::Keep => Reaches::default(),
        Privileges::Helper => {
            let later = helped()?;
            Reaches { at_first: later.clone(), later }
        }
        // Those that exist are listed once with the rights that there were.
        Privileges::Drop => Reaches { at_first: helped()?, later: Reach::direct() },
    })
}

/// Gives up what is not kept, once what `session` needs rights for is done.
///
/// # Errors
/// As [`privileges::give_up`].
pub(super) fn give_up(privileges: Privileges, session: Option<&Session>) -> Result<()> {
    if privileges == Privileges::Keep {
        return Ok(());
    }
    // Since Linux 5.19 whoever holds a map may read it:
    // <https://github.com/torvalds/linux/commit/c8644cd0efe719608ddcb341bcf087d4bc0bf6b8>
    let can_read = || session.is_none_or(|session| session.counters.read().is_ok());
    let left = privileges::give_up(Keep::IfNeeded(CapabilitySet::BPF, &can_read), Purpose::Serve)?;
    say(left);
    Ok(())
}

fn say(Left { capabilities, is_root }: Left) {
    match capabilities.iter_names().map(|(name, _)| name).collect::<Vec<_>>() {
        none if none.is_empty() => info!("all rights are given up"),
        some => info!("all rights are given up but CAP_{}", some.join(", CAP_")),
    }
    if is_root {
        warn!(
            "still root, whose files it could read: give CAP_SETUID and CAP_SETGID too, or start \
             twtrace as another user"
        );
    }
}
