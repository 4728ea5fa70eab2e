//! The scenes: a function each, and a row for each case that plays it.

mod closes;
mod connects;
mod ends;
mod searches;

use anyhow::Result;

use super::{
    connection::Family::{self, DualStack, Mapped, V4, V6},
    scene::Scene,
};

/// One case.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Its name in the output.
    pub(super) name: &'static str,
    /// What is played.
    pub(super) play: fn(&mut Scene) -> Result<()>,
    /// With which addresses.
    pub(super) family: Family,
    /// Whether it takes a minute.
    pub(super) slow: bool,
    /// Whether its network namespace goes when it has been played.
    pub(super) leaves: bool,
}

const fn quick(name: &'static str, family: Family, play: fn(&mut Scene) -> Result<()>) -> Row {
    Row { name, play, family, slow: false, leaves: false }
}

const fn slow(name: &'static str, family: Family, play: fn(&mut Scene) -> Result<()>) -> Row {
    Row { slow: true, ..quick(name, family, play) }
}

/// Every case, in the order of the output.
pub(super) const ROWS: &[Row] = &[
    quick("closed_by_client", V4, closes::by_client),
    quick("closed_by_client_v6", V6, closes::by_client),
    quick("closed_by_client_mapped", Mapped, closes::by_client),
    quick("closed_by_client_dual_stack", DualStack, closes::by_client),
    quick("closed_by_server", V4, closes::by_server),
    quick("closed_by_server_v6", V6, closes::by_server),
    quick("simultaneous", V4, closes::simultaneous),
    quick("linger_zero", V4, closes::cut_with_linger),
    quick("unread_data", V4, closes::cut_with_unread_data),
    quick("listener_closed", V4, closes::unaccepted),
    quick("process_killed", V4, closes::process_killed),
    quick("process_exited", V4, closes::process_exited),
    quick("refused", V4, closes::refused_a_mini),
    quick("fin_wait2_to_time_wait", V4, closes::by_client_alone),
    quick("fin_wait2_to_time_wait_v6", V6, closes::by_client_alone),
    slow("expired", V4, ends::expired),
    slow("expired_v6", V6, ends::expired),
    slow("expired_after_fin_wait2", V4, ends::expired_out_of_fin_wait2),
    quick("fin_wait2_timeout", V4, ends::fin_wait2_timeout),
    quick("rearmed", V4, ends::rearmed),
    quick("reused", V4, ends::reused),
    quick("reused_v6", V6, ends::reused),
    quick("reused_bound", V4, ends::reused_bound),
    quick("reused_bound_mapped", Mapped, ends::reused_bound),
    quick("replaced", V4, ends::replaced),
    quick("replaced_v6", V6, ends::replaced),
    quick("reset", V4, ends::reset_in_time_wait),
    quick("reset_in_fin_wait2", V4, ends::reset_in_fin_wait2),
    quick("rejected", V4, ends::rejected),
    quick("aborted", V4, ends::aborted),
    quick("aborted_v6", V6, ends::aborted),
    Row { leaves: true, ..quick("purged", V4, ends::purged) },
    quick("connect_refused", V4, connects::refused),
    quick("connect_no_port", V4, connects::no_port),
    quick("connect_timed_out", V4, connects::timed_out),
    quick("connect_given_up", V4, connects::given_up),
    quick("bind_search", V4, searches::found),
    quick("bind_search_v6", V6, searches::found),
    quick("bind_failed", V4, searches::failed),
    quick("search_by_call", V4, searches::by_call),
    quick("search_by_call_v6", V6, searches::by_call),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
