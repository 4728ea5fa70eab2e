//! What a connection goes through, one after the other.

use std::num::NonZeroU64;

use twtrace_common::{End, TcpState};

use crate::export::connections::{
    life::{Life, MiniEnd},
    row,
};

/// From when to when, on the clock of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
}

/// One part of a connection's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) span: Span,
    /// See [`super::entry::Entry::cname`].
    pub(super) colour: Option<&'static str>,
}

/// All of the life of `life`, as far as it is in `recording`.
pub(super) fn whole(life: &Life, recording: Span) -> Span {
    let seen = [life.opened, life.established, life.first_fin, life.closed, life.mini.born];
    let seen = seen.into_iter().chain([life.mini.ended]).flatten().map(NonZeroU64::get);
    let begins = if life.seeded { Some(recording.from_ns) } else { seen.clone().min() };
    let from_ns = begins.unwrap_or(recording.from_ns);
    let has_mini = life.mini.tw != 0 || life.mini.substate.is_some();
    let last = if has_mini { life.mini.ended } else { life.closed };
    let to_ns = match (last, life.mini.end) {
        (Some(last), _) => last.get(),
        // When it went nobody saw.
        (None, Some(MiniEnd::Unseen)) => seen.max().unwrap_or(from_ns),
        (None, _) => recording.to_ns,
    };
    Span { from_ns, to_ns: to_ns.max(from_ns) }
}

/// The parts of it that take time, in order; none begins before another is over.
pub(super) fn phases(life: &Life, whole: Span) -> Vec<Phase> {
    let at = |stamp: Option<NonZeroU64>| stamp.map(NonZeroU64::get);
    let first = |stamps: [Option<u64>; 3]| {
        stamps.into_iter().flatten().next().unwrap_or(whole.to_ns).min(whole.to_ns)
    };
    let (opened, established) = (at(life.opened), at(life.established));
    let (fin, closed, born) = (at(life.first_fin), at(life.closed), at(life.mini.born));
    let was_connected = life.seeded && life.state.is_some();
    let has_mini = life.mini.tw != 0 || life.mini.substate.is_some();
    let since_birth = born.or(has_mini.then(|| closed.unwrap_or(whole.from_ns)));
    let candidates = [
        (opened, first([established, fin, closed]), "connecting".to_owned(), None),
        (
            established.or(was_connected.then_some(whole.from_ns)),
            first([fin, closed, born]),
            "established".to_owned(),
            None,
        ),
        (fin, first([born, closed, None]), "closing".to_owned(), None),
        (since_birth, whole.to_ns, mini_name(life), mini_colour(life)),
    ];
    let mut phases: Vec<Phase> = Vec::new();
    for (from_ns, to_ns, name, colour) in candidates {
        let over_ns = phases.last().map_or(whole.from_ns, |phase| phase.span.to_ns);
        let Some(from_ns) = from_ns.map(|from_ns| from_ns.max(over_ns)) else { continue };
        if from_ns < to_ns {
            phases.push(Phase { name, span: Span { from_ns, to_ns }, colour });
        }
    }
    phases
}

/// What a mini-socket was, and what ended it.
fn mini_name(life: &Life) -> String {
    let stayed = life.mini.time_wait.is_none()
        && life.mini.end_substate.or(life.mini.substate) == Some(TcpState::FinWait2);
    let substate = if stayed { TcpState::FinWait2 } else { TcpState::TimeWait };
    let end = life.mini.end.map_or("alive", row::ended);
    format!("{}: {end}", substate.name())
}

fn mini_colour(life: &Life) -> Option<&'static str> {
    Some(match life.mini.end? {
        MiniEnd::By(End::Expired) => "good",
        MiniEnd::By(End::Reused | End::ReusedBound | End::Replaced) => "vsync_highlight_color",
        MiniEnd::By(End::FinWait2Timeout) => "bad",
        _ => "terrible",
    })
}
