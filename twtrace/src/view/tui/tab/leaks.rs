//! Who does not close what the peer has closed.

use std::borrow::Cow;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
};

use crate::{
    stats::{
        contacts::Focus,
        snapshot::{CloseWait, Snapshot},
    },
    view::{
        text::format::maybe,
        tui::{
            cells,
            table::{Column, RowId, Tabular},
            theme::Theme,
        },
    },
};

/// A row for each process and namespace.
pub(in crate::view::tui) struct Leaks;

impl Tabular for Leaks {
    type Row = CloseWait;
    const COLUMNS: &'static [Column<CloseWait>] = &[
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
            title: "DOES NOT CLOSE",
            width: 0,
            is_text: true,
            rank: 0,
            exactness: "",
            key: |row| row.comm.as_deref().into(),
            cell: |row| cells::process(row.comm.as_deref(), row.other),
        },
        Column {
            title: "CLOSE_WAIT",
            width: 11,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| row.count.into(),
            cell: |row| cells::count(row.count),
        },
        Column {
            title: "OLDEST",
            width: 9,
            is_text: false,
            rank: 1,
            exactness: "close_wait.oldest_s",
            key: |row| row.oldest_s.into(),
            cell: |row| cells::time(row.oldest_s),
        },
        Column {
            title: "PER MIN",
            width: 9,
            is_text: false,
            rank: 1,
            exactness: "",
            key: |row| row.growth_per_min.into(),
            cell: |row| cells::change(row.growth_per_min),
        },
        Column {
            title: "NETNS",
            width: 10,
            is_text: false,
            rank: 5,
            exactness: "",
            key: |row| row.netns.map(u64::from).into(),
            cell: |row| cells::netns(row.netns),
        },
        Column {
            title: "CONTAINER",
            width: 12,
            is_text: true,
            rank: 6,
            exactness: "",
            key: |row| row.container.as_deref().into(),
            cell: |row| cells::container(row.container.as_deref()),
        },
        Column {
            title: "CGROUP",
            width: 36,
            is_text: true,
            rank: 7,
            exactness: "",
            key: |row| row.cgroup.as_deref().into(),
            cell: |row| cells::text(row.cgroup.as_deref()),
        },
    ];
    const SORTED_BY: usize = 2;
    const NARROWEST: u16 = 15;

    fn rows(snapshot: &Snapshot) -> Option<Cow<'_, [CloseWait]>> {
        snapshot.close_wait.as_deref().map(Cow::Borrowed)
    }

    fn unavailable() -> &'static str {
        "sock_diag does not answer"
    }

    fn nothing() -> &'static str {
        "every socket that its peer has closed was closed here, too"
    }

    fn names(row: &CloseWait) -> Vec<String> {
        let texts = [&row.comm, &row.cgroup, &row.container].into_iter().flatten().cloned();
        let numbers = [row.pid, row.netns].into_iter().flatten().map(|it| it.to_string());
        texts.chain(numbers).collect()
    }

    fn id(row: &CloseWait) -> RowId {
        RowId::of((row.pid, &row.comm, row.netns, row.other))
    }

    fn is_rest(row: &CloseWait) -> bool {
        row.other
    }

    fn focus(row: &CloseWait) -> Option<Focus> {
        Some(Focus::Process { pid: row.pid?, start_time: None })
    }
}

/// Lines that [`draw_above`] would like to have.
pub(in crate::view::tui) const LINES_ABOVE: u16 = 3;

/// What else waits to be closed, and for whom.
pub(in crate::view::tui) fn draw_above(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    theme: Theme,
) {
    let state = |name: &str| maybe(snapshot.states.get(name).copied().flatten());
    let orphans = snapshot.fin_wait2.as_ref().and_then(|kept| kept.now);
    let waiting = [
        ("for their process", format!("CLOSE_WAIT {}", state("CLOSE_WAIT"))),
        (
            "for the peer",
            format!("FIN_WAIT2 {} and {} without a process", state("FIN_WAIT2"), maybe(orphans)),
        ),
        (
            "for an answer",
            format!("SYN_SENT {}  LAST_ACK {}", state("SYN_SENT"), state("LAST_ACK")),
        ),
    ];
    let line = |(whom, what): (&str, String)| {
        Line::from(vec![Span::styled(format!("wait {whom:<18}"), theme.label()), Span::raw(what)])
    };
    frame.render_widget(Text::from_iter(waiting.map(line)), area);
}
