//! What `twtrace states` shows of sockets that are made up.

#[path = "common/golden.rs"]
mod golden;

use std::net::{IpAddr, SocketAddr};

use golden::assert_golden;
use proptest::prelude::*;
use twtrace::{
    census::{
        Census, Holders, ListeningSocket, Place, Socket,
        report::{ByState, Held, Report},
    },
    event::Tuple,
    stats::snapshot::Host,
    view::states,
};
use twtrace_common::TcpState;

/// An address as tuples have it, and a port.
fn end(text: &str) -> ([u8; 16], u16) {
    let end: SocketAddr = text.parse().expect("an address and a port");
    let address = match end.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    (address.octets(), end.port())
}

fn tuple(local: &str, remote: &str) -> Tuple {
    let ((laddr, lport), (raddr, rport)) = (end(local), end(remote));
    Tuple { laddr, raddr, lport, rport }
}

fn socket(state: TcpState, tuple: Tuple, inode: u32) -> Socket {
    let mini = state == TcpState::TimeWait;
    let keepalive = state == TcpState::Established && inode % 2 == 1;
    Socket { state, mini, keepalive, tuple, inode }
}

fn report(census: Census, holders: &Holders) -> Report {
    let [hostname, kernel, boot_id] = ["host", "6.18.0", "boot"].map(str::to_owned);
    let host = Host { hostname, kernel, boot_id };
    census.report(holders, host, "2026-11-21T16:20:02.000Z".to_owned())
}

/// A server with a full queue, a client whose connections wait, a process that does not close.
fn busy(rows: usize) -> Report {
    let mut census = Census::new(rows);
    let mut place = Place::new(4_026_532_201);
    let listener =
        |tuple, inode, accept_queue| ListeningSocket { tuple, inode, accept_queue, backlog: 4_096 };
    place.listener(&listener(tuple("0.0.0.0:443", "0.0.0.0:0"), 10, 4_097));
    place.listener(&listener(tuple("[::1]:8080", "[::]:0"), 11, 0));
    for port in 0..1_300_u16 {
        let client = format!("192.0.2.{}:{}", port % 7, 2_000 + port);
        let (state, inode) = match port % 13 {
            0 => (TcpState::SynRecv, 0),
            1..4 => (TcpState::CloseWait, 1_000 + u32::from(port)),
            4..7 => (TcpState::TimeWait, 0),
            _ => (TcpState::Established, 1_000 + u32::from(port)),
        };
        place.socket(&socket(state, tuple("10.0.0.1:443", &client), inode));
        let local = format!("10.0.0.1:{}", 32_768 + port);
        place.socket(&socket(TcpState::TimeWait, tuple(&local, "10.0.0.9:6379"), 0));
    }
    let v6 = tuple("[2001:db8::1]:40000", "[2001:db8:1234:5678:9abc:def0:1234:5678]:443");
    place.socket(&socket(TcpState::SynSent, v6, 3_000));
    census.add(place);
    census.add(Place::new(4_026_531_840));
    census.failed(7, "may not enter network namespace 7: run as root".to_owned());
    census.left_out("netns 7: may not enter network namespace 7: run as root".to_owned());
    let mut holders = Holders::default();
    holders.by_inode.insert(10, 71);
    holders.by_inode.extend((1_000..2_000).map(|inode| (inode, 71 + inode % 3)));
    holders.names = [(71, "nginx".to_owned()), (72, "a name \u{7}that rings".to_owned())].into();
    report(census, &holders)
}

#[test]
fn a_busy_host_as_text_and_json() {
    for (name, rows) in [("states_busy", 10), ("states_cut", 2)] {
        let report = busy(rows);
        let text = states::text(&report);
        for line in text.lines().filter(|line| !line.contains("may not enter")) {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        }
        assert!(!text.contains('\u{7}'), "a name speaks to the terminal");
        let json = states::json(&report).expect("a report can be written");
        assert_eq!(json.matches('\n').count(), 1, "one line of JSON");
        let pretty: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let pretty = serde_json::to_string_pretty(&pretty).expect("it still is") + "\n";
        assert_golden(&format!("tests/golden/{name}.txt"), &text);
        assert_golden(&format!("tests/golden/{name}.json"), &pretty);
    }
}

#[test]
fn what_could_not_be_listed_is_unknown_and_not_zero() {
    let mut census = Census::new(10);
    census.failed(7, "no".to_owned());
    let report = report(census, &Holders::default());
    assert_eq!(report.states, None);
    assert_eq!((report.by_netns[0].sockets, &report.by_netns[0].states), (None, &None));
    assert_eq!(report.by_netns[0].unavailable.as_deref(), Some("no"));
}

fn sum<'a>(states: impl Iterator<Item = &'a ByState>) -> ByState {
    let mut sum = ByState::new();
    for (state, count) in states.flatten() {
        *sum.entry(state).or_default() += count;
    }
    sum
}

proptest! {
    /// However many rows there are, each table tells of every socket.
    #[test]
    fn rows_sum_to_all(
        sockets in prop::collection::vec((1_u8..12, 0_u16..5, 0_u16..40, 0_u32..6), 0..200),
        rows in 0_usize..6,
    ) {
        let mut census = Census::new(rows);
        let mut place = Place::new(1);
        let mut connections = 0;
        for (state, lport, rport, inode) in &sockets {
            let state = TcpState::from_raw(*state).expect("states are 1 to 11");
            let tuple = tuple(&format!("10.0.0.1:{lport}"), &format!("10.0.0.2:{rport}"));
            if state == TcpState::Listen {
                let tuple = Tuple { rport: 0, raddr: [0; 16], ..tuple };
                let (inode, accept_queue, backlog) = (*inode, 1, 2);
                place.listener(&ListeningSocket { tuple, inode, accept_queue, backlog });
            } else {
                place.socket(&socket(state, tuple, *inode));
                connections += u64::from(*rport != 0);
            }
        }
        census.add(place);
        let mut holders = Holders::default();
        holders.by_inode.extend([(1, 100), (2, 200), (3, 200), (4, 300)]);
        let report = report(census, &holders);
        let all = report.states.clone().expect("it was listed");
        prop_assert_eq!(all.values().sum::<u64>(), sockets.len() as u64);
        let listening = all["LISTEN"];
        prop_assert_eq!(&sum(report.by_netns.iter().filter_map(|row| row.states.as_ref())), &all);
        if sockets.is_empty() {
            prop_assert!(report.by_process.is_empty());
        } else {
            prop_assert_eq!(&sum(report.by_process.iter().map(|row| &row.states)), &all);
        }
        for row in &report.by_process {
            prop_assert_eq!(row.held_by == Held::Process, row.pid.is_some());
            prop_assert_eq!(row.sockets, row.states.values().sum::<u64>());
        }
        prop_assert_eq!(report.by_listener.iter().map(|row| row.sockets).sum::<u64>(), listening);
        let used = report.destinations.iter().map(|row| row.quadruplets_used);
        let used: u64 = used.chain(report.clients.iter().map(|row| row.quadruplets_used)).sum();
        // One without a remote port is at most a listener's.
        prop_assert!(used >= connections && used <= sockets.len() as u64 - listening);
        let named = |other: usize, length: usize| length <= rows + other;
        prop_assert!(named(1, report.destinations.len()) && named(1, report.clients.len()));
        prop_assert!(named(1, report.by_listener.len()) && named(3, report.by_process.len()));
    }
}
