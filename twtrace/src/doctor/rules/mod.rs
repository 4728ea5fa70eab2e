//! One file per rule: a function of the facts that finds something or nothing.
//!
//! A new rule is a file here and a line in [`RULES`].

mod buckets;
mod challenged;
mod client_closes_first;
mod close_wait;
mod config_files;
mod config_myths;
mod conntrack;
mod cut_by_peers;
mod descriptors;
mod established_grows;
mod fin_wait2;
mod limits;
mod listen_queues;
mod not_inherited;
mod pools;
mod port_search;
mod ports;
mod proxies;
mod resets;
mod sysctls;
#[cfg(test)]
pub(super) mod testing;

use std::cmp::Reverse;

use super::{facts::Facts, finding::Finding};

/// Every rule.
const RULES: [fn(&Facts) -> Vec<Finding>; 20] = [
    ports::find,
    buckets::find,
    client_closes_first::find,
    pools::find,
    port_search::find,
    resets::find,
    cut_by_peers::find,
    challenged::find,
    close_wait::find,
    descriptors::find,
    fin_wait2::find,
    established_grows::find,
    proxies::find,
    listen_queues::find,
    conntrack::find,
    limits::find,
    not_inherited::find,
    sysctls::find,
    config_files::find,
    config_myths::find,
];

/// Everything that rules find, the worst first.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = RULES.iter().flat_map(|rule| rule(facts)).collect();
    found.sort_by_key(|it| Reverse(it.severity));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_wrong_nothing_is_found() {
        assert_eq!(findings(&testing::healthy()), []);
    }
}
