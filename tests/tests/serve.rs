//! `twtrace serve`: its numbers are the Snapshot's, and no scraper can hurt it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use twtrace_tests::http;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::serve::{Scrape, Serve};
use twtrace_tests::snapshot::{Exact, born, number};
use twtrace_tests::tool::{Run, program};
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::wait_for;

const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n";

fn on(netns: &PrivateNetns) -> Serve {
    Serve::start(&["--netns", &netns.selector()])
}

/// Waits until so many active closes are told, and their mini-sockets are claimed.
fn settled(serve: &mut Serve, active: u64) -> Value {
    serve.wait_for("all closes", |snapshot| {
        let missed = twtrace_tests::snapshot::missed(snapshot);
        number(snapshot, "closes.active") + missed >= active
    });
    // Births that nobody claims are nobody's after a second.
    thread::sleep(Duration::from_millis(1_500));
    serve.snapshot()
}

#[test]
fn a_scrape_tells_what_the_snapshot_does() {
    let netns = PrivateNetns::new();
    let mut serve = on(&netns);
    netns.run(|| {
        Traffic::closed_by(End::Client, 300).run();
        Traffic::closed_by(End::Server, 200).run();
        Traffic::aborted(50).run();
    });
    let snapshot = settled(&mut serve, 500);
    let scrape = serve.scrape();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.time_wait(born(500));
    for kind in ["active", "passive", "simultaneous", "reset"] {
        let told = number(&snapshot, &format!("closes.{kind}")) as f64;
        // Roles come from records, of which those that were missed are in neither.
        assert_eq!(scrape.sum(&format!("closes_total{{kind=\"{kind}\"")), told, "{kind}");
    }
    for (end, told) in snapshot["time_wait"]["ended"].as_object().expect("ends are known") {
        if let (Some(told), false) = (told.as_u64(), end == "reused_bound") {
            assert_eq!(
                scrape.number(&format!("time_wait_ended_total{{end=\"{end}\"}}")),
                told as f64
            );
        }
    }
    let born = number(&snapshot, "time_wait.born") as f64;
    assert_eq!(scrape.sum("time_wait_born_total"), born);
    let of = |role| scrape.number(&format!("time_wait_born_total{{role=\"{role}\"}}"));
    let missed = exact.missed() as f64;
    assert!((of("client") - 300.0).abs() <= missed, "clients closed first 300 times");
    assert!((of("server") - 200.0).abs() <= missed, "servers closed first 200 times");
    assert_eq!(scrape.number("time_wait_sockets"), number(&snapshot, "time_wait.now") as f64);
    let searches = number(&snapshot, "port_search.connect.latency_ns.count") as f64;
    assert_eq!(scrape.number("port_search_seconds_count{op=\"connect\"}"), searches);
    assert_eq!(scrape.sum("lost_total"), missed_and_lost(&snapshot));
    assert!(scrape.number("cpu_seconds_total") > 0.0);
    assert!(scrape.series() < 2_000);
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
}

/// Σ of the losses that the snapshot itself tells.
fn missed_and_lost(snapshot: &Value) -> f64 {
    let losses = snapshot["loss"].as_object().expect("losses are known");
    losses.values().filter_map(Value::as_f64).sum()
}

#[test]
fn each_scraper_gets_the_format_it_asks_for() {
    let netns = PrivateNetns::new();
    let serve = on(&netns);
    let text = serve.get("/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let openmetrics = http::get(serve.address(), "/metrics", OPENMETRICS).expect("an answer");
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(openmetrics.header("content-type"), Some(expected));
    assert!(openmetrics.text().ends_with("# EOF\n"));
    assert!(Scrape::read(openmetrics.text()).number("lost_total{loss=\"evicted\"}") == 0.0);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/snapshot.json", "application/json"),
    ] {
        let answer = serve.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
    }
    let (status, _) = serve.stop(Signal::INT);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_known_before_anything_is_attached() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("its address").to_string();
    let run = Run::of(Command::new(program()).args(["serve", "-v", "--listen", &address]));
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("--listen") && run.stderr.contains("is taken"), "{}", run.stderr);
    assert!(!run.stderr.contains("attached"), "{}", run.stderr);
}

#[test]
fn what_is_no_scrape_is_refused() {
    let netns = PrivateNetns::new();
    let serve = on(&netns);
    let ask = |request: &str| http::send(serve.address(), request).expect("an answer");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = ask(&format!("{method} /metrics HTTP/1.0\r\n\r\n"));
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method}");
    }
    let head = ask("HEAD /metrics HTTP/1.0\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").is_some_and(|length| length != "0"));
    assert_eq!(ask("GET /nothing HTTP/1.0\r\n\r\n").status, 404);
    assert_eq!(ask("GET /../../etc/passwd HTTP/1.0\r\n\r\n").status, 404);
    assert_eq!(ask("GET /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").status, 413);
    let posted = ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET,HEAD")));
    assert_eq!(posted.header("connection"), Some("close"));
    let large = format!("X-Large: {}\r\n", "x".repeat(64 << 10));
    assert_eq!(ask(&format!("GET /metrics HTTP/1.0\r\n{large}\r\n")).status, 431);
    let many = "X-Many: x\r\n".repeat(200);
    assert_eq!(ask(&format!("GET /metrics HTTP/1.0\r\n{many}\r\n")).status, 431);
    assert_eq!(ask("nonsense\r\n\r\n").status, 400);
    assert_eq!(serve.get("/metrics").status, 200);
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
}

/// A connection that has said a part of a request, and says no more.
fn half_a_request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").expect("half a request");
    stream
}

#[test]
fn a_storm_of_scrapes_costs_no_event_and_little_memory() {
    let netns = PrivateNetns::new();
    let mut serve = on(&netns);
    serve.scrape();
    let before = serve.resident();
    let address = serve.address();
    let answered = thread::scope(|scope| {
        let traffic = scope.spawn(|| netns.run(|| Traffic::closed_by(End::Client, 5_000).run()));
        let scrapers: Vec<_> = (0..1_000)
            .map(|_| {
                let scraper = thread::Builder::new().stack_size(64 << 10);
                let scrape = move || http::get(address, "/metrics", OPENMETRICS);
                scraper.spawn_scoped(scope, scrape).expect("a thread")
            })
            .collect();
        let answers = scrapers.into_iter().map(|it| it.join().expect("it does not panic"));
        let answered = answers.filter(|it| it.as_ref().is_ok_and(|it| it.status == 200)).count();
        traffic.join().expect("the traffic does not panic");
        answered
    });
    assert_eq!(answered, 1_000, "every one of 1,000 scrapes is answered");
    let grown = serve.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "memory has grown by {grown} bytes");
    let snapshot = settled(&mut serve, 5_000);
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", 5_000), ("passive", 5_000)]);
    assert_eq!(serve.scrape().number("lost_total{loss=\"ring_full\"}"), 0.0);
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn who_speaks_slowly_keeps_nobody_out() {
    let netns = PrivateNetns::new();
    let serve = on(&netns);
    serve.scrape();
    let before = serve.resident();
    // More than there may be connections at one time, each of which says half a request; then
    // as many that say nothing.
    let half: Vec<TcpStream> = (0..600).map(|_| half_a_request(serve.address())).collect();
    let silent: Vec<TcpStream> =
        (0..600).map(|_| TcpStream::connect(serve.address()).expect("a connection")).collect();
    // And some that ask, and do not read.
    let deaf: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(serve.address()).expect("a connection");
            for _ in 0..20 {
                // It may have been crowded out.
                let _ = stream.write_all(b"GET /snapshot.json HTTP/1.1\r\nHost: x\r\n\r\n");
            }
            stream
        })
        .collect();
    let begin = Instant::now();
    assert_eq!(serve.get("/metrics").status, 200);
    assert!(begin.elapsed() < Duration::from_secs(15), "it took {:?}", begin.elapsed());
    let grown = serve.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "memory has grown by {grown} bytes");
    assert!(serve.scrape().number("http_crowded_out_total") > 0.0, "some had to make room");
    // The first is among them: it is told so by the end of the connection.
    let mut first = &half[0];
    first.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let mut byte = [0];
    let told = first.read(&mut byte);
    let is_over = |told: &io::Result<usize>| match told {
        Ok(read) => *read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    };
    assert!(is_over(&told), "it is open still, or was answered: {told:?}");
    drop((half, silent, deaf));
    assert_eq!(serve.get("/healthz").status, 200);
    // Open connections do not keep it from ending.
    let _open = half_a_request(serve.address());
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
}

/// Asks on a connection that stays open, and reads the answer; says whether it is the last one.
#[track_caller]
fn ask_again(stream: &mut BufReader<TcpStream>) -> bool {
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.get_mut().write_all(request).expect("asking");
    let mut lines = stream.lines().map(|line| line.expect("an answer"));
    let mut head = lines.by_ref().take_while(|line| !line.is_empty());
    assert_eq!(head.next().as_deref(), Some("HTTP/1.1 200 OK"), "nobody is cut off");
    let head: Vec<String> = head.map(|line| line.to_ascii_lowercase()).collect();
    let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
    let length = header("content-length: ").expect("the length of the answer");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).expect("the rest of the answer");
    header("connection: ") == Some("close")
}

/// As many as there may be, each of which asks again and again, so that none is ever quiet.
#[test]
fn who_never_rests_keeps_nobody_out() {
    const THREADS: usize = 8;
    let netns = PrivateNetns::new();
    let serve = on(&netns);
    let address = serve.address();
    let (all_are_in, is_over) = (Barrier::new(THREADS + 1), AtomicBool::new(false));
    let busy = || {
        let connect = |_| BufReader::new(TcpStream::connect(address).expect("a connection"));
        let mut open: Vec<BufReader<TcpStream>> = (0..256 / THREADS).map(connect).collect();
        assert!(!open.iter_mut().any(ask_again), "there is room for all of them");
        all_are_in.wait();
        let before = open.len();
        while !is_over.load(Ordering::Relaxed) {
            open.retain_mut(|stream| !ask_again(stream));
            thread::sleep(Duration::from_millis(50));
        }
        before - open.len()
    };
    let (waited, left) = thread::scope(|scope| {
        let busy: Vec<_> = (0..THREADS).map(|_| scope.spawn(busy)).collect();
        all_are_in.wait();
        let begin = Instant::now();
        let statuses = [(); 5].map(|()| http::get(address, "/metrics", "").map(|it| it.status));
        let waited = begin.elapsed();
        is_over.store(true, Ordering::Relaxed);
        let left: usize = busy.into_iter().map(|it| it.join().expect("it is answered")).sum();
        statuses.into_iter().for_each(|status| assert_eq!(status.expect("an answer"), 200));
        (waited, left)
    });
    assert!(waited < Duration::from_secs(5), "five scrapes took {waited:?}");
    assert!((1..=100).contains(&left), "{left} had to leave");
    wait_for("that to be told", Duration::from_secs(5), || {
        (serve.scrape().number("http_crowded_out_total") >= left as f64).then_some(())
    });
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_helper_that_is_gone_is_told() {
    let netns = PrivateNetns::new();
    let serve = Serve::start(&["--netns", &netns.selector(), "--privileges", "helper"]);
    assert_eq!(serve.scrape().number("helper_up"), 1.0);
    let path = format!("/proc/{0}/task/{0}/children", serve.pid());
    let children = fs::read_to_string(path).expect("its children");
    let helper = children.trim().parse().ok().and_then(Pid::from_raw).expect("it has one helper");
    kill_process(helper, Signal::KILL).expect("ending the helper");
    wait_for("the helper to be told gone", Duration::from_secs(10), || {
        (serve.scrape().number("helper_up") == 0.0).then_some(())
    });
    assert_eq!(serve.get("/readyz").status, 200, "everything else is told");
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    let serve = Serve::start(&["--netns", &netns.selector(), "--privileges", "keep"]);
    assert!(!serve.get("/metrics").text().contains("helper_up"), "there never was one");
    let (status, _) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
}

/// Without a file for one more connection others make room, and that is said once.
#[test]
fn want_of_files_is_survived() {
    let netns = PrivateNetns::new();
    // Fewer than there may be connections.
    let serve = Serve::with_files(128, &["--netns", &netns.selector()]);
    let many: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(serve.address()).expect("a connection")).collect();
    assert_eq!(serve.get("/readyz").status, 200, "those who are quiet make room");
    assert!(serve.scrape().number("http_crowded_out_total") > 0.0);
    drop(many);
    assert_eq!(serve.get("/readyz").status, 200, "it goes on when there is room again");
    let (status, said) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("cannot take a connection").count(), 1, "{said}");
    assert!(said.contains("ulimit -n"), "{said}");
}
