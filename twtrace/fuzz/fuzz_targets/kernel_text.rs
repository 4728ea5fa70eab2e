//! Files of /proc, /sys and sysctl.d, whatever is in them.
//!
//! The first byte says which file it is, the rest is its text; where several are read together, a
//! NUL is between them.
#![no_main]

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use libfuzzer_sys::fuzz_target;
use twtrace::host::{container_id, kernel_version, parsers};

/// In the order of the first byte of seeds, from `a` on.
const FILES: [fn(&str); 12] = [
    counters,
    conntrack,
    limits,
    status,
    slabs,
    softnet,
    mountinfo,
    stat,
    cgroup,
    settings,
    sysctl_file,
    kallsyms,
];

fuzz_target!(|data: &[u8]| {
    let &[which, ref bytes @ ..] = data else { return };
    // So whoever reads files does it, too.
    let text = String::from_utf8_lossy(bytes);
    let file = usize::from(which.wrapping_sub(b'a')) % FILES.len();
    FILES[file](&text);
    small(&text);
    if file == 7 {
        start_ticks(bytes);
    }
});

/// The texts, of which there are always so many.
fn texts<const N: usize>(text: &str) -> [&str; N] {
    let mut parts = text.split('\0');
    [(); N].map(|()| parts.next().unwrap_or_default())
}

fn counters(text: &str) {
    let [sockstat, netstat, snmp] = texts(text);
    let Ok(counters) = parsers::counters(1, sockstat, netstat, snmp) else { return };
    let line = |section: &str| {
        let (names, values): (Vec<_>, Vec<_>) =
            counters.iter().map(|(name, value)| (name, value.to_string())).unzip();
        format!("{section} {}\n{section} {}\n", names.join(" "), values.join(" "))
    };
    let tw = counters.tw_sockets.map(|tw| format!("TCP: tw {tw}\n")).unwrap_or_default();
    let again = parsers::counters(1, &tw, &line("TcpExt:"), &line("Tcp:"));
    assert_eq!(again.expect("it was written so"), counters);
    for (name, value) in counters.iter() {
        assert_eq!(counters.get(name), Some(value));
    }
}

fn conntrack(text: &str) {
    let [count, max, statistics] = texts(text);
    let Ok(told) = parsers::conntrack(count, max, statistics) else { return };
    let columns = statistics.lines().next().unwrap_or_default().split_ascii_whitespace().count();
    let one_more = format!("{}\n{}\n", statistics.trim_end_matches('\n'), "0 ".repeat(columns));
    let again = parsers::conntrack(count, max, &one_more);
    assert_eq!(again.expect("a processor more"), told, "one that has seen nothing");
}

fn limits(text: &str) {
    let Some((soft, hard)) = parsers::limits(text) else { return };
    let hard_text = hard.map_or_else(|| "unlimited".to_owned(), |hard| hard.to_string());
    let again = parsers::limits(&format!("Max open files {soft} {hard_text} files\n"));
    assert_eq!(again, Some((soft, hard)));
}

fn status(text: &str) {
    if let Some(mask) = parsers::capabilities(text) {
        assert_eq!(parsers::capabilities(&format!("CapEff:\t{:016x}\n", mask.0)), Some(mask));
    }
    if let Some(mode) = parsers::lockdown(text) {
        assert!(text.contains(&format!("[{mode}]")), "{mode}");
    }
}

fn slabs(text: &str) {
    for name in parsers::slabs(text).keys() {
        assert!(
            text.contains(name.as_str()) && !name.contains(|c: char| c.is_ascii_whitespace()),
            "{name}"
        );
    }
    let numbers = parsers::numbers(text);
    let again: Vec<String> = numbers.iter().map(u64::to_string).collect();
    assert_eq!(parsers::numbers(&again.join("\t")), numbers);
}

fn softnet(text: &str) {
    let Ok(once) = parsers::softnet(text) else { return };
    let Ok(twice) = parsers::softnet(&format!("{}\n{text}", text.trim_end_matches('\n'))) else {
        assert!(once.dropped.max(once.squeezed) > u64::MAX / 2 || !text.contains(' '));
        return;
    };
    assert!(twice.dropped >= once.dropped && twice.squeezed >= once.squeezed);
}

fn mountinfo(text: &str) {
    let namespaces = parsers::mounted_namespaces(text);
    let inodes: BTreeMap<u32, &Path> =
        namespaces.iter().map(|(inode, path)| (*inode, path.as_path())).collect();
    assert_eq!(inodes.len(), namespaces.len(), "each once");
    let mounts = parsers::cgroup_mounts(text);
    assert!(mounts.is_sorted_by_key(|mount| mount.root.len()), "{mounts:?}");
    assert!(mounts.iter().all(|mount| mount.root.is_empty() || mount.root != "/"));
    if let Some(hidepid) = parsers::hidepid(text) {
        assert!(hidepid.starts_with("hidepid=") && hidepid != "hidepid=0", "{hidepid}");
    }
    let plain = parsers::unescape_mount(text);
    assert!(plain.len() <= text.len(), "{plain}");
}

/// A name has no influence on what comes after it.
fn stat(text: &str) {
    let named = |name: &str| {
        let after = text.rsplit_once(')').map_or("", |(_, after)| after);
        parsers::start_ticks(format!("1 ({name}){after}").as_bytes())
    };
    assert_eq!(named("a"), named(") S 1 2 ("));
}

fn start_ticks(bytes: &[u8]) {
    let with_more = [b"1 (x) ", bytes].concat();
    if bytes.contains(&b')') {
        assert_eq!(parsers::start_ticks(&with_more), parsers::start_ticks(bytes));
    }
}

fn cgroup(text: &str) {
    if let Some(path) = parsers::cgroup(text) {
        assert!(path.starts_with('/') && text.contains(path), "{path}");
    }
    if let Some(path) = parsers::cgroup_v2(text) {
        assert!(text.contains(&format!("0::{path}")), "{path}");
    }
    if let Some(id) = container_id(text) {
        assert!(id.len() == 64 && text.contains(id), "{id}");
        assert_eq!(container_id(&format!("/docker/{id}")), Some(id));
    }
}

/// Lines of name and value, as they are remembered.
fn settings(text: &str) {
    let line = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.trim_end().to_owned()))
    };
    let values: BTreeMap<String, String> = text.lines().filter_map(line).collect();
    let facts = parsers::port_facts(1, &values);
    if let Some(range) = facts.range {
        assert!(range.low <= range.high, "{range:?}");
    }
    // Written as the kernel writes it, it means the same.
    let mut again = values;
    let reserved: Vec<String> =
        facts.reserved.iter().map(|range| format!("{}-{}", range.low, range.high)).collect();
    again.insert("net.ipv4.ip_local_reserved_ports".to_owned(), reserved.join(","));
    assert_eq!(parsers::port_facts(1, &again), facts);
}

fn sysctl_file(text: &str) {
    let lines = parsers::last_counts(parsers::sysctl_file(Path::new("/etc/sysctl.conf"), text));
    let mut last = BTreeMap::new();
    for line in &lines {
        assert!(line.name.starts_with("net."), "{line:?}");
        last.insert(line.name.as_str(), line.place.as_str());
        let written = format!("{} = {}", line.name, line.value);
        let again = parsers::sysctl_file(Path::new("x"), &written);
        let again = again.first().expect("it is about TCP");
        assert_eq!((&again.name, &again.value), (&line.name, &line.value), "{written}");
    }
    let counting: BTreeMap<&str, &str> = lines
        .iter()
        .filter(|line| line.counts)
        .map(|line| (line.name.as_str(), line.place.as_str()))
        .collect();
    assert_eq!(counting, last, "the last of each name counts");
    assert_eq!(lines.iter().filter(|line| line.counts).count(), last.len());
}

fn kallsyms(text: &str) {
    let names = ["inet_twsk_kill", "tcp_close", "tcp_set_state"];
    let symbols = parsers::symbols(text.as_bytes(), &names).expect("memory can be read");
    let Some(symbols) = symbols else { return };
    for name in names {
        let code = symbols.code(name).unwrap_or_default();
        assert!(code.is_sorted(), "{code:?}");
        assert!(code.iter().all(|range| range.start < range.end || range.end == u64::MAX));
        if let Some(address) = symbols.address(name) {
            assert!(code.iter().any(|range| range.start == address && !range.made_by_compiler));
        }
    }
}

/// What is read in one word or line.
fn small(text: &str) {
    if let Some((major, minor)) = kernel_version(text) {
        assert_eq!(kernel_version(&format!("{major}.{minor}")), Some((major, minor)));
    }
    for (label, inode) in
        [("net", parsers::netns_inode(text)), ("socket", parsers::socket_inode(text))]
    {
        let Some(inode) = inode else { continue };
        let again = format!("{label}:[{inode}]");
        let again =
            if label == "net" { parsers::netns_inode } else { parsers::socket_inode }(&again);
        assert_eq!(again, Some(inode));
    }
    for number in [parsers::field(text, "prog_id:"), parsers::tcp_number(text, "orphan")] {
        let written = |number: u64| Cow::from(number.to_string());
        assert!(number.is_none_or(|it| it == 0 || text.contains(&*written(it))), "{number:?}");
    }
}
