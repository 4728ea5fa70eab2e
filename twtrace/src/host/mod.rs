//! What the host says without BPF: network namespaces, sock_diag, TCP counters,
//! processes, cgroups, kernel addresses, and the facts that name a host and a boot.
//!
//! Everything here reads on request and keeps nothing, except [`Cgroups`],
//! which caches names. [`CommandCgroup`] and [`PrivateNetns`] alone make something. Nothing else
//! here needs a right to work on the caller's own network namespace and processes; others cost `CAP_SYS_ADMIN` (to enter a
//! namespace) and `CAP_SYS_PTRACE` (to look at other users' processes). Kernel
//! addresses cost `CAP_SYSLOG`.

mod cgroup_root;
mod cgroups;
mod command_cgroup;
mod conntrack;
mod counters;
mod descriptors;
mod facts;
mod helper;
mod hidden;
mod limits;
mod machine;
mod netns;
mod netns_entries;
mod opening;
mod own_use;
pub mod parsers;
mod private_netns;
mod processes;
mod reach;
mod secure_exec;
mod settings;
mod sock_diag;
mod socket_holders;
mod symbols;
mod sysctl_files;

pub use cgroup_root::cgroup_v2_root;
pub use cgroups::{Cgroups, MAX_CGROUPS, container_id};
pub use command_cgroup::CommandCgroup;
pub use conntrack::{Conntrack, conntrack};
pub use counters::{NetnsCounters, TCP_COUNTERS, tcp_counters};
pub use descriptors::{Descriptors, OpenFiles, descriptors};
pub use facts::{
    Capabilities, Capability, ClockAnchor, HostFacts, capabilities, kernel_version, lockdown,
    monotonic_ns, read,
};
pub use helper::{Helper, serve, serve_holders, serve_namespaces};
pub use limits::{limit_files, raise_file_limit, require_files};
pub use machine::{InUse, Softirq, open_files, orphans, slab_sizes, softirq, tcp_memory};
pub use netns::{Netns, NetnsList, own, resolve, within};
pub use netns_entries::{NetnsEntry, netns_entries};
pub use own_use::{own_cpu, own_programs_ns, own_rss};
pub use private_netns::{PrivateNetns, has_ipv6};
pub use processes::{cgroup, comm, same_start, start_time_ns, started_ns};
pub use reach::Reach;
pub use secure_exec::has_rights_of_the_file;
pub use settings::{Settings, settings};
pub use sock_diag::{
    ALL_STATES, CloseWaitSocket, Dump, FULL_SOCKET_STATES, LISTENERS, Socket, close_wait_sockets,
    destroy, tcp_sockets, visit_tcp_sockets,
};
pub use socket_holders::Holder;
pub use symbols::{CodeRange, Symbols, SymbolsError};
pub use sysctl_files::{SysctlLine, sysctl_files};
