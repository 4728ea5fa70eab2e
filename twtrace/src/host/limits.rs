//! Limits of our own process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of files this process may open from the soft limit, often
/// 1,024, to the hard one: each network namespace is a file while it is looked at.
///
/// Where that is forbidden the soft limit stays, and listing namespaces says so.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(errno) = setrlimit(Resource::Nofile, raised) {
        log::debug!("the limit on open files stays: {errno}");
    }
}
