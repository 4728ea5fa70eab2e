//! A life as a row.

use super::life::{Life, MiniEnd, MiniLife, Stamp, Written};
use crate::{
    event::Comm,
    export::{
        clock::WallClock,
        columns::{Ip, Pointer, Time, columns},
        people::{People, Person},
        words,
    },
};

columns! {
    /// One socket and the mini-socket that it left: one end of a connection.
    ConnectionRow<'a> {
        opened: Time, "ns since 1970, UTC", "its first transition: connect() was called; of an accepted one the end of the handshake", "it was there before the recording, or that record was lost";
        established: Time, "ns since 1970, UTC", "when it was connected", "never, or not seen";
        first_fin_time: Time, "ns since 1970, UTC", "when its close began, as `first_fin` says", "`first_fin` is";
        first_fin: &'a str, "", "who closed first, by the keys of `closes` in the Snapshot: `active` (this end), `passive` (the peer), `simultaneous`, `reset_local`, `reset_remote`; `reset_unexplained` on the classic hook", "never connected, not closed yet, or closed before the recording";
        closed: Time, "ns since 1970, UTC", "when the socket went to CLOSE; its mini-socket may live on", "not seen";
        duration_s: f64, "s", "from `opened` to `closed`", "either is";
        written: &'a str, "", "why the row is here: `over` (socket and mini-socket are), `alive` (when the recording ended), `evicted` (there was no room to remember it: `--max-connections`), `lost` (it must be gone, and nobody saw when)", "never";
        seeded: bool, "", "whether it was there before the recording, or met in an earlier file of it", "never";
        role: &'a str, "", "`client` (it connected), `server` (it was accepted), `unknown`", "never";
        netns: u32, "inode", "its network namespace", "classic hook";
        sk: Pointer, "kernel address", "the socket, as in the events", "none of its transitions was seen";
        tw: Pointer, "kernel address", "its mini-socket, as in the events", "there was none, or it was not seen";
        laddr: Ip, "", "local address, as text; `0.0.0.0` if not known", "never";
        lport: u16, "port", "local port; 0 if it had none, or not known", "never";
        raddr: Ip, "", "remote address, as text; `0.0.0.0` if not known", "never";
        rport: u16, "port", "remote port; 0 if not known", "never";
        state: &'a str, "", "the last state of the socket that is known", "only its mini-socket was seen";
        connect: &'a str, "", "how its connect ended, by the keys of `connects` in the Snapshot: `ok`, `refused`, `timed_out`, `no_port`, `other`; `unexplained` on the classic hook", "it did not connect, or not in the recording";
        error: u16, "errno", "`sk_err` when it went to CLOSE; 0 for none", "not seen; classic hook";
        error_name: &'a str, "", "the name of `error`", "`error` is null, 0 or without a name here";
        searched: bool, "", "whether its connect had to search for a local port", "never";
        search_latency_ns: u64, "ns", "how long that took; where no function is probed, at most", "it did not search, or the end was not seen";
        search_tried: u32, "ports", "how many taken ports it looked at", "it did not search, or nobody counts";
        owner_pid: u32, "", "the process that connected (thread group id, initial pid namespace)", "accepted, or not seen";
        owner_start_time: Time, "ns since 1970, UTC", "when that process started", "as `owner_pid`; classic hook";
        owner_comm: Comm, "", "the name of its first thread; control characters and broken UTF-8 are replaced", "as `owner_pid`; its introduction was lost";
        owner_cgroup: &'a str, "", "the path of its cgroup", "as `owner_pid`; gone before it could be read";
        owner_container: &'a str, "", "the container id in that path", "as `owner_cgroup`; the path shows none";
        closer_pid: u32, "", "the process that closed this end: sent its FIN, first or second, or cut it", "`closer_comm` is, or is `kernel` or `unknown`";
        closer_start_time: Time, "ns since 1970, UTC", "when that process started", "as `closer_pid`; classic hook";
        closer_comm: Comm, "", "its name; `kernel`: a kernel thread; `unknown`: nobody saw who", "no process closed this end (yet); its introduction was lost";
        closer_cgroup: &'a str, "", "the path of its cgroup", "as `closer_pid`; gone before it could be read";
        closer_container: &'a str, "", "the container id in that path", "as `closer_cgroup`; the path shows none";
        tw_refused: bool, "", "`true`: the kernel was to make a mini-socket and refused; `false`: it made one", "none was due, or not told";
        tw_born: Time, "ns since 1970, UTC", "when the mini-socket was made", "none was, or before the recording (or in an earlier file of it), or not seen";
        tw_substate: &'a str, "", "then: `FIN_WAIT2` or `TIME_WAIT`; of a seeded one when sock_diag looked", "none was, or not seen";
        tw_timestamps: bool, "", "whether its connection had timestamps", "as `tw_born`; not told";
        tw_time_wait: Time, "ns since 1970, UTC", "when it entered TIME_WAIT", "never, or the step was not seen";
        tw_ended: Time, "ns since 1970, UTC", "when it ended", "not seen, or not yet";
        tw_end: &'a str, "", "what ended it: a key of `time_wait.ended` in the Snapshot; `reused_bound` is not in `reused` here; `unseen`: it is no longer there, and no record told why", "there was none, or it lives";
        tw_end_substate: &'a str, "", "its substate at the end", "as `tw_ended`";
        lifetime_s: f64, "s", "birth to end of the mini-socket", "`tw_born` or `tw_ended` is; its end was told after another was born in its memory";
        time_wait_s: f64, "s", "the part of it in TIME_WAIT", "`lifetime_s` or `tw_time_wait` is";
    }
}

/// The row of `life`, as far as its processes are known by now.
pub(in crate::export) fn row<'a>(
    life: &Life,
    why: Written,
    people: &'a People,
    clock: &WallClock,
) -> ConnectionRow<'a> {
    let owner = life.owner.map_or_else(Person::default, |owner| people.person(owner));
    let closer = life.closer.map_or_else(Person::default, |closer| people.closer(closer));
    let row = ConnectionRow {
        written: Some(written(why)),
        seeded: Some(life.seeded),
        owner_pid: owner.pid,
        owner_start_time: owner.started,
        owner_comm: owner.comm,
        owner_cgroup: owner.cgroup,
        owner_container: owner.container,
        closer_pid: closer.pid,
        closer_start_time: closer.started,
        closer_comm: closer.comm,
        closer_cgroup: closer.cgroup,
        closer_container: closer.container,
        ..ConnectionRow::default()
    };
    with_mini(&life.mini, clock, with_socket(life, clock, row))
}

fn with_socket<'a>(life: &Life, clock: &WallClock, row: ConnectionRow<'a>) -> ConnectionRow<'a> {
    let error = life.error;
    ConnectionRow {
        opened: wall(clock, life.opened),
        established: wall(clock, life.established),
        first_fin_time: wall(clock, life.first_fin),
        first_fin: life.close.and_then(words::close),
        closed: wall(clock, life.closed),
        duration_s: seconds_between(life.opened, life.closed),
        role: Some(life.role.name()),
        netns: life.netns,
        sk: pointer(life.sk),
        laddr: Some(Ip(life.tuple.laddr)),
        lport: Some(life.tuple.lport),
        raddr: Some(Ip(life.tuple.raddr)),
        rport: Some(life.tuple.rport),
        state: life.state.map(twtrace_common::TcpState::name),
        connect: life.connect.and_then(words::connect),
        error,
        error_name: error.and_then(words::errno),
        searched: Some(life.searched),
        search_latency_ns: life.search_ns,
        search_tried: life.tried,
        ..row
    }
}

fn with_mini<'a>(mini: &MiniLife, clock: &WallClock, row: ConnectionRow<'a>) -> ConnectionRow<'a> {
    let until = |since| seconds_between(since, mini.ended).filter(|_| !mini.late && !mini.carried);
    let lifetime_s = until(mini.born);
    ConnectionRow {
        tw: pointer(mini.tw),
        tw_refused: mini.refused,
        tw_born: wall(clock, mini.born.filter(|_| !mini.carried)),
        tw_substate: mini.substate.map(twtrace_common::TcpState::name),
        tw_timestamps: mini.timestamps,
        tw_time_wait: wall(clock, mini.time_wait),
        tw_ended: wall(clock, mini.ended),
        tw_end: mini.end.map(ended),
        tw_end_substate: mini.end_substate.map(twtrace_common::TcpState::name),
        lifetime_s,
        time_wait_s: lifetime_s.and_then(|_| until(mini.time_wait)),
        ..row
    }
}

/// The word for why a row is here.
fn written(why: Written) -> &'static str {
    match why {
        Written::Over => "over",
        Written::Alive => "alive",
        Written::Evicted => "evicted",
        Written::Lost => "lost",
    }
}

/// What ended a mini-socket.
pub(in crate::export) fn ended(end: MiniEnd) -> &'static str {
    match end {
        MiniEnd::By(end) => end.name(),
        MiniEnd::Unseen => "unseen",
    }
}

fn wall(clock: &WallClock, stamp: Stamp) -> Option<Time> {
    stamp.map(|stamp| Time(clock.at(stamp.get())))
}

fn pointer(address: u64) -> Option<Pointer> {
    (address != 0).then_some(Pointer(address))
}

fn seconds_between(from: Stamp, to: Stamp) -> Option<f64> {
    let (from, to) = (from?.get(), to?.get());
    Some(to.saturating_sub(from) as f64 / 1e9)
}
