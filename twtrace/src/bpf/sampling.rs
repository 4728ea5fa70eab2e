//! Which kernel functions tell what a CPU sample met, and where.

use twtrace_common::{Doing, SAMPLED_CODES, SampledCode};

use crate::host::Symbols;

/// All that is called in a search lies between one of these and the sample. A part that
/// the compiler split off has the name with a suffix and counts as well.
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c>
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c>
///
/// Softirqs, which may interrupt a search, have one way in
/// ([`handle_softirqs`](https://github.com/torvalds/linux/blob/v6.12/kernel/softirq.c#L500-L580),
/// before 6.9 a part of `__do_softirq`).
const FUNCTIONS: [(&str, Doing); 6] = [
    ("__inet_hash_connect", Doing::Connect),
    ("inet_hash_connect", Doing::Connect),
    ("inet6_hash_connect", Doing::Connect),
    ("inet_csk_get_port", Doing::Bind),
    ("handle_softirqs", Doing::Softirq),
    ("__do_softirq", Doing::Softirq),
];

/// What is to be looked up.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}

/// The code by which the programs judge a sample; unused slots are empty.
pub(super) fn sampled(symbols: &Symbols) -> [SampledCode; SAMPLED_CODES] {
    let mut found = FUNCTIONS.iter().flat_map(|&(name, doing)| {
        let code = symbols.code(name).unwrap_or_default();
        code.iter().map(move |range| SampledCode { start: range.start, end: range.end, doing })
    });
    std::array::from_fn(|_| found.next().unwrap_or(SampledCode::UNUSED))
}
