//! Copies of programs for tests that run as other users: what is built belongs to one alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory where every user can run the copy of a program, or write.
pub struct Shared {
    directory: tempfile::TempDir,
}

impl Shared {
    /// With a copy of `program`, by its name.
    pub fn new(program: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory for a copy");
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), open).expect("opening the directory to all");
        let name = program.file_name().expect("a program has a name");
        fs::copy(program, directory.path().join(name)).expect("copying a program");
        Self { directory }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
