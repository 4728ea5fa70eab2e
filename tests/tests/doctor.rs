//! `twtrace doctor` in namespaces where something is wrong: it names the cause, the process and
//! the remedy; the remedy makes the finding go away, and a myth does not.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use twtrace_tests::bpf_objects::wait_until_attached;
use twtrace_tests::doctor::{Doctor, Said, apply, assert_process, look, narrow};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::scenario::{Pair, send_syn};
use twtrace_tests::tool::{Run, program};
use twtrace_tests::traffic::{End, Family, Traffic};

/// Opens and closes until there is no port left; returns how many there were.
fn burst() -> usize {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8_080)).expect("binding a listener");
    let address = listener.local_addr().expect("it is bound");
    for opened in 0.. {
        match TcpStream::connect(address) {
            Ok(client) => {
                let (server, _) = listener.accept().expect("accepting");
                Pair { client, server }.close_client_first();
            }
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return opened,
            Err(error) => panic!("connection {opened}: {error}"),
        }
    }
    unreachable!("the range is finite")
}

#[test]
fn a_burst_runs_out_of_ports_until_the_range_is_wider() {
    let netns = narrow(200);
    let doctor = Doctor::watching(&netns, "3");
    assert_eq!(netns.run(burst), 200);
    let said = doctor.says();
    let finding = said.finding("ports");
    assert_eq!(finding["severity"], "critical", "{finding:#}");
    assert_process(finding, &netns, std::process::id());
    let what = finding["what"].as_str().expect("it says what");
    assert!(what.contains("200 of them by TIME_WAIT"), "{what}");
    assert!(what.contains("1 connect failed with EADDRNOTAVAIL"), "{what}");
    let myth = finding["futile"].as_array().expect("a list").iter();
    assert!(myth.clone().any(|it| it["advice"] == "net.ipv4.tcp_fin_timeout"), "{finding:#}");

    netns.sysctl_set("net.ipv4.tcp_fin_timeout", "1");
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(look(&netns).found("ports").is_some(), "tcp_fin_timeout is no remedy");
    netns.sysctl_set("net.ipv4.tcp_fin_timeout", "60");

    apply(finding, "ip_local_port_range");
    look(&netns).healthy();
}

#[test]
fn a_burst_runs_out_of_ports_until_they_may_be_reused() {
    let netns = narrow(200);
    let doctor = Doctor::watching(&netns, "3");
    netns.run(burst);
    let said = doctor.says();
    apply(said.finding("ports"), "tcp_tw_reuse");
    // They must be older than a second.
    std::thread::sleep(Duration::from_millis(1_100));
    let said = look(&netns);
    assert_eq!(said.found("ports"), None, "connects can have them: {:#}", said.diagnosis);
    netns.run(|| {
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8_080)).expect("a listener");
        TcpStream::connect((Ipv4Addr::LOCALHOST, 8_080)).expect("it takes one of them");
    });
}

#[test]
fn a_client_that_closes_first_is_named_and_a_server_that_does_is_not() {
    for closer in [End::Client, End::Server] {
        let netns = narrow(2_000);
        let traffic = Traffic { destinations: 1, ..Traffic::closed_by(closer, 700) };
        let doctor = Doctor::watching(&netns, "3");
        let (server, port) = Peer::server(&netns, &traffic);
        let client = Peer::client(&netns, port, &traffic);
        let pid = client.pid();
        let _ = (client.finish(), server.finish());
        let said = doctor.says();
        if closer == End::Server {
            said.healthy();
            continue;
        }
        let finding = said.finding("client_closes_first");
        assert_process(finding, &netns, pid);
        assert_eq!(finding["comm"], "twtrace-peer");
        assert!(finding["do_first"].as_str().is_some_and(|it| it.contains("keep-alive")));
    }
}

#[test]
fn a_process_that_never_closes_is_named_until_it_does() {
    let netns = PrivateNetns::new();
    let leaked = netns.run(|| {
        let listener = Family::V4.listen();
        let doctor = Doctor::watching(&netns, "9");
        let leak = |_| Pair::open(&listener, Family::V4).close_client_alone();
        let mut leaked: Vec<TcpStream> = (0..25).map(leak).collect();
        for more in 0..30 {
            std::thread::sleep(Duration::from_millis(200));
            leaked.push(leak(more));
        }
        let said = doctor.says();
        let finding = said.finding("close_wait");
        assert_process(finding, &netns, std::process::id());
        assert!(finding["do_first"].as_str().is_some_and(|it| it.contains("never closes")));
        assert_eq!(finding["then"].as_array().map(Vec::len), Some(0), "no setting ends it");
        leaked
    });
    drop(leaked);
    look(&netns).healthy();
}

#[test]
fn a_process_that_accepts_too_slowly_is_named() {
    let netns = PrivateNetns::new();
    let said = netns.run(|| {
        let (listener, address) = short_listener(2);
        let doctor = Doctor::watching(&netns, "2");
        let clients: Vec<Socket> = (0..10).map(|_| connecting(address)).collect();
        let said = doctor.says();
        drop((listener, clients));
        said
    });
    let finding = said.finding("accept_queue");
    assert_process(finding, &netns, std::process::id());
    let what = finding["what"].as_str().expect("it says what");
    assert!(what.contains("127.0.0.1:8080 has 3 waiting for accept(), and room for 2"), "{what}");
    let futile = finding["futile"].as_array().expect("a list").iter();
    let mut futile = futile.filter_map(|it| it["because"].as_str());
    assert!(futile.any(|it| it.contains("the process asked listen() for 2")), "{finding:#}");
}

/// A listener that lets `backlog` wait.
fn short_listener(backlog: i32) -> (Socket, SocketAddrV4) {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8_080);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(address).into()).expect("binding the listener");
    socket.listen(backlog).expect("listening");
    (socket, address)
}

/// A socket that connects, or waits for an answer.
fn connecting(address: SocketAddrV4) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("O_NONBLOCK");
    // It is under way, or done already.
    let _ = socket.connect(&std::net::SocketAddr::from(address).into());
    socket
}

#[test]
fn a_flood_of_syns_is_told_from_a_slow_process() {
    let netns = PrivateNetns::new();
    // What is sent to them goes nowhere, so that nobody completes or refuses.
    netns.output("ip", &["route", "add", "10.9.0.0/16", "dev", "lo"]);
    let said = netns.run(|| {
        let (listener, address) = short_listener(16);
        let doctor = Doctor::watching(&netns, "2");
        for client in 0..200_u16 {
            let [high, low] = client.to_be_bytes();
            send_syn(SocketAddrV4::new(Ipv4Addr::new(10, 9, high, low), 1_000 + client), address);
        }
        let said = doctor.says();
        drop(listener);
        said
    });
    let finding = said.finding("syn_flood");
    assert_process(finding, &netns, std::process::id());
    assert_eq!(said.found("accept_queue"), None, "nobody waits to be accepted");
    let what = finding["what"].as_str().expect("it says what");
    // The kernel may take one more than the backlog.
    let [exactly, one_more] = [16, 17].map(|it| format!("has {it} half-open requests"));
    assert!(what.contains(&exactly) || what.contains(&one_more), "{what}");
    assert!(what.contains("a backlog of 16"), "{what}");
}

#[test]
fn where_nothing_is_wrong_nothing_is_found() {
    let netns = PrivateNetns::new();
    let doctor = Doctor::watching(&netns, "3");
    netns.run(|| Traffic::closed_by(End::Client, 300).run());
    let said = doctor.says();
    said.healthy();
    let myths = said.diagnosis["myths"].as_array().expect("a list");
    let myth = |claim: &str| {
        let found =
            myths.iter().find(|it| it["claim"].as_str().is_some_and(|it| it.contains(claim)));
        found
            .and_then(|it| it["measured"].as_str())
            .unwrap_or_else(|| panic!("no {claim}: {myths:#?}"))
    };
    assert!(myth("file descriptors").starts_with("300 TIME_WAITs, 0 of them held by a process"));
    assert!(myth("clients close first").starts_with("clients closed first 300 times"));
}

#[test]
fn a_pool_that_keeps_too_few_is_named() {
    let netns = PrivateNetns::new();
    let said = netns.run(|| {
        let listener = Family::V4.listen();
        let kept: Vec<Pair> = (0..3).map(|_| Pair::open(&listener, Family::V4)).collect();
        let doctor = Doctor::watching(&netns, "3");
        for _ in 0..100 {
            Pair::open(&listener, Family::V4).close_client_first();
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = doctor.says();
        drop(kept);
        said
    });
    let finding = said.finding("pool_churn");
    assert_process(finding, &netns, std::process::id());
    assert!(finding["what"].as_str().is_some_and(|it| it.contains("has 3 open")), "{finding:#}");
}

#[test]
fn a_process_that_cuts_is_named_with_what_the_kernel_counted() {
    let netns = PrivateNetns::new();
    let doctor = Doctor::watching(&netns, "2");
    netns.run(|| {
        let listener = Family::V4.listen();
        (0..30).for_each(|_| Pair::open(&listener, Family::V4).abort());
    });
    let said = doctor.says();
    let finding = said.finding("resets");
    assert_process(finding, &netns, std::process::id());
    let what = finding["what"].as_str().expect("it says what");
    assert!(what.ends_with("30 with SO_LINGER 0 (TCPAbortOnData)"), "{what}");
    assert_eq!(said.found("cut_by_peers"), None, "the peers are ours: {:#}", said.diagnosis);
}

#[test]
fn refused_time_waits_are_told_until_there_is_room() {
    let netns = PrivateNetns::new();
    netns.sysctl_set("net.ipv4.tcp_max_tw_buckets", "10");
    let closes = || {
        let doctor = Doctor::watching(&netns, "2");
        netns.run(|| Traffic::closed_by(End::Client, 30).run());
        doctor.says()
    };
    let said = closes();
    let finding = said.finding("tw_buckets");
    let what = finding["what"].as_str().expect("it says what");
    assert_eq!(what, "10 TIME_WAITs of 10 that may be (100 %); 20 were refused meanwhile");
    apply(finding, "tcp_max_tw_buckets");
    closes().healthy();
}

#[test]
fn without_bpf_ports_that_run_out_are_seen_all_the_same() {
    let netns = narrow(100);
    netns.run(burst);
    let args = ["doctor", "--json", "--probes", "none", "--duration", "0.1", "--netns"];
    let run = Run::of(Command::new(program()).args(args).arg(netns.selector()));
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    let diagnosis = serde_json::from_str(&run.stdout).expect("it prints JSON");
    let said = Said { code: run.code, diagnosis };
    let finding = said.finding("ports");
    assert_eq!((&finding["severity"], &finding["pid"]), (&"critical".into(), &Value::Null));
    let unknown = said.diagnosis["unknown"].as_array().expect("a list");
    assert!(unknown.iter().any(|it| it["what"] == "who closes first"), "{unknown:#?}");
}

#[test]
fn a_recording_is_examined_as_the_host_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("trace.twt").display().to_string();
    let netns = narrow(100);
    let args = ["record", "-o", &file, "--duration", "4", "--netns", &netns.selector()];
    let mut recorder =
        Command::new(program()).args(args).stderr(Stdio::null()).spawn().expect("a recorder");
    wait_until_attached(recorder.id());
    netns.run(burst);
    assert!(recorder.wait().expect("waiting for the recorder").success());
    let run = Run::of(Command::new(program()).args(["doctor", "--json", &file]));
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    let diagnosis = serde_json::from_str(&run.stdout).expect("it prints JSON");
    let said = Said { code: run.code, diagnosis };
    let finding = said.finding("ports");
    assert_process(finding, &netns, std::process::id());
    let unknown = said.diagnosis["unknown"].as_array().expect("a list");
    assert!(unknown.iter().any(|it| it["what"] == "open files"), "{unknown:#?}");
}
