//! Ends of connections that are processes of their own: the helper program
//! `twtrace-peer` and its handle.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::netns::PrivateNetns;
use crate::tool::helper;
use crate::traffic::{EndDone, Traffic};

/// A running helper process; killed when dropped.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Peer {
    /// The helper program, which cargo builds along with the tests.
    pub fn program() -> PathBuf {
        helper("twtrace-peer")
    }

    /// Starts a server of `traffic`; returns it with the port it listens on.
    pub fn server(netns: &PrivateNetns, traffic: &Traffic) -> (Self, u16) {
        let mut peer = Self::start(netns, Self::program(), &["server", &traffic.to_string()]);
        let port = peer.line().parse().expect("the server prints its port");
        (peer, port)
    }

    /// Starts a client of `traffic`.
    pub fn client(netns: &PrivateNetns, port: u16, traffic: &Traffic) -> Self {
        Self::client_named(netns, Self::program(), port, traffic)
    }

    /// Starts a client of `traffic` under another name: `program` is a link to
    /// [`Self::program`], and the kernel calls the process by the link's name.
    pub fn client_named(
        netns: &PrivateNetns,
        program: PathBuf,
        port: u16,
        traffic: &Traffic,
    ) -> Self {
        Self::start(netns, program, &["client", &port.to_string(), &traffic.to_string()])
    }

    /// Starts a client that opens `connections`, exchanges a byte on each, and
    /// holds them. It is ready when this returns, so its server must run already.
    pub fn holder(netns: &PrivateNetns, port: u16, connections: usize) -> Self {
        let args = ["hold", &port.to_string(), &connections.to_string()];
        let mut peer = Self::start(netns, Self::program(), &args);
        assert_eq!(peer.line(), "ready", "the helper opens {connections} connections");
        peer
    }

    /// Starts a server that accepts and never closes; returns it with its port.
    pub fn leaking(netns: &PrivateNetns, program: PathBuf) -> (Self, u16) {
        let mut peer = Self::start(netns, program, &["leak"]);
        let port = peer.line().parse().expect("the server prints its port");
        (peer, port)
    }

    fn start(netns: &PrivateNetns, program: PathBuf, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = netns.spawn(&mut command);
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, stdin, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("reading from a helper process");
        line.trim_end().to_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has done its part, and returns what it did.
    pub fn finish(mut self) -> EndDone {
        drop(self.stdin.take());
        let done = self.line().parse().expect("the helper prints what it did");
        let status = self.child.wait().expect("waiting for a helper process");
        assert!(status.success(), "the helper process failed, {status}");
        done
    }

    /// Ends it by SIGKILL, with whatever it has open.
    pub fn kill(mut self) {
        self.child.kill().expect("killing a helper process");
        self.child.wait().expect("waiting for a killed helper process");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
