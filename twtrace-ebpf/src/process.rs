//! The process that runs now, for hooks that know it caused what they saw.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{self, generated},
};
use twtrace_common::{COMM_LEN, ProcessKey, ProcessRecord, RecordKind, process_flags};

use crate::{
    globals::offset,
    maps::{PROCESSES, RECORDS},
    memory::{Memory, Probed},
};

/// `PF_KTHREAD`.
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/sched.h#L1708>
const PF_KTHREAD: u32 = 0x0020_0000;
/// A process record wakes nobody: the transition after it does.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// The current process; tells user space its name at first sight.
#[inline(always)]
pub(crate) fn current() -> ProcessKey {
    let tgid = (helpers::bpf_get_current_pid_tgid() >> 32) as u32;
    let leader = group_leader();
    // SAFETY: a task's group leader outlives the task's own run.
    let start_time_ns = unsafe { Probed::load::<u64>(leader, offset!(task_start_boottime)) };
    let key = ProcessKey {
        start_time_ns,
        tgid,
        padding: 0,
    };
    if PROCESSES.get_ptr(&key).is_none() {
        introduce(&key, leader);
    }
    key
}

/// The current process on kernels that tell no offsets: its start is unknown.
#[inline(always)]
pub(crate) fn current_without_btf() -> ProcessKey {
    let tgid = (helpers::bpf_get_current_pid_tgid() >> 32) as u32;
    let key = ProcessKey {
        start_time_ns: 0,
        tgid,
        padding: 0,
    };
    if PROCESSES.get_ptr(&key).is_none() {
        let comm = helpers::bpf_get_current_comm().unwrap_or_default();
        announce(&key, 0, comm);
    }
    key
}

#[inline(always)]
fn group_leader() -> *const u8 {
    // SAFETY: the helper returns the running task, which has a leader.
    unsafe {
        let task = generated::bpf_get_current_task() as *const u8;
        Probed::load::<usize>(task, offset!(task_group_leader)) as *const u8
    }
}

#[inline(always)]
fn introduce(key: &ProcessKey, leader: *const u8) {
    // SAFETY: both fields are the leader's own.
    let (task_flags, comm) = unsafe {
        (
            Probed::load::<u32>(leader, offset!(task_flags)),
            Probed::load::<[u8; COMM_LEN]>(leader, offset!(task_comm)),
        )
    };
    let flags = if task_flags & PF_KTHREAD != 0 {
        process_flags::KERNEL_THREAD
    } else {
        0
    };
    announce(key, flags, comm);
}

/// Writes the process record. If the ring is full the process stays unknown
/// here, and is announced with its next transition.
#[inline(always)]
fn announce(key: &ProcessKey, flags: u8, comm: [u8; COMM_LEN]) {
    let Some(mut entry) = RECORDS.reserve::<ProcessRecord>(0) else {
        return;
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
}
