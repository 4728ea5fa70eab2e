//! `twtrace serve` at work.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{self, Answer};
use crate::snapshot::WITHHELD;
use crate::tool::{exit_status, program};
use crate::wait_for;
use crate::withheld::Witness;

/// Attaching and seeding may take this long.
const READY: Duration = Duration::from_secs(20);

/// `twtrace serve` on a port of its own; killed when dropped.
pub struct Serve {
    child: Child,
    address: SocketAddr,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    witness: Option<Witness>,
}

/// The series of one scrape.
#[derive(Clone, Debug)]
pub struct Scrape(BTreeMap<String, f64>);

impl Serve {
    /// Starts it with `args` besides, and a snapshot every 0.2 s; waits until it is ready.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        Self::launch(&mut Command::new(program()), args)
    }

    /// The same with no more than so many files.
    #[track_caller]
    pub fn with_files(limit: usize, args: &[&str]) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(program());
        Self::launch(&mut command, args)
    }

    #[track_caller]
    fn launch(command: &mut Command, args: &[&str]) -> Self {
        let witness = Witness::new().ok();
        let mut child = command
            // It says where it listens.
            .args(["serve", "--listen", "127.0.0.1:0", "-v", "-d", "0.2"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting twtrace serve");
        let stderr = child.stderr.take().expect("stderr is piped");
        let said = Arc::<Mutex<String>>::default();
        let sink = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = sink.lock().expect("no holder of this lock panics");
                said.push_str(&line);
                said.push('\n');
            }
        });
        let address = wait_for("where it listens", READY, || {
            let said = said.lock().expect("no holder of this lock panics");
            let (_, after) = said.split_once("listening at http://")?;
            after.lines().next()?.parse().ok()
        });
        let serve = Self { child, address, said, reader: Some(reader), witness };
        wait_for("twtrace to be ready", READY, || {
            http::get(address, "/readyz", "").is_ok_and(|it| it.status == 200).then_some(())
        });
        serve
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers to GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        http::get(self.address, path, "").unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// `/metrics`, as text 0.0.4.
    #[track_caller]
    pub fn scrape(&self) -> Scrape {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Scrape::read(answer.text())
    }

    /// `/snapshot.json`, with how many events were withheld from BPF.
    #[track_caller]
    pub fn snapshot(&mut self) -> Value {
        let answer = self.get("/snapshot.json");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut snapshot: Value = serde_json::from_str(answer.text()).expect("it is JSON");
        snapshot[WITHHELD] = self.witness.as_mut().map_or(0, Witness::count).into();
        snapshot
    }

    /// Waits for a snapshot that `wanted` accepts.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, READY, || Some(self.snapshot()).filter(&wanted))
    }

    /// Its memory that is in RAM, in bytes.
    #[track_caller]
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.pid());
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let pages: u64 = text.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a number");
        pages * rustix::param::page_size() as u64
    }

    /// Sends a signal and waits for the end; returns what it said besides.
    #[track_caller]
    pub fn stop(mut self, signal: Signal) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalling twtrace");
        let status = exit_status(&mut self.child);
        let reader = self.reader.take().expect("it is waited for once");
        reader.join().expect("reading what twtrace says");
        let said = self.said.lock().expect("no holder of this lock panics").clone();
        (status, said)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Scrape {
    /// Reads text of format 0.0.4, or OpenMetrics.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (series.to_owned(), number.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
        });
        Self(series.collect())
    }

    /// The number of a series without its prefix, such as `lost_total{loss="evicted"}`.
    #[track_caller]
    pub fn number(&self, series: &str) -> f64 {
        let number = self.0.get(&format!("twtrace_{series}"));
        *number.unwrap_or_else(|| panic!("no twtrace_{series} in {:#?}", self.0))
    }

    /// Σ of the series that begin so.
    pub fn sum(&self, prefix: &str) -> f64 {
        let prefix = format!("twtrace_{prefix}");
        self.0.iter().filter(|(series, _)| series.starts_with(&prefix)).map(|(_, it)| it).sum()
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.0.len()
    }
}
