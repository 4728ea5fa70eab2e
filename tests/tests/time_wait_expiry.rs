//! Mini-sockets that nobody touches. They take a minute to expire, so
//! everything that is to be seen of that happens side by side in one test.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use twtrace_tests::clock::timer_slack;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::scenario::Pair;
use twtrace_tests::snapshot::{Exact, TimeWait, born, missed, number, seconds};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Family, Traffic};

/// `TCP_TIMEWAIT_LEN`, which nothing can change.
const TIME_WAIT: Duration = Duration::from_secs(60);
const FIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The softirq that runs timers may have to wait for a busy CPU.
const BUSY: f64 = 0.05;

/// A namespace of its own, with a tool of its own.
struct Scene {
    netns: PrivateNetns,
    tool: Tool,
}

impl Scene {
    fn new(before: impl FnOnce(&PrivateNetns)) -> Self {
        let netns = PrivateNetns::new();
        before(&netns);
        let tool = Tool::on(&netns, &[]);
        Self { netns, tool }
    }

    fn close(&self, connections: u64) {
        self.netns.run(|| Traffic::closed_by(End::Client, connections).run());
    }

    /// Waits for the last mini-socket to go.
    #[track_caller]
    fn wait_for_the_end(&self) {
        let limit = TIME_WAIT + timer_slack(TIME_WAIT) + Duration::from_secs(5);
        self.tool.wait_long_for("the last end", limit, |s| {
            number(s, "time_wait.now") <= missed(s) && self.netns.sockstat_tw() == 0
        });
    }

    /// Checks what became of all.
    #[track_caller]
    fn ends_with(self, want: TimeWait<'_>) -> Value {
        let last = self.tool.finish();
        let exact = Exact::new(&last, self.netns.inode());
        exact.time_wait(want);
        exact.minis_together(0);
        exact.reconciles();
        last
    }
}

/// Servers whose clients have closed.
fn deserted(netns: &PrivateNetns, connections: u64) -> Vec<TcpStream> {
    let before = netns.sockstat_tw();
    let listener = netns.run(|| Family::V4.listen());
    let pair = |_| Pair::open(&listener, Family::V4).close_client_alone();
    let servers = netns.run(|| (0..connections).map(pair).collect());
    // The last acknowledgements are delayed, and the births with them.
    netns.wait_for_tw(before + connections);
    servers
}

/// Checks `lifetime_s`: how many, no shorter than `min`, and no longer than the
/// timer wheel may take on top of `max`.
#[track_caller]
fn assert_lifetimes(snapshot: &Value, count: u64, min: Duration, max: Duration) {
    Exact::new(snapshot, 0).count("time_wait.lifetime_s.count", count);
    let lifetimes = &snapshot["time_wait"]["lifetime_s"];
    let [shortest, longest] =
        ["min", "max"].map(|key| seconds(snapshot, &format!("time_wait.lifetime_s.{key}")));
    let limit = (max + timer_slack(TIME_WAIT)).as_secs_f64() + BUSY;
    assert!(shortest >= min.as_secs_f64() && longest <= limit, "{limit}: {lifetimes:#}");
}

#[test]
fn examples_2_3_and_5_each_end_has_its_cause_and_its_time() {
    const ALONE: u64 = 500;
    const SEEDED: u64 = 150;
    const SEEDED_LATE: u64 = 20;
    const LATE: u64 = 40;
    const NEVER: u64 = 30;

    let alone = Scene::new(|_| {});
    let mut seeded_late = Vec::new();
    let seeded = Scene::new(|netns| {
        netns.run(|| Traffic::closed_by(End::Server, SEEDED).run());
        netns.wait_for_tw(SEEDED);
        seeded_late = deserted(netns, SEEDED_LATE);
    });
    let late = Scene::new(|_| {});
    let at_once = Scene::new(|_| {});
    let never = Scene::new(|netns| {
        netns.sysctl_set("net.ipv4.tcp_fin_timeout", &FIN_TIMEOUT.as_secs().to_string());
    });

    let deserted_late = deserted(&late.netns, LATE);
    let since = Instant::now();
    // Before the next slot of the wheel, so that the timer is silently set back.
    drop(deserted(&at_once.netns, LATE));
    let deserted_forever = deserted(&never.netns, NEVER);
    alone.close(ALONE);
    seeded.close(ALONE);

    // Which of them wait in FIN_WAIT2 is known of birth, and of the end.
    let waiting = late.tool.next_snapshot();
    let exact = Exact::new(&waiting, late.netns.inode());
    exact.time_wait(born(LATE));
    exact.count("fin_wait2.born", LATE);
    assert_eq!(waiting["fin_wait2"]["to_time_wait"], Value::Null, "none has ended yet");

    // The fact itself: the peers wait for 5 s, and each timer starts once more.
    std::thread::sleep(FIN_TIMEOUT.saturating_sub(since.elapsed()));
    drop((deserted_late, seeded_late));
    let half_time = since.elapsed();
    let rearmed = late.tool.next_snapshot();
    let exact = Exact::new(&rearmed, late.netns.inode());
    // No end, and no second birth.
    exact.time_wait(born(LATE));
    exact.reconciles();

    never.wait_for_the_end();
    drop(deserted_forever);
    for scene in [&alone, &seeded, &at_once, &late] {
        scene.wait_for_the_end();
    }

    let last = never.ends_with(TimeWait { ended: &[("fin_wait2_timeout", NEVER)], ..born(NEVER) });
    Exact::new(&last, 0).count("fin_wait2.born", NEVER);
    assert_lifetimes(&last, NEVER, FIN_TIMEOUT, FIN_TIMEOUT);
    Exact::new(&last, 0).count("time_wait.lifetime_by_end.fin_wait2_timeout.count", NEVER);

    let expired = |n| [("expired", n)];
    let last = alone.ends_with(TimeWait { ended: &expired(ALONE), ..born(ALONE) });
    assert_lifetimes(&last, ALONE, TIME_WAIT, TIME_WAIT);
    // The lifetimes of those that were there before are not known.
    let last = seeded.ends_with(TimeWait {
        seeded: SEEDED + SEEDED_LATE,
        ended: &expired(SEEDED + SEEDED_LATE + ALONE),
        ..born(ALONE)
    });
    assert_lifetimes(&last, ALONE, TIME_WAIT, TIME_WAIT);
    for (scene, since) in [(at_once, Duration::ZERO), (late, half_time)] {
        let last = scene.ends_with(TimeWait { ended: &expired(LATE), ..born(LATE) });
        let exact = Exact::new(&last, 0);
        exact.count("fin_wait2.born", LATE);
        exact.count("fin_wait2.to_time_wait", LATE);
        let shortest = TIME_WAIT + FIN_TIMEOUT.min(since);
        assert_lifetimes(&last, LATE, shortest, TIME_WAIT + since + Duration::from_millis(200));
    }
}
