//! What is compared: ours and others.

use std::path::Path;
use std::process::{self, Command, Stdio};

use anyhow::Result;

use super::plan::Row;
use super::running::Running;

/// Counts, and prints nothing before its end: about the least that a tracer can do.
const COUNTER: &str = "tracepoint:sock:inet_sock_set_state { @[args->newstate] = count(); }";
/// Prints each transition with its ends: what is typed when one wants to see them.
const STREAM: &str = r#"tracepoint:sock:inet_sock_set_state { printf("%d %s %s:%d %s:%d %d>%d\n",
    pid, comm, ntop(args->saddr), args->sport, ntop(args->daddr), args->dport,
    args->oldstate, args->newstate); }"#;
/// Does nothing: what the kernel's statistics show of it is what they show of any program at least.
const NOTHING: &str = "tracepoint:sock:inet_sock_set_state { }";

/// The peers read the format of tracepoints from tracefs. It is mounted in a mount namespace of
/// theirs, which goes with them.
const WITH_TRACEFS: &str = r#"mount -t tracefs tracefs /sys/kernel/tracing && exec "$@""#;

/// A tracer to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracer {
    /// Ours
    Twtrace,
    /// Ours, with counters and lives alone
    Light,
    /// One line per connection
    Tcplife,
    /// One line per transition
    Tcpstates,
    /// One line per connect
    Tcpconnlat,
    /// One line per bind
    Bindsnoop,
    /// A counter
    Bpftrace,
    /// One line per transition, by a script
    Stream,
    /// All sockets once a second
    Ss,
    /// The kernel's counters once a second
    Nstat,
    /// Ours, asked for another process
    OtherPid,
    /// Ours, asked for a local port that nobody has
    OtherPort,
    /// Ours, asked for a remote port that nobody has
    OtherRemote,
    /// Ours, asked for the other address family
    OtherFamily,
    /// Ours, asked for a cgroup that none of the processes is in
    OtherCgroup,
    /// A program that does nothing
    Nothing,
}

/// What of a tracer is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// Everything
    All,
    /// Its programs and its own CPU: churn beside it is not compared
    Cost,
    /// Churn beside it and its own CPU: it has no programs
    Speed,
}

impl Tracer {
    /// All of them.
    pub(super) const ALL: [Self; 16] = [
        Self::Twtrace,
        Self::Light,
        Self::Tcplife,
        Self::Tcpstates,
        Self::Tcpconnlat,
        Self::Bindsnoop,
        Self::Bpftrace,
        Self::Stream,
        Self::Ss,
        Self::Nstat,
        Self::OtherRemote,
        Self::OtherFamily,
        Self::OtherPort,
        Self::OtherPid,
        Self::OtherCgroup,
        Self::Nothing,
    ];

    /// Those that are ours and are to pass over what happens.
    pub(super) const FILTERED: [Self; 5] =
        [Self::OtherRemote, Self::OtherFamily, Self::OtherPort, Self::OtherPid, Self::OtherCgroup];

    /// Those of them that the programs themselves pass over.
    pub(super) const IN_THE_KERNEL: [Self; 3] =
        [Self::OtherRemote, Self::OtherFamily, Self::OtherPort];

    /// What it is called here.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Twtrace => "twtrace",
            Self::Light => "twtrace --light",
            Self::Tcplife => "tcplife",
            Self::Tcpstates => "tcpstates",
            Self::Tcpconnlat => "tcpconnlat",
            Self::Bindsnoop => "bindsnoop",
            Self::Bpftrace => "bpftrace, counting",
            Self::Stream => "bpftrace, printing",
            Self::Ss => "ss -tan each second",
            Self::Nstat => "nstat each second",
            Self::OtherPid => "twtrace -p OTHER",
            Self::OtherPort => "twtrace --lport 1",
            Self::OtherRemote => "twtrace --rport 1",
            Self::OtherFamily => "twtrace -6",
            Self::OtherCgroup => "twtrace --cgroup OTHER",
            Self::Nothing => "an empty program",
        }
    }

    /// How it is asked for.
    pub(super) fn row(self) -> Row {
        match self {
            Self::Twtrace => Row::Twtrace,
            Self::Light => Row::Light,
            Self::Tcplife => Row::Tcplife,
            Self::Tcpstates => Row::Tcpstates,
            Self::Tcpconnlat => Row::Tcpconnlat,
            Self::Bindsnoop => Row::Bindsnoop,
            Self::Bpftrace => Row::Bpftrace,
            Self::Stream => Row::Stream,
            Self::Ss => Row::Ss,
            Self::Nstat => Row::Nstat,
            _ => Row::Filtered,
        }
    }

    /// Its command and the Debian package that has it, unless it is ours.
    pub(super) fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Tcplife => Some(("tcplife", "libbpf-tools")),
            Self::Tcpstates => Some(("tcpstates", "libbpf-tools")),
            Self::Tcpconnlat => Some(("tcpconnlat", "libbpf-tools")),
            Self::Bindsnoop => Some(("bindsnoop", "libbpf-tools")),
            Self::Bpftrace | Self::Stream | Self::Nothing => Some(("bpftrace", "bpftrace")),
            Self::Ss => Some(("ss", "iproute2")),
            Self::Nstat => Some(("nstat", "iproute2")),
            _ => None,
        }
    }

    /// What is measured of it.
    pub(super) fn measured(self) -> Measured {
        match self {
            it if it.row() == Row::Filtered => Measured::Cost,
            Self::Ss | Self::Nstat => Measured::Speed,
            _ => Measured::All,
        }
    }

    /// Whether a target compares us with it, so that it is run in every round.
    pub(super) fn decides(self) -> bool {
        matches!(self, Self::Twtrace | Self::Tcplife | Self::Tcpstates | Self::Bpftrace)
    }

    /// Whether it is ours.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Twtrace | Self::Light) || Self::FILTERED.contains(&self)
    }

    /// What is asked once a second, in the namespace of the connections; nothing of tracers.
    pub(super) fn polled(self) -> Option<&'static str> {
        match self {
            Self::Ss => Some("ss -tan"),
            Self::Nstat => Some("nstat -asz; cat /proc/net/sockstat"),
            _ => None,
        }
    }

    /// What it cannot tell of what twtrace tells.
    pub(super) fn blind(self) -> Option<&'static str> {
        Some(match self {
            Self::Tcplife => "states, TIME_WAIT, failed connects, port searches, who closed first",
            Self::Tcpstates => "TIME_WAIT (it shows CLOSE instead), port searches, sums",
            Self::Tcpconnlat => "everything after the handshake, TIME_WAIT",
            Self::Bindsnoop => "everything but bind()",
            Self::Bpftrace => "which socket, which process, TIME_WAIT",
            Self::Stream => "TIME_WAIT, port searches, the owner where softirq runs, sums",
            Self::Ss => {
                "what lived between two looks, who closed, why a TIME_WAIT ended, \
                         other network namespaces"
            }
            Self::Nstat => "which socket, process or destination: sums of one network namespace",
            _ => return None,
        })
    }

    /// The command, which stays one process from setpriv to the tracer, and ends when we do.
    fn command(self, twtrace: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if self.is_ours() {
            command.arg(twtrace).args(["top", "--batch", "--json", "-d", "0.5"]);
            command.args(self.options()).stdout(Stdio::piped());
        } else {
            command.args(["unshare", "--mount", "sh", "-c", WITH_TRACEFS, "sh"]);
            command.args(self.package().map(|(command, _)| command)).stdout(Stdio::null());
            command.args(self.script().into_iter().flat_map(|script| ["-e", script]));
        }
        command
    }

    fn script(self) -> Option<&'static str> {
        match self {
            Self::Bpftrace => Some(COUNTER),
            Self::Stream => Some(STREAM),
            Self::Nothing => Some(NOTHING),
            _ => None,
        }
    }

    /// The bench itself connects to nothing while these run.
    fn options(self) -> Vec<String> {
        match self {
            Self::Light => vec!["--light".into()],
            Self::OtherPid => vec!["-p".into(), process::id().to_string()],
            Self::OtherPort => vec!["--lport".into(), "1".into()],
            Self::OtherRemote => vec!["--rport".into(), "1".into()],
            Self::OtherFamily => vec!["-6".into()],
            Self::OtherCgroup => vec!["--cgroup".into(), super::cgroup::PATH.into()],
            _ => Vec::new(),
        }
    }

    /// Starts it and waits until it is attached.
    pub(super) fn start(self, twtrace: &Path) -> Result<Running> {
        self.start_with(twtrace, &[])
    }

    /// The same of one that is not ours, and keeps what it prints.
    pub(super) fn start_and_keep(self, twtrace: &Path) -> Result<Running> {
        Running::start_and_keep(self.name(), &mut self.command(twtrace))
    }

    /// Starts it with more options.
    pub(super) fn start_with(self, twtrace: &Path, options: &[&str]) -> Result<Running> {
        Running::start(self.name(), self.command(twtrace).args(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(tracer: Tracer) -> Vec<String> {
        let command = tracer.command(Path::new("/bin/twtrace"));
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn peers_get_a_mount_namespace_and_ours_does_not() {
        assert_eq!(words(Tracer::Twtrace)[2], "/bin/twtrace");
        assert_eq!(words(Tracer::Tcplife)[2..4], ["unshare", "--mount"]);
        assert_eq!(words(Tracer::Tcplife).last().map(String::as_str), Some("tcplife"));
        assert_eq!(words(Tracer::Bpftrace).last().map(String::as_str), Some(COUNTER));
        assert_eq!(words(Tracer::Light).last().map(String::as_str), Some("--light"));
    }

    #[test]
    fn what_is_polled_has_no_programs() {
        for tracer in Tracer::ALL {
            assert_eq!(tracer.polled().is_some(), tracer.measured() == Measured::Speed);
        }
    }
}
