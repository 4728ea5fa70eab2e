//! What `twtrace serve` costs: on a quiet host, with a thousand connections a second, and a
//! scrape with half a million TIME_WAIT sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::binaries::Binaries;
use super::churn::Churn;
use super::number::{grouped, median};
use super::process;

/// Attaching may take this long.
const LIMIT: Duration = Duration::from_secs(30);
/// What the last load left behind has come to rest by then.
const SETTLE: Duration = Duration::from_secs(3);
/// Scrapes are so far apart: each is the first of its snapshot, and has to be written.
const APART: Duration = Duration::from_millis(1_100);
/// Connections a second.
const RATE: u64 = 1_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// How long the CPU is looked at, in seconds
    seconds: u32,
    /// TIME_WAIT sockets
    sockets: u64,
    /// How often they are scraped
    scrapes: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Serve {
    /// CPU on a quiet host, as a share of a core in percent
    pub(super) quiet_pct: f64,
    /// Memory in RAM on a quiet host, in bytes
    pub(super) quiet_rss: u64,
    /// CPU with a thousand connections a second, likewise
    pub(super) busy_pct: f64,
    /// TIME_WAIT sockets that were scraped
    pub(super) time_wait: u64,
    /// Those that were wanted
    pub(super) wanted: u64,
    /// What scrapes of them took, in milliseconds
    pub(super) scrapes_ms: Vec<f64>,
    /// What each tells
    pub(super) series: u64,
    /// And how long that is, in bytes
    pub(super) bytes: u64,
    /// Memory in RAM then
    pub(super) rss: u64,
}

impl Scale {
    /// As many TIME_WAIT sockets as the target names.
    pub(super) const FULL: Self = Self { seconds: 20, sockets: 500_000, scrapes: 10 };
    /// For a look.
    pub(super) const QUICK: Self = Self { seconds: 5, sockets: 100_000, scrapes: 3 };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Serve> {
        eprintln!("serve: quiet");
        let server = Server::start(&binaries.twtrace)?;
        thread::sleep(SETTLE);
        let quiet_pct = server.cpu_pct(|| {
            thread::sleep(Duration::from_secs(u64::from(self.seconds)));
            Ok(())
        })?;
        let quiet_rss = process::rss(server.child.id())?;
        eprintln!("serve: {} connections a second", grouped(RATE));
        let busy_pct = server.cpu_pct(|| self.connections(binaries))?;
        drop(server);
        self.scraped(binaries, quiet_pct, quiet_rss, busy_pct)
    }

    /// So many each second, one burst after the other.
    fn connections(self, binaries: &Binaries) -> Result<()> {
        let churn = Churn::of(RATE, 1);
        let (begun, mut held) = (Instant::now(), Vec::new());
        for second in 0..self.seconds {
            let due = begun + Duration::from_secs(u64::from(second));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            held.push(churn.run(&binaries.peer)?);
        }
        let due = begun + Duration::from_secs(u64::from(self.seconds));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        Ok(())
    }

    fn scraped(
        self,
        binaries: &Binaries,
        quiet_pct: f64,
        quiet_rss: u64,
        busy_pct: f64,
    ) -> Result<Serve> {
        eprintln!("serve: making {} TIME_WAIT sockets", grouped(self.sockets));
        let server = Server::start(&binaries.twtrace)?;
        let churn = Churn::of(self.sockets, 2);
        let held = churn.run(&binaries.peer)?;
        thread::sleep(SETTLE);
        let time_wait = held.time_wait()?;
        let (mut scrapes_ms, mut last) = (Vec::new(), String::new());
        for _ in 0..self.scrapes {
            thread::sleep(APART);
            let begun = Instant::now();
            last = server.get("/metrics").context("no answer to a scrape")?;
            scrapes_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let series = last.lines().filter(|line| !line.starts_with('#')).count() as u64;
        let rss = process::rss(server.child.id())?;
        drop(server);
        held.release()?;
        Ok(Serve {
            quiet_pct,
            quiet_rss,
            busy_pct,
            time_wait,
            wanted: self.sockets,
            scrapes_ms,
            series,
            bytes: last.len() as u64,
            rss,
        })
    }
}

impl Serve {
    /// What a scrape takes in the median.
    pub(super) fn scrape_ms(&self) -> Option<f64> {
        median(self.scrapes_ms.iter().copied())
    }
}

/// `twtrace serve`, that is ready.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(twtrace: &Path) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let address = listener.local_addr().context("no free port")?;
        drop(listener);
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(twtrace)
            .args(["serve", "--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start setpriv of util-linux")?;
        let server = Self { child, address };
        let begun = Instant::now();
        while server.get("/readyz").is_none() {
            if begun.elapsed() > LIMIT {
                bail!("twtrace serve is not ready");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// What it answers, if that is 200.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let accept = "application/openmetrics-text;version=1.0.0";
        write!(stream, "GET {path} HTTP/1.0\r\nAccept: {accept}\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.0 200").then(|| body.to_owned())
    }

    /// CPU that it takes while `load` runs, as a share of a core in percent.
    fn cpu_pct(&self, load: impl FnOnce() -> Result<()>) -> Result<f64> {
        let (begun, before) = (Instant::now(), process::cpu_ns(self.child.id())?);
        load()?;
        let took_ns = process::cpu_ns(self.child.id())?.saturating_sub(before);
        Ok(took_ns as f64 / begun.elapsed().as_nanos() as f64 * 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Good figures.
    pub(in super::super) fn serve() -> Serve {
        Serve {
            quiet_pct: 0.2,
            quiet_rss: 57_000_000,
            busy_pct: 0.8,
            time_wait: 499_990,
            wanted: 500_000,
            scrapes_ms: vec![1.0, 3.0, 2.0],
            series: 240,
            bytes: 15_000,
            rss: 100_000_000,
        }
    }

    #[test]
    fn the_median_scrape_counts() {
        assert_eq!(serve().scrape_ms(), Some(2.0));
    }
}
