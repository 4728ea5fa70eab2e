//! What the host allows, found out before anything is loaded, so that each
//! obstacle is a sentence with its fix.

use std::path::{Path, PathBuf};

use twtrace_common::{SAMPLED_CODES, SampledCode};

use super::{refusal::Refusal, sampling, timewait::TimeWaitSymbols};
use crate::host::{self, Capabilities, Capability, Symbols, SymbolsError};

/// Where the kernel publishes its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// The first kernel with a BPF ring buffer and CAP_BPF.
const OLDEST_KERNEL: (u32, u32) = (5, 8);
/// Where the kernel says how to ask for a breakpoint.
const KPROBE_EVENTS: &str = "/sys/bus/event_source/devices/kprobe/type";
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What stands in the way; `None` where nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAllows {
    /// Of any BPF program.
    pub no_bpf: Option<Refusal>,
    /// Of reading kernel structures.
    pub no_btf: Option<Refusal>,
    /// Of tracepoints by record.
    pub no_tracefs: Option<Refusal>,
    /// Of breakpoints on functions.
    pub no_kprobes: Option<Refusal>,
    /// Of telling mini-sockets' timers, and searches that a sample meets, from others.
    pub no_symbols: Option<Refusal>,
    /// Of cgroup hooks.
    pub no_cgroup: Option<Refusal>,
    /// What tells mini-sockets' timers from others.
    pub timewait: Option<TimeWaitSymbols>,
    /// What tells searches that a sample meets from others.
    pub sampled: Option<[SampledCode; SAMPLED_CODES]>,
    /// Root of the cgroup v2 hierarchy.
    pub cgroup: Option<PathBuf>,
}

impl HostAllows {
    /// Asks the running host.
    pub fn probe() -> Self {
        let release = host::read().kernel;
        let rights = host::capabilities();
        let (symbols, hidden) = either(symbols());
        let (timewait, no_handler) =
            symbols.as_ref().map_or((None, None), |found| either(TimeWaitSymbols::find(found)));
        let (cgroup, no_cgroup) = either(cgroup(rights));
        Self {
            no_bpf: too_old(&release)
                .or_else(|| missing_rights(rights))
                .or_else(|| locked_down(host::lockdown().as_deref())),
            no_btf: (!Path::new(KERNEL_BTF).exists()).then(no_btf),
            no_tracefs: tracefs().is_none().then(no_tracefs),
            no_kprobes: (!Path::new(KPROBE_EVENTS).exists()).then(no_kprobes),
            no_symbols: hidden.or(no_handler),
            no_cgroup,
            timewait,
            sampled: symbols.as_ref().map(sampling::sampled),
            cgroup,
        }
    }
}

fn either<T>(found: Result<T, Refusal>) -> (Option<T>, Option<Refusal>) {
    match found {
        Ok(found) => (Some(found), None),
        Err(refusal) => (None, Some(refusal)),
    }
}

/// All that is looked up in /proc/kallsyms, in one pass.
fn symbols() -> Result<Symbols, Refusal> {
    let names: Vec<&str> = TimeWaitSymbols::names().chain(sampling::names()).collect();
    Symbols::read(&names).map_err(|error| match error {
        SymbolsError::Hidden { fix } => Refusal::new(
            "the kernel hides its addresses, by which mini-sockets' timers and port searches are \
             told from others",
            fix,
        ),
        other => Refusal::for_good(format!("{:#}", anyhow::Error::new(other))),
    })
}

/// The root of the cgroup v2 hierarchy, if programs may be attached there.
fn cgroup(rights: Capabilities) -> Result<PathBuf, Refusal> {
    if !rights.has(Capability::NetAdmin) && !rights.has(Capability::SysAdmin) {
        return Err(Refusal::new(
            "cgroup hooks need CAP_NET_ADMIN",
            "run as root, or give cap_net_admin to the binary too",
        ));
    }
    host::cgroup_v2_root().map_err(|error| {
        // These errors end in what helps.
        let sentence = format!("{error:#}");
        match sentence.split_once(": ") {
            Some((why, fix)) => Refusal::new(why, fix),
            None => Refusal::for_good(sentence),
        }
    })
}

/// Where tracefs is mounted.
pub fn tracefs() -> Option<PathBuf> {
    TRACEFS.iter().map(Path::new).find(|path| path.join("events").exists()).map(Path::to_owned)
}

fn too_old(release: &str) -> Option<Refusal> {
    let version = host::kernel_version(release)?;
    (version < OLDEST_KERNEL).then(|| {
        let (major, minor) = OLDEST_KERNEL;
        Refusal::for_good(format!(
            "Linux {release} has no BPF ring buffer, which came with {major}.{minor}"
        ))
    })
}

fn missing_rights(rights: Capabilities) -> Option<Refusal> {
    if rights.has(Capability::SysAdmin) {
        return None;
    }
    let missing: Vec<&str> = [Capability::Bpf, Capability::Perfmon]
        .into_iter()
        .filter(|&needed| !rights.has(needed))
        .map(Capability::name)
        .collect();
    (!missing.is_empty()).then(|| {
        Refusal::new(
            format!("tracing needs {}", missing.join(" and ")),
            "run as root, or `setcap cap_bpf,cap_perfmon,cap_syslog,cap_net_admin,cap_sys_admin,cap_sys_ptrace,cap_dac_read_search+ep` on the binary",
        )
    })
}

/// Lockdown in its stricter mode keeps BPF from reading kernel memory.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/trace/bpf_trace.c#L1424-L1431>
fn locked_down(mode: Option<&str>) -> Option<Refusal> {
    (mode == Some("confidentiality")).then(|| {
        Refusal::new(
            "kernel lockdown is in confidentiality mode, which forbids reading kernel memory",
            "boot with lockdown=integrity",
        )
    })
}

fn no_btf() -> Refusal {
    Refusal::new(
        format!("the kernel publishes no BTF ({KERNEL_BTF} is missing)"),
        "use a kernel built with CONFIG_DEBUG_INFO_BTF",
    )
}

fn no_kprobes() -> Refusal {
    Refusal::for_good("this kernel was built without kprobes (CONFIG_KPROBE_EVENTS)")
}

fn no_tracefs() -> Refusal {
    Refusal::new("tracefs is not mounted", "`mount -t tracefs tracefs /sys/kernel/tracing`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_told_apart() {
        assert!(too_old("5.4.0-generic").unwrap().why.contains("5.8"));
        assert_eq!(too_old("5.8.0"), None);
        assert_eq!(too_old("6.18.44-fc"), None);
        assert_eq!(too_old("not a version"), None, "what cannot be read is tried");
    }

    #[test]
    fn each_missing_right_is_named() {
        let refusal = missing_rights(Capabilities(0)).unwrap().to_string();
        assert!(refusal.contains("CAP_BPF and CAP_PERFMON"), "{refusal}");
        let only_bpf = Capabilities(1 << 39);
        assert!(missing_rights(only_bpf).unwrap().why.ends_with("needs CAP_PERFMON"));
        assert_eq!(missing_rights(Capabilities(1 << 39 | 1 << 38)), None);
        assert_eq!(missing_rights(Capabilities(1 << 21)), None, "as before CAP_BPF");
    }

    #[test]
    fn only_the_stricter_lockdown_stands_in_the_way() {
        assert!(locked_down(Some("confidentiality")).is_some());
        assert_eq!(locked_down(Some("integrity")), None);
        assert_eq!(locked_down(None), None);
    }
}
