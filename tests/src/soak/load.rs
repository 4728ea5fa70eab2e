//! What goes on meanwhile: connections at a steady rate, bursts of them, a range of ports that is used
//! up, namespaces and processes that come and go.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::brief_netns;
use crate::netns::PrivateNetns;
use crate::peer::Peer;
use crate::traffic::{End, Family, Traffic};

/// So many connections at once, 250 a second.
const STEADY: (u64, Duration) = (50, Duration::from_millis(200));
/// At full speed.
const BURST: (u64, Duration) = (3_000, Duration::from_secs(20));
/// Towards one destination, from a range of fifty ports: used up after ten seconds.
const EXHAUSTING: Duration = Duration::from_millis(200);
const NAMESPACE: Duration = Duration::from_millis(500);
const PROCESS: Duration = Duration::from_millis(250);

/// Under way until [`Self::end`].
pub(super) struct Load {
    enough: Arc<AtomicBool>,
    counted: Arc<Counted>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counted {
    connections: AtomicU64,
    elsewhere: AtomicU64,
    no_port: AtomicU64,
    namespaces: AtomicU64,
    processes: AtomicU64,
}

/// What was done.
pub(super) struct Done {
    /// Connections in the namespace that is compared, closed by the client.
    pub(super) connections: u64,
    /// Connections in other namespaces.
    pub(super) elsewhere: u64,
    /// Connects that found no port.
    pub(super) no_port: u64,
    /// Namespaces that came and went.
    pub(super) namespaces: u64,
    /// Processes that made one connection each.
    pub(super) processes: u64,
}

impl Load {
    /// Begins; `netns` is the namespace that is compared.
    pub(super) fn start(netns: &PrivateNetns) -> Self {
        let mut load =
            Self { enough: Arc::default(), counted: Arc::default(), threads: Vec::new() };
        let mut last_burst = Instant::now();
        // One service, as destinations are: a listener anew for each would be a new destination.
        let service = netns.run(|| Family::V4.listen_on(443));
        load.inside(netns, STEADY.1, move |counted| {
            let mut connections = STEADY.0;
            if last_burst.elapsed() >= BURST.1 {
                (connections, last_burst) = (BURST.0, Instant::now());
            }
            let traffic = Traffic::closed_by(End::Client, connections);
            let done = std::thread::scope(|scope| {
                scope.spawn(|| traffic.serve(&service));
                traffic.connect(443)
            });
            counted.connections.fetch_add(done.closed_first, Ordering::Relaxed);
        });
        let few_ports = PrivateNetns::new();
        few_ports.sysctl_set("net.ipv4.ip_local_port_range", "20000 20049");
        let listener = few_ports.run(|| Family::V4.listen_on(80));
        load.inside_of(few_ports, EXHAUSTING, move |counted| one_connection(&listener, counted));
        load.repeat(NAMESPACE, |counted| {
            brief_netns::inside(|| Traffic::closed_by(End::Server, 5).run());
            counted.elsewhere.fetch_add(5, Ordering::Relaxed);
            counted.namespaces.fetch_add(1, Ordering::Relaxed);
        });
        load.inside_of(PrivateNetns::new(), PROCESS, |counted| {
            let one = Traffic::closed_by(End::Client, 1).to_string();
            let mut command = Command::new(Peer::program());
            command.args(["churn", &one]).stdin(Stdio::null()).stdout(Stdio::null());
            let status = command.status().expect("starting a process that makes one connection");
            assert!(status.success(), "{status}");
            counted.elsewhere.fetch_add(1, Ordering::Relaxed);
            counted.processes.fetch_add(1, Ordering::Relaxed);
        });
        load
    }

    /// Does `step` again and again, no more often than each `every`.
    fn repeat(&mut self, every: Duration, mut step: impl FnMut(&Counted) + Send + 'static) {
        let (enough, counted) = (Arc::clone(&self.enough), Arc::clone(&self.counted));
        self.threads.push(std::thread::spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                let start = Instant::now();
                step(&counted);
                std::thread::sleep(every.saturating_sub(start.elapsed()));
            }
        }));
    }

    /// The same in a namespace that outlives it.
    fn inside(
        &mut self,
        netns: &PrivateNetns,
        every: Duration,
        step: impl FnMut(&Counted) + Send + 'static,
    ) {
        // What a thread starts is in the thread's namespace.
        netns.run(|| self.repeat(every, step));
    }

    /// The same in a namespace that lives as long as it.
    fn inside_of(
        &mut self,
        netns: PrivateNetns,
        every: Duration,
        mut step: impl FnMut(&Counted) + Send + 'static,
    ) {
        let (enough, counted) = (Arc::clone(&self.enough), Arc::clone(&self.counted));
        self.threads.push(std::thread::spawn(move || {
            netns.run(|| {
                while !enough.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    step(&counted);
                    std::thread::sleep(every.saturating_sub(start.elapsed()));
                }
            });
        }));
    }

    /// Ends it, and says what was done.
    #[track_caller]
    pub(super) fn end(self) -> Done {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let counted = &self.counted;
        Done {
            connections: of(&counted.connections),
            elsewhere: of(&counted.elsewhere),
            no_port: of(&counted.no_port),
            namespaces: of(&counted.namespaces),
            processes: of(&counted.processes),
        }
    }
}

/// To the only destination there is, if a port is left.
fn one_connection(listener: &TcpListener, counted: &Counted) {
    let client = match TcpStream::connect((Ipv4Addr::LOCALHOST, 80)) {
        Ok(client) => client,
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            counted.no_port.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Err(error) => panic!("connecting from one of fifty ports: {error}"),
    };
    let (mut server, _) = listener.accept().expect("accepting a connection");
    drop(client);
    server.read_to_end(&mut Vec::new()).expect("reading until the client closes");
    counted.elsewhere.fetch_add(1, Ordering::Relaxed);
}
