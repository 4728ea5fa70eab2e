//! How what the kernel writes is read, as functions of it: they open nothing, so that the fuzz
//! targets can hand them anything. What opens and reads is beside each of them.

pub use super::{
    cgroups::{Mount, parse_mounts as cgroup_mounts},
    command_cgroup::parse_v2 as cgroup_v2,
    conntrack::parse_conntrack as conntrack,
    counters::parse_counters as counters,
    descriptors::parse_limits as limits,
    facts::{parse_capabilities as capabilities, parse_lockdown as lockdown},
    hidden::hidepid,
    machine::{numbers, parse_slabs as slabs, parse_softnet as softnet, tcp_number},
    netns::{label_inode as netns_inode, mounted_namespaces, unescape_mount},
    own_use::field,
    processes::{parse_cgroup as cgroup, parse_start_ticks as start_ticks},
    settings::port_facts,
    sock_diag::{parse_dump as dump, parse_end as end},
    socket_holders::label_inode as socket_inode,
    symbols::parse_symbols as symbols,
    sysctl_files::{last_counts, parse_sysctl_file as sysctl_file},
};
