//! What `twtrace states` found, as text and as JSON.

use std::fmt::{self, Write};

use anyhow::Result;

use super::text::format::{UNKNOWN, compact, endpoint, line, shortened};
use crate::census::report::{
    ByState, Client, Destination, Held, ListenerRow, Netns, Process, Report,
};

/// States in the order in which a connection goes through them, and their titles.
const COLUMNS: [(&str, &str); 10] = [
    ("LISTEN", "LISTN"),
    ("SYN_SENT", "SYN-S"),
    ("SYN_RECV", "SYN-R"),
    ("ESTABLISHED", "ESTAB"),
    ("FIN_WAIT1", "FINW1"),
    ("FIN_WAIT2", "FINW2"),
    ("TIME_WAIT", "TIMEW"),
    ("CLOSE_WAIT", "CLOSW"),
    ("LAST_ACK", "LASTA"),
    ("CLOSING", "CLSNG"),
];

/// One that sums others is in no single namespace.
const SEVERAL: &str = "several";

/// As one line of JSON.
///
/// # Errors
/// None that a report can cause.
pub fn json(report: &Report) -> Result<String> {
    super::json::object(report)
}

/// As text.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut out, report);
    out
}

fn write_text(out: &mut String, report: &Report) -> fmt::Result {
    if let Some(why) = &report.left_out {
        writeln!(out, "some sockets may be left out: {why}\n")?;
    }
    namespaces(out, report)?;
    if !report.by_process.is_empty() {
        processes(out, &report.by_process)?;
    }
    if !report.by_listener.is_empty() {
        listeners(out, &report.by_listener)?;
    }
    let destinations: Vec<[String; 5]> = report.destinations.iter().map(destination).collect();
    ends(out, ["DESTINATIONS", "REMOTE"], &destinations)?;
    let clients: Vec<[String; 5]> = report.clients.iter().map(client).collect();
    ends(out, ["CLIENTS", "REMOTE"], &clients)
}

fn namespaces(out: &mut String, report: &Report) -> fmt::Result {
    let mut title = format!("{:<10} {:>7}", "NETNS", "TOTAL");
    COLUMNS.iter().for_each(|(_, column)| title.push_str(&format!(" {column:>5}")));
    line(out, &title)?;
    for row in &report.by_netns {
        namespace(out, row)?;
    }
    if report.by_netns.len() > 1 {
        let sum = report.states.as_ref().map(|states| states.values().sum());
        line(out, &by_state("all", sum, report.states.as_ref()))?;
    }
    Ok(())
}

fn namespace(out: &mut String, row: &Netns) -> fmt::Result {
    line(out, &by_state(&row.netns.to_string(), row.sockets, row.states.as_ref()))?;
    match &row.unavailable {
        Some(why) => writeln!(out, "           unavailable: {why}"),
        None => Ok(()),
    }
}

fn by_state(name: &str, sockets: Option<u64>, states: Option<&ByState>) -> String {
    let mut text = format!("{name:<10} {:>7}", shown(sockets, 7));
    for (state, _) in COLUMNS {
        text.push_str(&format!(" {:>5}", shown(states.map(|states| states[state]), 5)));
    }
    text
}

fn shown(count: Option<u64>, width: usize) -> String {
    count.map_or(UNKNOWN.to_owned(), |count| compact(count, width))
}

fn sum(states: &ByState, of: &[&str]) -> u64 {
    of.iter().map(|state| states[state]).sum()
}

fn processes(out: &mut String, rows: &[Process]) -> fmt::Result {
    let titles = ["TOTAL", "LISTEN", "OPENING", "ESTAB", "CLOSE-W", "CLOSING"];
    writeln!(out)?;
    process_line(out, ["PROCESS", "PID", "NETNS"], &titles.map(str::to_owned))?;
    for row in rows {
        let comm = row.comm.as_deref().unwrap_or(match row.held_by {
            Held::Process => UNKNOWN,
            Held::Nobody => "(nobody)",
            Held::Unknown => "(unknown)",
            Held::Other => "(other)",
        });
        let pid = row.pid.map_or(String::new(), |pid| pid.to_string());
        let netns = row.netns.map_or(SEVERAL.to_owned(), |netns| netns.to_string());
        let closing = ["FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "LAST_ACK", "CLOSING"];
        let counts = [
            row.sockets,
            row.states["LISTEN"],
            sum(&row.states, &["SYN_SENT", "SYN_RECV"]),
            row.states["ESTABLISHED"],
            row.states["CLOSE_WAIT"],
            sum(&row.states, &closing),
        ];
        process_line(out, [comm, &pid, &netns], &counts.map(|count| compact(count, 7)))?;
    }
    Ok(())
}

fn process_line(
    out: &mut String,
    [comm, pid, netns]: [&str; 3],
    cells: &[String; 6],
) -> fmt::Result {
    let mut text = format!("{:<13} {pid:>7} {netns:>10}", shortened(comm, 13));
    cells.iter().for_each(|cell| text.push_str(&format!(" {cell:>7}")));
    line(out, &text)
}

fn listeners(out: &mut String, rows: &[ListenerRow]) -> fmt::Result {
    writeln!(out)?;
    let titles = ["LISTENER", "PROCESS", "QUEUED", "BACKLOG", "SYN-R", "ESTAB", "CLOSW", "TIMEW"];
    listener_line(out, titles)?;
    for row in rows {
        let at = row.laddr.as_deref().zip(row.lport);
        let at = at.map_or("(other)".to_owned(), |(laddr, lport)| endpoint(laddr, lport));
        let states = ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT"];
        let [syn, established, close_wait, time_wait] =
            states.map(|state| compact(row.states[state], 6));
        let comm = if row.other { "" } else { row.comm.as_deref().unwrap_or(UNKNOWN) };
        let [queued, backlog] = [row.accept_queue, row.backlog].map(|count| compact(count, 7));
        let cells = [&at, comm, &queued, &backlog, &syn, &established, &close_wait, &time_wait];
        listener_line(out, cells)?;
    }
    Ok(())
}

fn listener_line(out: &mut String, cells: [&str; 8]) -> fmt::Result {
    let [at, comm, queued, backlog, syn, established, close_wait, time_wait] = cells;
    let (at, comm) = (shortened(at, 23), shortened(comm, 11));
    line(
        out,
        &format!(
            "{at:<23} {comm:<11} {queued:>7} {backlog:>7} {syn:>6} {established:>6} {close_wait:>6} {time_wait:>6}"
        ),
    )
}

fn destination(row: &Destination) -> [String; 5] {
    let remote = row.raddr.as_deref().zip(row.rport);
    [
        row.laddr.clone().unwrap_or("(other)".to_owned()),
        remote.map_or(String::new(), |(raddr, rport)| endpoint(raddr, rport)),
        row.netns.map_or(String::new(), |netns| netns.to_string()),
        compact(row.quadruplets_used, 9),
        compact(row.time_wait, 9),
    ]
}

fn client(row: &Client) -> [String; 5] {
    let local = row.laddr.as_deref().zip(row.lport);
    [
        local.map_or("(other)".to_owned(), |(laddr, lport)| endpoint(laddr, lport)),
        row.raddr.clone().unwrap_or_default(),
        row.netns.map_or(String::new(), |netns| netns.to_string()),
        compact(row.quadruplets_used, 9),
        compact(row.time_wait, 9),
    ]
}

fn ends(out: &mut String, [local, remote]: [&str; 2], rows: &[[String; 5]]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let titles = [local, remote, "NETNS", "USED", "TIME-WAIT"].map(str::to_owned);
    for [local, remote, netns, used, minis] in [titles].iter().chain(rows) {
        let (local, remote) = (shortened(local, 23), shortened(remote, 24));
        line(out, &format!("{local:<23} {remote:<24} {netns:>10} {used:>9} {minis:>9}"))?;
    }
    Ok(())
}
