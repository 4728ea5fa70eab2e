//! One end of the tests' connections, or both, as a process of its own.
//!
//! `server TRAFFIC` prints its port, serves, and prints what it did;
//! `client PORT TRAFFIC` connects, and prints what it did;
//! `hold PORT N` opens N connections, prints `ready`, and closes them when
//! its input ends;
//! `leak` prints its port, accepts, reads until the peer has closed, and never closes;
//! `churn TRAFFIC` is both ends, prints connections, seconds and connections
//! per second, and stays until its input ends: with it stays a namespace that
//! was made for it, and the TIME_WAIT sockets in there;
//! `search` is both ends too, prints `ready`, and does what each line of its input
//! says: `fill N` leaves N more ports in TIME_WAIT and prints `filled`, and
//! `measure SECONDS CPU_SECONDS` connects so long and prints what that took.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use twtrace_tests::searching::{Limits, Searcher};
use twtrace_tests::traffic::{EndDone, Family, Traffic};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["server", traffic] => server(&traffic.parse().expect("a traffic description")),
        ["client", port, traffic] => {
            let traffic: Traffic = traffic.parse().expect("a traffic description");
            traffic.connect(port.parse().expect("a port"))
        }
        ["hold", port, connections] => hold(
            port.parse().expect("a port"),
            connections.parse().expect("a number of connections"),
        ),
        ["leak"] => return leak(),
        ["churn", traffic] => return churn(&traffic.parse().expect("a traffic description")),
        ["search"] => return search(),
        _ => panic!(
            "server TRAFFIC | client PORT TRAFFIC | hold PORT N | leak | churn TRAFFIC | search"
        ),
    };
    println!("{done}");
}

fn server(traffic: &Traffic) -> EndDone {
    let listener = traffic.family.listen();
    println!("{}", listener.local_addr().expect("a bound socket has an address").port());
    traffic.serve(&listener)
}

fn hold(port: u16, connections: u64) -> EndDone {
    let streams: Vec<TcpStream> = (0..connections)
        .map(|_| {
            let mut stream =
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connecting to hold");
            stream.write_all(b"x").expect("sending a byte");
            stream.read_exact(&mut [0]).expect("reading a byte");
            stream
        })
        .collect();
    println!("ready");
    wait_for_end_of_input();
    drop(streams);
    EndDone { connections, closed_first: connections, ..EndDone::default() }
}

fn leak() {
    let listener = Family::V4.listen();
    println!("{}", listener.local_addr().expect("a bound socket has an address").port());
    let mut leaked = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.expect("accepting a connection");
        stream.read_to_end(&mut Vec::new()).expect("reading until the peer closes");
        leaked.push(stream);
    }
}

fn churn(traffic: &Traffic) {
    let done = traffic.run();
    let (connections, seconds) = (done.client.connections, done.elapsed.as_secs_f64());
    println!("{connections} {seconds} {}", connections as f64 / seconds);
    wait_for_end_of_input();
}

fn search() {
    let searcher = Searcher::start();
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.expect("reading what to do");
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["fill", connections] => {
                searcher.fill(connections.parse().expect("a number of connections"));
                println!("filled");
            }
            ["measure", elapsed, cpu] => {
                let limits = Limits { elapsed: seconds(elapsed), cpu: seconds(cpu) };
                println!("{}", searcher.measure(limits));
            }
            _ => panic!("fill N | measure SECONDS CPU_SECONDS"),
        }
    }
}

fn seconds(word: &str) -> Duration {
    Duration::from_secs_f64(word.parse().expect("a number of seconds"))
}

fn wait_for_end_of_input() {
    std::io::stdin().read_to_end(&mut Vec::new()).expect("waiting for the end of input");
}
