//! A file that a report or an export is written to, which may be there already.
//!
//! These run as root, and name files in folders where others may write: nothing that somebody else has
//! put there is written through or into, and nobody else may read what is made. Recordings have stricter
//! rules of their own ([`crate::recorder`]).

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Result, anyhow, ensure};
use rustix::{fs::OFlags, process::geteuid};

/// Opens `path` to be written from its beginning.
///
/// A link is followed if it is ours or root's, as `/dev/stdout` is; pipes and devices are there to be
/// written to.
///
/// # Errors
/// It cannot be made or written; it is a link or a file of somebody else's.
pub(super) fn open(path: &Path) -> Result<File> {
    let name = path.display();
    let cannot = |error: io::Error| anyhow!("cannot make {name}: {error}");
    let found = fs::symlink_metadata(path).ok();
    let is_link = found.as_ref().is_some_and(Metadata::is_symlink);
    ensure!(
        !is_link || found.as_ref().is_some_and(is_trusted),
        "{name} is a link of another user's: remove it, or name another file"
    );
    let mut options = OpenOptions::new();
    // Emptied only when it is known whose it is.
    options.write(true).create(true).truncate(false).mode(0o600);
    if !is_link {
        // What is put there between the two looks is not followed either.
        options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
    }
    let file = options.open(path).map_err(cannot)?;
    let made = file.metadata().map_err(cannot)?;
    if made.is_file() {
        ensure!(
            is_trusted(&made),
            "{name} belongs to another user, who could read it: remove it, or name another file"
        );
        file.set_len(0).map_err(cannot)?;
    }
    Ok(file)
}

/// Whether it is ours, or root's.
fn is_trusted(it: &Metadata) -> bool {
    it.uid() == 0 || it.uid() == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::fs::symlink,
    };

    use super::*;

    fn text(path: &Path) -> String {
        let mut text = String::new();
        let read = File::open(path).and_then(|mut it| it.read_to_string(&mut text));
        read.expect("reading it");
        text
    }

    #[test]
    fn what_is_made_is_ours_alone_and_written_from_the_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.html");
        for content in ["a long text", "short"] {
            open(&path).and_then(|mut it| Ok(it.write_all(content.as_bytes())?)).expect("writing");
            assert_eq!(text(&path), content);
        }
        assert_eq!(path.metadata().expect("it is there").mode() & 0o7777, 0o600);
    }

    #[test]
    fn links_of_our_own_are_followed_and_devices_written_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        symlink(&target, &link).expect("a link");
        open(&link).and_then(|mut it| Ok(it.write_all(b"text")?)).expect("writing");
        assert_eq!(text(&target), "text");
        open(Path::new("/dev/null")).expect("a device");
        assert!(open(folder.path()).is_err(), "a folder is no file");
    }
}
