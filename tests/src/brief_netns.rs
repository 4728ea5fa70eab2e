//! Network namespaces that live for one piece of work, and are made by the thousand.
//!
//! [`crate::netns::PrivateNetns`] starts three processes for each; this is one thread, and nothing
//! holds the namespace but that thread and what it opens.

use std::io;

/// Runs `work` on a thread in a network namespace of its own, with `lo` up; it ends with the thread.
#[track_caller]
pub fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let alone = || {
        leave();
        bring_lo_up();
        work()
    };
    let done = std::thread::scope(|scope| scope.spawn(alone).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[expect(deprecated, reason = "unsafe for UnshareFlags::FILES alone, says rustix")]
fn leave() {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
        .expect("making a network namespace takes root");
}

fn bring_lo_up() {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
            .expect("a socket to configure lo with");
    // SAFETY: a struct of C without a pointer that is followed; zeros are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives across the call.
    let done = unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(done, 0, "lo cannot be brought up: {}", io::Error::last_os_error());
}
