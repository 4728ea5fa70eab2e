//! The process that runs now, for hooks that know it caused what they saw.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{self, generated},
};
use twtrace_common::{COMM_LEN, ProcessKey, ProcessRecord, RecordKind, process_flags};

use crate::{
    globals::offset,
    maps::{PROCESSES, RECENT, RECORDS},
    memory::{Load, Memory, Probed},
};

/// `PF_KTHREAD`.
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/sched.h#L1708>
const PF_KTHREAD: u32 = 0x0020_0000;
/// As all records; see [`crate::emit`].
const BPF_RB_NO_WAKEUP: u64 = 1;

/// The current process; tells user space its name at first sight.
#[inline(always)]
pub(crate) fn current<M: Memory>() -> ProcessKey {
    // Kernels before 5.11 hand out the task without its type.
    if offset!(has_current_task_btf) != 0 { identify::<M>() } else { identify::<Probed>() }
}

/// Inode of the network namespace in which the current task makes its sockets.
#[inline(always)]
pub(crate) fn netns() -> u32 {
    // SAFETY: a running task has its namespaces, which hold theirs; the helper copes
    // with a null pointer, which a task that exits has there.
    unsafe {
        let task = Probed::current_task();
        let nsproxy = Probed::load::<usize>(task, offset!(task_nsproxy)) as *const u8;
        let net = Probed::load::<usize>(nsproxy, offset!(nsproxy_net)) as *const u8;
        Probed::load::<u32>(net, offset!(net_inum))
    }
}

#[inline(always)]
fn identify<M: Memory>() -> ProcessKey {
    let tgid = (helpers::bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: a running task has a leader, which outlives the task's run.
    let (leader, start_time_ns) = unsafe {
        let leader = M::load::<usize>(M::current_task(), offset!(task_group_leader)) as *const u8;
        (leader, M::load::<u64>(leader, offset!(task_start_boottime)))
    };
    if let Some(recent) = RECENT.get_ptr_mut(0) {
        // SAFETY: this CPU's own element; see `Counting::of`.
        let recent = unsafe { &mut (*recent).process };
        let is_same = recent.start_time_ns == start_time_ns && recent.tgid == tgid;
        if !is_same && is_introduced(start_time_ns, tgid, leader) {
            recent.start_time_ns = start_time_ns;
            recent.tgid = tgid;
        }
    }
    ProcessKey { start_time_ns, tgid, padding: 0 }
}

/// Whether user space has been told about the process by now.
#[inline(always)]
fn is_introduced(start_time_ns: u64, tgid: u32, leader: *const u8) -> bool {
    let key = ProcessKey { start_time_ns, tgid, padding: 0 };
    PROCESSES.get_ptr(key).is_some() || introduce(&key, leader)
}

/// The current process on kernels that tell no offsets: its start is unknown.
#[inline(always)]
pub(crate) fn current_without_btf() -> ProcessKey {
    let tgid = (helpers::bpf_get_current_pid_tgid() >> 32) as u32;
    let key = ProcessKey { start_time_ns: 0, tgid, padding: 0 };
    if PROCESSES.get_ptr(key).is_none() {
        let comm = helpers::bpf_get_current_comm().unwrap_or_default();
        let _ = announce(&key, 0, comm);
    }
    key
}

#[inline(always)]
fn introduce(key: &ProcessKey, leader: *const u8) -> bool {
    // SAFETY: both fields are the leader's own.
    let (task_flags, comm) = unsafe {
        (
            Probed::load::<u32>(leader, offset!(task_flags)),
            Probed::load::<[u8; COMM_LEN]>(leader, offset!(task_comm)),
        )
    };
    let flags = if task_flags & PF_KTHREAD != 0 { process_flags::KERNEL_THREAD } else { 0 };
    announce(key, flags, comm)
}

/// Writes the process record; returns whether the ring had room. If not, the
/// process stays unknown here, and is announced with its next transition.
#[inline(always)]
fn announce(key: &ProcessKey, flags: u8, comm: [u8; COMM_LEN]) -> bool {
    let Some(mut entry) = RECORDS.reserve::<ProcessRecord>(0) else {
        return false;
    };
    // SAFETY: the helper takes no argument that could be wrong.
    let cgroup_id = unsafe { generated::bpf_get_current_cgroup_id() };
    entry.write(ProcessRecord {
        kind: RecordKind::Process as u8,
        flags,
        padding: [0; 2],
        tgid: key.tgid,
        start_time_ns: key.start_time_ns,
        cgroup_id,
        comm,
    });
    entry.submit(BPF_RB_NO_WAKEUP);
    // A lost insert only means that the process is named twice.
    let _ = PROCESSES.insert(key, 1u8, u64::from(BPF_ANY));
    true
}
