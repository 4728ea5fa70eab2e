//! Where the running kernel keeps the fields the programs read.

use zerocopy::{Immutable, IntoBytes};

/// Byte offsets that user space resolves from kernel BTF and writes into the
/// programs' read-only data before they are loaded.
///
/// Rust has no CO-RE relocations; the verifier sees these as constants, so it
/// checks every typed load against the kernel's own types, and an offset that
/// does not fit is refused at load instead of reading something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub struct Offsets {
    /// `struct sock_common.skc_family`, u16.
    pub skc_family: u64,
    /// `struct sock_common.skc_state`, u8.
    pub skc_state: u64,
    /// `struct sock_common.skc_num`, u16: the local port in host order.
    pub skc_num: u64,
    /// `struct sock_common.skc_dport`, be16.
    pub skc_dport: u64,
    /// `struct sock_common.skc_rcv_saddr`, be32: the local address.
    pub skc_rcv_saddr: u64,
    /// `struct sock_common.skc_daddr`, be32: the remote address.
    pub skc_daddr: u64,
    /// `struct sock_common.skc_v6_rcv_saddr`, 16 bytes; unused if [`Self::has_ipv6`] is 0.
    pub skc_v6_rcv_saddr: u64,
    /// `struct sock_common.skc_v6_daddr`, 16 bytes; unused if [`Self::has_ipv6`] is 0.
    pub skc_v6_daddr: u64,
    /// `struct sock_common.skc_net.net`, a pointer to `struct net`.
    pub skc_net: u64,
    /// `struct net.ns.inum`, u32.
    pub net_inum: u64,
    /// `struct sock.sk_protocol`, u16.
    pub sk_protocol: u64,
    /// `struct sock.sk_lock.owned`, int.
    pub sk_lock_owned: u64,
    /// `struct sock.sk_err`, int.
    pub sk_err: u64,
    /// `struct sock.sk_shutdown`, u8.
    pub sk_shutdown: u64,
    /// `struct inet_sock.inet_sport`, be16: outlives `skc_num` on the way to CLOSE.
    pub inet_sport: u64,
    /// `struct inet_sock.local_port_range`, two u16 one after the other; 0 if this kernel
    /// has none.
    pub local_port_range: u64,
    /// `struct task_struct.group_leader`, a pointer to `struct task_struct`.
    pub task_group_leader: u64,
    /// `struct task_struct.start_boottime`, u64.
    pub task_start_boottime: u64,
    /// `struct task_struct.flags`, u32.
    pub task_flags: u64,
    /// `struct task_struct.comm`, 16 bytes.
    pub task_comm: u64,
    /// `struct task_struct.nsproxy`, a pointer to `struct nsproxy`.
    pub task_nsproxy: u64,
    /// `struct nsproxy.net_ns`, a pointer to `struct net`.
    pub nsproxy_net: u64,
    /// `struct timer_list.expires`, unsigned long: jiffies.
    pub timer_expires: u64,
    /// `struct timer_list.function`, a function pointer.
    pub timer_function: u64,
    /// `struct inet_timewait_sock.tw_timer`, a `struct timer_list`.
    pub tw_timer: u64,
    /// `struct inet_timewait_sock.tw_substate`, u8: [`crate::TcpState`].
    pub tw_substate: u64,
    /// `struct tcp_timewait_sock.tw_ts_recent_stamp`, at least 32 bits; 0 if this kernel
    /// has none.
    pub tw_ts_recent_stamp: u64,
    /// 1 if this kernel was built with IPv6.
    pub has_ipv6: u64,
    /// How many arguments `tcp_timewait_state_process` has on this kernel.
    pub state_process_args: u64,
    /// How many arguments `__inet_hash_connect` has on this kernel.
    pub hash_connect_args: u64,
    /// 1 if this kernel has the helper `bpf_get_current_task_btf` (5.11).
    pub has_current_task_btf: u64,
}

impl Offsets {
    /// What the object carries before user space fills it in.
    pub const UNRESOLVED: Self = Self {
        skc_family: 0,
        skc_state: 0,
        skc_num: 0,
        skc_dport: 0,
        skc_rcv_saddr: 0,
        skc_daddr: 0,
        skc_v6_rcv_saddr: 0,
        skc_v6_daddr: 0,
        skc_net: 0,
        net_inum: 0,
        sk_protocol: 0,
        sk_lock_owned: 0,
        sk_err: 0,
        sk_shutdown: 0,
        inet_sport: 0,
        local_port_range: 0,
        task_group_leader: 0,
        task_start_boottime: 0,
        task_flags: 0,
        task_comm: 0,
        task_nsproxy: 0,
        nsproxy_net: 0,
        timer_expires: 0,
        timer_function: 0,
        tw_timer: 0,
        tw_substate: 0,
        tw_ts_recent_stamp: 0,
        has_ipv6: 0,
        state_process_args: 0,
        hash_connect_args: 0,
        has_current_task_btf: 0,
    };
}
