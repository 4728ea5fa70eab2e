//! Facts that name a host and a boot, and what this process may do on it.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// What names the host in a snapshot and in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Node name, as `uname -n`.
    pub hostname: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// A UUID that changes at each boot; empty if /proc does not tell.
    pub boot_id: String,
}

/// Reads the facts of this host.
pub fn read() -> HostFacts {
    let uname = rustix::system::uname();
    HostFacts {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default(),
    }
}

/// Nanoseconds since boot, suspend left out (`CLOCK_MONOTONIC`): the clock of all records.
pub fn monotonic_ns() -> u64 {
    clock_ns(ClockId::Monotonic)
}

/// One instant on three clocks, to turn times of records and of processes into dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockAnchor {
    /// Nanoseconds since boot, suspend left out: the clock of records.
    pub monotonic_ns: u64,
    /// Nanoseconds since boot, suspend included: the clock of process starts.
    pub boot_ns: u64,
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    pub wall_ns: u64,
}

impl ClockAnchor {
    /// Reads all clocks at the same instant, to within about a microsecond.
    pub fn read() -> Self {
        // The process may be interrupted between two readings: the closest ones count.
        let readings: [(u64, Self); 5] = std::array::from_fn(|_| Self::read_once());
        let closest = readings.into_iter().min_by_key(|(width, _)| *width);
        closest.map_or_else(|| Self::read_once().1, |(_, anchor)| anchor)
    }

    /// A reading, and how long it took.
    fn read_once() -> (u64, Self) {
        let before = monotonic_ns();
        let (wall_ns, boot_ns) = (clock_ns(ClockId::Realtime), clock_ns(ClockId::Boottime));
        let width = monotonic_ns().saturating_sub(before);
        (width, Self { monotonic_ns: before + width / 2, boot_ns, wall_ns })
    }
}

/// 0 for a time before the clock's origin, which only a wall clock can show.
fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Major and minor version of a kernel release such as `6.1.0-18-amd64`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((decimal(major)?, decimal(&rest[..digits])?))
}

/// Unlike `parse` alone, takes no sign.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A capability that some part of twtrace needs, by the kernel's number
/// ([`capability.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/capability.h)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Stands for [`Self::DacReadSearch`], and is more.
    DacOverride = 1,
    /// Look into directories of other users, such as /proc/PID/fd.
    DacReadSearch = 2,
    /// Attach cgroup and sockops programs; see socket marks.
    NetAdmin = 12,
    /// Look at other users' processes.
    SysPtrace = 19,
    /// Enter another network namespace; stands for BPF and PERFMON on kernels before 5.8.
    SysAdmin = 21,
    /// See kernel addresses.
    Syslog = 34,
    /// Attach tracing programs and read kernel memory in them.
    Perfmon = 38,
    /// Load programs and make maps.
    Bpf = 39,
}

impl Capability {
    /// All that twtrace can use, from what is needed first on.
    pub const ALL: [Self; 7] = [
        Self::Bpf,
        Self::Perfmon,
        Self::Syslog,
        Self::NetAdmin,
        Self::SysAdmin,
        Self::SysPtrace,
        Self::DacReadSearch,
    ];

    /// The name as setcap and systemd take it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

/// A set of capabilities, a bit for each number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Whether `capability` is in the set.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 >> capability as u8 & 1 == 1
    }

    /// Whether there is `capability`, or another one that the kernel takes for it.
    pub const fn suffice_for(self, capability: Capability) -> bool {
        let other = match capability {
            Capability::Bpf | Capability::Perfmon | Capability::NetAdmin => Capability::SysAdmin,
            Capability::DacReadSearch => Capability::DacOverride,
            other => other,
        };
        self.has(capability) || self.has(other)
    }
}

/// The effective capabilities of the calling thread; none if /proc does not tell.
///
/// They hold in the thread's user namespace: a root in a container that has
/// its own may show all of them and still be refused by `bpf()`.
pub fn capabilities() -> Capabilities {
    let status = fs::read("/proc/thread-self/status").unwrap_or_default();
    parse_capabilities(&String::from_utf8_lossy(&status)).unwrap_or_default()
}

/// The mask after `CapEff:`, hexadecimal.
pub fn parse_capabilities(status: &str) -> Option<Capabilities> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok().map(Capabilities)
}

/// The lockdown mode in force: `none`, `integrity` or `confidentiality` (which
/// forbids to read kernel memory); `None` if the kernel has no lockdown or
/// securityfs is not mounted.
pub fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    parse_lockdown(&modes).map(str::to_owned)
}

/// The word in brackets of `none [integrity] confidentiality`.
pub fn parse_lockdown(modes: &str) -> Option<&str> {
    modes.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_host_has_a_name_a_kernel_and_a_boot() {
        let facts = read();
        assert!(kernel_version(&facts.kernel).is_some(), "{facts:?}");
        assert_eq!(facts.boot_id.len(), 36, "{facts:?}");
        assert_eq!(facts, read());
    }

    #[test]
    fn the_anchor_lies_between_two_readings() {
        let before = monotonic_ns();
        let anchor = ClockAnchor::read();
        assert!((before..=monotonic_ns()).contains(&anchor.boot_ns));
        assert!(anchor.wall_ns > 1_600_000_000_000_000_000, "{anchor:?}");
    }

    #[test]
    fn versions() {
        let cases = [
            ("6.18.44-fc-v657", Some((6, 18))),
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.10.0", Some((5, 10))),
            ("7.2-rc1", Some((7, 2))),
            ("6.12+", Some((6, 12))),
            ("4.18.0-553.el8_10.x86_64", Some((4, 18))),
            ("6", None),
            ("6.", None),
            (".1", None),
            ("+6.1", None),
            ("99999999999.1", None),
            ("", None),
        ];
        for (release, version) in cases {
            assert_eq!(kernel_version(release), version, "{release}");
        }
    }

    #[test]
    fn capability_masks() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n";
        let all = parse_capabilities(status).unwrap();
        assert!(Capability::ALL.into_iter().all(|capability| all.has(capability)));
        let bpf_only = parse_capabilities("CapEff:\t0000008000000000\n").unwrap();
        assert!(bpf_only.has(Capability::Bpf) && !bpf_only.has(Capability::Perfmon));
        assert_eq!(parse_capabilities("CapEff:\tzz"), None);
        assert_eq!(parse_capabilities(""), None);
    }

    #[test]
    fn lockdown_modes() {
        assert_eq!(parse_lockdown("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(parse_lockdown("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(parse_lockdown("none integrity"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).*") {
            let _ = (kernel_version(&text), parse_capabilities(&text), parse_lockdown(&text));
        }
    }
}
