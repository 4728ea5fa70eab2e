//! One row for each record.

use twtrace_common::{End, ProcessKey, Search};

use super::{
    clock::WallClock,
    columns::{Ip, Pointer, Time, columns},
    people::{People, Person},
    words,
};
use crate::event::{
    Comm, ConnectEvent, Event, MiniEvent, ProcessEvent, SampleEvent, SearchEvent, TransitionEvent,
};

columns! {
    /// One record: what its kind does not have is null.
    EventRow<'a> {
        time: Time, "ns since 1970, UTC", "when it happened, by the wall clock", "kind `process`, whose record has no time: just before the next row of that process";
        time_ns: u64, "ns", "when it happened, by CLOCK_MONOTONIC: since boot, suspend left out", "as `time`";
        kind: &'a str, "", "`transition`, `birth`, `step`, `end`, `refused`, `connect`, `search`, `sample` or `process`", "never";
        netns: u32, "inode", "network namespace of the socket", "kinds `connect`, `sample`, `process`; classic hook";
        sk: Pointer, "kernel address", "the socket: its name until it goes to CLOSE, then another's", "all kinds but `transition`, `connect`, `search`; a `search` whose hook cannot tell";
        tw: Pointer, "kernel address", "the mini-socket: its name from birth to end, then another's", "all kinds but `birth`, `step`, `end`";
        laddr: Ip, "", "local address, as text", "kinds without a socket, `connect`, `search`";
        lport: u16, "port", "local port, 0 if none yet; of a `search` the port found or asked for", "kinds `sample`, `process`";
        raddr: Ip, "", "remote address, as text", "kinds without a socket, `connect`; a `search` by bind or listen";
        rport: u16, "port", "remote port, 0 if none yet", "as `raddr`";
        old_state: &'a str, "", "the state left", "all kinds but `transition`";
        new_state: &'a str, "", "the state entered", "all kinds but `transition`";
        outcome: &'a str, "", "what the transition opened or ended: `connect_ok`, `connect_refused`, `connect_timed_out`, `connect_no_port`, `connect_other`, `connect_unexplained`, `close_active`, `close_passive`, `close_simultaneous` (its `close_active` came before), `reset_local`, `reset_remote`, `reset_unexplained`", "all kinds but `transition`; a transition that opens and ends nothing";
        process_context: bool, "", "whether a process held the socket's lock; read only where it decides whom to credit, else false", "all kinds but `transition`; classic hook";
        shutdown: u16, "bits", "`sk_shutdown` before the transition: 1 receive, 2 send", "as `process_context`";
        error: u16, "errno", "`sk_err` of a transition, the failure of a `search`; 0 for none", "all kinds but `transition`, `search`; classic hook";
        error_name: &'a str, "", "the name of `error`", "`error` is null, 0 or without a name here";
        own_low: u16, "port", "first port of the range that the socket asked for (IP_LOCAL_PORT_RANGE), of a transition to SYN_SENT", "it asked for none; all kinds but `transition`";
        own_high: u16, "port", "last port of that range", "as `own_low`";
        substate: &'a str, "", "of a mini-socket: `FIN_WAIT2` or `TIME_WAIT`", "all kinds but `birth`, `step`, `end`, `refused`";
        timestamps: bool, "", "whether the mini-socket's connection had timestamps", "not told; all kinds but `birth`";
        end: &'a str, "", "what ended the mini-socket: a key of `time_wait.ended` in the Snapshot; `reused_bound` is not in `reused` here", "all kinds but `end`";
        search: &'a str, "", "what searched: `connect`, `bind`, `bind_explicit`, `listen`; of a `transition` the search that begins with it", "kinds without a search; of a `sample` a bind may have been to a chosen port";
        latency_ns: u64, "ns", "how long the search took", "all kinds but `search`";
        tried: u32, "ports", "how many taken ports the search looked at", "nobody counts; all kinds but `search`";
        pid: u32, "", "the process that caused it (thread group id, initial pid namespace)", "nobody, or not known who: a softirq or a timer";
        start_time: Time, "ns since 1970, UTC", "when that process started", "as `pid`; classic hook";
        comm: Comm, "", "the name of its first thread, by then; control characters and broken UTF-8 are replaced", "as `pid`; its introduction was lost";
        cgroup: &'a str, "", "the path of its cgroup", "as `pid`; not read by then: a process's first rows; gone before it could be read";
        container: &'a str, "", "the container id in that path", "as `cgroup`; the path shows none";
        cgroup_id: u64, "", "id of its cgroup in the v2 hierarchy", "all kinds but `process`";
        kernel_thread: bool, "", "whether it is a kernel thread", "as `comm`";
    }
}

impl EventRow<'_> {
    /// Adds who caused it.
    fn by<'p>(self, person: Person<'p>) -> EventRow<'p>
    where
        Self: 'p,
    {
        EventRow {
            pid: person.pid,
            start_time: person.started,
            comm: person.comm,
            cgroup: person.cgroup,
            container: person.container,
            kernel_thread: person.kernel_thread,
            ..self
        }
    }
}

/// The row of `event`, as far as its process is known by now.
pub(super) fn row<'a>(event: &Event, people: &'a People, clock: &WallClock) -> EventRow<'a> {
    let by = |key: ProcessKey| people.person(key);
    match event {
        Event::Transition(event) => {
            let row = at(clock, event.time_ns, transition(event));
            event.owner.map_or(row, |owner| row.by(by(owner)))
        }
        Event::Birth(event) => at(clock, event.time_ns, mini("birth", event)),
        Event::Step(event) => at(clock, event.time_ns, mini("step", event)),
        Event::End(event, end) => at(clock, event.time_ns, ended(event, *end)),
        Event::Refused(event) => {
            at(clock, event.time_ns, EventRow { tw: None, ..mini("refused", event) })
        }
        Event::Connect(event) => at(clock, event.time_ns, connect(event)),
        Event::Search(event) => at(clock, event.time_ns, search(event)).by(by(event.owner)),
        Event::Sample(event) => at(clock, event.time_ns, sample(event)).by(by(event.owner)),
        Event::Process(event) => process(event).by(by(event.key)),
    }
}

fn at<'a>(clock: &WallClock, time_ns: u64, row: EventRow<'a>) -> EventRow<'a> {
    EventRow { time: Some(Time(clock.at(time_ns))), time_ns: Some(time_ns), ..row }
}

fn transition(event: &TransitionEvent) -> EventRow<'static> {
    let change = &event.change;
    let known = change.fields_known;
    EventRow {
        kind: Some("transition"),
        netns: event.netns,
        sk: Some(Pointer(event.sk)),
        laddr: Some(Ip(event.tuple.laddr)),
        lport: Some(event.tuple.lport),
        raddr: Some(Ip(event.tuple.raddr)),
        rport: Some(event.tuple.rport),
        old_state: Some(change.old.name()),
        new_state: Some(change.new.name()),
        outcome: change.outcome().map(words::outcome),
        process_context: known.then_some(change.process_context),
        shutdown: known.then_some(u16::from(change.shutdown)),
        error: known.then_some(change.error),
        error_name: words::errno(change.error),
        own_low: event.own_range.map(|range| range.low),
        own_high: event.own_range.map(|range| range.high),
        search: change.search().map(words::search),
        ..EventRow::default()
    }
}

fn mini(kind: &'static str, event: &MiniEvent) -> EventRow<'static> {
    EventRow {
        kind: Some(kind),
        netns: Some(event.netns),
        tw: Some(Pointer(event.tw)),
        laddr: Some(Ip(event.tuple.laddr)),
        lport: Some(event.tuple.lport),
        raddr: Some(Ip(event.tuple.raddr)),
        rport: Some(event.tuple.rport),
        substate: Some(event.substate.name()),
        timestamps: event.timestamps,
        ..EventRow::default()
    }
}

fn ended(event: &MiniEvent, end: End) -> EventRow<'static> {
    EventRow { end: Some(end.name()), ..mini("end", event) }
}

fn connect(event: &ConnectEvent) -> EventRow<'static> {
    EventRow {
        kind: Some("connect"),
        sk: Some(Pointer(event.sk)),
        lport: Some(event.lport),
        ..EventRow::default()
    }
}

fn search(event: &SearchEvent) -> EventRow<'static> {
    let connects = event.search == Search::Connect;
    EventRow {
        kind: Some("search"),
        netns: Some(event.netns),
        sk: (event.sk != 0).then_some(Pointer(event.sk)),
        lport: Some(event.lport),
        raddr: connects.then_some(Ip(event.raddr)),
        rport: connects.then_some(event.rport),
        error: Some(event.error),
        error_name: words::errno(event.error),
        search: Some(words::search(event.search)),
        latency_ns: Some(event.latency_ns),
        tried: event.tried,
        ..EventRow::default()
    }
}

fn sample(event: &SampleEvent) -> EventRow<'static> {
    let search = if event.connects { Search::Connect } else { Search::Bind };
    EventRow { kind: Some("sample"), search: Some(words::search(search)), ..EventRow::default() }
}

fn process(event: &ProcessEvent) -> EventRow<'static> {
    EventRow { kind: Some("process"), cgroup_id: Some(event.cgroup_id), ..EventRow::default() }
}
