//! Who closes first, and whose TIME_WAITs keep ports.

use std::borrow::Cow;

use crate::{
    stats::{
        contacts::Focus,
        snapshot::{Closer, Snapshot},
    },
    view::tui::{
        cells,
        table::{Column, RowId, Tabular},
    },
};

/// A row for each process, namespace and role.
pub(in crate::view::tui) struct Closers;

impl Tabular for Closers {
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
            title: "CLOSES FIRST",
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
            title: "ACTIVE",
            width: 8,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| row.active_closes.into(),
            cell: |row| cells::count(row.active_closes),
        },
        Column {
            title: "SHARE",
            width: 7,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| row.share.into(),
            cell: |row| cells::percent(row.share),
        },
        Column {
            title: "PASSIVE",
            width: 8,
            is_text: false,
            rank: 6,
            exactness: "",
            key: |row| row.peer_closes.into(),
            cell: |row| cells::count(row.peer_closes),
        },
        Column {
            title: "RESETS",
            width: 8,
            is_text: false,
            rank: 7,
            exactness: "",
            key: |row| row.resets.into(),
            cell: |row| cells::maybe_count(row.resets),
        },
        Column {
            title: "TW NOW",
            width: 8,
            is_text: false,
            rank: 2,
            exactness: "",
            key: |row| row.time_wait_now.into(),
            cell: |row| cells::maybe_count(row.time_wait_now),
        },
        Column {
            title: "PORT-S",
            width: 8,
            is_text: false,
            rank: 8,
            exactness: "",
            key: |row| row.port_seconds.into(),
            cell: |row| cells::rate(row.port_seconds),
        },
        Column {
            title: "REFUSED",
            width: 8,
            is_text: false,
            rank: 9,
            exactness: "closers.refused",
            key: |row| row.refused.into(),
            cell: |row| cells::maybe_count(row.refused),
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
        Column {
            title: "CONTAINER",
            width: 12,
            is_text: true,
            rank: 12,
            exactness: "",
            key: |row| row.container.as_deref().into(),
            cell: |row| cells::container(row.container.as_deref()),
        },
        Column {
            title: "CGROUP",
            width: 36,
            is_text: true,
            rank: 13,
            exactness: "",
            key: |row| row.cgroup.as_deref().into(),
            cell: |row| cells::text(row.cgroup.as_deref()),
        },
    ];
    const SORTED_BY: usize = 3;
    const NARROWEST: u16 = 15;

    fn rows(snapshot: &Snapshot) -> Option<Cow<'_, [Closer]>> {
        snapshot.closers.as_deref().map(Cow::Borrowed)
    }

    fn unavailable() -> &'static str {
        "nobody tells who closes (see `twtrace check`, or --light)"
    }

    fn nothing() -> &'static str {
        "nobody has closed yet"
    }

    fn names(row: &Closer) -> Vec<String> {
        let texts = [&row.comm, &row.cgroup, &row.container].into_iter().flatten().cloned();
        let numbers = [row.pid, row.netns].into_iter().flatten().map(|it| it.to_string());
        texts.chain(numbers).chain(row.role.map(str::to_owned)).collect()
    }

    fn id(row: &Closer) -> RowId {
        RowId::of((row.pid, &row.start_time, &row.comm, row.netns, row.role, row.other))
    }

    fn is_rest(row: &Closer) -> bool {
        row.other
    }

    fn focus(row: &Closer) -> Option<Focus> {
        Some(Focus::Process { pid: row.pid?, start_time: row.start_time.clone() })
    }
}

/// A column that rows of closers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosersBy(usize);

impl ClosersBy {
    /// The column that is called so.
    pub fn named(name: &str) -> Option<Self> {
        Self::names().position(|it| it == name).map(Self)
    }

    /// What columns are called.
    pub fn names() -> impl Iterator<Item = String> {
        Closers::COLUMNS.iter().map(|column| match column.title {
            "CLOSES FIRST" => "comm".to_owned(),
            title => title.to_lowercase().replace(' ', "-"),
        })
    }

    /// Its place among the columns.
    pub(in crate::view::tui) const fn column(self) -> usize {
        self.0
    }

    /// Puts the rows of closers in order; the one that sums the rest stays the last.
    pub fn sort(self, snapshot: &mut Snapshot) {
        let key = Closers::COLUMNS[self.0].key;
        if let Some(rows) = &mut snapshot.closers {
            rows.sort_by(|one, other| {
                one.other.cmp(&other.other).then_with(|| key(one).order(key(other), false))
            });
        }
    }
}
