//! Stopped by SIGSTOP for ten seconds, as a debugger or a frozen cgroup does it, and continued.

use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::serve::Serve;
use twtrace_tests::snapshot::{Exact, born, missed, number};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::wait_for;

const STOPPED: Duration = Duration::from_secs(10);
const CONNECTIONS: u64 = 3_000;

/// Makes connections while the process is stopped, which is so long at least.
fn traffic_while_stopped(pid: u32, netns: &PrivateNetns) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, Signal::STOP).expect("stopping the tool");
    thread::scope(|scope| {
        scope.spawn(|| netns.run(|| Traffic::closed_by(End::Client, CONNECTIONS).run()));
        thread::sleep(STOPPED);
    });
    netns.wait_for_tw(CONNECTIONS);
    kill_process(pid, Signal::CONT).expect("continuing the tool");
}

#[test]
fn a_ring_that_holds_costs_nothing() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &[]);
    traffic_while_stopped(tool.pid(), &netns);
    tool.wait_for("all that happened meanwhile", |snapshot| {
        number(snapshot, "closes.active") + missed(snapshot) >= CONNECTIONS
    });
    let snapshot = tool.finish();
    let exact = Exact::new(&snapshot, netns.inode());
    exact.object("closes", &[("active", CONNECTIONS), ("passive", CONNECTIONS)]);
    exact.time_wait(born(CONNECTIONS));
    exact.reconciles();
}

#[test]
fn a_ring_that_overflows_is_told_and_totals_hold() {
    let netns = PrivateNetns::new();
    let tool = Tool::on(&netns, &["--ring-size", "64K"]);
    traffic_while_stopped(tool.pid(), &netns);
    let lost = tool.wait_for("the loss", |snapshot| number(snapshot, "loss.ring_full") > 0);
    assert!(number(&lost, "loss.ring_full") > 10 * CONNECTIONS - 2_000);
    // It goes on as before.
    netns.run(|| Traffic::closed_by(End::Client, 10).run());
    let snapshot = tool.finish();
    let missed = missed(&snapshot);
    for total in ["closes.active", "closes.passive", "connects.ok", "time_wait.born"] {
        let counted = number(&snapshot, total);
        let made = CONNECTIONS + 10;
        assert!(counted.abs_diff(made) <= missed, "{total} is {counted} of {made}");
    }
    // What came afterwards is known to the row: nothing of it found no room.
    assert_eq!(snapshot["loss"]["ring_full"], lost["loss"]["ring_full"]);
}

#[test]
fn serve_says_that_it_was_late_and_recovers() {
    let netns = PrivateNetns::new();
    let mut serve = Serve::start(&["--netns", &netns.selector()]);
    traffic_while_stopped(serve.pid(), &netns);
    let snapshot = serve.wait_for("all that happened meanwhile", |snapshot| {
        number(snapshot, "closes.active") + missed(snapshot) >= CONNECTIONS
    });
    assert_eq!(number(&snapshot, "loss.ring_full"), 0);
    wait_for("it to be ready again", Duration::from_secs(5), || {
        (serve.get("/readyz").status == 200).then_some(())
    });
    let (status, said) = serve.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
}
