//! Too few files, too little memory: what is lost is told, what is promised holds, and nothing is left
//! behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use twtrace_tests::left_behind::{Inventory, names};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::snapshot::{missed, number};
use twtrace_tests::tool::{Run, Tool, program};
use twtrace_tests::traffic::{End, Traffic};

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

#[test]
fn too_few_files_are_said_at_the_start_in_one_line_with_the_remedy() {
    let netns = PrivateNetns::new();
    for limit in [5, 6, 8, 10, 16, 24, 32, 40, 48, 56, 64, 80, 95] {
        for command in [&["top", "--batch", "--json", "-n", "1", "-d", "0.2"][..], &["check"]] {
            let mut run = Command::new("prlimit");
            run.arg(format!("--nofile={limit}:{limit}")).arg(program()).args(command);
            let run = Run::of(run.args(["--netns", &netns.selector()]));
            assert_eq!((run.code, &run.stdout[..]), (Some(2), ""), "{limit}: {}", run.stderr);
            assert_eq!(run.stderr.lines().count(), 1, "{limit}: {}", run.stderr);
            let said = format!("twtrace: no more than {limit} files may be open");
            assert!(run.stderr.starts_with(&said), "{limit}: {}", run.stderr);
            assert!(run.stderr.contains("ulimit -Hn"), "{limit}: {}", run.stderr);
        }
    }
    let mut run = Command::new("prlimit");
    run.arg("--nofile=96:96").arg(program());
    let run = Run::of(
        run.args(["top", "--batch", "--json", "-n", "1", "-d", "0.2", "--netns"])
            .arg(netns.selector()),
    );
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "so many are enough");
}

#[test]
fn without_a_file_to_open_any_more_totals_hold() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    let limit = format!("--nofile={}", open_files(tool.pid()));
    let pid = tool.pid().to_string();
    let run = Run::of(Command::new("prlimit").args(["--pid", &pid, &limit]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    netns.run(|| Traffic::closed_by(End::Client, 500).run());
    // It looks for CLOSE_WAIT every five seconds, which takes files.
    std::thread::sleep(Duration::from_secs(6));
    let ended = tool.stop(Signal::INT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.lines().count() <= 4, "said once each: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    let snapshot = ended.last.expect("a last snapshot");
    let missed = missed(&snapshot);
    for total in ["closes.active", "closes.passive", "connects.ok", "time_wait.born"] {
        assert!(number(&snapshot, total).abs_diff(500) <= missed, "{total}: {snapshot:#}");
    }
}

#[test]
fn without_memory_to_begin_it_ends_and_leaves_nothing() {
    let netns = PrivateNetns::new();
    for megabytes in [24_u64, 48, 64] {
        let before = names();
        let mut command = Command::new("prlimit");
        command.arg(format!("--as={}", megabytes << 20)).arg(program());
        command.args(["top", "--batch", "--json", "-d", "0.2", "--netns", &netns.selector()]);
        let null = Stdio::null;
        let mut child =
            command.stdin(null()).stdout(null()).stderr(null()).spawn().expect("starting it");
        // Whether it ends by itself or runs: killed, nothing may be left.
        std::thread::sleep(Duration::from_millis(600));
        let had = Inventory::of_stopped(child.id(), &before);
        // It fails only if it has ended.
        let _ = child.kill();
        child.wait().expect("waiting for it");
        had.assert_gone(&format!("with {megabytes} MB of addresses"));
    }
}

/// A cgroup that bounds memory, of whichever version has the controller; gone with this value.
struct Bounded(PathBuf);

impl Bounded {
    fn new(bytes: u64) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").expect("our cgroups");
        let of = |prefix: &str| own.lines().find_map(|line| line.split_once(prefix)).map(|it| it.1);
        let name = format!("twtrace-test-memory-{}", std::process::id());
        let (parent, limit) = match of(":memory:/") {
            Some(path) => (Path::new("/sys/fs/cgroup/memory").join(path), "memory.limit_in_bytes"),
            None => (PathBuf::from("/sys/fs/cgroup"), "memory.max"),
        };
        let made = Self(parent.join(name));
        fs::create_dir(&made.0).expect("a cgroup that bounds memory takes root");
        fs::write(made.0.join(limit), bytes.to_string()).expect("the memory controller is at work");
        made
    }

    /// A command in it.
    fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0);
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        // A process may still be in it, and must not hide the test's own failure.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn bounded_tables_stay_within_bounded_memory_and_say_what_they_forgot() {
    const MANY: u64 = 20_000;
    let (netns, bounded) = (PrivateNetns::new(), Bounded::new(96 << 20));
    let mut command = Command::new(program());
    command.args(["top", "--batch", "--json", "-d", "0.2", "--netns", &netns.selector()]);
    command.args(["--max-connections", "1000", "--ring-size", "4M"]);
    let tool = Tool::launch(&mut bounded.run(&command));
    netns.run(|| Traffic::closed_by(End::Client, MANY).run());
    netns.wait_for_tw(MANY);
    let snapshot = tool.finish();
    let missed = missed(&snapshot);
    let unknown = missed + number(&snapshot, "loss.ring_full");
    let forgotten = number(&snapshot, "loss.evicted") + unknown;
    assert!(forgotten >= MANY - 1_000, "{:#}", snapshot["loss"]);
    for total in ["closes.active", "closes.passive", "connects.ok", "time_wait.born"] {
        assert!(number(&snapshot, total).abs_diff(MANY) <= missed, "{total}: {snapshot:#}");
    }
}
