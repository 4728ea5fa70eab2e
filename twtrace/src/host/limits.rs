//! Limits of our own process.

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of files this process may open from the soft limit, often
/// 1,024, to the hard one: each network namespace is a file while it is looked at.
///
/// Where that is forbidden the soft limit stays, and listing namespaces says so.
/// Returns what it was; `None` if there was none.
pub fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(errno) = setrlimit(Resource::Nofile, raised) {
        log::debug!("the limit on open files stays: {errno}");
    }
    limit.current
}

/// What tracing has open: programs, maps, hooks and links are some sixty, and a helper and who asks over
/// HTTP take more for a moment.
const NEEDED: u64 = 96;

/// Makes sure that programs and hooks have room: where they have not, what is missing would be told as if
/// the kernel had refused it.
///
/// # Errors
/// The limit, which [`raise_file_limit`] has raised, is too low.
pub fn require_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    ensure!(
        limit >= NEEDED,
        "no more than {limit} files may be open, and tracing needs {NEEDED}: raise the limit \
         (ulimit -Hn, LimitNOFILE= of the unit)"
    );
    Ok(())
}

/// Sets the soft limit to what it was before it was raised: programs that we start
/// may not be made for more files.
pub fn limit_files(to: u64) {
    let limit = Rlimit { current: Some(to), ..getrlimit(Resource::Nofile) };
    if let Err(errno) = setrlimit(Resource::Nofile, limit) {
        log::debug!("the limit on open files stays: {errno}");
    }
}
