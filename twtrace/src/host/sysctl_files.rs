//! Settings in the files that are applied at boot:
//! [sysctl.d(5)](https://man7.org/linux/man-pages/man5/sysctl.d.5.html).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A line of a file that sets something about TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysctlLine {
    /// The file and the number of the line.
    pub place: String,
    /// As in `net.ipv4.tcp_tw_reuse`.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether no later line sets it again.
    pub counts: bool,
}

/// Of files with the same name the first counts.
const FOLDERS: [&str; 4] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];
/// Applied after all others.
const LAST: &str = "/etc/sysctl.conf";
/// What TCP is about.
const SUBJECT: [&str; 5] = [
    "net.ipv4.tcp_",
    "net.ipv4.ip_local_",
    "net.core.somaxconn",
    "net.core.netdev_max_backlog",
    "net.netfilter.nf_conntrack_",
];

/// The settings of all files, in the order in which they are applied.
///
/// # Errors
/// A file or a folder that is there cannot be read.
pub fn sysctl_files() -> Result<Vec<SysctlLine>> {
    let mut lines = Vec::new();
    for path in paths()? {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // It may be a link to nothing, or to a file that was applied already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        };
        lines.extend(parse_sysctl_file(&path, &text));
    }
    Ok(last_counts(lines))
}

/// In order of their names, whatever the folder.
fn paths() -> Result<Vec<PathBuf>> {
    let mut by_name = BTreeMap::new();
    for folder in FOLDERS {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(format!("cannot list {folder}")),
        };
        for entry in entries {
            let path = entry.with_context(|| format!("cannot list {folder}"))?.path();
            let name = path.file_name().map(std::ffi::OsStr::to_owned);
            if let Some(name) = name.filter(|_| path.extension().is_some_and(|it| it == "conf")) {
                by_name.entry(name).or_insert(path);
            }
        }
    }
    let is_last = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|it| it == Path::new(LAST));
    let mut paths: Vec<PathBuf> = by_name.into_values().filter(|path| !is_last(path)).collect();
    paths.push(LAST.into());
    Ok(paths)
}

/// The lines about TCP of the file `path`, as if none were set again.
pub fn parse_sysctl_file(path: &Path, text: &str) -> Vec<SysctlLine> {
    let line = |(index, line): (usize, &str)| {
        let (name, value) = setting(line)?;
        let place = format!("{}:{}", path.display(), index + 1);
        SUBJECT.iter().any(|subject| name.starts_with(subject)).then_some(SysctlLine {
            place,
            name,
            value,
            counts: true,
        })
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// `name = value`; a `-` before it lets it fail. The separator that comes first in the name is
/// that between its parts.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let name = name.trim().trim_start_matches('-');
    let is_path = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/'));
    let name = if is_path { name.replace('/', ".") } else { name.to_owned() };
    Some((name, value.trim().to_owned()))
}

/// Marks those that a later one sets again.
pub fn last_counts(mut lines: Vec<SysctlLine>) -> Vec<SysctlLine> {
    let names: Vec<String> = lines.iter().map(|line| line.name.clone()).collect();
    for (index, line) in lines.iter_mut().enumerate() {
        line.counts = !names[index + 1..].contains(&line.name);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_sysctl_reads_them() {
        let text = "# net.ipv4.tcp_a = 1\n; x=1\n\nnet.ipv4.tcp_tw_reuse=1\n\
                    -net/ipv4/tcp_fin_timeout = 15 \nkernel.pid_max = 7\nnonsense\n\
                    net.ipv4.ip_local_port_range = 1024 65535\nnet.ipv4.tcp_tw_reuse = 0\n";
        let lines = last_counts(parse_sysctl_file(Path::new("/etc/sysctl.conf"), text));
        let seen: Vec<_> = lines
            .iter()
            .map(|it| (it.place.as_str(), it.name.as_str(), it.value.as_str(), it.counts))
            .collect();
        let wanted = [
            ("/etc/sysctl.conf:4", "net.ipv4.tcp_tw_reuse", "1", false),
            ("/etc/sysctl.conf:5", "net.ipv4.tcp_fin_timeout", "15", true),
            ("/etc/sysctl.conf:8", "net.ipv4.ip_local_port_range", "1024 65535", true),
            ("/etc/sysctl.conf:9", "net.ipv4.tcp_tw_reuse", "0", true),
        ];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn the_files_of_this_host_can_be_read() {
        let lines = sysctl_files().unwrap();
        assert!(lines.iter().all(|it| it.name.starts_with("net.") && it.place.contains(':')));
    }
}
