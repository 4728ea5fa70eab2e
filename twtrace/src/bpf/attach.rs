//! Executes a plan: loads the object, attaches what attaches, and says of each
//! hook what became of it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    programs::{
        BtfTracePoint, CgroupAttachMode, FEntry, FExit, KProbe, PerfEvent, Program, ProgramError,
        ProgramFd, RawTracePoint, TracePoint,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    sys::SyscallError,
    util::online_cpus,
};
use log::debug;
use twtrace_common::{CALLERS, Caller, Offsets, SAMPLED_CODES, SampledCode};
use zerocopy::IntoBytes;

use super::{
    cost::{self, Costs},
    counters::{Counted, Counters},
    ends::Ends,
    log::ProgramLog,
    offsets,
    plan::{Candidate, Hook, Place, Probe, Step},
    preflight,
    refusal::Refusal,
    ring::Ring,
    timewait::TimeWaitSymbols,
};
use crate::{
    host,
    probes::{Capability, Hooks, Tier},
};

/// The place of each field of `sock:inet_sock_set_state` that the program for
/// kernels without BTF reads; see `twtrace-ebpf/src/probes/transitions.rs`.
const RECORD_LAYOUT: [(&str, usize); 8] = [
    ("skaddr", 8),
    ("oldstate", 16),
    ("newstate", 20),
    ("sport", 24),
    ("dport", 26),
    ("protocol", 30),
    ("saddr_v6[16]", 40),
    ("daddr_v6[16]", 56),
];

/// How the lines begin that follow the verifier's verdict.
const VERIFIER_STATISTICS: [&str; 3] = ["verification time", "stack depth", "processed "];

/// What the user and the host decide about loading.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Size of the ring buffer in bytes; a power of two of at least a page.
    pub ring_bytes: u32,
    /// Network namespaces with counters of their own, plus one slot for the rest.
    pub netns_slots: u32,
    /// Trace only this network namespace.
    pub netns: Option<u32>,
    /// What is asked of a socket's ends.
    pub ends: Ends,
    /// Whether transitions are counted and not told.
    pub light: bool,
    /// What tells mini-sockets' timers from others; `None` if nothing does.
    pub timewait: Option<TimeWaitSymbols>,
    /// Root of the cgroup v2 hierarchy; `None` if there is none to attach to.
    pub cgroup: Option<PathBuf>,
    /// By which functions a CPU sample is judged; `None` if their addresses are hidden.
    pub sampled: Option<[SampledCode; SAMPLED_CODES]>,
    /// How often each processor is looked at, per second; `None` for never.
    pub sample_hz: Option<NonZeroU32>,
    /// Whether the ports that searches look at are counted.
    pub count_tried: bool,
}

/// What became of one hook.
#[derive(Clone, Debug)]
pub struct HookReport {
    /// What it gives.
    pub capability: Capability,
    /// Its tier.
    pub tier: Tier,
    /// The hook.
    pub hook: Hook,
    /// `None`: it attached. Otherwise why not.
    pub refusal: Option<Refusal>,
}

/// Programs at work. Dropping it detaches them.
pub struct Session {
    /// Where records arrive.
    pub ring: Ring,
    /// What the programs count.
    pub counters: Counters,
    /// What the programs log; `None` if the object was built without it or
    /// nobody wants to see it.
    pub log: Option<ProgramLog>,
    /// What the hooks deliver.
    pub hooks: Hooks,
    /// Whether the kernel's TW and TWKilled count births.
    pub tw_counts_births: bool,
    /// How often each processor is looked at, per second; `None` for never.
    pub sample_hz: Option<NonZeroU32>,
    /// Keeps the programs and their links alive; last, so that nothing that
    /// reads their maps outlives them.
    ebpf: Ebpf,
}

impl Session {
    /// Watches for `window` what the programs cost.
    ///
    /// # Errors
    /// As [`cost::measure`](super::cost): it takes `CAP_SYS_ADMIN`.
    pub fn costs(&mut self, window: Duration) -> Result<Costs> {
        cost::measure(&mut self.ebpf, window)
    }
}

/// The outcome of a plan: programs at work, if any attached, and a report on
/// every hook that had its turn.
pub struct Attached {
    /// `None` if nothing attached.
    pub session: Option<Session>,
    /// In the order tried.
    pub reports: Vec<HookReport>,
}

impl Attached {
    /// For each capability without a hook, what the tier that asks for least failed by
    /// first, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&HookReport, &Refusal)> {
        Capability::ALL.into_iter().filter_map(|capability| {
            let hooks = || self.reports.iter().filter(|report| report.capability == capability);
            let last_tier = hooks().next_back()?.tier;
            if hooks().any(|report| report.refusal.is_none()) {
                return None;
            }
            let refused = hooks().filter_map(|report| Some((report, report.refusal.as_ref()?)));
            let is_cause = |report: &HookReport, refusal: &Refusal| {
                report.tier == last_tier && !refusal.is_consequence
            };
            refused.into_iter().find(|(report, refusal)| is_cause(report, refusal))
        })
    }
}

/// Tries `steps` in order until each capability has its hooks.
///
/// # Errors
/// An object that cannot be loaded. A hook that does not attach is no error
/// but a report.
pub fn attach(object: &[u8], steps: &[Step], settings: &Settings) -> Result<Attached> {
    let mut attempt = Attempt::default();
    for step in steps {
        attempt.step(object, step, settings)?;
    }
    let reports = std::mem::take(&mut attempt.reports);
    let Some((loaded, hooks, programs)) = attempt.working(settings) else {
        return Ok(Attached { session: None, reports });
    };
    let Loaded { mut ebpf, tw_counts_births, .. } = loaded;
    let session = Session {
        ring: Ring::take(&mut ebpf, settings.ring_bytes)?,
        counters: Counters::take(&mut ebpf, programs)?,
        log: ProgramLog::open(&mut ebpf),
        sample_hz: settings.sample_hz.filter(|_| hooks.cpu_share.is_some()),
        hooks,
        tw_counts_births,
        ebpf,
    };
    Ok(Attached { session: Some(session), reports })
}

/// A plan in the course of its execution.
#[derive(Default)]
struct Attempt {
    loaded: Option<Loaded>,
    /// The hooks at work, of each capability that has its own.
    working: BTreeMap<Capability, Vec<(HookReport, ProgramFd)>>,
    reports: Vec<HookReport>,
}

/// An object in the kernel, and what was known when it got there.
struct Loaded {
    ebpf: Ebpf,
    btf: Option<Btf>,
    no_offsets: Option<Refusal>,
    tw_counts_births: bool,
    cgroup: Option<PathBuf>,
    sample_hz: Option<NonZeroU32>,
}

impl Attempt {
    /// Attaches all hooks of a candidate, or none of them.
    fn step(&mut self, object: &[u8], step: &Step, settings: &Settings) -> Result<()> {
        let Candidate { capability, tier, hooks } = step.candidate;
        if self.working.contains_key(&capability) {
            return Ok(());
        }
        let (mut reports, mut programs) = (Vec::new(), Vec::new());
        for &hook in hooks {
            let outcome = match &step.ruled_out {
                Some(refusal) => Err(refusal.clone()),
                None => self.attach(object, &hook, settings)?,
            };
            let (hook, refusal) = match outcome {
                Ok((place, program)) => {
                    programs.push(program);
                    (Hook { place, ..hook }, None)
                }
                Err(refusal) => (hook, Some(refusal)),
            };
            reports.push(HookReport { capability, tier, hook, refusal });
            // The others would be of no use.
            if reports.last().is_some_and(|report| report.refusal.is_some()) {
                break;
            }
        }
        let missing = reports.iter().find(|report| report.refusal.is_some());
        match missing.map(|report| report.hook.place) {
            Some(missing) => self.detach(&mut reports, missing),
            None => {
                let hooks = reports.iter().cloned().zip(programs).collect();
                self.working.insert(capability, hooks);
            }
        }
        self.reports.extend(reports);
        Ok(())
    }

    /// Detaches those of a candidate's hooks that attached, since `missing` did not.
    fn detach(&mut self, reports: &mut [HookReport], missing: Place) {
        let Some(loaded) = &mut self.loaded else {
            return;
        };
        for report in reports.iter_mut().filter(|report| report.refusal.is_none()) {
            loaded.detach(&report.hook);
            report.refusal = Some(Refusal::in_consequence(format!(
                "of no use without {missing}: detached again"
            )));
        }
    }

    /// Where the hook's program is, and the program; or why it did not attach.
    fn attach(
        &mut self,
        object: &[u8],
        hook: &Hook,
        settings: &Settings,
    ) -> Result<Result<(Place, ProgramFd), Refusal>> {
        match self.loaded(object, settings) {
            Ok(loaded) => Ok(loaded.attach(hook)),
            Err(error) if is_forbidden(&error) => Ok(Err(forbidden())),
            Err(error) => Err(error),
        }
    }

    /// Loads the object when the first hook needs it: without rights that is
    /// never.
    fn loaded(&mut self, object: &[u8], settings: &Settings) -> Result<&mut Loaded> {
        let loaded = match self.loaded.take() {
            Some(loaded) => loaded,
            None => Loaded::load(object, settings)?,
        };
        Ok(self.loaded.insert(loaded))
    }

    /// The object, what it delivers, and its programs at work; `None` unless
    /// transitions are among them, which give the others their meaning.
    fn working(self, settings: &Settings) -> Option<(Loaded, Hooks, Vec<Counted>)> {
        let tier = |capability| Some(self.working.get(&capability)?.first()?.0.tier);
        let (transitions, _) = self.working.get(&Capability::Transitions)?.first()?;
        let hooks = Hooks {
            transitions: transitions.tier,
            light: settings.light,
            fields_known: transitions.hook.fields_known,
            // sock_diag tells some of it without any hook.
            time_wait: tier(Capability::TimeWait).or(Some(Tier::None)),
            port_search: tier(Capability::PortSearch),
            cpu_share: tier(Capability::CpuShare),
            ports_tried: tier(Capability::PortsTried),
        };
        // A sample that is missed is one of many: it is no loss of an exact number.
        let counted = self.working.into_values().flatten();
        let programs = counted.filter(|(report, _)| report.capability != Capability::CpuShare).map(
            |(report, fd)| Counted { counts_misses: counts_misses(report.hook.place), program: fd },
        );
        Some((self.loaded?, hooks, programs.collect()))
    }
}

impl Loaded {
    fn load(object: &[u8], settings: &Settings) -> Result<Self> {
        let btf = Btf::from_sys_fs().ok();
        let resolved = offsets::resolve(Path::new(preflight::KERNEL_BTF));
        let no_offsets =
            resolved.as_ref().err().map(|error| Refusal::for_good(format!("{error:#}")));
        let (offsets, tw_counts_births) = match resolved {
            Ok(resolved) => (resolved.offsets, resolved.tw_counts_births),
            Err(_) => (Offsets::UNRESOLVED, false),
        };
        let (handler, callers) = match &settings.timewait {
            Some(symbols) => (symbols.handler, symbols.callers),
            None => (0, [Caller::UNUSED; CALLERS]),
        };
        let sampled = settings.sampled.unwrap_or([SampledCode::UNUSED; SAMPLED_CODES]);
        let netns = settings.netns.unwrap_or(0);
        let count_tried = u32::from(settings.count_tried);
        let under_way = under_way();
        let mut ebpf = EbpfLoader::new()
            .btf(btf.as_ref())
            .override_global("OFFSETS", offsets.as_bytes(), true)
            .override_global("NETNS_FILTER", &netns, true)
            .override_global("LIGHT", &u32::from(settings.light), true)
            .override_global("ASKED_ENDS", &settings.ends.asked, true)
            .override_global("LPORTS", settings.ends.lports.as_bytes(), true)
            .override_global("RPORTS", settings.ends.rports.as_bytes(), true)
            .override_global("TW_TIMER_HANDLER", &handler, true)
            .override_global("TW_CALLERS", callers.as_bytes(), true)
            .override_global("SAMPLED", sampled.as_bytes(), true)
            .override_global("COUNT_TRIED", &count_tried, true)
            .map_max_entries("RECORDS", settings.ring_bytes)
            .map_max_entries("COUNTERS", settings.netns_slots)
            .map_max_entries("SLOTS", settings.netns_slots)
            .map_max_entries("FREE_SLOTS", settings.netns_slots)
            .map_max_entries("BINDS", under_way)
            .map_max_entries("SEARCHING", under_way)
            .map_max_entries("ASKING", under_way)
            .map_max_entries("CLAIMS", under_way)
            .map_max_entries("WANTED", under_way)
            .load(object)
            .map_err(not_loaded)?;
        Counters::fill_slots(&mut ebpf, settings.netns_slots)?;
        let Settings { cgroup, sample_hz, .. } = settings.clone();
        Ok(Self { ebpf, btf, no_offsets, tw_counts_births, cgroup, sample_hz })
    }

    fn attach(&mut self, hook: &Hook) -> Result<(Place, ProgramFd), Refusal> {
        if hook.fields_known
            && let Some(refusal) = &self.no_offsets
        {
            return Err(refusal.clone());
        }
        if let Place::Tracepoint(category, name) = hook.place {
            check_record_layout(category, name)
                .map_err(|error| Refusal::for_good(format!("{error:#}")))?;
        }
        self.attach_somewhere(hook)
    }

    /// At the first of the function's names that the kernel has.
    fn attach_somewhere(&mut self, hook: &Hook) -> Result<(Place, ProgramFd), Refusal> {
        let mut refused = None;
        for place in hook.place.alternatives() {
            match self.load_and_attach(hook.program, place) {
                Ok(program) => return Ok((place, program)),
                Err(error) => {
                    refused.get_or_insert_with(|| refusal(place, &error));
                    self.detach(hook);
                }
            }
        }
        Err(refused.unwrap_or_else(|| Refusal::for_good("it has no place to go")))
    }

    /// Takes a program out of the kernel again, its links with it.
    fn detach(&mut self, hook: &Hook) {
        let unloaded = match self.ebpf.program_mut(hook.program) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::RawTracePoint(program)) => program.unload(),
            Some(Program::TracePoint(program)) => program.unload(),
            Some(Program::SockOps(program)) => program.unload(),
            Some(Program::CgroupSock(program)) => program.unload(),
            Some(Program::CgroupSockAddr(program)) => program.unload(),
            Some(Program::PerfEvent(program)) => program.unload(),
            Some(Program::FEntry(program)) => program.unload(),
            Some(Program::FExit(program)) => program.unload(),
            Some(Program::KProbe(program)) => program.unload(),
            _ => Ok(()),
        };
        // One that never got there has nothing to unload.
        if let Err(error) = unloaded
            && !matches!(error, ProgramError::NotLoaded)
        {
            debug!("{} does not detach: {error}", hook.place);
        }
    }

    fn load_and_attach(&mut self, name: &str, place: Place) -> Result<ProgramFd, ProgramError> {
        let program = self.ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?;
        match place {
            Place::BtfTracepoint(name) => {
                let btf = self.btf.as_ref().ok_or(ProgramError::NotLoaded)?;
                let program: &mut BtfTracePoint = program.try_into()?;
                program.load(name, btf)?;
                program.attach()?;
            }
            Place::RawTracepoint(name) => {
                let program: &mut RawTracePoint = program.try_into()?;
                program.load()?;
                program.attach(name)?;
            }
            Place::Tracepoint(category, name) => {
                let program: &mut TracePoint = program.try_into()?;
                program.load()?;
                program.attach(category, name)?;
            }
            Place::Cgroup(_) => {
                let root = self.cgroup.as_ref().ok_or(ProgramError::NotLoaded)?;
                attach_to_cgroup(program, &File::open(root).map_err(ProgramError::IOError)?)?;
            }
            Place::CpuClock => {
                let hz = self.sample_hz.ok_or(ProgramError::NotLoaded)?;
                attach_to_processors(program.try_into()?, hz)?;
            }
            Place::Function(probe, names) => {
                let function = names.first().copied().unwrap_or_default();
                attach_to_function(program, probe, function, self.btf.as_ref())?;
            }
        }
        program.fd()?.try_clone().map_err(ProgramError::IOError)
    }
}

fn attach_to_function(
    program: &mut Program,
    probe: Probe,
    function: &str,
    btf: Option<&Btf>,
) -> Result<(), ProgramError> {
    let btf = btf.ok_or(ProgramError::NotLoaded);
    match probe {
        Probe::Fentry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(function, btf?)?;
            program.attach().map(drop)
        }
        Probe::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(function, btf?)?;
            program.attach().map(drop)
        }
        // Which of the two it is, the object says.
        Probe::Kprobe | Probe::Kretprobe => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(function, 0).map(drop)
        }
    }
}

/// Looks at every processor that is online `hz` times a second. By a fixed period, which
/// the kernel does not change: so many samples are so much time. For this clock it is
/// in nanoseconds
/// ([`perf_swevent_init_hrtimer`](https://github.com/torvalds/linux/blob/v6.12/kernel/events/core.c)).
fn attach_to_processors(program: &mut PerfEvent, hz: NonZeroU32) -> Result<(), ProgramError> {
    const SECOND_NS: u64 = 1_000_000_000;
    program.load()?;
    let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
    let period = SamplePolicy::Period(SECOND_NS / u64::from(hz.get()));
    for cpu in online_cpus().map_err(|(_, error)| ProgramError::IOError(error))? {
        // Processes are not followed, so there is nothing to inherit.
        let scope = PerfEventScope::AllProcessesOneCpu { cpu };
        program.attach(clock, scope, period, false)?;
    }
    Ok(())
}

/// Attaches by a link, which lets other programs be and goes with its last
/// descriptor: a twtrace that is killed leaves nothing behind. Every kernel that
/// has a BPF ring buffer has such links.
fn attach_to_cgroup(program: &mut Program, root: &File) -> Result<(), ProgramError> {
    // The mode of attaching without a link; links always allow several, and
    // take no other flag.
    let mode = CgroupAttachMode::Single;
    match program {
        Program::SockOps(program) => {
            program.load()?;
            program.attach(root, mode).map(drop)
        }
        Program::CgroupSock(program) => {
            program.load()?;
            program.attach(root, mode).map(drop)
        }
        Program::CgroupSockAddr(program) => {
            program.load()?;
            program.attach(root, mode).map(drop)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Room for what is under way. An LRU map hands each CPU 128 free entries in advance
/// ([`LOCAL_FREE_TARGET`](https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/bpf_lru_list.c#L11)):
/// one that has fewer than that for each takes entries that are in use.
fn under_way() -> u32 {
    const ENTRIES_PER_CPU: u32 = 256;
    const LEAST: u32 = 4096;
    let cpus = aya::util::nr_cpus().unwrap_or(1);
    u32::try_from(cpus).unwrap_or(1).saturating_mul(ENTRIES_PER_CPU).max(LEAST)
}

/// An object that another version was built for, or one without the memory it needs.
fn not_loaded(error: EbpfError) -> anyhow::Error {
    let why = match error {
        EbpfError::ParseError(_) => {
            "the BPF object does not fit this twtrace: leave out --bpf-object, or build one with \
             `cargo xtask bpf -o FILE` from the same source"
        }
        _ => "cannot load the BPF object; a smaller --ring-size needs less memory",
    };
    anyhow::Error::new(error).context(why)
}

/// Whether the kernel refused a system call for want of rights. Capabilities
/// that a process has in its user namespace alone look like any others.
fn is_forbidden(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    })
}

fn forbidden() -> Refusal {
    Refusal::new(
        "the kernel forbids BPF here (EPERM)",
        "run as root or with CAP_BPF and CAP_PERFMON of the host: those of a container's own user namespace do not count",
    )
}

/// Why the kernel did not take a program, in one line; the verifier's whole
/// log is for `-vv`.
fn refusal(place: Place, error: &ProgramError) -> Refusal {
    let (io_error, verifier_log) = match error {
        ProgramError::LoadError { io_error, verifier_log } => (io_error, verifier_log),
        ProgramError::SyscallError(SyscallError { io_error, .. })
            if is_exclusive(place, io_error) =>
        {
            return Refusal::new(
                "another program has the root cgroup for itself (attached without \
                 BPF_F_ALLOW_MULTI)",
                "`bpftool cgroup show` on the root of cgroup v2 names it",
            );
        }
        ProgramError::SyscallError(SyscallError { io_error, .. })
            if place == Place::CpuClock && io_error.kind() == io::ErrorKind::PermissionDenied =>
        {
            return Refusal::new(
                "the kernel forbids to sample processors (kernel.perf_event_paranoid)",
                "run as root or with CAP_PERFMON, before Linux 5.8 and on some distributions \
                 CAP_SYS_ADMIN",
            );
        }
        ProgramError::SyscallError(SyscallError { call, io_error }) => {
            return Refusal::for_good(format!("{call} failed: {io_error}"));
        }
        _ => return Refusal::for_good(error.to_string()),
    };
    let log = verifier_log.to_string();
    debug!("the verifier said:\n{log}");
    if io_error.kind() == io::ErrorKind::PermissionDenied && log.trim().is_empty() {
        return match place {
            Place::Function(Probe::Fentry | Probe::Fexit, _) => {
                Refusal::for_good("the kernel forbids trampolines (EPERM)")
            }
            _ => forbidden(),
        };
    }
    let verdict = log
        .lines()
        .map(str::trim)
        .rfind(|line| {
            !line.is_empty() && !VERIFIER_STATISTICS.iter().any(|word| line.starts_with(word))
        })
        .unwrap_or("no reason given");
    Refusal::new(
        format!("the kernel refused the program ({io_error}): {verdict}"),
        "-vv shows the verifier's log",
    )
}

/// The kernel answers EPERM to a link where a program is attached without
/// sharing
/// ([`__cgroup_bpf_attach`](https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/cgroup.c)).
fn is_exclusive(place: Place, error: &io::Error) -> bool {
    matches!(place, Place::Cgroup(_)) && error.kind() == io::ErrorKind::PermissionDenied
}

/// Whether this kernel counts the runs that a hook of this kind missed.
///
/// Every kernel shows the counter, but before 6.8 nothing adds to it for
/// classic tracepoints and for breakpoints
/// ([`trace_call_bpf`](https://github.com/torvalds/linux/blob/v6.8/kernel/trace/bpf_trace.c#L108-L150)):
/// a 0 that means unknown, which only the version tells. A breakpoint that is hit
/// while another one is handled on that CPU never gets to its program, and is
/// counted elsewhere
/// ([`kprobe_ftrace_handler`](https://github.com/torvalds/linux/blob/v6.12/arch/x86/kernel/kprobes/ftrace.c#L21-L60)).
fn counts_misses(place: Place) -> bool {
    let is_counted = |release: &str| host::kernel_version(release) >= Some((6, 8));
    match place {
        Place::Tracepoint(..) => is_counted(&host::read().kernel),
        Place::Function(Probe::Kprobe | Probe::Kretprobe, _) => false,
        _ => true,
    }
}

/// Compares a tracepoint's record with the layout the program was written for:
/// some distributions add fields.
fn check_record_layout(category: &str, name: &str) -> Result<()> {
    let tracefs = preflight::tracefs().context("tracefs is not mounted")?;
    let path = tracefs.join("events").join(category).join(name).join("format");
    let format =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for (field, offset) in RECORD_LAYOUT {
        let found = field_offset(&format, field);
        ensure!(
            found == Some(offset),
            "this kernel's {category}:{name} record has another layout than twtrace knows ({field})"
        );
    }
    Ok(())
}

/// The offset of `field` in a tracepoint's `format` file.
fn field_offset(format: &str, field: &str) -> Option<usize> {
    format.lines().find_map(|line| {
        let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
        let name = declaration.rsplit(' ').next()?;
        let offset = rest.trim().strip_prefix("offset:")?.split(';').next()?;
        (name == field).then(|| offset.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_a_format_file() {
        let format = "name: inet_sock_set_state\nID: 1\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;\n";
        assert_eq!(field_offset(format, "skaddr"), Some(8));
        assert_eq!(field_offset(format, "saddr_v6[16]"), Some(40));
        assert_eq!(field_offset(format, "saddr"), None);
        assert_eq!(field_offset("field:", "x"), None);
    }
}
