//! Without rights, with every tier there is, and with arguments that make no
//! sense: the tool says what is missing in one line, and never breaks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use twtrace_tests::cgroup::Cgroup;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::scenario::Pair;
use twtrace_tests::snapshot::{Closer, Exact, born, states as reported};
use twtrace_tests::sockets::states;
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::traffic::{End, Family, Traffic};

/// The tool where a user without any rights can run it.
struct Unprivileged {
    _dir: tempfile::TempDir,
    program: PathBuf,
}

impl Unprivileged {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for a copy of the tool");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), open).expect("opening the directory to all");
        let copy = dir.path().join("twtrace");
        fs::copy(program(), &copy).expect("copying the tool");
        Self { _dir: dir, program: copy }
    }

    /// Runs it as nobody, without a capability, in a namespace.
    fn run(&self, netns: &PrivateNetns, args: &[&str]) -> Run {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"])
            .arg(&self.program)
            .args(args)
            .current_dir("/");
        netns.run(|| Run::of(&mut command))
    }
}

#[track_caller]
fn assert_no_panic(run: &Run) {
    for text in ["panicked", "RUST_BACKTRACE"] {
        assert!(!run.stderr.contains(text), "the tool panicked: {}", run.stderr);
    }
}

#[test]
fn without_rights_top_shows_what_sock_diag_tells() {
    let netns = PrivateNetns::new();
    let listener = netns.run(|| Family::V4.listen());
    let _pair = netns.run(|| Pair::open(&listener, Family::V4));
    let args = ["top", "--batch", "--json", "-n", "2", "-d", "0.2", "--netns", "self"];
    let run = Unprivileged::new().run(&netns, &args);
    assert_no_panic(&run);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "one line must say what is missing: {}", run.stderr);
    assert!(run.stderr.contains("CAP_BPF"), "it must name the capability: {}", run.stderr);
    let snapshots = run.snapshots();
    assert_eq!(snapshots.len(), 2, "{}", run.stdout);
    for snapshot in snapshots {
        assert_unknown_but_states(&snapshot, &netns);
    }
}

#[track_caller]
fn assert_unknown_but_states(snapshot: &Value, netns: &PrivateNetns) {
    assert_eq!(snapshot["probes"]["transitions"], Value::Null, "{:#}", snapshot["probes"]);
    for part in ["transitions", "closes", "connects", "closers"] {
        assert_eq!(snapshot[part], Value::Null, "{part} is unknown without a hook");
    }
    assert_eq!(reported(snapshot), states(netns), "{:#}", snapshot["states"]);
}

#[test]
fn without_rights_check_names_what_is_missing_and_how_to_get_it() {
    let netns = PrivateNetns::new();
    let tool = Unprivileged::new();
    let run = tool.run(&netns, &["check"]);
    assert_no_panic(&run);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("CAP_BPF"), "it must name the capability: {}", run.stdout);
    let run = tool.run(&netns, &["check", "--json"]);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).expect("check --json prints JSON");
    let hooks = report["hooks"].as_array().expect("check lists the hooks");
    assert!(!hooks.is_empty());
    for hook in hooks {
        assert_eq!(hook["attached"], false, "{hook:#}");
        for key in ["name", "capability", "tier", "why", "fix"] {
            assert!(hook[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {hook:#}");
        }
    }
}

#[test]
fn without_rights_doctor_and_states_say_what_they_cannot_see() {
    let netns = PrivateNetns::new();
    let listener = netns.run(|| Family::V4.listen());
    let _pair = netns.run(|| Pair::open(&listener, Family::V4));
    let tool = Unprivileged::new();
    let run = tool.run(&netns, &["states", "--json", "--netns", "self"]);
    assert_no_panic(&run);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&run.stdout).expect("states --json prints JSON");
    assert_eq!(report["states"]["ESTABLISHED"], 2, "{report:#}");
    let rows = report["by_process"].as_array().expect("a list");
    let held_by: Vec<&str> = rows.iter().filter_map(|row| row["held_by"].as_str()).collect();
    assert_eq!(held_by, ["unknown"], "our descriptors are not nobody's to read: {report:#}");

    let run = tool.run(&netns, &["doctor", "--json", "--duration", "0.2", "--netns", "self"]);
    assert_no_panic(&run);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "one line must say what is missing: {}", run.stderr);
    let diagnosis: Value = serde_json::from_str(&run.stdout).expect("doctor --json prints JSON");
    let unknown = diagnosis["unknown"].as_array().expect("a list");
    for what in ["who closes first", "sizes of TIME_WAIT sockets"] {
        let row = unknown.iter().find(|row| row["what"] == what);
        let why = row.and_then(|row| row["why"].as_str());
        assert!(why.is_some_and(|why| why.contains("root")), "{what}: {unknown:#?}");
    }
}

/// A root of its own user namespace has every capability, and none that counts.
#[test]
fn rights_of_a_user_namespace_are_not_enough() {
    let run = |args: &[&str]| {
        Run::of(
            Command::new("unshare").args(["--user", "--map-root-user"]).arg(program()).args(args),
        )
    };
    let top = run(&["top", "--batch", "--json", "-n", "1", "-d", "0.2"]);
    assert_no_panic(&top);
    assert_eq!(top.code, Some(0), "{}", top.stderr);
    assert_eq!(top.stderr.lines().count(), 1, "{}", top.stderr);
    assert!(top.stderr.contains("EPERM"), "{}", top.stderr);
    assert_eq!(top.snapshots()[0]["closes"], Value::Null);
    assert_eq!(run(&["check"]).code, Some(1));
}

#[test]
fn with_rights_check_finds_nothing_wrong_with_transitions() {
    let run = Run::of(Command::new(program()).args(["check", "--json"]));
    assert_no_panic(&run);
    let report: Value = serde_json::from_str(&run.stdout).expect("check --json prints JSON");
    let hooks = report["hooks"].as_array().expect("check lists the hooks");
    let attached = |hook: &&Value| hook["capability"] == "transitions" && hook["attached"] == true;
    assert!(hooks.iter().any(|hook| attached(&hook)), "{hooks:#?}");
}

#[test]
fn check_says_what_each_hook_costs() {
    let netns = PrivateNetns::new();
    let done = AtomicBool::new(false);
    let report: Value = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Listening binds, and connecting searches.
            while !done.load(Ordering::Relaxed) {
                netns.run(|| Traffic::closed_by(End::Client, 20).run());
            }
        });
        let run = Run::of(Command::new(program()).args(["check", "--json"]));
        done.store(true, Ordering::Relaxed);
        assert_no_panic(&run);
        assert_eq!(run.code, Some(0), "nothing is missing here: {}{}", run.stdout, run.stderr);
        serde_json::from_str(&run.stdout).expect("check --json prints JSON")
    });
    assert!(report["measuring_ns"].as_f64().is_some_and(|ns| ns > 0.0), "{report:#}");
    let hooks = report["hooks"].as_array().expect("check lists the hooks");
    for hook in hooks.iter().filter(|hook| hook["attached"] == true) {
        let (name, cost) = (hook["name"].as_str().unwrap_or_default(), &hook["cost"]);
        // Nobody binds an IPv6 socket here.
        let runs = !name.contains("bind6");
        let measured = cost["ns_per_run"].is_number() && cost["core_pct"].is_number();
        assert_eq!(measured, runs || cost["runs_per_s"] != 0.0, "{hook:#}");
    }
}

/// The first hook that does not attach where `tier` is asked for.
fn missing_hook(tier: &str) -> Option<String> {
    let run = Run::of(Command::new(program()).args(["check", "--json", "--probes", tier]));
    let report: Value = serde_json::from_str(&run.stdout).expect("check --json prints JSON");
    let functions = tier == "fentry" || tier == "kprobe";
    let hooks = report["hooks"].as_array().expect("check lists the hooks");
    let is_cause = |hook: &&Value| {
        let why = hook["why"].as_str().unwrap_or_default();
        hook["attached"] == false && !why.starts_with("of no use")
    };
    let missing = hooks.iter().find(is_cause)?;
    functions.then(|| missing["name"].as_str().expect("a name").to_owned())
}

/// The same with `hook` as the reason.
#[track_caller]
fn assert_refused_for(args: &[&str], hook: &str) {
    assert_refused(args);
    let said = Run::of(Command::new(program()).args(args)).stderr;
    assert!(said.contains(hook), "{hook} is not in {said}");
}

/// A tier that the kernel does not allow is an error that names the hook.
#[test]
fn every_tier_counts_the_same() {
    for tier in ["fentry", "kprobe", "tracepoint", "auto"] {
        let netns = PrivateNetns::new();
        if let Some(hook) = missing_hook(tier) {
            assert_refused_for(&["top", "--batch", "--probes", tier], &hook);
            continue;
        }
        let tool = Tool::on(&netns, &["--probes", tier]);
        let server = netns.run(|| {
            Traffic::aborted(50).run();
            Traffic::closed_by(End::Client, 500).run().server
        });
        let snapshot = tool.finish();
        let probes = &snapshot["probes"];
        let used = probes["transitions"].as_str().unwrap_or_else(|| panic!("{tier}: {probes:#}"));
        assert!(tier == "auto" || tier == used, "asked for {tier}: {probes:#}");
        let exact = Exact::new(&snapshot, netns.inode());
        exact.object("connects", &[("ok", 550)]);
        let resets = [("reset", 100), ("reset_local", 50), ("reset_remote", 50)];
        let closes = [("active", 500), ("passive", server.closed_second)];
        exact.object("closes", &[&resets[..], &closes].concat());
        let me = std::process::id();
        exact.closer(me, "client", Closer { active: 500, peer: 0, resets: 50 });
        exact.closer(me, "server", Closer { peer: 500, ..Closer::default() });
    }
}

#[test]
fn no_probes_at_all() {
    let netns = PrivateNetns::new();
    let listener = netns.run(|| Family::V4.listen());
    let _pairs: Vec<Pair> =
        (0..3).map(|_| netns.run(|| Pair::open(&listener, Family::V4))).collect();
    let tool = Tool::on(&netns, &["--probes", "none"]);
    assert_unknown_but_states(&tool.finish(), &netns);
}

/// The tool with all rights but these: capabilities as setpriv names them.
fn without_rights(rights: &[&str]) -> Command {
    let dropped: String = rights.iter().map(|right| format!(",-{right}")).collect();
    let mut command = Command::new("setpriv");
    for caps in ["--inh-caps", "--bounding-set"] {
        command.args([caps, &dropped[1..]]);
    }
    command.arg(program());
    command
}

/// The tool after `prepare` in a mount namespace of its own.
fn after(prepare: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{prepare}\nexec \"$0\" \"$@\"");
    command.args(["--mount", "sh", "-ec", &script]).arg(program());
    command
}

/// What `check --json` says of one capability: its tier, and why each hook was refused.
#[track_caller]
fn checked(mut tool: Command, capability: &str) -> (Value, Vec<String>) {
    let run = Run::of(tool.args(["check", "--json"]));
    assert_no_panic(&run);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).expect("check --json prints JSON");
    let of = |key: &str| {
        let lines = report[key].as_array().cloned().unwrap_or_default();
        lines.into_iter().filter(|line| line["capability"] == capability).collect::<Vec<_>>()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Whether functions may be probed is the kernel's choice.
    let hooks = of("hooks").into_iter().filter(|hook| hook["tier"] == "tracepoint");
    let why = hooks.map(|hook| text(&hook["why"]) + &text(&hook["fix"])).collect();
    (of("capabilities")[0]["tier"].clone(), why)
}

/// Mini-sockets are looked at by sock_diag: what only hooks tell is unknown.
#[track_caller]
fn assert_polled(snapshot: &Value, minis: u64) {
    assert_eq!(snapshot["probes"]["time_wait"], "none");
    assert_eq!(snapshot["probes"]["end_cause"], Value::Null);
    let time_wait = &snapshot["time_wait"];
    assert_eq!(time_wait["now"], minis, "{time_wait:#}");
    assert_eq!(time_wait["remaining_s"]["count"], minis, "{time_wait:#}");
    for unknown in ["lifetime_s", "lifetime_by_end"] {
        assert_eq!(time_wait[unknown], Value::Null, "{unknown}: {time_wait:#}");
    }
    assert_eq!(time_wait["ended"]["reused"], Value::Null, "{time_wait:#}");
}

/// Traces 300 closes by the client without one part, and checks all others.
#[track_caller]
fn assert_only_missing(mut tool: Command, missing: &str) {
    let netns = PrivateNetns::new();
    tool.args(["top", "--batch", "--json", "-d", "0.2", "--netns", "self"]);
    let tool = netns.run(|| Tool::launch(&mut tool));
    netns.run(|| Traffic::closed_by(End::Client, 300).run());
    netns.wait_for_tw(300);
    let snapshot = tool.next_snapshot();
    let ended = tool.stop(rustix::process::Signal::INT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", 300), ("passive", 300)]);
    exact.closer(std::process::id(), "client", Closer { active: 300, ..Closer::default() });
    assert_eq!(reported(&snapshot), states(&netns), "{:#}", snapshot["states"]);
    // Said once at the start, with what helps.
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(missing) && ended.stderr.contains("; "), "{}", ended.stderr);
    let searches = missing != "port_search";
    assert_eq!(snapshot["probes"]["port_search"].is_null(), !searches, "{snapshot:#}");
    assert_eq!(snapshot["port_search"].is_null(), !searches, "{:#}", snapshot["port_search"]);
    if missing == "time_wait" {
        assert_polled(&snapshot, 300);
    } else {
        exact.time_wait(born(300));
        exact.minis(std::process::id(), "client", 300, 0);
        exact.reconciles();
    }
    if missing != "port_search" {
        exact.count("port_search.connect.count", 300);
        exact.count("port_search.bind.count", 1);
    }
}

#[test]
fn hidden_kernel_addresses_cost_time_wait_alone() {
    let tool = || without_rights(&["syslog"]);
    let shown = Run::of(Command::new("setpriv").args([
        "--inh-caps",
        "-syslog",
        "--bounding-set",
        "-syslog",
        "grep",
        "-qvm1",
        "^0* ",
        "/proc/kallsyms",
    ]));
    assert_eq!(shown.code, Some(1), "set kernel.perf_event_paranoid to 2 for this test");
    let (tier, why) = checked(tool(), "time_wait");
    assert_eq!(tier, "none");
    assert!(!why.is_empty() && why.iter().all(|why| why.contains("CAP_SYSLOG")), "{why:#?}");
    assert_only_missing(tool(), "time_wait");
}

#[test]
fn without_net_admin_only_port_searches_are_missing() {
    // The older CAP_SYS_ADMIN has it all.
    let tool = || without_rights(&["net_admin", "sys_admin"]);
    let (tier, why) = checked(tool(), "port_search");
    assert_eq!(tier, Value::Null);
    assert!(!why.is_empty() && why.iter().all(|why| why.contains("CAP_NET_ADMIN")), "{why:#?}");
    assert_only_missing(tool(), "port_search");
}

#[test]
fn without_cgroup_v2_only_port_searches_are_missing() {
    let tool = || after("umount --lazy --all --types cgroup2");
    let (tier, why) = checked(tool(), "port_search");
    assert_eq!(tier, Value::Null);
    let named = |why: &String| why.contains("cgroup v2 is not mounted");
    assert!(!why.is_empty() && why.iter().all(named), "{why:#?}");
    assert_only_missing(tool(), "port_search");
}

/// As in a container that has a cgroup namespace of its own.
#[test]
fn a_part_of_cgroup_v2_is_not_enough_for_port_searches() {
    let cgroup = Cgroup::new(&format!("twtrace-test-{}", std::process::id()));
    let directory = tempfile::tempdir().expect("a directory to mount at");
    let tool = || {
        let [part, point, root] =
            [cgroup.path(), directory.path(), cgroup.root()].map(|path| path.display());
        after(&format!("mount --bind '{part}' '{point}'\numount --lazy '{root}'"))
    };
    let (tier, why) = checked(tool(), "port_search");
    assert_eq!(tier, Value::Null);
    let named = |why: &String| why.contains("only a part of cgroup v2 can be seen");
    assert!(!why.is_empty() && why.iter().all(named), "{why:#?}");
    assert_only_missing(tool(), "port_search");
}

/// What is wrong is said in one line, and the exit code is 2.
#[track_caller]
fn assert_refused(args: &[&str]) {
    // Should one be accepted after all, it must end.
    let run = Run::of(Command::new(program()).args(args));
    assert_no_panic(&run);
    let said =
        format!("{args:?}: code {:?}, stdout {:?}, stderr {:?}", run.code, run.stdout, run.stderr);
    assert_eq!(run.code, Some(2), "{said}");
    assert!(run.stderr.starts_with("twtrace: "), "{said}");
    assert_eq!(run.stderr.lines().count(), 1, "{said}");
    assert_eq!(run.stdout, "", "{said}");
}

const ONCE: [&str; 7] = ["top", "--batch", "--json", "-n", "1", "-d", "0.2"];

#[test]
fn nonsense_is_refused_in_one_line() {
    let nonsense: [&[&str]; 9] = [
        &["--no-such-flag"],
        &["--ring-size", "1"],
        &["--ring-size", "many"],
        &["-d", "-1"],
        &["-d", "nan"],
        &["--probes", "magic"],
        &["--netns", "no-such-netns"],
        &["--netns", "pid:0"],
        &["--netns", "pid:4194305"],
    ];
    for args in nonsense {
        assert_refused(&[&ONCE[..], args].concat());
    }
    assert_refused(&["no-such-command"]);
}

#[test]
fn a_bad_bpf_object_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory for bad objects");
    // An ELF header and nothing after it is harder to refuse than noise.
    let cut = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9]].concat();
    let files: [(&str, &[u8]); 3] =
        [("garbage", b"no BPF object at all"), ("empty", b""), ("cut", &cut)];
    let mut paths = vec![dir.path().join("missing"), dir.path().to_owned()];
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("writing a bad object");
        paths.push(path);
    }
    for path in paths {
        let path = path.to_str().expect("the path is UTF-8");
        assert_refused(&[&ONCE[..], &["--bpf-object", path]].concat());
    }
}
