//! What runs: the arguments, checked and resolved. Nothing below sees clap.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal},
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{
    bpf::{
        ends::Ends,
        plan::{Extras, Wanted},
    },
    cli::{
        CheckArgs, ColorArg, DoctorArgs, ExportArgs, FilterArgs, FormatArg, PortsArgs,
        PrivilegesArg, ProbesArg, RecordArgs, ReportArgs, SelftestArgs, ServeArgs, StatesArgs,
        TopArgs, TraceArgs,
    },
    export,
    filter::{Family, Filter, Pid, WrittenError},
    host,
    privileges::Privileges,
    probes::Tier,
    recorder,
    source::replay::Speed,
    view::tui::ClosersBy,
};

/// Rows in each array unless `--top` says otherwise.
const DEFAULT_ROWS: usize = 50;
/// Rows in each table of text, where a screen is the limit.
const DEFAULT_TEXT_ROWS: usize = 10;
/// Rows in each table of a screen, which scrolls.
const DEFAULT_SCREEN_ROWS: usize = 10_000;
/// Rows that the doctor looks at: what is wrong is among the fullest.
const DOCTOR_ROWS: usize = 1_000;
/// Rows of the Snapshot for each label of `serve`: processes of one name, and ways to one
/// destination, have rows of their own and one label.
const ROWS_PER_LABEL: usize = 10;
/// Shorter intervals would measure twtrace itself.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
/// A day; longer ones are typing errors.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);
/// A year; longer ones are typing errors.
const LONGEST_DURATION: Duration = Duration::from_secs(365 * 86_400);
/// The kernel wants a power of two of at least a page.
const SMALLEST_RING: u32 = 4096;
/// More would be memory that no reader could catch up with.
const LARGEST_RING: u32 = 1 << 30;

/// How snapshots are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// JSON Lines.
    Json,
    /// A header and a line each.
    Csv,
}

/// How `top` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// A screen on a terminal.
    Screen {
        /// Whether it has colours.
        colors: bool,
    },
    /// One snapshot after the other.
    Lines(Format),
}

/// `twtrace top`.
#[derive(Debug)]
pub struct Top {
    /// Time between snapshots.
    pub interval: Duration,
    /// How many; `None` for no end.
    pub snapshots: Option<u64>,
    /// How they are shown.
    pub looks: Looks,
    /// What rows of closers are sorted by, if not by active closes.
    pub sort: Option<ClosersBy>,
    /// Keep the last so many nanoseconds, to be written out when asked to.
    pub flight_ns: Option<u64>,
    /// Rows in each array.
    pub rows: usize,
    /// A recording to show instead of this host.
    pub replay: Option<Replay>,
    /// Whether there is to be something to see.
    pub demo: bool,
    /// What becomes of the rights once it has attached.
    pub privileges: Privileges,
    /// What alone is counted, besides the namespace that is traced.
    pub filter: Filter,
    /// What and how to trace.
    pub trace: Trace,
}

/// `twtrace record`.
#[derive(Debug)]
pub struct Record {
    /// How long; `None`: until a signal comes, or something else ends it.
    pub duration: Option<Duration>,
    /// Where to.
    pub recorder: recorder::Settings,
    /// When another file begins.
    pub rotation: Rotation,
    /// How many events there may be.
    pub max_events: Option<u64>,
    /// Whether the first connect without a port is the end.
    pub until_exhausted: bool,
    /// What and how to trace.
    pub trace: Trace,
    /// The command to record.
    pub command: Option<Command>,
}

/// When another file begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// When one has so many bytes.
    pub bytes: Option<u64>,
    /// After so long.
    pub seconds: Option<u64>,
    /// How many files there are in all.
    pub files: Option<u64>,
}

/// `twtrace report`.
#[derive(Debug)]
pub struct Report {
    /// The files of one recording.
    pub files: Vec<PathBuf>,
    /// How the report is printed: as text or JSON.
    pub format: Format,
    /// Where a page goes, if one is wanted instead.
    pub html: Option<PathBuf>,
    /// From when on.
    pub since: Option<TypedTime>,
    /// Up to when.
    pub until: Option<TypedTime>,
    /// Rows in each array.
    pub rows: Option<usize>,
    /// What alone is counted.
    pub filter: Filter,
}

/// `twtrace export`.
#[derive(Debug)]
pub struct Export {
    /// The files of one recording.
    pub files: Vec<PathBuf>,
    /// How.
    pub format: export::Format,
    /// What a row is.
    pub rows: export::Rows,
    /// Where to; - for standard output.
    pub output: PathBuf,
}

/// A recording to be played.
#[derive(Debug)]
pub struct Replay {
    /// The files of one recording.
    pub files: Vec<PathBuf>,
    /// How fast.
    pub speed: Speed,
}

/// A time in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypedTime {
    /// Of the wall clock, in nanoseconds since 1970.
    Wall(u64),
    /// Of the day, in nanoseconds; the first such time in the recording.
    OfDay(u64),
    /// Since the recording began, in nanoseconds.
    SinceStart(u64),
}

/// `twtrace ports`.
#[derive(Debug)]
pub struct Ports {
    /// How long to measure; `None`: until the command is gone, or a signal comes.
    pub duration: Option<Duration>,
    /// Time between ticks, over the last of which rates are taken.
    pub interval: Duration,
    /// How the report is printed: as text or JSON.
    pub format: Format,
    /// Rows in each array.
    pub rows: usize,
    /// What alone is counted, besides the namespace that is traced.
    pub filter: Filter,
    /// What and how to trace.
    pub trace: Trace,
    /// The command to measure.
    pub command: Option<Command>,
}

/// A command to start.
#[derive(Debug)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// The limit on open files that it is to have; `None` for ours.
    pub open_files: Option<u64>,
}

/// `twtrace doctor`.
#[derive(Debug)]
pub struct Doctor {
    /// The files of a recording; none for this host.
    pub files: Vec<PathBuf>,
    /// How long to watch.
    pub duration: Duration,
    /// JSON instead of text.
    pub json: bool,
    /// Rows of the Snapshot, all of which rules look at.
    pub rows: usize,
    /// What and how to trace.
    pub trace: Trace,
}

/// `twtrace states`.
#[derive(Debug)]
pub struct States {
    /// JSON instead of text.
    pub json: bool,
    /// Only this network namespace.
    pub netns: Option<u32>,
    /// Rows in each array.
    pub rows: usize,
}

/// `twtrace serve`.
#[derive(Debug)]
pub struct Serve {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Time between snapshots.
    pub interval: Duration,
    /// Rows of each family that have a label of their own.
    pub top: usize,
    /// Rows in each array of the Snapshot.
    pub rows: usize,
    /// What becomes of the rights once it has attached.
    pub privileges: Privileges,
    /// What alone is counted, besides the namespace that is traced.
    pub filter: Filter,
    /// What and how to trace.
    pub trace: Trace,
}

/// `twtrace check`.
#[derive(Debug)]
pub struct Check {
    /// JSON instead of text.
    pub json: bool,
    /// What and how to trace.
    pub trace: Trace,
}

/// `twtrace selftest`.
#[derive(Debug)]
pub struct Selftest {
    /// JSON instead of text.
    pub json: bool,
    /// Without what takes a minute.
    pub quick: bool,
    /// What and how to trace.
    pub trace: Trace,
}

/// What and how to trace.
#[derive(Debug)]
pub struct Trace {
    /// Allowed tiers.
    pub wanted: Wanted,
    /// The BPF object to load; `None` for the built-in one.
    pub object: Option<PathBuf>,
    /// Size of the ring buffer in bytes: a power of two of at least a page.
    pub ring_bytes: u32,
    /// Only this network namespace.
    pub netns: Option<u32>,
    /// What the programs leave out already, of what a filter leaves out anyway.
    pub ends: Ends,
    /// Whether transitions are counted and not told.
    pub light: bool,
    /// Sockets to remember at most.
    pub max_connections: usize,
    /// How often each processor is looked at, per second; `None` for never.
    pub sample_hz: Option<NonZeroU32>,
    /// Whether the ports that searches look at are counted.
    pub count_tried: bool,
}

impl Top {
    /// Checks and resolves the arguments.
    ///
    /// # Errors
    /// A value out of its range, or a namespace that does not exist.
    pub fn new(args: &TopArgs) -> Result<Self> {
        let looks = looks(args);
        let rows = match looks {
            Looks::Screen { .. } => DEFAULT_SCREEN_ROWS,
            Looks::Lines(Format::Text) => DEFAULT_TEXT_ROWS,
            Looks::Lines(Format::Json | Format::Csv) => DEFAULT_ROWS,
        };
        let flight =
            args.flight.as_deref().map(|typed| time_span("--flight", typed)).transpose()?;
        ensure!(
            flight.is_none() || matches!(looks, Looks::Screen { .. }),
            "--flight of top needs a terminal, for the key w: `twtrace record --flight` needs none"
        );
        // In a recording a number stands for every process that had it.
        let filter = if args.replay.is_empty() { live_filter } else { filter };
        let (filter, everything) = (filter(&args.filter)?, Filter::default());
        Ok(Self {
            interval: interval(&args.interval)?,
            snapshots: args.snapshots,
            looks,
            sort: args.sort.as_deref().map(sorted_by).transpose()?,
            flight_ns: flight.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)),
            rows: args.top.unwrap_or(rows),
            replay: replay(args)?,
            demo: args.demo,
            privileges: args.privileges.map_or(Privileges::Keep, Into::into),
            trace: Trace {
                light: args.light,
                // What is kept is everybody's.
                ..Trace::of(&args.trace, if flight.is_none() { &filter } else { &everything })?
            },
            filter,
        })
    }
}

impl From<PrivilegesArg> for Privileges {
    fn from(arg: PrivilegesArg) -> Self {
        match arg {
            PrivilegesArg::Drop => Self::Drop,
            PrivilegesArg::Helper => Self::Helper,
            PrivilegesArg::Keep => Self::Keep,
        }
    }
}

/// A screen where there is a terminal, unless something else is asked for.
fn looks(args: &TopArgs) -> Looks {
    if args.json {
        return Looks::Lines(Format::Json);
    }
    if args.csv {
        return Looks::Lines(Format::Csv);
    }
    let term = env::var_os("TERM").unwrap_or_default();
    let is_terminal = io::stdout().is_terminal() && !term.is_empty() && term != "dumb";
    if args.batch || !is_terminal {
        return Looks::Lines(Format::Text);
    }
    // <https://no-color.org>
    let no_color = env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    Looks::Screen {
        colors: match args.color {
            ColorArg::Auto => !no_color,
            ColorArg::Always => true,
            ColorArg::Never => false,
        },
    }
}

fn sorted_by(typed: &str) -> Result<ClosersBy> {
    ClosersBy::named(typed).with_context(|| {
        let names: Vec<String> = ClosersBy::names().collect();
        format!("--sort {typed} is no column: {}", names.join(", "))
    })
}

impl Record {
    /// Checks and resolves the arguments; `open_files` is the limit that a command would
    /// have had without us.
    ///
    /// # Errors
    /// As [`Top::new`].
    pub fn new(args: &RecordArgs, open_files: Option<u64>) -> Result<Self> {
        let names = recorder::Names { pattern: args.output.clone(), force: args.force };
        let flight =
            args.flight.as_deref().map(|typed| time_span("--flight", typed)).transpose()?;
        let wants_more = args.file_megabytes.is_some() || args.file_seconds.is_some();
        ensure!(
            flight.is_some() || !wants_more || !names.is_stream(),
            "-C and -G need files: let -o name one"
        );
        ensure!(args.files.is_none() || wants_more, "-W needs -C or -G, which begin other files");
        let bytes = args.file_megabytes.map(|megabytes| megabytes.saturating_mul(1_000_000));
        let by_time_alone = args.file_megabytes.is_none();
        let keep = args.files.filter(|_| !by_time_alone);
        let words = args.command.clone();
        Ok(Self {
            duration: args.duration.as_deref().map(duration).transpose()?,
            recorder: recorder::Settings {
                names,
                limits: recorder::Limits {
                    keep: keep.and_then(|files| usize::try_from(files).ok()),
                    flight_bytes: bytes.filter(|_| flight.is_some()),
                },
                flight_ns: flight.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)),
            },
            rotation: Rotation {
                bytes: bytes.filter(|_| flight.is_none()),
                seconds: args.file_seconds,
                files: args.files.filter(|_| by_time_alone),
            },
            max_events: args.max_events,
            until_exhausted: args.until_exhausted,
            trace: Trace::new(&args.trace)?,
            command: (!words.is_empty()).then_some(Command { words, open_files }),
        })
    }
}

impl Report {
    /// Checks the arguments.
    ///
    /// # Errors
    /// A time that is none.
    pub fn new(args: &ReportArgs) -> Result<Self> {
        let time = |name: &str, typed: &Option<String>| {
            typed.as_deref().map(|typed| typed_time(name, typed)).transpose()
        };
        let format = if args.json { Format::Json } else { Format::Text };
        let text_rows =
            (format == Format::Text && args.html.is_none()).then_some(DEFAULT_TEXT_ROWS);
        Ok(Self {
            files: args.files.clone(),
            format,
            html: args.html.clone(),
            since: time("--since", &args.since)?,
            until: time("--until", &args.until)?,
            rows: args.top.or(text_rows),
            filter: Filter { netns: args.netns, ..filter(&args.filter)? },
        })
    }
}

impl Export {
    /// Resolves the arguments.
    pub fn new(args: &ExportArgs) -> Self {
        use export::{Format, Rows};
        Self {
            files: args.files.clone(),
            format: match args.format {
                FormatArg::Parquet => Format::Parquet,
                FormatArg::Arrow => Format::Arrow,
                FormatArg::Csv => Format::Csv,
                FormatArg::Jsonl => Format::Jsonl,
                FormatArg::Perfetto => Format::Perfetto,
            },
            rows: if args.connections { Rows::Connections } else { Rows::Events },
            output: args.output.clone(),
        }
    }
}

impl Ports {
    /// Checks and resolves the arguments; `open_files` is the limit that a command
    /// would have had without us.
    ///
    /// # Errors
    /// As [`Top::new`].
    pub fn new(args: &PortsArgs, open_files: Option<u64>) -> Result<Self> {
        let (format, rows) = if args.json {
            (Format::Json, DEFAULT_ROWS)
        } else {
            (Format::Text, DEFAULT_TEXT_ROWS)
        };
        let words = args.command.clone();
        let filter = live_filter(&args.filter)?;
        Ok(Self {
            duration: args.duration.as_deref().map(duration).transpose()?,
            // One tick, at the end: what is over the last interval is over the whole run.
            interval: Duration::MAX,
            format,
            rows: args.top.unwrap_or(rows),
            trace: Trace::of(&args.trace, &filter)?,
            filter,
            command: (!words.is_empty()).then_some(Command { words, open_files }),
        })
    }
}

impl Command {
    /// As it may be shown in a line.
    pub fn shown(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

impl Doctor {
    /// Checks and resolves the arguments.
    ///
    /// # Errors
    /// As [`Top::new`].
    pub fn new(args: &DoctorArgs) -> Result<Self> {
        Ok(Self {
            files: args.files.clone(),
            duration: duration(&args.duration)?,
            json: args.json,
            rows: DOCTOR_ROWS,
            trace: Trace::new(&args.trace)?,
        })
    }
}

impl States {
    /// Checks and resolves the arguments.
    ///
    /// # Errors
    /// A namespace that does not exist.
    pub fn new(args: &StatesArgs) -> Result<Self> {
        let rows = if args.json { DEFAULT_ROWS } else { DEFAULT_TEXT_ROWS };
        Ok(Self {
            json: args.json,
            netns: args.netns.as_deref().map(host::resolve).transpose()?,
            rows: args.top.unwrap_or(rows),
        })
    }
}

impl Serve {
    /// Checks and resolves the arguments.
    ///
    /// # Errors
    /// As [`Top::new`].
    pub fn new(args: &ServeArgs) -> Result<Self> {
        let top = usize::from(args.top);
        let filter = live_filter(&args.filter)?;
        Ok(Self {
            listen: args.listen,
            interval: interval(&args.interval)?,
            top,
            rows: top * ROWS_PER_LABEL,
            privileges: args.privileges.map_or_else(Privileges::least, Into::into),
            trace: Trace::of(&args.trace, &filter)?,
            filter,
        })
    }
}

impl Check {
    /// Checks and resolves the arguments.
    ///
    /// # Errors
    /// As [`Top::new`].
    pub fn new(args: &CheckArgs) -> Result<Self> {
        Ok(Self { json: args.json, trace: Trace::new(&args.trace)? })
    }
}

impl Selftest {
    /// Checks and resolves the arguments.
    ///
    /// # Errors
    /// As [`Top::new`], and `--netns`: the namespaces are its own.
    pub fn new(args: &SelftestArgs) -> Result<Self> {
        ensure!(
            args.trace.netns.is_none(),
            "selftest makes network namespaces of its own: leave out --netns"
        );
        Ok(Self { json: args.json, quick: args.quick, trace: Trace::new(&args.trace)? })
    }
}

impl Trace {
    fn new(args: &TraceArgs) -> Result<Self> {
        ensure!(args.max_connections > 0, "--max-connections must be at least 1");
        // Its programs would have the rights that only this one was given.
        ensure!(
            args.bpf_object.is_none() || !host::has_rights_of_the_file(),
            "--bpf-object (TWTRACE_BPF_OBJECT) is not for a program that has its rights from its file: run it \
             as root"
        );
        Ok(Self {
            wanted: match args.probes {
                ProbesArg::Auto => Wanted::Auto,
                ProbesArg::Fentry => Wanted::Only(Tier::Fentry),
                ProbesArg::Kprobe => Wanted::Only(Tier::Kprobe),
                ProbesArg::Tracepoint => Wanted::Only(Tier::Tracepoint),
                ProbesArg::None => Wanted::Only(Tier::None),
            },
            object: args.bpf_object.clone(),
            ring_bytes: ring_bytes(&args.ring_size)?,
            netns: args.netns.as_deref().map(host::resolve).transpose()?,
            ends: Ends::default(),
            light: false,
            max_connections: args.max_connections,
            sample_hz: NonZeroU32::new(args.sample_hz),
            count_tried: args.count_tried,
        })
    }

    /// The same, for somebody who needs nothing that `filter` leaves out.
    fn of(args: &TraceArgs, filter: &Filter) -> Result<Self> {
        Ok(Self { ends: filter.into(), ..Self::new(args)? })
    }

    /// What is wanted besides tiers.
    pub fn extras(&self) -> Extras {
        Extras {
            searches: !self.light,
            samples: self.sample_hz.is_some() && !self.light,
            tried: self.count_tried,
        }
    }
}

/// The filter that was typed, as it is for a recording: `--pid` means every process that had
/// the number.
///
/// # Errors
/// What is no port list, no network, no name.
pub fn filter(args: &FilterArgs) -> Result<Filter> {
    let family = match (args.ipv4, args.ipv6) {
        (true, _) => Some(Family::V4),
        (_, true) => Some(Family::V6),
        _ => None,
    };
    ensure!(args.comm.as_deref() != Some(""), "--comm is empty: give the name of a process");
    Ok(Filter {
        netns: None,
        pid: args.pid.map(|tgid| Pid { tgid, started_ns: None }),
        comm: args.comm.clone(),
        cgroup: written("--cgroup", args.cgroup.as_deref())?,
        lports: written("--lport", args.lport.as_deref())?,
        rports: written("--rport", args.rport.as_deref())?,
        raddr: written("--raddr", args.raddr.as_deref())?,
        family,
    })
}

/// The filter of a run on this host: `--pid` means the process that has the number now.
fn live_filter(args: &FilterArgs) -> Result<Filter> {
    let filter = filter(args)?;
    let pid = filter.pid.map(|pid| now(pid.tgid)).transpose()?;
    Ok(Filter { pid, ..filter })
}

fn now(tgid: u32) -> Result<Pid> {
    let started_ns = host::started_ns(tgid).with_context(|| {
        format!("--pid {tgid}: there is no such process; --comm names one that is to come")
    })?;
    Ok(Pid { tgid, started_ns: Some(started_ns) })
}

fn written<T>(flag: &str, typed: Option<&str>) -> Result<Option<T>>
where
    T: std::str::FromStr<Err = WrittenError>,
{
    let parsed = typed.map(str::parse).transpose();
    parsed.map_err(|error| anyhow!("{flag} {error}"))
}

fn interval(typed: &str) -> Result<Duration> {
    let seconds: f64 = typed
        .trim_end_matches('s')
        .parse()
        .with_context(|| format!("-d {typed} is no number of seconds, such as 1 or 0.5"))?;
    let interval = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    ensure!(
        (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval),
        "-d {typed} is out of range: 0.05 to 86400 seconds"
    );
    Ok(interval)
}

fn replay(args: &TopArgs) -> Result<Option<Replay>> {
    if args.replay.is_empty() {
        return Ok(None);
    }
    Ok(Some(Replay { files: args.replay.clone(), speed: speed(&args.speed)? }))
}

/// A factor, or `max`.
fn speed(typed: &str) -> Result<Speed> {
    if typed == "max" {
        return Ok(Speed::Unlimited);
    }
    let times: f64 = typed.trim_end_matches('x').parse().unwrap_or(f64::NAN);
    ensure!(
        (0.001..=1e6).contains(&times),
        "--speed {typed} is no factor, such as 10 or 0.5, and not max"
    );
    Ok(Speed::Times(times))
}

/// A date and time, a time of day, or a time since the beginning.
fn typed_time(name: &str, typed: &str) -> Result<TypedTime> {
    let nanoseconds = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
    if let Some(since) = time_of_day(typed) {
        return Ok(TypedTime::OfDay(nanoseconds(since)));
    }
    if let Ok(time) = humantime::parse_rfc3339_weak(typed) {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        return Ok(TypedTime::Wall(nanoseconds(since_1970)));
    }
    let seconds = typed.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let since = seconds.map_or_else(|| humantime::parse_duration(typed), Ok);
    since.map(|since| TypedTime::SinceStart(nanoseconds(since))).map_err(|_| {
        anyhow!("{name} {typed} is no time, such as 2026-11-21T16:20:02Z, 16:20:02 or 90s")
    })
}

/// `16:20` or `16:20:02`.
fn time_of_day(typed: &str) -> Option<Duration> {
    let mut parts = typed.split(':');
    let mut part = |limit: u64| -> Option<u64> {
        let part = parts.next()?;
        (part.len() == 2).then(|| part.parse().ok()).flatten().filter(|it| *it < limit)
    };
    let (hours, minutes, seconds) = (part(24)?, part(60)?, part(60));
    let is_whole = typed.len() == if seconds.is_some() { 8 } else { 5 };
    let seconds = hours * 3_600 + minutes * 60 + seconds.unwrap_or(0);
    is_whole.then(|| Duration::from_secs(seconds))
}

/// Seconds, or a number with a unit each.
fn duration(typed: &str) -> Result<Duration> {
    time_span("--duration", typed)
}

fn time_span(name: &str, typed: &str) -> Result<Duration> {
    let seconds = typed.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let parsed = seconds.map_or_else(|| humantime::parse_duration(typed), Ok);
    let duration = parsed
        .with_context(|| format!("{name} {typed} is no time, such as 10 (seconds), 2m or 1h"))?;
    ensure!(
        (SHORTEST_INTERVAL..=LONGEST_DURATION).contains(&duration),
        "{name} {typed} is out of range: 0.05 seconds to 365 days"
    );
    Ok(duration)
}

fn ring_bytes(typed: &str) -> Result<u32> {
    let digits = typed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match typed[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => bail!("--ring-size {typed} has an unknown unit: use K, M or G"),
    };
    let number: u64 = digits
        .parse()
        .with_context(|| format!("--ring-size {typed} is no size, such as 65536 or 8M"))?;
    let bytes = number.checked_mul(unit).and_then(|bytes| u32::try_from(bytes).ok());
    match bytes {
        Some(bytes @ SMALLEST_RING..=LARGEST_RING) if bytes.is_power_of_two() => Ok(bytes),
        Some(bytes @ SMALLEST_RING..=LARGEST_RING) => bail!(
            "--ring-size {typed} is no power of two: the kernel takes {} or {}",
            bytes.next_power_of_two() / 2,
            bytes.next_power_of_two()
        ),
        _ => bail!("--ring-size {typed} is out of range: 4096 (a page) to 1G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval("1").unwrap(), Duration::from_secs(1));
        assert_eq!(interval("0.5s").unwrap(), Duration::from_millis(500));
        for bad in ["0", "-1", "nan", "inf", "x", "", "1e9"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (typed, seconds) in [
            ("10", 10),
            ("90s", 90),
            ("2m", 120),
            ("1h", 3_600),
            ("1h30m", 5_400),
            ("1h 1s", 3_601),
        ] {
            assert_eq!(duration(typed).unwrap(), Duration::from_secs(seconds), "{typed}");
        }
        assert_eq!(duration("0.5").unwrap(), Duration::from_millis(500));
        for bad in ["0", "0s", "-1", "nan", "inf", "x", "", "2y", "1e300", "5 parsecs"] {
            let error = duration(bad).expect_err(bad).to_string();
            assert!(error.starts_with(&format!("--duration {bad} is ")), "{error}");
        }
    }

    #[test]
    fn times_in_a_recording() {
        let time = |typed| typed_time("--since", typed).unwrap();
        assert_eq!(time("1970-01-01T00:00:01Z"), TypedTime::Wall(1_000_000_000));
        assert_eq!(time("1970-01-01 00:00:01.5"), TypedTime::Wall(1_500_000_000));
        assert_eq!(time("00:01"), TypedTime::OfDay(60_000_000_000));
        assert_eq!(time("23:59:59"), TypedTime::OfDay(86_399_000_000_000));
        assert_eq!(time("90"), TypedTime::SinceStart(90_000_000_000));
        assert_eq!(time("1m30s"), TypedTime::SinceStart(90_000_000_000));
        for bad in ["", "x", "24:00", "1:2", "12:00:", "12:00:60", "-1", "2026-13-01T00:00:00Z"] {
            assert!(typed_time("--since", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn speeds() {
        assert_eq!(speed("max").unwrap(), Speed::Unlimited);
        assert_eq!(speed("2.5x").unwrap(), Speed::Times(2.5));
        for bad in ["", "0", "-1", "nan", "inf", "fast"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters() {
        let args = FilterArgs {
            lport: Some("80".to_owned()),
            raddr: Some("10.0.0.0/8".to_owned()),
            ipv4: true,
            ..FilterArgs::default()
        };
        assert_eq!(filter(&args).unwrap().to_string(), "--lport 80 --raddr 10.0.0.0/8 -4");
        assert!(filter(&FilterArgs::default()).unwrap().is_empty());
        let wrong = FilterArgs { rport: Some("http".to_owned()), ..FilterArgs::default() };
        let error = filter(&wrong).unwrap_err().to_string();
        assert_eq!(error, "--rport \"http\" is no list of ports, such as 443 or 80,8000-8099");
    }

    #[test]
    fn a_process_is_the_one_that_has_the_number_now() {
        let of = |pid| FilterArgs { pid: Some(pid), ..FilterArgs::default() };
        let pid = live_filter(&of(std::process::id())).unwrap().pid.unwrap();
        assert!(pid.started_ns.is_some_and(|started| !started.is_empty()));
        let error = live_filter(&of(u32::MAX)).unwrap_err().to_string();
        assert!(error.contains("no such process"), "{error}");
    }

    #[test]
    fn ring_sizes() {
        assert_eq!(ring_bytes("8M").unwrap(), 8 << 20);
        assert_eq!(ring_bytes("4096").unwrap(), 4096);
        assert_eq!(ring_bytes("64k").unwrap(), 65_536);
        for bad in ["1", "5000", "2G", "x", "8T", "", "99999999999999999999G"] {
            assert!(ring_bytes(bad).is_err(), "{bad}");
        }
        let hint = ring_bytes("5000").unwrap_err().to_string();
        assert!(hint.contains("4096") && hint.contains("8192"), "{hint}");
    }
}
