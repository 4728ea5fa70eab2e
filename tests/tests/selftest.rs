//! `twtrace selftest`: it finds nothing wrong here, says what stands in its way,
//! and leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use twtrace_tests::bpf_objects::{BpfObject, held_by};
use twtrace_tests::tool::{Run, exit_status, program};
use twtrace_tests::wait_for;
use twtrace_tests::withheld::Witness;

/// Runs that a kernel may spoil which keeps events from BPF.
const TRIES: u32 = 5;

fn selftest(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(["selftest", "--quick"]).args(args);
    command
}

/// A run that no event was kept from.
#[track_caller]
fn undisturbed() -> Run {
    for _ in 0..TRIES {
        let mut witness = Witness::new().ok();
        let run = Run::of(&mut selftest(&["--json"]));
        if run.code == Some(0) || witness.as_mut().map_or(0, Witness::count) == 0 {
            return run;
        }
        println!("again: the kernel kept events from BPF");
    }
    panic!("{TRIES} runs were disturbed");
}

#[test]
fn nothing_is_wrong_here() {
    let run = undisturbed();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    let report: Value = serde_json::from_str(&run.stdout).expect("it prints JSON");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("uname -r");
    assert_eq!(report["kernel"], kernel.trim());
    assert!(report["tier"].is_string(), "{report:#}");
    let cases = report["cases"].as_array().expect("cases is a list");
    let mut met = BTreeMap::<&str, u64>::new();
    for case in cases {
        assert_agrees(case);
        for (key, seen) in case["seen"].as_object().expect("seen is an object") {
            *met.entry(key).or_default() += seen.as_u64().unwrap_or(0);
        }
    }
    let impossible = |name: &str| {
        let case = cases.iter().find(|case| case["name"] == name).expect("a case");
        case["why"].as_str().is_some_and(|why| why.contains("not possible on this kernel"))
    };
    for key in MET {
        assert!(met[key] > 0, "no case meets {key}");
    }
    assert!(met.contains_key("time_wait.ended.aborted") || impossible("aborted"), "{met:#?}");
}

/// What some case must have met.
const MET: [&str; 22] = [
    "closers.child.active_closes",
    "closes.active",
    "closes.passive",
    "closes.reset_local",
    "closes.reset_remote",
    "closes.simultaneous",
    "connects.no_port",
    "connects.ok",
    "connects.other",
    "connects.refused",
    "connects.timed_out",
    "fin_wait2.born",
    "port_search.bind.count",
    "port_search.connect.failed",
    "time_wait.ended.fin_wait2_timeout",
    "time_wait.ended.purged",
    "time_wait.ended.rejected",
    "time_wait.ended.replaced",
    "time_wait.ended.reset",
    "time_wait.ended.reused",
    "time_wait.ended.reused_bound",
    "time_wait.refused",
];

/// Checks that the verdict is what the numbers say.
#[track_caller]
fn assert_agrees(case: &Value) {
    let [expected, seen] = ["expected", "seen"]
        .map(|key| case[key].as_object().unwrap_or_else(|| panic!("no {key}: {case:#}")));
    assert!(expected.keys().eq(seen.keys()), "{case:#}");
    let (verdict, why) = (case["verdict"].as_str().unwrap_or_default(), &case["why"]);
    assert!(["pass", "inferred"].contains(&verdict), "{case:#}");
    assert!(verdict == "pass" || why.is_string(), "{case:#}");
    let widened = why.as_str().is_some_and(|why| why.contains("missed"));
    for (key, expected) in expected {
        let seen = &seen[key];
        assert!(!seen.is_null() || verdict == "inferred", "{key}: {case:#}");
        let comparable = expected.is_u64() && seen.is_u64() && !widened;
        assert!(!comparable || expected == seen, "{key}: {case:#}");
    }
}

#[test]
fn the_text_has_a_line_for_each_number_and_a_sum() {
    let run = Run::of(&mut selftest(&[]));
    assert!([Some(0), Some(1)].contains(&run.code), "{}", run.stderr);
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 80), "{}", run.stdout);
    let last = run.stdout.lines().last().unwrap_or_default();
    assert!(last.contains(" cases: ") && last.ends_with(" fail"), "{last}");
    for name in ["reused_bound", "purged", "connect_timed_out"] {
        assert!(run.stdout.contains(&format!(" {name}\n")), "{name}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("expired"), "a quick run does not wait for a minute");
}

/// What a run holds, met while it plays.
struct Held {
    objects: Vec<BpfObject>,
    namespaces: BTreeSet<PathBuf>,
}

impl Held {
    /// Waits until its programs and its namespaces are there.
    #[track_caller]
    fn by(child: &Child) -> Self {
        let namespaces = || namespaces_of(&format!("/proc/{}/task", child.id()));
        wait_for("the namespaces of selftest", Duration::from_secs(10), || {
            (namespaces().len() > 30).then_some(())
        });
        let held = wait_for("the programs of selftest", Duration::from_secs(10), || {
            let objects = held_by(child.id());
            let is_program = |object: &BpfObject| matches!(object, BpfObject::Program(_));
            (objects.iter().filter(|object| is_program(object)).count() > 3).then_some(objects)
        });
        let own = fs::read_link("/proc/self/ns/net").expect("the own namespace");
        let namespaces = namespaces().into_iter().filter(|netns| *netns != own).collect();
        Self { objects: held, namespaces }
    }

    #[track_caller]
    fn assert_gone(&self) {
        wait_for("the kernel to let go of all programs", Duration::from_secs(20), || {
            self.objects.iter().all(|object| !object.exists()).then_some(())
        });
        wait_for("every process of selftest to end", Duration::from_secs(20), || {
            let mut left = BTreeSet::new();
            for process in fs::read_dir("/proc").expect("/proc can be listed").flatten() {
                left.extend(namespaces_of(&process.path().join("task").display().to_string()));
            }
            left.is_disjoint(&self.namespaces).then_some(())
        });
    }
}

/// Network namespaces of threads, as `net:[…]`; of none if the process is gone.
fn namespaces_of(tasks: &str) -> BTreeSet<PathBuf> {
    let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
    threads.filter_map(|thread| fs::read_link(thread.path().join("ns/net")).ok()).collect()
}

fn start() -> Child {
    let mut command = selftest(&[]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("starting the tool")
}

#[test]
fn nothing_is_left_behind() {
    let mut child = start();
    let held = Held::by(&child);
    exit_status(&mut child);
    held.assert_gone();
}

#[test]
fn nothing_is_left_behind_when_it_is_killed() {
    let mut child = start();
    let held = Held::by(&child);
    child.kill().expect("killing the tool");
    child.wait().expect("waiting for the tool");
    held.assert_gone();
}

/// What is wrong is said in one line, and the exit code is 2.
#[track_caller]
fn assert_refused(command: &mut Command, because: &[&str]) {
    let run = Run::of(command);
    let said = format!("code {:?}, stdout {:?}, stderr {:?}", run.code, run.stdout, run.stderr);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{said}");
    assert_eq!(run.stderr.lines().count(), 1, "{said}");
    assert!(run.stderr.starts_with("twtrace: "), "{said}");
    for word in because {
        assert!(run.stderr.contains(word), "{word}: {said}");
    }
}

#[test]
fn without_rights_it_says_which_are_missing() {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(program()).arg("selftest");
    assert_refused(&mut command, &["run as root", "CAP_SYS_ADMIN"]);
    // Here it may make network namespaces, and load nothing.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(program()).arg("selftest");
    assert_refused(&mut command, &["cannot attach", "EPERM", "CAP_BPF"]);
}

#[test]
fn a_tier_that_cannot_attach_is_named_with_its_hook() {
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /sys/kernel/btf; exec \"$0\" \"$@\"";
    command.args(["--mount", "sh", "-ec", script]).arg(program());
    command.args(["selftest", "--quick", "--probes", "fentry"]);
    assert_refused(&mut command, &["cannot attach", "(fentry)", "no BTF"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert_refused(&mut selftest(&["--probes", "none"]), &["--probes none", "leave it out"]);
    assert_refused(&mut selftest(&["--netns", "self"]), &["leave out --netns"]);
    assert_refused(&mut selftest(&["--probes", "magic"]), &["--probes"]);
}
