//! How long TIME_WAIT sockets live, and whose live long.

use std::borrow::Cow;

use ratatui::{Frame, layout::Rect, text::Line};

use crate::{
    stats::{
        contacts::Focus,
        snapshot::{Closer, Encoded, Snapshot, Summary},
    },
    view::{
        text::{format::span, mark},
        tui::{
            bars::{self, Bars},
            cells,
            table::{Column, RowId, Tabular},
            theme::Theme,
        },
    },
};

/// Where bars begin, in seconds: fine about the 60 seconds that the timer takes.
const EDGES_S: [f64; 14] =
    [0.0, 0.1, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 61.0, 62.0, 63.0, 64.5];

/// A row for each process, namespace and role, of those whose sockets have ended.
pub(in crate::view::tui) struct Lifetimes;

impl Tabular for Lifetimes {
    type Row = Closer;
    const COLUMNS: &'static [Column<Closer>] = &[
        Column {
            title: "PID",
            width: 8,
            is_text: false,
            rank: 3,
            exactness: "",
            key: |row| row.pid.map(u64::from).into(),
            cell: |row| cells::pid(row.pid),
        },
        Column {
            title: "LEAVES TIME_WAIT",
            width: 0,
            is_text: true,
            rank: 0,
            exactness: "closers",
            key: |row| row.comm.as_deref().into(),
            cell: |row| cells::process(row.comm.as_deref(), row.other),
        },
        Column {
            title: "ROLE",
            width: 7,
            is_text: true,
            rank: 4,
            exactness: "",
            key: |row| row.role.into(),
            cell: |row| cells::text(row.role),
        },
        Column {
            title: "NOW",
            width: 8,
            is_text: false,
            rank: 2,
            exactness: "",
            key: |row| row.time_wait_now.into(),
            cell: |row| cells::maybe_count(row.time_wait_now),
        },
        Column {
            title: "ENDED",
            width: 8,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| lived(row).map(|lived| lived.count).into(),
            cell: |row| cells::maybe_count(lived(row).map(|lived| lived.count)),
        },
        Column {
            title: "P50",
            width: 8,
            is_text: false,
            rank: 0,
            exactness: "time_wait.lifetime_s",
            key: |row| lived(row).and_then(|lived| lived.p50).into(),
            cell: |row| cells::time(lived(row).and_then(|lived| lived.p50)),
        },
        Column {
            title: "P99",
            width: 8,
            is_text: false,
            rank: 1,
            exactness: "time_wait.lifetime_s",
            key: |row| lived(row).and_then(|lived| lived.p99).into(),
            cell: |row| cells::time(lived(row).and_then(|lived| lived.p99)),
        },
        Column {
            title: "MAX",
            width: 8,
            is_text: false,
            rank: 5,
            exactness: "time_wait.lifetime_s",
            key: |row| lived(row).and_then(|lived| lived.max).into(),
            cell: |row| cells::time(lived(row).and_then(|lived| lived.max)),
        },
        Column {
            title: "PORT-S",
            width: 8,
            is_text: false,
            rank: 6,
            exactness: "",
            key: |row| row.port_seconds.into(),
            cell: |row| cells::rate(row.port_seconds),
        },
    ];
    const SORTED_BY: usize = 4;
    const NARROWEST: u16 = 16;

    fn rows(snapshot: &Snapshot) -> Option<Cow<'_, [Closer]>> {
        snapshot.time_wait.as_ref()?.lifetime_s.as_ref()?;
        snapshot.closers.as_deref().map(Cow::Borrowed)
    }

    fn unavailable() -> &'static str {
        "ends are not followed one by one; see `twtrace check`"
    }

    fn nothing() -> &'static str {
        "nobody has closed yet"
    }

    fn names(row: &Closer) -> Vec<String> {
        super::closers::Closers::names(row)
    }

    fn id(row: &Closer) -> RowId {
        super::closers::Closers::id(row)
    }

    fn is_rest(row: &Closer) -> bool {
        row.other
    }

    fn focus(row: &Closer) -> Option<Focus> {
        super::closers::Closers::focus(row)
    }
}

fn lived(row: &Closer) -> Option<&Summary<f64>> {
    row.lifetime_s.as_ref()
}

/// Lines that [`draw_above`] would like to have.
pub(in crate::view::tui) fn lines_above(snapshot: &Snapshot) -> u16 {
    let all = snapshot.time_wait.as_ref().and_then(|minis| minis.lifetime_s.as_ref());
    if all.is_some_and(|all| all.count > 0) { 2 + EDGES_S.len() as u16 } else { 0 }
}

/// How many lived how long, with their quantiles.
pub(in crate::view::tui) fn draw_above(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    theme: Theme,
) {
    let lifetimes = snapshot.hdr.as_ref().and_then(|hdr| hdr.time_wait_lifetime.as_ref());
    let all = snapshot.time_wait.as_ref().and_then(|minis| minis.lifetime_s.as_ref());
    let (Some(lifetimes), Some(all)) = (lifetimes, all) else { return };
    let title = Line::styled(summary(snapshot, all), theme.title());
    bars::draw(frame, area, &Bars { title, bars: &by_edges(lifetimes) }, theme);
}

fn summary(snapshot: &Snapshot, all: &Summary<f64>) -> String {
    let mark = mark(snapshot, "time_wait.lifetime_s");
    let named = [("p50", all.p50), ("p90", all.p90), ("p99", all.p99), ("max", all.max)];
    let known = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let quantiles: String =
        known.map(|(name, value)| format!("  {name} {mark}{}", span(value))).collect();
    format!("{} lived from birth to end:{quantiles}", cells::count(all.count))
}

fn by_edges(Encoded(lifetimes): &Encoded) -> Vec<(String, u64)> {
    let mut counts = [0; EDGES_S.len()];
    for value in lifetimes.iter_recorded() {
        let lived_s = value.value_iterated_to() as f64 / 1e6;
        let place = EDGES_S.iter().rposition(|edge| *edge <= lived_s).unwrap_or_default();
        counts[place] += value.count_since_last_iteration();
    }
    let named = EDGES_S
        .iter()
        .map(|edge| format!("≥ {}", if *edge == 0.0 { "0 s".to_owned() } else { span(*edge) }));
    named.zip(counts).collect()
}
