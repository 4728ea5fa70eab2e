//! What ended TIME_WAIT sockets.

use std::borrow::Cow;

use crate::{
    stats::{
        contacts::Focus,
        snapshot::{Ended, Snapshot, Summary},
    },
    view::{
        text::mark,
        tui::{
            bars::bar,
            cells,
            table::{Column, RowId, Tabular},
        },
    },
};

/// One cause.
#[derive(Clone, Debug)]
pub(in crate::view::tui) struct Cause {
    name: &'static str,
    what: &'static str,
    count: Option<u64>,
    /// What stands before a count that is not exact.
    mark: &'static str,
    /// Of all that ended.
    share: Option<f64>,
    lifetime_s: Option<Summary<f64>>,
}

/// A row for each cause, those without any as well.
pub(in crate::view::tui) struct Causes;

impl Tabular for Causes {
    type Row = Cause;
    const COLUMNS: &'static [Column<Cause>] = &[
        Column {
            title: "ENDED BY",
            width: 18,
            is_text: true,
            rank: 0,
            exactness: "",
            key: |row| Some(row.name).into(),
            cell: |row| row.name.to_owned(),
        },
        Column {
            title: "COUNT",
            width: 8,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| row.count.into(),
            cell: |row| cells::marked(row.mark, cells::maybe_count(row.count)),
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
            title: "",
            width: 14,
            is_text: true,
            rank: 3,
            exactness: "",
            key: |row| row.share.into(),
            cell: |row| bar((row.share.unwrap_or(0.0) * 1e6) as u64, 1_000_000, 14),
        },
        Column {
            title: "LIVED P50",
            width: 10,
            is_text: false,
            rank: 1,
            exactness: "time_wait.lifetime_s",
            key: |row| row.lifetime_s.as_ref().and_then(|it| it.p50).into(),
            cell: |row| cells::time(row.lifetime_s.as_ref().and_then(|it| it.p50)),
        },
        Column {
            title: "P99",
            width: 8,
            is_text: false,
            rank: 4,
            exactness: "time_wait.lifetime_s",
            key: |row| row.lifetime_s.as_ref().and_then(|it| it.p99).into(),
            cell: |row| cells::time(row.lifetime_s.as_ref().and_then(|it| it.p99)),
        },
        Column {
            title: "WHAT IT IS",
            width: 0,
            is_text: true,
            rank: 5,
            exactness: "",
            key: |row| Some(row.what).into(),
            cell: |row| row.what.to_owned(),
        },
    ];
    const SORTED_BY: usize = 1;
    const NARROWEST: u16 = 12;

    fn rows(snapshot: &Snapshot) -> Option<Cow<'_, [Cause]>> {
        let minis = snapshot.time_wait.as_ref()?;
        minis.born?;
        Some(causes(snapshot, &minis.ended).into())
    }

    fn unavailable() -> &'static str {
        "births and ends are not followed; see `twtrace check`"
    }

    fn nothing() -> &'static str {
        "none has ended"
    }

    fn names(row: &Cause) -> Vec<String> {
        vec![row.name.to_owned(), row.what.to_owned()]
    }

    fn id(row: &Cause) -> RowId {
        RowId::of(row.name)
    }

    fn is_rest(_: &Cause) -> bool {
        false
    }

    fn focus(_: &Cause) -> Option<Focus> {
        None
    }
}

fn causes(snapshot: &Snapshot, ended: &Ended) -> Vec<Cause> {
    let named = [
        ("expired", "its 60 seconds were over", ended.expired),
        ("fin_wait2_timeout", "the peer never closed", ended.fin_wait2_timeout),
        ("reused", "an outgoing connect took its port", ended.reused),
        ("replaced", "an incoming connection took its place", ended.replaced),
        ("reset", "the peer sent RST", ended.reset),
        ("rejected", "it answered with RST", ended.rejected),
        ("aborted", "ss -K, or BPF", ended.aborted),
        ("purged", "its network namespace went", ended.purged),
        ("other", "TPROXY, or not told", ended.other),
        ("unseen", "gone, and nobody saw the end", ended.unseen),
    ];
    let total: u64 = named.iter().filter_map(|(_, _, count)| *count).sum();
    let by_end = snapshot.time_wait.as_ref().and_then(|minis| minis.lifetime_by_end.as_ref());
    let cause = |(name, what, count): (&'static str, &'static str, Option<u64>)| Cause {
        name,
        what,
        count,
        mark: mark(snapshot, &format!("time_wait.ended.{name}")),
        share: count.filter(|_| total > 0).map(|count| count as f64 / total as f64),
        lifetime_s: by_end.and_then(|by_end| by_end.get(name)).cloned(),
    };
    named.into_iter().map(cause).collect()
}
