//! What the search for a local port costs, and who pays.

use std::borrow::Cow;

use hdrhistogram::Histogram;
use ratatui::{Frame, layout::Rect, text::Line};

use crate::{
    stats::{
        contacts::Focus,
        snapshot::{PortSearch, PortSearchKind, SearchOp, SearchingProcess, Snapshot},
    },
    view::{
        text::{
            format::{seconds, span},
            mark,
        },
        tui::{
            bars::{self, Bars},
            cells,
            table::{Column, RowId, Tabular},
            theme::Theme,
        },
    },
};

/// A row for each process and call.
pub(in crate::view::tui) struct Searchers;

impl Tabular for Searchers {
    type Row = SearchingProcess;
    const COLUMNS: &'static [Column<SearchingProcess>] = &[
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
            title: "SEARCHES PORTS",
            width: 0,
            is_text: true,
            rank: 0,
            exactness: "",
            key: |row| row.comm.as_deref().into(),
            cell: |row| cells::process(row.comm.as_deref(), row.other),
        },
        Column {
            title: "BY",
            width: 8,
            is_text: true,
            rank: 4,
            exactness: "",
            key: |row| Some(by(row)).into(),
            cell: |row| by(row).to_owned(),
        },
        Column {
            title: "COUNT",
            width: 8,
            is_text: false,
            rank: 0,
            exactness: "",
            key: |row| row.count.into(),
            cell: |row| cells::count(row.count),
        },
        Column {
            title: "FAILED",
            width: 8,
            is_text: false,
            rank: 2,
            exactness: "",
            key: |row| failed(row).into(),
            cell: |row| cells::maybe_count(failed(row)),
        },
        Column {
            title: "CPU",
            width: 7,
            is_text: false,
            rank: 1,
            exactness: "",
            key: |row| row.cpu_core_pct.into(),
            cell: |row| cells::core_percent(row.cpu_core_pct),
        },
        Column {
            title: "TOTAL",
            width: 9,
            is_text: false,
            rank: 0,
            exactness: "port_search.connect.latency_ns",
            key: |row| row.total_ns.into(),
            cell: |row| cells::time((row.latency_ns.count > 0).then(|| seconds(row.total_ns))),
        },
        Column {
            title: "P50",
            width: 9,
            is_text: false,
            rank: 6,
            exactness: "port_search.connect.latency_ns",
            key: |row| row.latency_ns.p50.into(),
            cell: |row| cells::time(row.latency_ns.p50.map(seconds)),
        },
        Column {
            title: "P99",
            width: 9,
            is_text: false,
            rank: 2,
            exactness: "port_search.connect.latency_ns",
            key: |row| row.latency_ns.p99.into(),
            cell: |row| cells::time(row.latency_ns.p99.map(seconds)),
        },
        Column {
            title: "MAX",
            width: 9,
            is_text: false,
            rank: 7,
            exactness: "port_search.connect.latency_ns",
            key: |row| row.latency_ns.max.into(),
            cell: |row| cells::time(row.latency_ns.max.map(seconds)),
        },
    ];
    const SORTED_BY: usize = 6;
    const NARROWEST: u16 = 15;

    fn rows(snapshot: &Snapshot) -> Option<Cow<'_, [SearchingProcess]>> {
        Some(Cow::Borrowed(&snapshot.port_search.as_ref()?.by_process))
    }

    fn unavailable() -> &'static str {
        "nothing sees searches (see `twtrace check`, or --light)"
    }

    fn nothing() -> &'static str {
        "nobody has searched a port yet"
    }

    fn names(row: &SearchingProcess) -> Vec<String> {
        let texts = row.comm.iter().cloned().chain([by(row).to_owned()]);
        texts.chain(row.pid.map(|pid| pid.to_string())).collect()
    }

    fn id(row: &SearchingProcess) -> RowId {
        RowId::of((row.pid, &row.comm, row.op, row.other))
    }

    fn is_rest(row: &SearchingProcess) -> bool {
        row.other
    }

    fn focus(row: &SearchingProcess) -> Option<Focus> {
        Some(Focus::Process { pid: row.pid?, start_time: None })
    }
}

fn by(row: &SearchingProcess) -> &'static str {
    match row.op {
        Some(SearchOp::Bind) => "bind",
        Some(SearchOp::Connect) => "connect",
        None => "any",
    }
}

fn failed(row: &SearchingProcess) -> Option<u64> {
    row.failed.as_ref().map(|failed| failed.values().sum())
}

/// How long searches took, connect beside bind.
pub(in crate::view::tui) fn draw_above(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    theme: Theme,
) {
    let Some(search) = &snapshot.port_search else { return };
    let hdr = snapshot.hdr.as_ref();
    let histogram = |op: &str| match op {
        "connect" => hdr.and_then(|hdr| hdr.port_search_connect.as_ref()),
        _ => hdr.and_then(|hdr| hdr.port_search_bind.as_ref()),
    };
    let kinds = [("connect", &search.connect), ("bind", &search.bind)];
    let some = kinds.into_iter().filter(|(_, kind)| kind.count > 0);
    let parts = if search.bind.count > 0 { bars::halves(area) } else { vec![area] };
    for ((op, kind), part) in some.zip(parts) {
        let powers = histogram(op).map(|it| powers_of_two(&it.0)).unwrap_or_default();
        let title = Line::styled(summary(snapshot, op, kind), theme.title());
        bars::draw(frame, part, &Bars { title, bars: &powers }, theme);
    }
}

/// A title, and a bar for each power of two from a microsecond to a tenth of a second.
const MOST_LINES: u16 = 18;

/// Lines that [`draw_above`] would like to have.
pub(in crate::view::tui) fn lines_above(search: Option<&PortSearch>) -> u16 {
    let is_quiet = |search: &PortSearch| search.connect.count + search.bind.count == 0;
    if search.is_none_or(is_quiet) { 0 } else { MOST_LINES }
}

fn summary(snapshot: &Snapshot, op: &str, kind: &PortSearchKind) -> String {
    let bound = mark(snapshot, &format!("port_search.{op}.latency_ns"));
    let quantile = |name: &str, value: Option<u64>| {
        value.map(|value| format!("  {name} {bound}{}", span(seconds(value)))).unwrap_or_default()
    };
    let latency = &kind.latency_ns;
    let cpu = kind.cpu_core_pct.map(|it| format!("  CPU {it:.1}%")).unwrap_or_default();
    format!(
        "{op} {}{}{}{cpu}",
        cells::count(kind.count),
        quantile("p50", latency.p50),
        quantile("p99", latency.p99),
    )
}

/// How many values begin with which bit, named by where they begin.
fn powers_of_two(histogram: &Histogram<u64>) -> Vec<(String, u64)> {
    let mut buckets = std::collections::BTreeMap::<u32, u64>::new();
    for value in histogram.iter_recorded() {
        let first_bit = value.value_iterated_to().max(1).ilog2();
        *buckets.entry(first_bit).or_default() += value.count_since_last_iteration();
    }
    let (Some((first, _)), Some((last, _))) = (buckets.first_key_value(), buckets.last_key_value())
    else {
        return Vec::new();
    };
    let edge = |bit: u32| span(seconds(1_u64.checked_shl(bit).unwrap_or(u64::MAX)));
    let count = |bit: u32| buckets.get(&bit).copied().unwrap_or_default();
    (*first..=*last).map(|bit| (format!("≥ {}", edge(bit)), count(bit))).collect()
}
