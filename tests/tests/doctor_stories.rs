//! More stories of `twtrace doctor`: each is built in a namespace of its own, and the doctor names
//! the cause, the process where one is to blame, and what helps; that makes the finding go away.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;
use twtrace_tests::conntrack;
use twtrace_tests::doctor::{Doctor, Said, apply, assert_process, look, narrow, text};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::scenario::{Pair, send_syn};
use twtrace_tests::searching::{Limits, Searcher};
use twtrace_tests::tool::{Run, program};
use twtrace_tests::traffic::Family;

fn me() -> u32 {
    std::process::id()
}

/// What is said to be of no use.
fn futile(finding: &Value) -> Vec<&str> {
    let rows = finding["futile"].as_array().expect("a list").iter();
    rows.map(|it| text(it, "advice")).collect()
}

#[test]
fn peers_that_do_not_close_are_told_from_time_wait() {
    let netns = PrivateNetns::new();
    let (said, open) = netns.run(|| {
        let listener = Family::V4.listen();
        let doctor = Doctor::watching(&netns, "2");
        let open: Vec<TcpStream> =
            (0..1_100).map(|_| Pair::open(&listener, Family::V4).close_client_alone()).collect();
        (doctor.says(), open)
    });
    let finding = said.finding("fin_wait2");
    assert_process(finding, &netns, me());
    assert!(text(finding, "what").starts_with("1,100 of 1,100 connections"), "{finding:#}");
    assert!(text(&finding["then"][0], "command").ends_with("tcp_fin_timeout=15"), "{finding:#}");
    drop(open);
    assert_eq!(look(&netns).found("fin_wait2"), None, "the peers have closed");
}

#[test]
fn a_proxy_that_closes_first_on_both_sides_is_named() {
    let netns = PrivateNetns::new();
    let said = netns.run(|| {
        let listener = Family::V4.listen();
        let doctor = Doctor::watching(&netns, "2");
        for _ in 0..1_000 {
            Pair::open(&listener, Family::V4).close_client_first();
            Pair::open(&listener, Family::V4).close_server_first();
        }
        doctor.says()
    });
    let finding = said.finding("proxy");
    assert_process(finding, &netns, me());
    assert!(text(finding, "what").contains("1,000 TIME_WAITs of connections that it opened"));
    assert!(text(finding, "do_first").contains("towards its servers first"), "{finding:#}");
}

#[test]
fn searches_past_the_knee_cost_a_process_cpu_and_it_is_named() {
    let netns = narrow(8_000);
    let said = netns.run(|| {
        let searcher = Searcher::start();
        searcher.fill(4_200);
        let doctor = Doctor::watching(&netns, "2");
        let limits = Limits { elapsed: Duration::from_millis(1_900), cpu: Duration::from_secs(1) };
        searcher.measure(limits);
        doctor.says()
    });
    let finding = said.finding("port_search");
    assert_eq!((&finding["pid"], &finding["severity"]), (&me().into(), &"warning".into()));
    assert!(text(finding, "do_first").contains("keep them and use them again"), "{finding:#}");
}

#[test]
fn connections_that_only_grow_are_told_and_keepalive_where_it_would_help() {
    for keepalive in [false, true] {
        let netns = PrivateNetns::new();
        let doctor = Doctor::watching(&netns, "2");
        let open: Vec<Pair> = netns.run(|| {
            let listener = Family::V4.listen();
            (0..150).map(|_| Pair::open(&listener, Family::V4)).collect()
        });
        for end in open.iter().flat_map(|it| [&it.client, &it.server]) {
            SockRef::from(end).set_keepalive(keepalive).expect("SO_KEEPALIVE");
        }
        let said = doctor.says();
        let finding = said.finding("established_grows");
        assert_process(finding, &netns, me());
        if keepalive {
            apply(finding, "tcp_keepalive_time");
            assert_eq!(netns.sysctl_get("net.ipv4.tcp_keepalive_time"), "600");
        } else {
            assert_eq!(futile(finding), ["net.ipv4.tcp_keepalive_time"], "nobody asks");
        }
        drop(open);
        look(&netns).healthy();
    }
}

/// Two namespaces and a cable between them: `10.77.0.1` and `10.77.0.2`.
fn cabled() -> [PrivateNetns; 2] {
    let both = [PrivateNetns::new(), PrivateNetns::new()];
    let holder = both[1].holder().to_string();
    let cable =
        ["link", "add", "dev", "near", "type", "veth", "peer", "name", "far", "netns", &holder];
    both[0].output("ip", &cable);
    for (netns, name, address) in
        [(&both[0], "near", "10.77.0.1/24"), (&both[1], "far", "10.77.0.2/24")]
    {
        netns.output("ip", &["address", "add", address, "dev", name]);
        netns.output("ip", &["link", "set", name, "up"]);
    }
    both
}

#[test]
fn connections_that_peers_cut_are_told_from_those_that_we_cut() {
    let [netns, other] = cabled();
    let listener = other.run(|| Family::V4.listen());
    let address = (Ipv4Addr::new(10, 77, 0, 2), listener.local_addr().expect("it is bound").port());
    let doctor = Doctor::watching(&netns, "2");
    for _ in 0..30 {
        let client = netns.run(|| TcpStream::connect(address).expect("connecting"));
        let (server, _) = listener.accept().expect("accepting");
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(server);
        drop(client);
    }
    let said = doctor.says();
    let finding = said.finding("cut_by_peers");
    assert!(text(finding, "what").starts_with("30 established connections were cut by peers"));
    assert!(text(finding, "do_first").contains("idle timeout"), "{finding:#}");
    assert_eq!(said.found("resets"), None, "nobody here cut any: {:#}", said.diagnosis);
}

/// A doctor of the whole host that runs in a namespace.
fn whole_host_from(netns: &PrivateNetns) -> Said {
    netns.run(|| Said::of(Command::new(program()).args(["doctor", "--json", "--duration", "1"])))
}

#[test]
fn a_namespace_that_did_not_inherit_what_it_needs_is_told_until_it_has_it() {
    let (host, container) = (PrivateNetns::new(), narrow(1_000));
    host.sysctl_set("net.ipv4.tcp_tw_reuse", "1");
    container.run(|| {
        let listener = Family::V4.listen();
        (0..300).for_each(|_| Pair::open(&listener, Family::V4).close_client_first());
    });
    let of_container = |said: &Said| {
        let found = said
            .findings()
            .iter()
            .find(|it| it["id"] == "not_inherited" && it["netns"] == container.inode());
        found.cloned()
    };
    let said = whole_host_from(&host);
    let finding = of_container(&said).unwrap_or_else(|| panic!("not told: {:#}", said.diagnosis));
    assert!(text(&finding, "what").contains("net.ipv4.tcp_tw_reuse is 0 there and 1 here"));
    for name in ["tcp_tw_reuse", "ip_local_port_range"] {
        apply(&finding, name);
    }
    assert_eq!(container.sysctl_get("net.ipv4.tcp_tw_reuse"), "1");
    assert_eq!(of_container(&whole_host_from(&host)), None, "it has them now");
}

/// What it says as the first process of a namespace of processes, which has a file of settings.
fn with_settings(file: &str, set: &str) -> Said {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("99-twtrace-test.conf");
    fs::write(&path, file).expect("writing the file");
    let script = format!(
        "mount -t tmpfs tmpfs /run; mkdir /run/sysctl.d; cp \"$1\" /run/sysctl.d/\n\
         ip link set lo up\n{set}\n\
         \"$0\" doctor --json --probes none --duration 0.1 --netns self; exit $?"
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--mount-proc", "sh", "-ec", &script]);
    Said::of(command.arg(program()).arg(&path))
}

#[test]
fn lines_of_files_that_do_not_run_or_are_myths_are_told_by_their_place() {
    let set = "echo 15 > /proc/sys/net/ipv4/tcp_fin_timeout\n\
               echo 5000 > /proc/sys/net/ipv4/tcp_max_tw_buckets";
    let file = "net.ipv4.tcp_tw_recycle = 1\n\
                net.ipv4.tcp_fin_timeout = 15\n\
                net.ipv4.tcp_max_tw_buckets = 5000\n\
                net.ipv4.ip_local_port_range = 1024 65535\n\
                net.ipv4.tcp_keepalive_time = 7200\n";
    let said = with_settings(file, set);
    assert_eq!(said.code, Some(1), "{:#}", said.diagnosis);
    let of_line = |line: u32| {
        let place = format!("/run/sysctl.d/99-twtrace-test.conf:{line} ");
        let found = said.findings().iter().filter(|it| text(it, "what").starts_with(&place));
        found.map(|it| (text(it, "id"), text(it, "severity"))).collect::<Vec<_>>()
    };
    assert_eq!(of_line(1), [("config_file", "notice")], "{:#}", said.diagnosis);
    assert_eq!(of_line(2), [("config_myth", "info")], "{:#}", said.diagnosis);
    assert_eq!(of_line(4), [("config_file", "notice")], "{:#}", said.diagnosis);
    assert_eq!(of_line(5), [], "it runs, and is no myth");
    // What there is to compare it with is told by Linux 6.1 and later.
    let has_size = fs::exists("/proc/sys/net/ipv4/tcp_ehash_entries").expect("looking for a file");
    let told = has_size.then_some(("config_myth", "info"));
    assert_eq!(of_line(3), Vec::from_iter(told), "{:#}", said.diagnosis);
    let clean = with_settings("net.ipv4.tcp_keepalive_time = 7200\n", "");
    assert_eq!(clean.found("config_myth"), None, "{:#}", clean.diagnosis);
}

#[test]
fn a_reuse_that_meets_the_socket_before_is_told_with_what_is_not_known() {
    let netns = PrivateNetns::new();
    let (said, slowest) = netns.run(|| {
        let listener = Family::V4.listen();
        let doctor = Doctor::watching(&netns, "3");
        let mut slowest = Duration::ZERO;
        for _ in 0..12 {
            let address = Pair::open(&listener, Family::V4).leave_server_in_last_ack();
            let start = Instant::now();
            let again = Pair::open_from(address, &listener, Family::V4);
            slowest = slowest.max(start.elapsed());
            again.close_server_first();
        }
        (doctor.says(), slowest)
    });
    assert!(
        slowest < Duration::from_secs(1),
        "since Linux 5.6 they try again at once: {slowest:?}"
    );
    let finding = said.finding("challenged");
    assert_eq!((&finding["netns"], &finding["pid"]), (&netns.inode().into(), &Value::Null));
    let what = text(finding, "what");
    assert!(what.starts_with("12 SYNs met a connection with the same ends"), "{what}");
    assert!(what.contains("12 SYNs were sent again by sockets here"), "{what}");
    assert!(text(finding, "do_first").contains("nor that they were in LAST_ACK"), "{finding:#}");
}

#[test]
fn time_waits_that_an_rst_ends_are_told_until_rfc1337_is_set() {
    let netns = PrivateNetns::new();
    let kill = || {
        let doctor = Doctor::watching(&netns, "2");
        netns.run(|| {
            let listener = Family::V4.listen();
            let pair = |_| Pair::open(&listener, Family::V4).close_client_first_and_assassinate();
            (0..25).for_each(pair);
        });
        doctor.says()
    };
    let said = kill();
    let finding = said.finding("sysctl");
    assert!(text(finding, "what").contains("25 TIME_WAITs were ended by an RST"), "{finding:#}");
    apply(finding, "tcp_rfc1337=1");
    let said = kill();
    assert_eq!(said.found("sysctl"), None, "{:#}", said.diagnosis);
}

/// Sets the limit of a process on open files.
fn limit_files(pid: u32, limit: &str) {
    let (pid, limit) = (pid.to_string(), format!("--nofile={limit}"));
    let run = Run::of(Command::new("prlimit").args(["--pid", &pid, &limit]));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_process_that_runs_out_of_descriptors_is_named_until_it_may_have_more() {
    let netns = PrivateNetns::new();
    let listener = netns.run(|| Family::V4.listen());
    let port = listener.local_addr().expect("it is bound").port();
    let accepting = std::thread::spawn(move || {
        let accept = |_| listener.accept().expect("accepting").0;
        let open: Vec<TcpStream> = (0..60).map(accept).inspect(answer).collect();
        (listener, open)
    });
    let peer = Peer::holder(&netns, port, 60);
    let open = accepting.join().expect("accepting");
    limit_files(peer.pid(), "64:1024");
    let said = Said::untraced(&netns);
    let finding = said.finding("descriptors");
    assert_process(finding, &netns, peer.pid());
    assert_eq!(finding["severity"], "critical", "{finding:#}");
    assert!(text(finding, "what").ends_with("60 are TCP sockets"), "{finding:#}");
    apply(finding, "prlimit");
    Said::untraced(&netns).healthy();
    drop(open);
}

/// The holder sends a byte on each connection and waits for one.
fn answer(mut stream: &TcpStream) {
    use std::io::{Read, Write};
    stream.read_exact(&mut [0]).expect("a byte");
    stream.write_all(b"x").expect("a byte back");
}

#[test]
fn a_larger_limit_is_no_remedy_where_close_wait_fills_it() {
    let netns = PrivateNetns::new();
    let (peer, port) = Peer::leaking(&netns, Peer::program());
    netns.run(|| {
        for _ in 0..60 {
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connecting"));
        }
    });
    // It accepts one after the other.
    twtrace_tests::wait_for("all to be accepted", Duration::from_secs(10), || {
        let open = fs::read_dir(format!("/proc/{}/fd", peer.pid())).ok()?.count();
        (open >= 63).then_some(())
    });
    limit_files(peer.pid(), "66:1024");
    let said = Said::untraced(&netns);
    let finding = said.finding("descriptors");
    assert_process(finding, &netns, peer.pid());
    assert!(text(finding, "what").ends_with("60 are sockets in CLOSE_WAIT"), "{finding:#}");
    assert_eq!(finding["then"], Value::Array(Vec::new()));
    assert_eq!(futile(finding), ["fewer TIME_WAITs", "a larger limit (`ulimit -n`)"]);
    peer.kill();
    assert_eq!(Said::untraced(&netns).found("descriptors"), None, "they are closed");
}

/// SYNs from addresses that nobody has.
fn flood(netns: &PrivateNetns, to: SocketAddrV4) {
    netns.run(|| {
        for client in 0..200_u16 {
            let [high, low] = client.to_be_bytes();
            send_syn(SocketAddrV4::new(Ipv4Addr::new(10, 9, high, low), 1_000 + client), to);
        }
    });
}

#[test]
fn without_cookies_the_setting_that_keeps_requests_out_is_named() {
    let netns = PrivateNetns::new();
    netns.output("ip", &["route", "add", "10.9.0.0/16", "dev", "lo"]);
    netns.sysctl_set("net.ipv4.tcp_syncookies", "0");
    netns.sysctl_set("net.ipv4.tcp_max_syn_backlog", "16");
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8_080);
    let listener = netns.run(|| TcpListener::bind(address).expect("a listener"));
    let doctor = Doctor::watching(&netns, "2");
    flood(&netns, address);
    let said = doctor.says();
    let finding = said.finding("syn_flood");
    assert_process(finding, &netns, me());
    let what = text(finding, "what");
    assert!(what.contains("three quarters of 16 (tcp_max_syn_backlog)"), "{what}");
    for name in ["tcp_syncookies", "tcp_max_syn_backlog"] {
        apply(finding, name);
    }
    let said = Doctor::watching(&netns, "1").says();
    assert_eq!(said.found("syn_flood"), None, "{:#}", said.diagnosis);
    drop(listener);
}

#[test]
fn a_full_table_of_connections_is_told_apart_from_ports() {
    const MAX: &str = "net.netfilter.nf_conntrack_max";
    let netns = PrivateNetns::new();
    if !netns.sysctl_exists(MAX) {
        let said = Said::untraced(&netns);
        assert!(said.unknown("connection tracking").contains("tracks no connections"));
        return;
    }
    let max: u32 = netns.sysctl_get(MAX).parse().expect("a number");
    // The limit is one for all namespaces, so that the table is filled and not the limit lowered.
    let entries = max / 100 * 81;
    netns.run(|| conntrack::fill(entries));
    let said = Said::untraced(&netns);
    let finding = said.finding("conntrack");
    assert_eq!(
        (&finding["netns"], &finding["severity"]),
        (&netns.inode().into(), &"warning".into())
    );
    assert!(text(finding, "what").contains("conntrack entries (81 %)"), "{finding:#}");
    assert_eq!(futile(finding), ["net.ipv4.tcp_tw_reuse, ip_local_port_range"]);
    assert_eq!(said.found("ports"), None, "no port is taken");
    netns.run(conntrack::flush);
    Said::untraced(&netns).healthy();
}
