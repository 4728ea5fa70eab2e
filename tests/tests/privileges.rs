//! What a process that has given up its rights still can and no longer can, with a helper and
//! without one; and what becomes of it when the helper is gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use twtrace::cli::HELPER;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::serve::Serve;
use twtrace_tests::shared::Shared;
use twtrace_tests::snapshot::WITHHELD;
use twtrace_tests::status::Status;
use twtrace_tests::tool::{Ended, Run, Tool, exit_status, helper, program};
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::{bpf_objects, wait_for};

/// A look at CLOSE_WAIT comes every five seconds, and who holds what every ten at most.
const FOUND: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_secs(10);

/// `CAP_DAC_READ_SEARCH`, `CAP_SYS_PTRACE` and `CAP_SYS_ADMIN`.
const OF_THE_HELPER: u64 = 1 << 2 | 1 << 19 | 1 << 21;
const NOBODY: &str = "65534\t65534\t65534\t65534";
/// Sockets that a process does not close.
const LEAKED: u32 = 7;
const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

fn start(privileges: &str) -> Tool {
    // Others make traffic too: no row of ours may be in the rest.
    Tool::start(&["--privileges", privileges, "--top", "10000"])
}

#[track_caller]
fn assert_confined(thread: &Status, capabilities: u64) {
    let sets = SETS.map(|name| thread.set(name));
    assert_eq!(sets, [0, capabilities, capabilities, 0, 0], "{SETS:?} of {thread:#?}");
    for (name, value) in
        [("NoNewPrivs", "1"), ("Seccomp", "2"), ("Uid", NOBODY), ("Gid", NOBODY), ("Groups", "")]
    {
        assert_eq!(thread.field(name), value, "{name} of {thread:#?}");
    }
}

/// The process that a tool has started.
fn helper_of(tool: &Tool) -> Option<u32> {
    child_of(tool.pid())
}

fn child_of(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).expect("the children of the tool");
    let mut children = children.split_ascii_whitespace();
    let child = children.next().map(|pid| pid.parse().expect("a process id"));
    assert_eq!(children.next(), None, "there is one helper at most");
    child
}

fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    state.flatten().is_some_and(|state| state != 'Z')
}

/// Of that namespace.
fn closes_active(snapshot: &Value, netns: &PrivateNetns) -> u64 {
    let rows = snapshot["closers"].as_array().expect("closers are known");
    let its = rows.iter().filter(|row| row["netns"] == netns.inode());
    its.filter_map(|row| row["active_closes"].as_u64()).sum()
}

fn close_first(netns: &PrivateNetns, connections: u64) {
    netns.run(|| Traffic::closed_by(End::Client, connections).run());
}

#[track_caller]
fn events_go_on(tool: &Tool, netns: &PrivateNetns) {
    let before = closes_active(&tool.snapshot(), netns);
    close_first(netns, 50);
    let have_come = |snapshot: &Value| closes_active(snapshot, netns) >= before + 50;
    tool.wait_for("events to go on", have_come);
}

fn leak(netns: &PrivateNetns, port: u16) {
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connecting");
    netns.run(|| (0..LEAKED).for_each(|_| drop(connect())));
}

fn is_held(snapshot: &Value, leaking: &Peer) -> bool {
    let rows = snapshot["close_wait"].as_array();
    let is_it = |row: &Value| row["pid"] == leaking.pid() && row["count"] == LEAKED;
    rows.is_some_and(|rows| rows.iter().any(is_it))
}

/// But for what the kernel kept from BPF.
#[track_caller]
fn assert_none_unmatched(snapshot: &Value) {
    let loss = &snapshot["loss"];
    let unmatched = loss["unmatched"].as_u64().expect("losses are counted");
    let withheld = snapshot[WITHHELD].as_u64().expect("the harness notes what was withheld");
    assert!(unmatched <= withheld, "{loss:#}, {withheld} withheld");
}

/// The range that a destination's local ports come from; `None` if there is no such destination.
fn range_towards(snapshot: &Value, netns: &PrivateNetns, port: u16) -> Option<Value> {
    let rows = snapshot["destinations"].as_array()?;
    let row = rows.iter().find(|row| row["netns"] == netns.inode() && row["rport"] == port)?;
    let range = &row["range"];
    Some(if range.is_null() {
        json!(null)
    } else {
        json!({"low": range["low"], "high": range["high"]})
    })
}

#[test]
fn every_thread_has_given_up_what_was_promised() {
    let kept = start("keep");
    for thread in Status::of_threads(kept.pid()) {
        assert!(thread.set("CapEff") & OF_THE_HELPER == OF_THE_HELPER, "{thread:#?}");
        assert_eq!(thread.field("Seccomp"), "0", "{thread:#?}");
    }
    assert_eq!(helper_of(&kept), None);
    kept.finish();
    let dropped = start("drop");
    wait_for("the helper of the start to end", SOON, || {
        helper_of(&dropped).is_none().then_some(())
    });
    let all = Status::of_threads(dropped.pid());
    assert!(all.len() >= 3, "{} threads", all.len());
    all.iter().for_each(|thread| assert_confined(thread, 0));
    dropped.finish();
    let helped = start("helper");
    Status::of_threads(helped.pid()).iter().for_each(|thread| assert_confined(thread, 0));
    let helper = helper_of(&helped).expect("there is a helper");
    let its = Status::of_threads(helper);
    assert_eq!(its.len(), 2, "{its:#?}");
    assert_eq!(Status::of(helper).field("Name"), "twtrace-helper");
    its.iter().for_each(|thread| assert_confined(thread, OF_THE_HELPER));
    helped.finish();
    wait_for("the helper to end", SOON, || (!is_there(helper)).then_some(()));
}

/// Without being told to, and with a thread that talks to everybody. What it takes itself it still
/// knows: programs are measured through the helper.
#[test]
fn serve_gives_up_what_it_does_not_need() {
    let serve = Serve::start(&[]);
    let helper = child_of(serve.pid()).expect("there is a helper");
    let all = Status::of_threads(serve.pid());
    assert!(all.iter().any(|thread| thread.field("Name") == "http"), "{all:#?}");
    all.iter().for_each(|thread| assert_confined(thread, 0));
    Status::of_threads(helper).iter().for_each(|thread| assert_confined(thread, OF_THE_HELPER));
    let is_measured = |series: &str| serve.get("/metrics").text().contains(series);
    for series in ["twtrace_bpf_cpu_ratio ", "twtrace_resident_memory_bytes "] {
        wait_for(series, SOON, || is_measured(series).then_some(()));
    }
    let (status, said) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("all rights are given up"), "{said}");
    assert!(!said.contains("helper is gone"), "{said}");
    wait_for("the helper to end", SOON, || (!is_there(helper)).then_some(()));
}

/// All of what it takes: sockets and counters of a namespace that is made later, its settings, and
/// who holds what in it.
#[test]
fn with_a_helper_a_namespace_that_is_made_later_is_known() {
    let tool = start("helper");
    let netns = PrivateNetns::new();
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port);
    tool.wait_long_for("who leaks", FOUND, |snapshot| is_held(snapshot, &leaking));
    // The range of local ports is a setting of that namespace.
    let range = json!({"low": 10_000, "high": 65_535});
    let known = tool.wait_long_for("the range of ports", FOUND, |snapshot| {
        range_towards(snapshot, &netns, port) == Some(range.clone())
    });
    let words = &known["probes"]["exactness"];
    assert_eq!(words["close_wait"], "exact", "{words:#}");
    events_go_on(&tool, &netns);
    let last = tool.finish();
    assert_none_unmatched(&last);
}

/// What nobody may look at is unknown, and none of it is 0. Events need no rights.
#[test]
fn without_a_helper_it_is_unknown_and_events_go_on() {
    let before = PrivateNetns::new();
    let (_peer, port_before) = Peer::leaking(&before, Peer::program());
    let open = before.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port_before)));
    let open = open.expect("connecting");
    let tool = start("drop");
    let netns = PrivateNetns::new();
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port);
    let seen = tool
        .wait_for("the destination", |snapshot| range_towards(snapshot, &netns, port).is_some());
    assert_eq!(range_towards(&seen, &netns, port), Some(json!(null)), "its range is unknown");
    // As long as it takes a helper to find out.
    std::thread::sleep(Duration::from_secs(12));
    let seen = tool.snapshot();
    assert_eq!(range_towards(&seen, &netns, port), Some(json!(null)), "and stays so");
    assert!(!is_held(&seen, &leaking), "{:#}", seen["close_wait"]);
    let words = &seen["probes"]["exactness"];
    assert_ne!(words["close_wait"], "exact", "not all were looked at: {words:#}");
    events_go_on(&tool, &netns);
    // What was there before was seeded while there were rights.
    drop(open);
    assert_none_unmatched(&tool.finish());
}

#[test]
fn when_the_helper_is_gone_that_is_said_once_and_tracing_goes_on() {
    let tool = start("helper");
    let netns = PrivateNetns::new();
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port);
    tool.wait_long_for("who leaks", FOUND, |snapshot| {
        is_held(snapshot, &leaking) && range_towards(snapshot, &netns, port) != Some(json!(null))
    });
    signal(helper_of(&tool).expect("there is a helper"), Signal::KILL);
    let unknown = tool.wait_long_for("what it told to be unknown", FOUND, |snapshot| {
        snapshot["close_wait"].is_null()
            && range_towards(snapshot, &netns, port) == Some(json!(null))
    });
    let words = &unknown["probes"]["exactness"];
    assert_eq!(words["close_wait"], json!(null), "{words:#}");
    events_go_on(&tool, &netns);
    let Ended { status, stderr, .. } = tool.stop(Signal::INT);
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "it is said once: {stderr}");
    assert!(stderr.contains("helper is gone") && stderr.contains("restart"), "{stderr}");
}

/// It is late, and not lost: nobody who empties the ring waits for it, and it is asked again.
#[test]
fn a_helper_that_is_stopped_for_a_while_is_asked_again() {
    let tool = start("helper");
    let helper = helper_of(&tool).expect("there is a helper");
    signal(helper, Signal::STOP);
    let netns = PrivateNetns::new();
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port);
    // Longer than who can wait does: what is asked then has no answer.
    let until = Instant::now() + Duration::from_secs(20);
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        let asked = Instant::now();
        close_first(&netns, 10);
        events_go_on(&tool, &netns);
        longest = longest.max(asked.elapsed());
    }
    assert!(longest < Duration::from_secs(5), "events took {longest:?} to come");
    assert!(!is_held(&tool.snapshot(), &leaking));
    // A peer does not wait so long for more connections.
    drop(leaking);
    let (leaking, port) = Peer::leaking(&netns, Peer::program());
    leak(&netns, port);
    signal(helper, Signal::CONT);
    tool.wait_long_for("who leaks", FOUND, |snapshot| is_held(snapshot, &leaking));
    close_first(&netns, 10);
    tool.wait_for("its settings", |snapshot| {
        range_towards(snapshot, &netns, port).is_some_and(|range| !range.is_null())
    });
    let Ended { status, stderr, .. } = tool.stop(Signal::INT);
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "it is said once: {stderr}");
    assert!(stderr.contains("does not answer"), "{stderr}");
}

/// Nor does the end wait for one that is stopped.
#[test]
fn serve_heeds_signals_while_its_helper_is_stopped() {
    let serve = Serve::start(&[]);
    let helper = child_of(serve.pid()).expect("there is a helper");
    signal(helper, Signal::STOP);
    // Programs are to be measured, and namespaces to be listed, meanwhile.
    std::thread::sleep(SOON);
    let asked = Instant::now();
    let (status, said) = serve.stop(Signal::TERM);
    let took = asked.elapsed();
    signal(helper, Signal::CONT);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(took < Duration::from_secs(8), "it took {took:?}");
    wait_for("the helper to end", SOON, || (!is_there(helper)).then_some(()));
}

/// Whoever ends a service signals all of its processes, and a terminal does.
#[test]
fn the_helper_does_not_end_before_its_master() {
    let tool = start("helper");
    let helper = helper_of(&tool).expect("there is a helper");
    [Signal::TERM, Signal::INT, Signal::HUP].into_iter().for_each(|sent| signal(helper, sent));
    tool.next_snapshot();
    tool.finish();
    wait_for("the helper to end", SOON, || (!is_there(helper)).then_some(()));
}

#[test]
fn a_tool_that_is_killed_leaves_neither_helper_nor_programs() {
    let tool = start("helper");
    let helper = helper_of(&tool).expect("there is a helper");
    let held = bpf_objects::held_by(tool.pid());
    assert!(!held.is_empty());
    assert_eq!(bpf_objects::held_by(helper), [], "the helper has nothing of them");
    let ended = tool.stop(Signal::KILL);
    assert_eq!(ended.status.code(), None);
    wait_for("the helper to end", SOON, || (!is_there(helper)).then_some(()));
    assert!(held.iter().all(|object| !object.exists()));
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, signal).expect("signalling a process");
}

/// As a systemd unit starts it, with DynamicUser and ambient capabilities; and with the least.
#[test]
fn another_user_needs_ambient_capabilities_alone() {
    let copy = Shared::new(&program());
    let full = "+bpf,+perfmon,+syslog,+net_admin,+sys_admin,+sys_ptrace,+dac_read_search";
    for (capabilities, privileges, of_helper) in [
        (full, "helper", Some(OF_THE_HELPER)),
        ("+bpf,+perfmon,+sys_ptrace,+sys_admin", "helper", Some(OF_THE_HELPER & !(1 << 2))),
        ("+bpf,+perfmon", "drop", None),
    ] {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")])
            .arg(copy.path("twtrace"))
            .args(["top", "--batch", "--json", "-d", "0.2", "--privileges", privileges])
            .current_dir("/");
        let tool = Tool::launch(&mut command);
        for thread in Status::of_threads(tool.pid()) {
            let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|name| thread.set(name));
            assert_eq!(sets, [0; 4], "{thread:#?}");
        }
        match of_helper {
            Some(kept) => {
                let helper = helper_of(&tool).expect("there is a helper");
                let all =
                    Status::of_threads(helper).iter().fold(0, |all, one| all | one.set("CapEff"));
                assert_eq!(all, kept, "{capabilities}");
            }
            // The one of the start.
            None => {
                let is_alone = || helper_of(&tool).is_none().then_some(());
                wait_for("no helper to be left", SOON, is_alone);
            }
        }
        let netns = PrivateNetns::new();
        close_first(&netns, 50);
        tool.wait_for("events", |snapshot| closes_active(snapshot, &netns) >= 50);
        // What is missing of the least is said.
        assert_eq!(tool.stop(Signal::INT).status.code(), Some(0));
    }
}

/// Each from inside, in a process that gave up what twtrace gives up.
#[test]
fn what_was_given_up_cannot_be_done() {
    for (purpose, allowed) in [
        ("serve", &["read_own_status", "ask_sock_diag", "signal_oneself"][..]),
        (
            "help",
            &["read_own_status", "ask_sock_diag", "read_roots_file", "enter_a_network_namespace"],
        ),
    ] {
        let shared = Shared::new(&helper("twtrace-confined"));
        let file = shared.path("file");
        fs::write(&file, "untouched").expect("writing a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("opening it to all");
        let mut command = Command::new(shared.path("twtrace-confined"));
        let run = Run::of(command.arg(purpose).arg(&file));
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        let tried: BTreeMap<&str, &str> = run
            .stdout
            .lines()
            .take_while(|line| !line.starts_with("Name:"))
            .map(|line| line.split_once(' ').expect("a name and an outcome"))
            .collect();
        assert!(tried.len() > 37, "all were tried: {tried:#?}");
        let (refused, no_such_call) = (Errno::PERM.raw_os_error(), Errno::NOSYS.raw_os_error());
        for (what, outcome) in tried {
            let wanted = match what {
                _ if allowed.contains(&what) => "ok".to_owned(),
                // Root's by its mode; everything else the filter refuses.
                "read_roots_file" => Errno::ACCESS.raw_os_error().to_string(),
                "start_as_clone3_does" => no_such_call.to_string(),
                _ => refused.to_string(),
            };
            assert_eq!(outcome, wanted, "{purpose}: {what}");
        }
        assert_eq!(fs::read_to_string(&file).expect("it is still there"), "untouched");
        assert_eq!(fs::read_dir(shared.directory()).expect("listing").count(), 2);
        let status = run.stdout.split_once("Name:").expect("the status of a thread").1;
        let kept = if purpose == "help" { OF_THE_HELPER } else { 0 };
        let line = format!("CapEff:\t{kept:016x}");
        assert!(status.lines().any(|it| it == line), "{line}: {status}");
    }
}

/// A helper as twtrace starts it, and our ends of its lanes.
struct Lanes {
    child: Child,
    namespaces: OwnedFd,
    holders: OwnedFd,
}

impl Lanes {
    fn new() -> Self {
        let pair = || {
            let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
            socketpair(family, kind, SocketFlags::CLOEXEC, None).expect("a pair of sockets")
        };
        let ((namespaces, first), (holders, second)) = (pair(), pair());
        let mut command = Command::new(program());
        command.arg(HELPER).stdin(Stdio::from(first)).stdout(Stdio::from(second));
        let child = command.stderr(Stdio::null()).spawn().expect("starting a helper");
        Self { child, namespaces, holders }
    }

    fn ask(&self, question: &[u8], file: Option<&File>) {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        }
        let bytes = [std::io::IoSlice::new(question)];
        sendmsg(&self.namespaces, &bytes, &mut control, SendFlags::NOSIGNAL).expect("asking");
    }

    /// What comes back, after the word that says that it is all: how many bytes, the first four as
    /// an errno, and descriptors.
    fn answer(&self) -> (usize, i32, Vec<OwnedFd>) {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(128))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 256];
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = recvmsg(&self.namespaces, &mut parts, &mut control, flags).map(|it| it.bytes);
        let files = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => files.collect(),
            _ => Vec::new(),
        });
        let files = files.collect();
        // One that ended with a question unread resets the connection.
        let length = length.unwrap_or(0);
        let (words, _) = bytes.as_chunks().0.split_at(2);
        assert_eq!(words[0], [0; 4], "nothing is to follow");
        (length.saturating_sub(4), i32::from_ne_bytes(words[1]), files)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_helper_ends_at_what_is_no_question_and_opens_nothing() {
    let file = File::open("/etc/shadow").expect("a file of root's");
    let own = File::open("/proc/self/ns/net").expect("the own network namespace");
    let questions: [(&[u8], Option<&File>); 8] = [
        (b"/etc/shadow", None),
        (&[9], Some(&own)),
        (&[254], None),
        // One that wants a namespace, without any.
        (&[1], None),
        // A list of them, with one.
        (&[0], Some(&own)),
        (&[0, 0], None),
        (&[1, 1], Some(&own)),
        (&[0; 4096], Some(&file)),
    ];
    for (question, with) in questions {
        let mut lanes = Lanes::new();
        lanes.ask(question, with);
        let (length, _, files) = lanes.answer();
        assert_eq!((length, files.len()), (0, 0), "{question:?}");
        assert_eq!(exit_status(&mut lanes.child).code(), Some(2), "{question:?}");
    }
    // The other lane: nonsense, and more than is ever asked for.
    for question in [&b"nonsense"[..], &[0; 12], &[0, 0, 0, 0, 1, 0, 16, 0]] {
        let mut lanes = Lanes::new();
        send(&lanes.holders, question, SendFlags::NOSIGNAL).expect("asking");
        assert_eq!(exit_status(&mut lanes.child).code(), Some(2), "{question:?}");
    }
}

#[test]
fn a_helper_enters_network_namespaces_alone_and_opens_for_reading() {
    let mut lanes = Lanes::new();
    let no_namespaces = ["/etc/shadow", "/proc/self/ns/mnt", "/proc/self/ns/user", "/dev/null"];
    for path in no_namespaces {
        lanes.ask(&[1], Some(&File::open(path).expect(path)));
        let (length, errno, files) = lanes.answer();
        assert_eq!((length, files.len()), (4, 0), "{path}");
        assert_eq!(errno, Errno::INVAL.raw_os_error(), "{path}");
    }
    let netns = PrivateNetns::new();
    let inside = File::open(format!("/proc/{}/ns/net", netns.holder())).expect("a namespace");
    for opening in 1..=4_u8 {
        lanes.ask(&[opening], Some(&inside));
        let (_, errno, files) = lanes.answer();
        assert_eq!(errno, 0, "it is entered");
        for file in files.iter().filter(|_| opening > 1) {
            let flags = rustix::fs::fcntl_getfl(file).expect("the flags of a file");
            assert_eq!(flags & rustix::fs::OFlags::ACCMODE, rustix::fs::OFlags::RDONLY);
        }
    }
    drop(std::mem::replace(&mut lanes.namespaces, File::open("/dev/null").unwrap().into()));
    assert_eq!(exit_status(&mut lanes.child).code(), Some(0), "nobody asks any more");
}

/// It is for twtrace alone to start.
#[test]
fn a_helper_that_somebody_else_starts_says_so() {
    let run = Run::of(Command::new(program()).arg(HELPER));
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("for twtrace itself"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}
