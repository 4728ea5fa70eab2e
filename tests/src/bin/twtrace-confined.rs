//! A process that gives up its rights as twtrace does, and then tries what it should not be able to
//! do any more: `serve FILE` as the process that traces, `help FILE` as its helper. FILE is one
//! that anybody could write.
//!
//! It prints a line for each: its name, and `ok` or the number of the error. The last is the
//! status of a thread that was started afterwards.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::CWD;
use rustix::mount::MountPropagationFlags;
use rustix::net::{AddressFamily, SocketType, netlink};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, move_into_link_name_space, set_capabilities,
};
use twtrace::privileges::{self, Keep, Purpose};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [purpose, file] = &args[..] else { panic!("serve|help FILE") };
    let given_up = match purpose.as_str() {
        "serve" => {
            privileges::give_up(Keep::IfNeeded(CapabilitySet::BPF, &|| true), Purpose::Serve)
        }
        _ => privileges::become_helper(),
    };
    given_up.expect("giving up what there is");
    try_all(Path::new(file));
    let status = std::thread::spawn(|| fs::read_to_string("/proc/thread-self/status"));
    print!("{}", status.join().expect("the thread").expect("its status"));
}

fn try_all(file: &Path) {
    tell("read_own_status", File::open("/proc/self/status"));
    tell("ask_sock_diag", socket(AddressFamily::NETLINK, Some(netlink::SOCK_DIAG)));
    tell("read_roots_file", File::open("/etc/shadow"));
    tell("write_a_file", OpenOptions::new().write(true).open(file));
    tell("append_to_a_file", OpenOptions::new().append(true).open(file));
    tell("truncate_a_file", OpenOptions::new().write(true).truncate(true).open(file));
    tell("make_a_file", File::create(file.with_extension("new")));
    tell("remove_a_file", fs::remove_file(file));
    tell("rename_a_file", fs::rename(file, file.with_extension("renamed")));
    tell("execute", Err::<(), _>(Command::new("/bin/true").exec()));
    tell("start_a_process", Command::new("/bin/true").status());
    let net = File::open("/proc/thread-self/ns/net").expect("the own network namespace");
    let enter = |kind| move_into_link_name_space(net.as_fd(), Some(kind)).map_err(io::Error::from);
    tell("enter_a_network_namespace", enter(LinkNameSpaceType::Network));
    tell("enter_a_mount_namespace", enter(LinkNameSpaceType::Mount));
    tell("make_a_namespace", made_namespace());
    let propagation = MountPropagationFlags::PRIVATE;
    tell("mount", rustix::mount::mount_change("/", propagation).map_err(io::Error::from));
    tell("change_root", rustix::process::chroot("/").map_err(io::Error::from));
    for (name, family, protocol) in [
        ("open_a_packet_socket", AddressFamily::PACKET, None),
        ("open_a_tcp_socket", AddressFamily::INET, None),
        ("open_a_unix_socket", AddressFamily::UNIX, None),
        ("open_a_route_socket", AddressFamily::NETLINK, None),
    ] {
        tell(name, socket(family, protocol));
    }
    let all = CapabilitySet::all();
    let sets = CapabilitySets { effective: all, permitted: all, inheritable: all };
    tell("raise_capabilities", set_capabilities(None, sets).map_err(io::Error::from));
    let root = rustix::process::Uid::ROOT;
    tell("become_root", rustix::thread::set_thread_res_uid(root, root, root).map_err(Into::into));
    tell(
        "change_the_mode_of_a_file",
        rustix::fs::chmodat(CWD, file, rustix::fs::Mode::RWXU, rustix::fs::AtFlags::empty())
            .map_err(io::Error::from),
    );
    let parent = rustix::process::getppid().expect("a parent");
    tell(
        "signal_another",
        rustix::process::kill_process(parent, rustix::process::Signal::CONT).map_err(Into::into),
    );
    raw_calls(parent.as_raw_nonzero().get());
}

fn socket(
    family: AddressFamily,
    protocol: Option<rustix::net::Protocol>,
) -> io::Result<rustix::fd::OwnedFd> {
    Ok(rustix::net::socket(family, SocketType::RAW, protocol)?)
}

#[expect(deprecated, reason = "unsafe for UnshareFlags::FILES alone, says rustix")]
fn made_namespace() -> io::Result<()> {
    Ok(rustix::thread::unshare(rustix::thread::UnshareFlags::NEWUSER)?)
}

/// Those that no safe function makes.
fn raw_calls(parent: i32) {
    /// `BPF_MAP_CREATE`, `BPF_PROG_LOAD`, `BPF_LINK_CREATE`.
    const BPF: [(&str, libc::c_long); 3] =
        [("make_a_bpf_map", 0), ("load_a_bpf_program", 5), ("attach_a_bpf_program", 28)];
    let attributes = [0_u64; 16];
    for (name, command) in BPF {
        // SAFETY: bpf(2) reads as many bytes as it is told, which `attributes` has.
        let made = unsafe {
            libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes))
        };
        tell(name, outcome(made));
    }
    // SAFETY: no memory is passed, and the signal lets a stopped process go on, which none is.
    let signalled = unsafe { libc::syscall(libc::SYS_tgkill, parent, parent, libc::SIGCONT) };
    tell("signal_a_thread_of_another", outcome(signalled));
    let own = std::process::id();
    // SAFETY: the same.
    let signalled = unsafe { libc::syscall(libc::SYS_tgkill, own, own, libc::SIGCONT) };
    tell("signal_oneself", outcome(signalled));
    // SAFETY: the address and the size are of no memory of ours; nothing is written through them.
    let attached =
        unsafe { libc::ptrace(libc::PTRACE_SEIZE, parent, std::ptr::null_mut::<u8>(), 0) };
    tell("trace_a_process", outcome(attached));
    let (length, protection) = (4096, libc::PROT_READ | libc::PROT_EXEC);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses where, so nothing that exists is replaced.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    tell("map_memory_to_execute", outcome(if mapped == libc::MAP_FAILED { -1 } else { 0 }));
    for (name, call) in [
        ("open_by_handle", libc::SYS_open_by_handle_at),
        ("sample_processors", libc::SYS_perf_event_open),
        ("make_a_ring_for_calls", libc::SYS_io_uring_setup),
        ("read_memory_of_others", libc::SYS_process_vm_readv),
        ("load_a_module", libc::SYS_finit_module),
        ("open_by_other_rules", libc::SYS_openat2),
        ("start_as_clone3_does", libc::SYS_clone3),
    ] {
        // SAFETY: null pointers and lengths of 0, of which the kernel can read nothing.
        tell(name, outcome(unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) }));
    }
}

fn outcome(returned: libc::c_long) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn tell<T>(what: &str, tried: io::Result<T>) {
    match tried {
        Ok(_) => println!("{what} ok"),
        Err(error) => println!("{what} {}", error.raw_os_error().unwrap_or(-1)),
    }
}
