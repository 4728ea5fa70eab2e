//! Files that tests compare their output to; `UPDATE_GOLDEN=1` rewrites them.

use std::{env, fs, path::Path};

/// Compares `seen` to the file at `path`, relative to the crate.
#[track_caller]
pub(crate) fn assert_golden(path: &str, seen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, seen).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert!(
        seen == expected,
        "{} differs; UPDATE_GOLDEN=1 rewrites it\n--- expected\n{expected}\n--- seen\n{seen}",
        path.display()
    );
}
