//! Who runs this.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Whether the process may load BPF programs and make network namespaces: the owner of its
/// entry in /proc is the effective user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
