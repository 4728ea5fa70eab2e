//! Where the running kernel keeps its fields, by name, from its BTF.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use btf_rs::{Btf, BtfType, Member, Type};
use twtrace_common::Offsets;

/// Anonymous unions nest a few levels in `struct sock`; a broken BTF must not
/// recurse for ever.
const MAX_NESTING: usize = 8;

/// The programs copy so much of a mini-socket; see `twtrace-ebpf/src/mini.rs`.
const MINI_COPIED: u64 = 160;

/// What the kernel's types tell.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    /// Where its fields are.
    pub offsets: Offsets,
    /// Whether TcpExt's TW and TWKilled count births; before 5.18 they count
    /// timers that fired, and a mini-socket remembers for which of the two.
    pub tw_counts_births: bool,
}

/// Reads the kernel's BTF from `path` and finds all fields the programs read.
///
/// # Errors
/// BTF that cannot be parsed, or a kernel without one of the fields.
pub fn resolve(path: &Path) -> Result<Resolved> {
    let btf = Btf::from_file(path)
        .with_context(|| format!("cannot read kernel BTF from {}", path.display()))?;
    let at = |structure: &str, field: &str| offset(&btf, structure, field);
    let ipv6 = at("sock_common", "skc_v6_rcv_saddr").ok();
    let tw_substate = at("inet_timewait_sock", "tw_substate")?;
    ensure!(tw_substate < MINI_COPIED, "this kernel keeps tw_substate at {tw_substate}");
    let offsets = Offsets {
        skc_family: at("sock_common", "skc_family")?,
        skc_state: at("sock_common", "skc_state")?,
        skc_num: at("sock_common", "skc_num")?,
        skc_dport: at("sock_common", "skc_dport")?,
        skc_rcv_saddr: at("sock_common", "skc_rcv_saddr")?,
        skc_daddr: at("sock_common", "skc_daddr")?,
        skc_v6_rcv_saddr: ipv6.unwrap_or(0),
        skc_v6_daddr: if ipv6.is_some() { at("sock_common", "skc_v6_daddr")? } else { 0 },
        skc_net: at("sock_common", "skc_net.net")?,
        net_inum: at("net", "ns.inum")?,
        sk_protocol: at("sock", "sk_protocol")?,
        sk_lock_owned: at("sock", "sk_lock.owned")?,
        sk_err: at("sock", "sk_err")?,
        sk_shutdown: at("sock", "sk_shutdown")?,
        inet_sport: at("inet_sock", "inet_sport")?,
        local_port_range: at("inet_sock", "local_port_range").unwrap_or(0),
        task_group_leader: at("task_struct", "group_leader")?,
        task_start_boottime: at("task_struct", "start_boottime")?,
        task_flags: at("task_struct", "flags")?,
        task_comm: at("task_struct", "comm")?,
        task_nsproxy: at("task_struct", "nsproxy")?,
        nsproxy_net: at("nsproxy", "net_ns")?,
        timer_expires: at("timer_list", "expires")?,
        timer_function: at("timer_list", "function")?,
        tw_timer: at("inet_timewait_sock", "tw_timer")?,
        tw_substate,
        tw_ts_recent_stamp: at("tcp_timewait_sock", "tw_ts_recent_stamp").unwrap_or(0),
        // A kernel that inlined one of them has no probe that would need to know.
        state_process_args: arguments(&btf, "tcp_timewait_state_process").unwrap_or(0),
        hash_connect_args: arguments(&btf, "__inet_hash_connect").unwrap_or(0),
        has_ipv6: u64::from(ipv6.is_some()),
        has_current_task_btf: u64::from(has_helper(&btf, "BPF_FUNC_get_current_task_btf")),
    };
    let tw_counts_births = bits(&btf, "inet_timewait_sock", "tw_kill")?.is_empty();
    Ok(Resolved { offsets, tw_counts_births })
}

/// Whether this kernel has a BPF helper: its types name them all.
fn has_helper(btf: &Btf, name: &str) -> bool {
    btf.resolve_types_by_name("bpf_func_id").unwrap_or_default().iter().any(|ty| match ty {
        Type::Enum(ids) => {
            ids.members.iter().any(|id| btf.resolve_name(id).is_ok_and(|helper| helper == name))
        }
        _ => false,
    })
}

/// How many arguments a kernel function has.
fn arguments(btf: &Btf, function: &str) -> Option<u64> {
    let types = btf.resolve_types_by_name(function).ok()?;
    let function = types.iter().find_map(|ty| match ty {
        Type::Func(function) => Some(function),
        _ => None,
    })?;
    match btf.resolve_chained_type(function).ok()? {
        Type::FuncProto(prototype) => Some(prototype.parameters.len() as u64),
        _ => None,
    }
}

/// The byte offset of `path` (fields joined by dots) in `struct structure`.
fn offset(btf: &Btf, structure: &str, path: &str) -> Result<u64> {
    match bits(btf, structure, path)?.as_slice() {
        [] => bail!("this kernel's BTF has no field {path} in struct {structure}"),
        [bits] if bits % 8 == 0 => Ok(bits / 8),
        [_] => bail!("{structure}.{path} is a bit field on this kernel"),
        // Two structs of one name: guessing would read something else.
        _ => bail!("this kernel's BTF has several structs {structure} that differ in {path}"),
    }
}

/// The bit offsets of `path` in all structs of that name, each once.
fn bits(btf: &Btf, structure: &str, path: &str) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for ty in btf.resolve_types_by_name(structure).unwrap_or_default() {
        if matches!(ty, Type::Struct(_))
            && let Some(bits) = offset_in(btf, &ty, path)?
        {
            found.push(bits);
        }
    }
    found.dedup();
    Ok(found)
}

/// The bit offset of a dotted path in a struct or union.
fn offset_in(btf: &Btf, ty: &Type, path: &str) -> Result<Option<u64>> {
    let (field, rest) = match path.split_once('.') {
        Some((field, rest)) => (field, Some(rest)),
        None => (path, None),
    };
    let Some((bits, member)) = member(btf, ty, field, MAX_NESTING)? else {
        return Ok(None);
    };
    let Some(rest) = rest else {
        return Ok(Some(bits));
    };
    let inner = underlying(btf, &member)?;
    Ok(offset_in(btf, &inner, rest)?.map(|inner_bits| bits + inner_bits))
}

/// Finds a member by name, in anonymous structs and unions too, as C does.
fn member(btf: &Btf, ty: &Type, name: &str, nesting: usize) -> Result<Option<(u64, Member)>> {
    let members = match ty {
        Type::Struct(aggregate) | Type::Union(aggregate) => &aggregate.members,
        _ => return Ok(None),
    };
    for candidate in members {
        let bits = u64::from(candidate.bit_offset());
        let candidate_name = btf.resolve_name(candidate).unwrap_or_default();
        if candidate_name == name {
            return Ok(Some((bits, candidate.clone())));
        }
        if candidate_name.is_empty() && nesting > 0 {
            let inner = underlying(btf, candidate)?;
            if let Some((inner_bits, found)) = member(btf, &inner, name, nesting - 1)? {
                return Ok(Some((bits + inner_bits, found)));
            }
        }
    }
    Ok(None)
}

/// A member's type behind typedefs and qualifiers.
fn underlying(btf: &Btf, member: &Member) -> Result<Type> {
    let mut ty = btf.resolve_chained_type(member)?;
    for _ in 0..MAX_NESTING {
        let next: &dyn BtfType = match &ty {
            Type::Typedef(inner) => inner,
            Type::Const(inner) | Type::Volatile(inner) | Type::Restrict(inner) => inner,
            _ => return Ok(ty),
        };
        ty = btf.resolve_chained_type(next)?;
    }
    bail!("this kernel's BTF nests types without end")
}
