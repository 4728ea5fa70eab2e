//! The root of the cgroup v2 hierarchy, where a program that is attached
//! sees the whole host.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::cgroups::{Mount, parse_mounts};

/// `CGROUP2_SUPER_MAGIC`, the file system of the v2 hierarchy; those of v1 have another:
/// [`magic.h`](https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/magic.h).
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// The inode of the root of any cgroup hierarchy, and of no other cgroup
/// ([`cgroup_setup_root`](https://github.com/torvalds/linux/blob/v6.12/kernel/cgroup/cgroup.c)
/// warns if it is not).
const ROOT_INODE: u64 = 1;

/// Where the root of the whole cgroup v2 hierarchy is mounted.
///
/// What mountinfo calls `/` is not enough: a hierarchy that is mounted inside
/// a cgroup namespace has that namespace's cgroup at its mount point. A mount
/// that was made outside shows the root even in such a namespace.
///
/// # Errors
/// If the v2 hierarchy is not mounted, or only a part of it can be seen.
pub fn cgroup_v2_root() -> Result<PathBuf> {
    let table = fs::read("/proc/self/mountinfo")
        .context("cannot read /proc/self/mountinfo: mount /proc")?;
    choose(parse_mounts(&String::from_utf8_lossy(&table)), is_root)
}

/// The first mount whose directory `is_root`.
fn choose(
    mounts: Vec<Mount>,
    is_root: impl Fn(&Path) -> rustix::io::Result<bool>,
) -> Result<PathBuf> {
    let Some(first) = mounts.first().map(|mount| mount.point.clone()) else {
        bail!(
            "cgroup v2 is not mounted: `mount -t cgroup2 none /sys/fs/cgroup/unified`; under \
             `ip netns exec`, which hides it, run outside with --netns NAME instead"
        );
    };
    let mut forbidden = None;
    for Mount { point, .. } in mounts {
        match is_root(&point) {
            Ok(true) => return Ok(point),
            Ok(false) => {}
            Err(errno) => forbidden = Some((point, errno)),
        }
    }
    if let Some((point, errno)) = forbidden {
        return Err(errno).with_context(|| format!("cannot look at {}", point.display()));
    }
    bail!(
        "only a part of cgroup v2 can be seen, at {}: run in the host's cgroup namespace \
         (docker run --cgroupns=host) with the host's mount of it",
        first.display()
    );
}

/// Another file system may be mounted above, so the inode alone tells nothing:
/// the roots of v1 hierarchies and of tmpfs have the same.
fn is_root(point: &Path) -> rustix::io::Result<bool> {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "f_type and st_ino have other widths on other architectures"
    )]
    let (magic, inode) =
        (rustix::fs::statfs(point)?.f_type as u64, rustix::fs::stat(point)?.st_ino as u64);
    Ok(magic == CGROUP2_SUPER_MAGIC && inode == ROOT_INODE)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    /// Of a hybrid host whose v2 hierarchy has a part bind-mounted elsewhere.
    const MOUNTINFO: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
65 44 0:38 /twtrace-test /tmp/part rw,relatime - cgroup2 cgroup2 rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    /// Inside a cgroup namespace: an old mount, of the root, and a new one, of
    /// the namespace's cgroup.
    const NAMESPACE: &str = "\
65 44 0:38 / /tmp/cgroup rw,relatime - cgroup2 none rw
58 48 0:38 /.. /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn chosen(table: &str, root: &str) -> Result<PathBuf> {
        choose(parse_mounts(table), |point| Ok(point == Path::new(root)))
    }

    #[test]
    fn the_root_is_chosen_whatever_the_table_calls_it() {
        for table in [MOUNTINFO, NAMESPACE] {
            let root = "/sys/fs/cgroup/unified";
            assert_eq!(chosen(table, root).unwrap(), Path::new(root));
        }
    }

    #[test]
    fn each_error_names_its_fix() {
        let (v1, _) = MOUNTINFO.split_once("65 ").unwrap();
        let none = chosen(v1, "/").unwrap_err().to_string();
        assert!(none.contains("mount -t cgroup2 none /sys/fs/cgroup/unified"), "{none}");
        let part = chosen(NAMESPACE, "/elsewhere").unwrap_err().to_string();
        assert!(part.contains("/tmp/cgroup") && part.contains("cgroup namespace"), "{part}");
        let forbidden = choose(parse_mounts(NAMESPACE), |_| Err(Errno::ACCESS)).unwrap_err();
        assert!(forbidden.to_string().starts_with("cannot look at /"), "{forbidden}");
    }

    #[test]
    fn no_other_file_system_has_the_root() {
        for point in ["/", "/proc", "/sys"] {
            assert_eq!(is_root(Path::new(point)), Ok(false), "{point}");
        }
        assert_eq!(is_root(Path::new("/does/not/exist")), Err(Errno::NOENT));
    }

    /// In a container there may be none, and then the error has its fix.
    #[test]
    fn the_root_of_this_host() {
        match cgroup_v2_root() {
            Ok(root) => assert!(root.join("cgroup.procs").exists(), "{}", root.display()),
            Err(error) => assert!(format!("{error:#}").contains("cgroup"), "{error:#}"),
        }
    }
}
