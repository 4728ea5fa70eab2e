//! What the kernel itself says about the sockets of a namespace, through `ss`.

use std::collections::BTreeMap;

use crate::netns::PrivateNetns;

/// Sockets by state, under the names the Snapshot uses.
pub type States = BTreeMap<String, u64>;

/// The TCP sockets of a namespace as `ss` counts them, without half-open
/// requests and without timewait mini-sockets of either substate.
pub fn states(netns: &PrivateNetns) -> States {
    let is_full = |line: &&str| {
        let is_mini = line.starts_with("FIN-WAIT-2") && line.contains("timer:(timewait");
        !is_mini && !line.starts_with("TIME-WAIT") && !line.starts_with("SYN-RECV")
    };
    let listed = netns.output("ss", &["-H", "--tcp", "--all", "--numeric", "--options"]);
    counted(listed.lines().filter(is_full))
}

/// All TCP sockets of a namespace as `ss -Htan` lists them.
pub fn all_states(netns: &PrivateNetns) -> States {
    counted(netns.output("ss", &["-Htan"]).lines())
}

fn counted<'a>(lines: impl Iterator<Item = &'a str>) -> States {
    let mut states = States::new();
    for line in lines {
        let state = match line.split_ascii_whitespace().next().expect("ss prints no empty line") {
            "ESTAB" => "ESTABLISHED".to_owned(),
            "UNCONN" => "CLOSE".to_owned(),
            "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
            "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
            other => other.replace('-', "_"),
        };
        *states.entry(state).or_default() += 1;
    }
    states
}
