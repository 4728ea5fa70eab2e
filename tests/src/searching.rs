//! A client whose connects search a port, and which measures them itself, by clocks that no tracer
//! has a part in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

use crate::traffic::Family;

/// Below every automatic range, so that the listener takes no port of it.
const PORT: u16 = 80;

/// Both ends of connections to one address, in the calling thread's network namespace.
pub struct Searcher {
    address: SocketAddr,
}

/// When to stop connecting: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time on the clock.
    pub elapsed: Duration,
    /// CPU time in connects.
    pub cpu: Duration,
}

/// What connects took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    latencies: Vec<Duration>,
    cpu: Duration,
    elapsed: Duration,
}

impl Searcher {
    /// Starts the server, which lives as long as the process.
    pub fn start() -> Self {
        let listener = Family::V4.listen_on(PORT);
        std::thread::spawn(move || serve(&listener));
        Self { address: (Ipv4Addr::LOCALHOST, PORT).into() }
    }

    /// Makes so many connections with a byte each way and closes them first: each leaves its port
    /// in TIME_WAIT.
    pub fn fill(&self, connections: u64) {
        for _ in 0..connections {
            let mut stream = TcpStream::connect(self.address).expect("connecting to fill");
            stream.write_all(b"x").expect("sending a byte");
            stream.read_exact(&mut [0]).expect("reading a byte");
        }
    }

    /// Connects and resets until a limit is reached. A reset gives the port back at once, so no
    /// connect changes what the next one finds.
    pub fn measure(&self, limits: Limits) -> Measured {
        let mut measured = Measured::default();
        let start = Instant::now();
        while start.elapsed() < limits.elapsed && measured.cpu < limits.cpu {
            self.measured_connect(&mut measured);
        }
        measured.elapsed = start.elapsed();
        measured
    }

    /// The clocks are read right around connect(): making a socket and closing it is in neither.
    fn measured_connect(&self, measured: &mut Measured) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket to connect");
        socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        let address = self.address.into();
        let cpu = thread_cpu();
        let start = Instant::now();
        socket.connect(&address).expect("connecting to measure");
        measured.latencies.push(start.elapsed());
        measured.cpu += thread_cpu() - cpu;
    }
}

/// Answers a byte with a byte, and then waits for the other end to close first. A reset, which is
/// the end of a connect that was measured, may come at any moment.
fn serve(listener: &TcpListener) {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The listener's time limit: nobody connected for a while.
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => panic!("accepting a connection: {error}"),
        };
        match stream.read_exact(&mut [0]).and_then(|()| stream.write_all(b"x")) {
            Ok(()) => assert_eq!(stream.read(&mut [0]).expect("waiting for the end"), 0),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("answering a byte: {error}"),
        }
    }
}

/// The scheduler's account of this thread, in nanoseconds. getrusage counts the same, but parts it
/// into user and system time by ticks.
fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("CPU time is not negative")
}

impl Measured {
    /// The latency that this part of the connects does not exceed.
    fn quantile(sorted: &[Duration], part: f64) -> Duration {
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
    }
}

/// Numbers on one line, durations in nanoseconds: connects, the sum of their latencies, half and
/// 99 % of them are no more than, CPU in connects, time on the clock.
impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let total: Duration = sorted.iter().sum();
        let [p50, p99] = [0.5, 0.99].map(|part| Self::quantile(&sorted, part));
        let all = [total, p50, p99, self.cpu, self.elapsed].map(|time| time.as_nanos().to_string());
        write!(f, "{} {}", sorted.len(), all.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_latencies() {
        let measured = Measured {
            latencies: (1..=101).rev().map(Duration::from_nanos).collect(),
            cpu: Duration::from_nanos(7),
            elapsed: Duration::from_micros(9),
        };
        assert_eq!(measured.to_string(), "101 5151 51 100 7 9000");
        assert_eq!(Measured::default().to_string(), "0 0 0 0 0 0");
    }
}
