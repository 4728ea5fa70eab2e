//! Processes that make one connection each, under names of the test's choice.
//!
//! `as HEX PORT`: this process takes the name whose bytes are HEX and connects once.
//! `reborn PORT COUNT POOL`: COUNT processes, one after the other, called `reborn-0`, `reborn-1` and so
//! on; from the POOL-th on each has the process number of one that has ended. It prints their numbers,
//! one a line.
//!
//! Numbers are asked for with clone3(2), so that nothing of the host is set for it.

use std::ffi::CString;
use std::io::{self, BufWriter, Write};
use std::net::{Ipv4Addr, TcpStream};

use twtrace_tests::traffic::{End, Traffic};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["as", hex, port] => {
            take_name(&bytes(hex));
            Traffic::closed_by(End::Client, 1).connect(port.parse().expect("a port"));
        }
        ["reborn", port, count, pool] => reborn(
            port.parse().expect("a port"),
            count.parse().expect("how many"),
            pool.parse().expect("how many numbers"),
        ),
        _ => panic!("as HEX PORT | reborn PORT COUNT POOL"),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits.chunks(2).map(|pair| byte(pair).expect("two digits of a byte")).collect()
}

fn take_name(name: &[u8]) {
    let name = CString::new(name).expect("the kernel ends names with NUL");
    // SAFETY: PR_SET_NAME reads up to 16 bytes of a string that ends with NUL.
    let done = unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    assert_eq!(done, 0, "PR_SET_NAME: {}", io::Error::last_os_error());
}

fn reborn(port: u16, count: usize, pool: usize) {
    let mut out = BufWriter::new(io::stdout());
    let mut numbers = Vec::new();
    for i in 0..count {
        // Somebody else may have got the number meanwhile: then another one.
        let wanted = numbers.len().checked_sub(pool).map(|first| numbers[first]);
        let number = born(wanted, i, port).or_else(|| born(None, i, port));
        let number = number.unwrap_or_else(|| panic!("clone3: {}", io::Error::last_os_error()));
        numbers.push(number);
        writeln!(out, "{number}").expect("telling the number");
    }
}

/// A process that connects and ends; `None` if its number is taken.
fn born(wanted: Option<libc::pid_t>, i: usize, port: u16) -> Option<libc::pid_t> {
    // SAFETY: a struct of C, of which zeros are a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(number) = &wanted {
        (args.set_tid, args.set_tid_size) = (std::ptr::from_ref(number) as u64, 1);
    }
    // SAFETY: as fork(2), from a process of one thread: the child has a copy of all memory. The
    // kernel reads the struct and the number that it points to, which live across the call.
    let number = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    match number {
        0 => {
            take_name(format!("reborn-{i}").as_bytes());
            drop(connect(port));
            // SAFETY: ends the child, and nothing of what its parent has buffered.
            unsafe { libc::_exit(0) }
        }
        -1 => None,
        number => {
            let number = number as libc::pid_t;
            let mut status = 0;
            // SAFETY: the kernel writes one number.
            let ended = unsafe { libc::waitpid(number, &raw mut status, 0) };
            assert_eq!((ended, status), (number, 0), "a child that connects and ends");
            Some(number)
        }
    }
}

/// One connection, as [`Traffic`] makes it.
fn connect(port: u16) -> TcpStream {
    use io::Read;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connecting");
    stream.write_all(b"x").expect("sending a byte");
    stream.read_exact(&mut [0]).expect("reading a byte");
    stream
}
