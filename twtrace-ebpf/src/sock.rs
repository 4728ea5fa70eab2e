//! `struct sock` and `struct sock_common`, as far as the hooks need them.

use core::marker::PhantomData;

use crate::{
    globals::offset,
    memory::{Load, Memory},
};

/// `AF_INET6`.
const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`. MPTCP (262) repeats its subflows' transitions; SCTP and DCCP
/// come through the same tracepoint.
const IPPROTO_TCP: u16 = 6;

/// A socket that a hook handed out, read by way of `M`. A mini-socket is one
/// too, as far as it has a `struct sock_common`.
pub(crate) struct Sock<M> {
    address: *const u8,
    memory: PhantomData<M>,
}

/// Both ends of a socket, as [`twtrace_common::TransitionRecord`] has them.
pub(crate) struct Addresses {
    pub(crate) local: [u64; 2],
    pub(crate) remote: [u64; 2],
}

/// Whether an address is one of IPv4, mapped into IPv6.
#[inline(always)]
pub(crate) fn is_mapped(address: [u64; 2]) -> bool {
    address[0] == 0 && address[1] as u32 == 0xffff_0000
}

impl<M: Load> Sock<M> {
    /// # Safety
    /// `address` is the `struct sock *` argument of the running hook, or, for
    /// what needs no [`Memory`], a `struct sock_common *`.
    #[inline(always)]
    pub(crate) unsafe fn new(address: *const u8) -> Self {
        Self { address, memory: PhantomData }
    }

    #[inline(always)]
    fn load<T: Copy + Default>(&self, offset: u64) -> T {
        // SAFETY: `new` took a live socket; each caller passes the offset of a
        // field of type T.
        unsafe { M::load(self.address, offset) }
    }

    /// Inode of the socket's network namespace.
    #[inline(always)]
    pub(crate) fn netns(&self) -> u32 {
        // SAFETY: `skc_net` is the first pointer's field, `ns.inum` the second's;
        // a socket holds its namespace as long as it lives.
        unsafe {
            let net = M::load::<usize>(self.address, offset!(skc_net)) as *const u8;
            M::Behind::load::<u32>(net, offset!(net_inum))
        }
    }

    /// Its state by the kernel's number; a mini-socket is in TIME_WAIT, whatever
    /// its substate.
    #[inline(always)]
    pub(crate) fn state(&self) -> u8 {
        self.load(offset!(skc_state))
    }

    /// The local port while the socket is bound.
    #[inline(always)]
    pub(crate) fn bound_port(&self) -> u16 {
        self.load(offset!(skc_num))
    }

    #[inline(always)]
    pub(crate) fn remote_port(&self) -> u16 {
        u16::from_be(self.load(offset!(skc_dport)))
    }

    /// Both addresses, IPv4 mapped into IPv6.
    #[inline(always)]
    pub(crate) fn addresses(&self) -> Addresses {
        if offset!(has_ipv6) != 0 && self.load::<u16>(offset!(skc_family)) == AF_INET6 {
            Addresses {
                local: self.ipv6(offset!(skc_v6_rcv_saddr)),
                remote: self.ipv6(offset!(skc_v6_daddr)),
            }
        } else {
            Addresses {
                local: self.ipv4_mapped(offset!(skc_rcv_saddr)),
                remote: self.ipv4_mapped(offset!(skc_daddr)),
            }
        }
    }

    #[inline(always)]
    fn ipv6(&self, offset: u64) -> [u64; 2] {
        [self.load(offset), self.load(offset + 8)]
    }

    #[inline(always)]
    fn ipv4_mapped(&self, offset: u64) -> [u64; 2] {
        let address = self.load::<u32>(offset);
        // In memory order: 0, 0, 0, 0, 0xff, 0xff, a, b, c, d (both targets are little-endian).
        [0, 0xffff_0000 | u64::from(address) << 32]
    }
}

impl<M: Memory> Sock<M> {
    #[inline(always)]
    pub(crate) fn address(&self) -> u64 {
        self.address as u64
    }

    #[inline(always)]
    pub(crate) fn is_tcp(&self) -> bool {
        self.load::<u16>(offset!(sk_protocol)) == IPPROTO_TCP
    }

    /// Whether a process holds the socket lock: then it is the current task,
    /// and otherwise a softirq or a timer runs over whatever is current.
    /// <https://github.com/torvalds/linux/blob/v6.12/include/net/sock.h#L1693-L1712>
    #[inline(always)]
    pub(crate) fn in_process_context(&self) -> bool {
        self.load::<i32>(offset!(sk_lock_owned)) != 0
    }

    #[inline(always)]
    pub(crate) fn error(&self) -> u16 {
        self.load::<i32>(offset!(sk_err)) as u16
    }

    #[inline(always)]
    pub(crate) fn shutdown(&self) -> u8 {
        self.load(offset!(sk_shutdown))
    }

    /// The first and the last port of the range that the socket asked for; 0 where it
    /// asked for none. One u32 on newer kernels, a struct on older ones: two halves
    /// fit both.
    /// <https://github.com/torvalds/linux/blob/v6.12/include/net/inet_sock.h>
    #[inline(always)]
    pub(crate) fn own_range(&self) -> [u16; 2] {
        let offset = offset!(local_port_range);
        if offset == 0 {
            return [0; 2];
        }
        // SAFETY: the hook's socket is TCP's, and the field an inet_sock's, with which a
        // tcp_sock begins.
        unsafe { [M::load_tcp(self.address, offset), M::load_tcp(self.address, offset + 2)] }
    }

    /// The local port on the way to CLOSE, where the socket may have given its
    /// port back already: `inet_sport` stays.
    /// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp.c#L2848-L2858>
    #[inline(always)]
    pub(crate) fn last_port(&self) -> u16 {
        // SAFETY: as above.
        u16::from_be(unsafe { M::load_tcp(self.address, offset!(inet_sport)) })
    }
}
