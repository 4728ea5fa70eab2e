//! What was typed.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Who closes TCP connections first, and what that costs.
#[derive(Debug, Parser)]
#[command(name = "twtrace", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line as users are told of it: without the subcommands that twtrace starts itself
    /// with, which completions would offer too.
    pub fn shown() -> clap::Command {
        let all = Self::command();
        let subcommands = all.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
        let about = all.get_about().cloned().unwrap_or_default();
        let shown = clap::Command::new("twtrace").about(about).version(env!("CARGO_PKG_VERSION"));
        shown.subcommands(subcommands)
    }
}

/// The subcommand that `selftest` starts itself with.
pub const HOLD: &str = "selftest-hold";

/// The subcommand that becomes the command of `ports`.
pub const COMMAND: &str = "ports-command";

/// The subcommand that `top --demo` starts itself with.
pub const DEMO_ACTOR: &str = "demo-actor";

/// The subcommand that writes the manual pages, for packages.
pub const MANUAL: &str = "manual";

/// The subcommand that a command without rights has started itself with before it gave them up.
pub const HELPER: &str = "privileged-helper";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show live which processes close first, and how
    Top(TopArgs),
    /// Write everything that happens to a file, to be analysed later
    Record(RecordArgs),
    /// Show a recording as `top` would have shown its last moment, or as a page
    Report(ReportArgs),
    /// Write a recording as a table for data frames, or as a timeline
    Export(ExportArgs),
    /// Say whether a recording is sound, and what is not
    Verify(VerifyArgs),
    /// Write what is sound of a recording to another file
    Repair(RepairArgs),
    /// Measure what the searches for a local port cost, and report once at the end
    Ports(PortsArgs),
    /// Say what is wrong, why, what would help, and what would change nothing
    Doctor(DoctorArgs),
    /// Count sockets by state, network namespace, process, listener and other end
    States(StatesArgs),
    /// Tell Prometheus: metrics over HTTP, until Ctrl-C
    Serve(ServeArgs),
    /// Say which hooks attach on this kernel, and what the missing ones cost
    Check(CheckArgs),
    /// Close, reset, expire and fail in private network namespaces, and compare what is seen
    Selftest(SelftestArgs),
    /// Print what a shell needs to complete twtrace's arguments
    Completions(CompletionsArgs),
    /// Write the manual pages.
    #[command(name = MANUAL, hide = true)]
    Manual(ManualArgs),
    /// A process of `selftest` that holds a connection.
    #[command(name = HOLD, hide = true)]
    SelftestHold,
    /// A process of `ports` that becomes its command.
    #[command(name = COMMAND, hide = true)]
    PortsCommand(CommandArgs),
    /// A process of `top --demo` that plays a part.
    #[command(name = DEMO_ACTOR, hide = true)]
    DemoActor(DemoActorArgs),
    /// A process that opens what another may not open itself.
    #[command(name = HELPER, hide = true)]
    Helper,
}

impl Command {
    /// Whether it loads programs and attaches them.
    pub fn traces(&self) -> bool {
        match self {
            Self::Top(args) => args.replay.is_empty(),
            Self::Doctor(args) => args.files.is_empty(),
            Self::Record(_)
            | Self::Ports(_)
            | Self::Serve(_)
            | Self::Check(_)
            | Self::Selftest(_) => true,
            _ => false,
        }
    }
}

/// Arguments of `twtrace top`.
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal `top` is a screen: ? shows its keys. With --batch, --json or --csv, or where the \
output is no terminal, it prints one snapshot after the other."
)]
pub struct TopArgs {
    /// Seconds between snapshots
    #[arg(short = 'd', long = "interval", value_name = "SECS", default_value = "1")]
    pub interval: String,
    /// Stop after this many snapshots
    #[arg(short = 'n', long = "snapshots", value_name = "SNAPSHOTS",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshots: Option<u64>,
    /// Print one snapshot after the other, as when the output is no terminal
    #[arg(short, long)]
    pub batch: bool,
    /// Print each snapshot as one line of JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print each snapshot as one line of CSV, under a header
    #[arg(long)]
    pub csv: bool,
    /// Sort the rows of closers by this column, such as active, tw-now, port-s or comm
    #[arg(long, value_name = "KEY", conflicts_with_all = ["json", "csv"])]
    pub sort: Option<String>,
    /// Rows in each table; the rest is summed in one more
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Count alone: no process, no destination, no port search; for the busiest hosts
    #[arg(long, conflicts_with_all = ["replay", "demo", "flight", "sort", "count_tried", "pid",
          "comm", "cgroup", "lport", "rport", "raddr", "ipv4", "ipv6"])]
    pub light: bool,
    /// Keep the last SECS, and write them to a recording when w is pressed
    #[arg(long, value_name = "SECS", conflicts_with_all = ["replay", "batch", "json", "csv"])]
    pub flight: Option<String>,
    /// Use colours on the screen
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorArg,
    /// Show a recording instead of this host; - for standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["interval", "probes", "netns", "bpf_object"])]
    pub replay: Vec<PathBuf>,
    /// How fast: a factor, or max
    #[arg(long, value_name = "X", default_value = "1", requires = "replay")]
    pub speed: String,
    /// Show something even on an idle host: processes in network namespaces of their own, which
    /// close first, leak, and run out of ports; they end with twtrace
    #[arg(long, conflicts_with_all = ["replay", "netns"])]
    pub demo: bool,
    /// Give up rights, as `serve` does; for lines alone.
    #[arg(long, value_name = "WHAT", hide = true,
          conflicts_with_all = ["replay", "demo", "flight"])]
    pub privileges: Option<PrivilegesArg>,
    /// What and how to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// What alone is counted.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Arguments of `twtrace record`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --duration, -W with -G, --max-events, --until-exhausted and CMD it records until \
Ctrl-C. SIGHUP goes on in another file, SIGUSR1 prints a line of status, SIGUSR2 writes out \
what --flight keeps.

Files after the first are numbered: trace.twt, trace.1.twt, … A path may tell the time, in \
UTC, by %Y %m %d %H %M %S. Each file can be read by itself; all of them together are one \
recording: `twtrace report trace*.twt`.

With CMD everything on the host is recorded while CMD runs, and twtrace exits with CMD's \
exit code: 128 and the signal's number if a signal ended it, 127 if there is no such \
command, 126 if it cannot be run."
)]
pub struct RecordArgs {
    /// The file to write; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "twtrace-%Y%m%d-%H%M%S.twt")]
    pub output: PathBuf,
    /// Record this long, such as 10 (seconds), 90s, 2m or 1h30m
    #[arg(long, value_name = "T")]
    pub duration: Option<String>,
    /// Begin another file when one has so many million bytes; of --flight, keep no more
    #[arg(short = 'C', value_name = "MB", value_parser = clap::value_parser!(u64).range(1..))]
    pub file_megabytes: Option<u64>,
    /// Begin another file every so many seconds
    #[arg(short = 'G', value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "flight")]
    pub file_seconds: Option<u64>,
    /// Keep only the last N files; with -G alone, end after N files
    #[arg(short = 'W', value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "flight")]
    pub files: Option<u64>,
    /// End when there are so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events: Option<u64>,
    /// End when a connect finds no local port (EADDRNOTAVAIL)
    #[arg(long)]
    pub until_exhausted: bool,
    /// Keep the last SECS and write them out on SIGUSR2, when a connect finds no local port,
    /// or when a destination passes the knee
    #[arg(long, value_name = "SECS")]
    pub flight: Option<String>,
    /// Replace a file that exists
    #[arg(long)]
    pub force: bool,
    /// What and how to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Record while this command runs
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Arguments of `twtrace report`.
#[derive(Debug, Args)]
#[command(
    after_help = "T is a time such as 2026-11-21T16:20:02Z, a time of day such as 16:20:02 (UTC), or the \
time since the recording began, such as 90s or 1h30m. What happened is known from one second \
to the next: a stretch begins at the first tick that is not before --since and ends at the \
first that is not before --until."
)]
pub struct ReportArgs {
    /// A recording, or all files of one; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page that shows everything, and needs no network
    #[arg(long, value_name = "OUT", conflicts_with = "json")]
    pub html: Option<PathBuf>,
    /// Count from this time on
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Count up to this time
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// Rows in each table; the rest is summed in one more
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Only this network namespace, by its inode number
    #[arg(long, value_name = "NETNS", help_heading = "Filters, which all must hold")]
    pub netns: Option<u32>,
    /// What alone is counted.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Arguments of `twtrace export`.
#[derive(Debug, Args)]
#[command(
    after_help = "A row is an event, or with --connections a connection as one of its ends saw it, with the \
TIME_WAIT that it left. docs/export.md tells every column. A timeline for ui.perfetto.dev has \
both."
)]
pub struct ExportArgs {
    /// A recording, or all files of one; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How
    #[arg(long, value_name = "FORMAT")]
    pub format: FormatArg,
    /// A row for each connection instead of each event
    #[arg(long)]
    pub connections: bool,
    /// The file to write; - for standard output
    #[arg(short, long, value_name = "OUT", default_value = "-")]
    pub output: PathBuf,
}

/// Values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// Apache Parquet, with zstd
    Parquet,
    /// The stream format of Apache Arrow
    Arrow,
    /// CSV with a header
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Trace events for ui.perfetto.dev
    Perfetto,
}

/// Arguments of `twtrace verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A recording; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `twtrace repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// A recording; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file to write; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `twtrace ports`.
#[derive(Debug, Args)]
#[command(after_help = "Without --duration and CMD it measures until Ctrl-C.

CMD runs in a cgroup of its own, and only its searches and those of the processes that it \
starts count in port_search; everything else is about the whole host. The measurement ends \
when all of them have ended, and twtrace exits with CMD's exit code: 128 and the signal's \
number if a signal ended it, 127 if there is no such command, 126 if it cannot be run.

The report goes to standard output; with CMD, whose output that is, to standard error, \
where it comes last: with --json it is the last line.")]
pub struct PortsArgs {
    /// Measure this long, such as 10 (seconds), 90s, 2m or 1h30m
    #[arg(long, value_name = "T")]
    pub duration: Option<String>,
    /// Print the report as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Rows in each table; the rest is summed in one more
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// What and how to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// What alone is counted.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Measure this command and the processes that it starts
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Arguments of the process that becomes the command of `ports`.
#[derive(Debug, Args)]
pub struct CommandArgs {
    /// The file of the cgroup to enter that takes processes.
    #[arg(long)]
    pub procs: Option<PathBuf>,
    /// The limit on open files to give back.
    #[arg(long)]
    pub open_files: Option<u64>,
    /// The command; only enters the cgroup if there is none.
    #[arg(last = true)]
    pub command: Vec<OsString>,
}

/// Arguments of `twtrace doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "It traces for a while and then looks at settings, counters, queues and who holds what. \
With a recording it says what that tells. Without rights it says what /proc and sock_diag give. \
It changes nothing: commands are for you to run.

Exit code 0: nothing was found; 1: something was; 2: it could not look."
)]
pub struct DoctorArgs {
    /// A recording, or all files of one, instead of this host; - for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["duration", "probes", "netns", "bpf_object"])]
    pub files: Vec<PathBuf>,
    /// Watch this long, such as 10 (seconds), 90s or 2m
    #[arg(long, value_name = "T", default_value = "10")]
    pub duration: String,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// What and how to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// Arguments of `twtrace serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "/metrics is for Prometheus, as text or protobuf, as it asks; /snapshot.json is what `top --json` \
prints. /healthz and /readyz are for whoever starts and watches twtrace. Whoever reaches the \
address may read everything: docs/serve.md says how to put TLS and passwords in front of it.

\
Once everything is attached it gives up its rights, being root, and the system calls that it does \
not make: docs/privileges.md says what needs which capability, and what is unknown without."
)]
pub struct ServeArgs {
    /// Where to listen; port 0 for any that is free
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9748")]
    pub listen: SocketAddr,
    /// Seconds between snapshots; scrapes in between get the last one
    #[arg(short = 'd', long = "interval", value_name = "SECS", default_value = "1")]
    pub interval: String,
    /// Destinations, and names of processes, that have series of their own; the rest is `other`
    #[arg(long, value_name = "K", default_value_t = 20,
          value_parser = clap::value_parser!(u16).range(1..=50))]
    pub top: u16,
    /// What becomes of its rights once it has attached; without this, helper where there is
    /// CAP_SYS_ADMIN or CAP_SYS_PTRACE, else drop
    #[arg(long, value_name = "WHAT")]
    pub privileges: Option<PrivilegesArg>,
    /// What and how to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// What alone is counted.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Arguments of `twtrace states`.
#[derive(Debug, Args)]
#[command(
    after_help = "It asks sock_diag once, as ss does, and traces nothing: TIME_WAIT and FIN_WAIT2 \
mini-sockets and half-open requests are among the sockets. Who holds a socket is read from \
/proc/*/fd, which shows other users' processes to root or with CAP_SYS_PTRACE."
)]
pub struct StatesArgs {
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Only this network namespace: an inode number, a name of `ip netns`, pid:N or self
    #[arg(long, value_name = "NETNS")]
    pub netns: Option<String>,
    /// Rows in each table; the rest is summed in one more
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
}

/// Arguments of a process of `top --demo`.
#[derive(Debug, Args)]
pub struct DemoActorArgs {
    /// Which part it plays.
    pub name: String,
    /// The inode of the network namespace that it was started in.
    pub netns: u32,
}

/// Arguments of `twtrace check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What and how to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// Arguments of `twtrace selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Leave out what takes a minute: mini-sockets that expire
    #[arg(long)]
    pub quick: bool,
    /// What and how to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// Arguments of `twtrace completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "For this session: `source <(twtrace completions bash)`. Packages bring it for bash, zsh and fish."
)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Arguments of what writes the manual pages.
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// The folder to write them to.
    pub folder: PathBuf,
}

/// Arguments of all commands that trace.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Kind of hooks to use
    #[arg(long, value_name = "TIER", default_value = "auto")]
    pub probes: ProbesArg,
    /// Only this network namespace: an inode number, a name of `ip netns`, pid:N or self
    #[arg(long, value_name = "NETNS")]
    pub netns: Option<String>,
    /// Load this BPF object instead of the built-in one
    #[arg(long, value_name = "FILE", env = "TWTRACE_BPF_OBJECT")]
    pub bpf_object: Option<PathBuf>,
    /// Size of the ring buffer between kernel and twtrace, in bytes or with K, M, G
    #[arg(long, value_name = "SIZE", default_value = "8M")]
    pub ring_size: String,
    /// Sockets to remember at most
    #[arg(long, value_name = "N", default_value_t = 1_048_576)]
    pub max_connections: usize,
    /// Look so many times a second at what each processor does, for the CPU that port
    /// searches cost; 0 for never
    #[arg(long, value_name = "N", default_value_t = 99,
          value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub sample_hz: u32,
    /// Count the ports each search looks at, which makes long searches dearer
    #[arg(long)]
    pub count_tried: bool,
    /// Say more: -v what is done, -vv also what the BPF programs and the verifier say
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// Which sockets count: everything that is given must hold.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters, which all must hold")]
pub struct FilterArgs {
    /// Only sockets that this process connects, listens with, or closes
    #[arg(short, long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The same of all processes of this name, of which the kernel keeps 15 bytes
    #[arg(long, value_name = "NAME")]
    pub comm: Option<String>,
    /// The same of all processes of this cgroup and of those below it
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
    /// Only these local ports, such as 443 or 80,8000-8099
    #[arg(short = 'L', long, value_name = "PORTS")]
    pub lport: Option<String>,
    /// Only these remote ports
    #[arg(short = 'D', long, value_name = "PORTS")]
    pub rport: Option<String>,
    /// Only this remote address or network, such as 10.0.0.0/8
    #[arg(long, value_name = "CIDR")]
    pub raddr: Option<String>,
    /// Only IPv4, also where a socket of IPv6 speaks it
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,
}

/// Values of `--privileges`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrivilegesArg {
    /// It gives them up; other network namespaces, and who holds sockets, are unknown
    Drop,
    /// It gives them up, and a small process of its own opens what still needs them
    Helper,
    /// It keeps them
    Keep,
}

/// Values of `--color`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// Unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Values of `--probes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProbesArg {
    /// The best that attaches
    Auto,
    /// Function entry and exit by trampoline
    Fentry,
    /// Function entry and return by breakpoint
    Kprobe,
    /// Tracepoints alone
    Tracepoint,
    /// No BPF: poll sock_diag
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_for_users_is_shown() {
        let shown = Cli::shown();
        let names: Vec<&str> = shown.get_subcommands().map(clap::Command::get_name).collect();
        assert!(names.contains(&"top") && names.contains(&"completions"), "{names:?}");
        assert!(!names.contains(&HOLD) && !names.contains(&MANUAL), "{names:?}");
    }
}
