//! What the kernel itself says about the sockets of a namespace, through `ss`.

use std::collections::BTreeMap;

use crate::netns::PrivateNetns;

/// Sockets by state, under the names the Snapshot uses.
pub type States = BTreeMap<String, u64>;

/// The TCP sockets of a namespace as `ss` counts them, without half-open
/// requests and without timewait mini-sockets of either substate.
pub fn states(netns: &PrivateNetns) -> States {
    let mut states = States::new();
    for line in
        netns.output("ss", &["--tcp", "--all", "--numeric", "--options", "--no-header"]).lines()
    {
        let state = match line.split_ascii_whitespace().next().expect("ss prints no empty line") {
            "ESTAB" => "ESTABLISHED".to_owned(),
            "UNCONN" => "CLOSE".to_owned(),
            "TIME-WAIT" | "SYN-RECV" => continue,
            "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
            "FIN-WAIT-2" if line.contains("timer:(timewait") => continue,
            "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
            other => other.replace('-', "_"),
        };
        *states.entry(state).or_default() += 1;
    }
    states
}
