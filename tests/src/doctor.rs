//! `twtrace doctor` at work, and what it said.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bpf_objects::wait_until_attached;
use crate::netns::PrivateNetns;
use crate::tool::{Run, program};

const RANGE: &str = "net.ipv4.ip_local_port_range";

/// A namespace whose connects have so many ports.
pub fn narrow(ports: u16) -> PrivateNetns {
    let netns = PrivateNetns::new();
    netns.sysctl_set(RANGE, &format!("40000 {}", 40_000 + ports - 1));
    netns
}

/// A doctor at work.
pub struct Doctor {
    child: Child,
}

/// What it said.
pub struct Said {
    /// The exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub diagnosis: Value,
}

impl Doctor {
    /// Looks at a namespace for so many seconds, from when this returns.
    pub fn watching(netns: &PrivateNetns, seconds: &str) -> Self {
        let args = ["doctor", "--json", "--duration", seconds, "--netns", &netns.selector()];
        let child = Command::new(program())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting the doctor");
        wait_until_attached(child.id());
        Self { child }
    }

    /// What it says when the time is over.
    #[track_caller]
    pub fn says(self) -> Said {
        let output = self.child.wait_with_output().expect("waiting for the doctor");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(stderr, "", "it has nothing to complain about");
        let diagnosis = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        Said { code: output.status.code(), diagnosis }
    }
}

/// What it says of a namespace in which nothing happens meanwhile.
#[track_caller]
pub fn look(netns: &PrivateNetns) -> Said {
    Doctor::watching(netns, "1").says()
}

impl Said {
    /// What a run to its end said, which found something or nothing and did not fail.
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        let run = Run::of(command);
        assert!(matches!(run.code, Some(0 | 1)), "{:?}: {}{}", run.code, run.stdout, run.stderr);
        let diagnosis = serde_json::from_str(&run.stdout).expect("it prints JSON");
        Self { code: run.code, diagnosis }
    }

    /// What it says of a namespace without tracing anything.
    #[track_caller]
    pub fn untraced(netns: &PrivateNetns) -> Self {
        let mut command = Command::new(program());
        command.args(["doctor", "--json", "--probes", "none", "--duration", "0.1"]);
        Self::of(command.args(["--netns", &netns.selector()]))
    }

    /// Everything that was found.
    pub fn findings(&self) -> &[Value] {
        self.diagnosis["findings"].as_array().expect("findings are a list")
    }

    /// The finding of a rule.
    pub fn found(&self, id: &str) -> Option<&Value> {
        self.findings().iter().find(|it| it["id"] == id)
    }

    /// The finding of a rule, which must be there.
    #[track_caller]
    pub fn finding(&self, id: &str) -> &Value {
        assert_eq!(self.code, Some(1), "there are findings");
        self.found(id).unwrap_or_else(|| panic!("no {id}: {:#}", self.diagnosis))
    }

    /// Why this is not known; it must not be.
    #[track_caller]
    pub fn unknown(&self, what: &str) -> &str {
        let mut rows = self.diagnosis["unknown"].as_array().expect("a list").iter();
        let row = rows.find(|it| it["what"] == what);
        let row = row.unwrap_or_else(|| panic!("{what} is known: {:#}", self.diagnosis["unknown"]));
        row["why"].as_str().expect("a reason")
    }

    /// Nothing may be found.
    #[track_caller]
    pub fn healthy(&self) {
        assert_eq!((self.findings(), self.code), (&[][..], Some(0)), "{:#}", self.diagnosis);
    }
}

/// A finding names this process, in this namespace.
#[track_caller]
pub fn assert_process(finding: &Value, netns: &PrivateNetns, pid: u32) {
    assert_eq!(finding["netns"], netns.inode(), "{finding:#}");
    assert_eq!(finding["pid"], pid, "{finding:#}");
    assert!(finding["comm"].as_str().is_some_and(|comm| !comm.is_empty()), "{finding:#}");
}

/// What a finding says under a key that is text.
#[track_caller]
pub fn text<'a>(finding: &'a Value, key: &str) -> &'a str {
    finding[key].as_str().unwrap_or_else(|| panic!("no {key}: {finding:#}"))
}

/// Runs a command that a finding advises, as it stands there.
#[track_caller]
pub fn apply(finding: &Value, about: &str) {
    let commands = finding["then"].as_array().expect("remedies are a list").iter();
    let mut commands = commands.map(|it| it["command"].as_str().expect("a command"));
    let command = commands.find(|it| it.contains(about));
    let command = command.unwrap_or_else(|| panic!("no command for {about}: {finding:#}"));
    // Whatever it is, it may not be done to the host.
    let is_bounded = ["nsenter ", "prlimit "].iter().any(|it| command.starts_with(it));
    assert!(is_bounded, "{command}: {finding:#}");
    let run = Run::of(Command::new("sh").args(["-c", command]));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{command}");
}
