//! Which destination runs out of ports, and when.

use std::borrow::Cow;

use crate::{
    stats::{
        contacts::Focus,
        snapshot::{Destination, Snapshot},
    },
    view::{
        text::format::endpoint,
        tui::{
            cells,
            table::{Column, RowId, Tabular},
        },
    },
};

/// A row for each remote end, by the local address.
pub(in crate::view::tui) struct Destinations;

impl Tabular for Destinations {
    type Row = Destination;
    const COLUMNS: &'static [Column<Destination>] = &[
        Column {
            title: "PORTS TOWARDS",
            width: 0,
            is_text: true,
            rank: 0,
            exactness: "",
            key: |row| row.raddr.as_deref().into(),
            cell: name,
        },
        Column {
            title: "USED",
            width: 7,
            is_text: false,
            rank: 3,
            exactness: "",
            key: |row| row.ports_used.into(),
            cell: |row| cells::count(row.ports_used),
        },
        Column {
            title: "OF",
            width: 7,
            is_text: false,
            rank: 3,
            exactness: "",
            key: |row| row.ports_available.into(),
            cell: |row| cells::maybe_count(row.ports_available),
        },
        Column {
            title: "FULL",
            width: 7,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| row.used_ratio.into(),
            cell: |row| cells::percent(row.used_ratio),
        },
        Column {
            title: "KNEE",
            width: 8,
            is_text: false,
            rank: 2,
            exactness: "",
            key: |row| row.knee_in_s.into(),
            cell: |row| cells::time_left(row.knee_in_s),
        },
        Column {
            title: "NO PORT",
            width: 8,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| row.exhausted_in_s.into(),
            cell: |row| cells::time_left(row.exhausted_in_s),
        },
        Column {
            title: "OPENS/S",
            width: 8,
            is_text: false,
            rank: 5,
            exactness: "",
            key: |row| row.opens_per_s.into(),
            cell: |row| cells::rate(row.opens_per_s),
        },
        Column {
            title: "TW",
            width: 7,
            is_text: false,
            rank: 6,
            exactness: "",
            key: |row| row.ports_time_wait.into(),
            cell: |row| cells::count(row.ports_time_wait),
        },
        Column {
            title: "REUSABLE",
            width: 9,
            is_text: false,
            rank: 8,
            exactness: "",
            key: |row| row.ports_reusable.into(),
            cell: |row| cells::maybe_count(row.ports_reusable),
        },
        Column {
            title: "ERRORS",
            width: 7,
            is_text: false,
            rank: 4,
            exactness: "",
            key: |row| errors(row).into(),
            cell: |row| cells::maybe_count(errors(row)),
        },
        Column {
            title: "LAST BY",
            width: 16,
            is_text: true,
            rank: 7,
            exactness: "",
            key: |row| row.comm.as_deref().into(),
            cell: |row| cells::text(row.comm.as_deref()),
        },
        Column {
            title: "FROM",
            width: 24,
            is_text: true,
            rank: 9,
            exactness: "",
            key: |row| row.laddr.as_deref().into(),
            cell: |row| cells::text(row.laddr.as_deref()),
        },
        Column {
            title: "NETNS",
            width: 10,
            is_text: false,
            rank: 10,
            exactness: "",
            key: |row| row.netns.map(u64::from).into(),
            cell: |row| cells::netns(row.netns),
        },
    ];
    const SORTED_BY: usize = 3;
    const NARROWEST: u16 = 21;

    fn rows(snapshot: &Snapshot) -> Option<Cow<'_, [Destination]>> {
        snapshot.destinations.as_deref().map(Cow::Borrowed)
    }

    fn unavailable() -> &'static str {
        "nothing counts ports taken (see `twtrace check`, or --light)"
    }

    fn nothing() -> &'static str {
        "no local port is taken towards any destination"
    }

    fn names(row: &Destination) -> Vec<String> {
        let texts = [&row.raddr, &row.laddr, &row.comm].into_iter().flatten().cloned();
        let numbers = [row.pid, row.netns, row.rport.map(u32::from)].into_iter().flatten();
        texts.chain(numbers.map(|it| it.to_string())).collect()
    }

    fn id(row: &Destination) -> RowId {
        RowId::of((row.netns, &row.laddr, &row.raddr, row.rport, row.other))
    }

    fn is_rest(row: &Destination) -> bool {
        row.other
    }

    fn focus(row: &Destination) -> Option<Focus> {
        let (laddr, raddr) = (row.laddr.clone(), row.raddr.clone()?);
        Some(Focus::Destination { netns: row.netns, laddr, raddr, rport: row.rport? })
    }
}

/// Where connects are not seen, nobody knows of their errors.
fn errors(row: &Destination) -> Option<u64> {
    row.opens_per_s.map(|_| row.connect_errors.values().sum())
}

fn name(row: &Destination) -> String {
    match (&row.raddr, row.rport) {
        (Some(raddr), Some(rport)) => endpoint(raddr, rport),
        _ => cells::process(None, row.other),
    }
}
