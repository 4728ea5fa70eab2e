//! A network namespace of one's own.

use std::{fs, io, marker::PhantomData};

use anyhow::{Context, Result, anyhow};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink,
    },
    thread::UnshareFlags,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::netns::{Netns, own};

/// The network namespace that the calling thread has made and is in. The namespace goes with
/// the last thread, socket and handle in it.
///
/// Settings are written through it alone, and it does not leave its thread: those of the host
/// stay as they are.
#[derive(Debug)]
pub struct PrivateNetns {
    netns: Netns,
    /// Whoever is in another thread is in another namespace.
    stays: PhantomData<*const ()>,
}

impl PrivateNetns {
    /// Takes the calling thread into a new namespace with `lo` up.
    ///
    /// # Errors
    /// Without the rights for it.
    pub fn enter() -> Result<Self> {
        unshare().map_err(|errno| match errno {
            Errno::PERM => anyhow!(
                "cannot make a network namespace (EPERM): run as root, or give CAP_SYS_ADMIN and \
                 CAP_NET_ADMIN"
            ),
            Errno::NOSPC | Errno::USERS => {
                anyhow!("cannot make a network namespace ({errno}): raise user.max_net_namespaces")
            }
            _ => anyhow!("cannot make a network namespace: {errno}"),
        })?;
        loopback_up().context("cannot set lo up: run as root, or give CAP_NET_ADMIN")?;
        Ok(Self { netns: own()?, stays: PhantomData })
    }

    /// The namespace.
    pub fn handle(&self) -> &Netns {
        &self.netns
    }

    /// The namespace alone, to be entered from anywhere.
    pub fn into_handle(self) -> Netns {
        self.netns
    }

    /// Sets a sysctl, such as `ipv4/tcp_fin_timeout`. /proc/sys/net is that of the calling
    /// thread's namespace
    /// ([`net_ctl_header_lookup`](https://github.com/torvalds/linux/blob/v6.12/net/sysctl_net.c)).
    ///
    /// # Errors
    /// /proc/sys cannot be written.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        fs::write(&path, value).with_context(|| {
            format!("cannot write {value} to {path}: run as root, with /proc/sys writable")
        })
    }
}

#[expect(
    deprecated,
    reason = "unsafe for UnshareFlags::FILES alone, says rustix; a new namespace is safe"
)]
fn unshare() -> Result<(), Errno> {
    rustix::thread::unshare(UnshareFlags::NEWNET)
}

/// Whether `::1` can be used in the calling thread's namespace.
pub fn has_ipv6() -> bool {
    const LOOPBACK: &str = "00000000000000000000000000000001";
    let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    addresses.lines().any(|line| line.starts_with(LOOPBACK))
}

/// `struct nlmsghdr` and `struct ifinfomsg`:
/// [`rtnetlink.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/rtnetlink.h).
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct SetLink {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    padding: u8,
    device_type: u16,
    index: i32,
    device_flags: u32,
    change: u32,
}

/// `struct nlmsghdr` and the errno of `struct nlmsgerr`.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct Answer {
    header: [u8; 16],
    error: i32,
}

fn loopback_up() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    // The first device of every namespace.
    const LOOPBACK_INDEX: i32 = 1;
    let request = SetLink {
        length: size_of::<SetLink>() as u32,
        kind: RTM_NEWLINK,
        flags: NLM_F_REQUEST_ACK,
        sequence: 1,
        port: 0,
        family: 0,
        padding: 0,
        device_type: 0,
        index: LOOPBACK_INDEX,
        device_flags: IFF_UP,
        change: IFF_UP,
    };
    // Without a protocol it is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, request.as_bytes(), SendFlags::empty(), &kernel)?;
    let mut buffer = [0; 256];
    // The kernel has answered before sendto returns.
    let (length, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
    match Answer::read_from_prefix(&buffer[..length]) {
        Ok((Answer { error: 0, .. }, _)) => Ok(()),
        Ok((answer, _)) => Err(io::Error::from_raw_os_error(answer.error.wrapping_neg())),
        Err(_) => Err(io::Error::other("the kernel sent a cut answer")),
    }
}
