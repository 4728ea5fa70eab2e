//! The wall around the pure modules: they read no clock, no file and no kernel, and know nothing
//! of what is outside of them. Also where aya, clap and `unsafe` may be named.
//!
//! The sources are read as tokens, so that comments and strings may name anything, and
//! `use std::{fs, io}` is the path `std::fs`.

use std::{fs, path::Path};

/// Files and folders of `src/` that are pure; one that is not there yet will be.
const PURE: &[&str] = &[
    "event.rs",
    "decode.rs",
    "frame.rs",
    "filter/",
    "pipeline.rs",
    "probes.rs",
    "tracker/",
    "stats/",
    "census/",
    "doctor/",
    "export/",
    "trace/",
    "selftest/case.rs",
];
/// What a pure module names nowhere, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("aya", "knows no BPF"),
    ("aya_log", "knows no BPF"),
    ("aya_obj", "knows no BPF"),
    ("tokio", "does not wait"),
    ("libc", "asks no kernel"),
    ("rustix", "asks no kernel"),
    ("ratatui", "has no looks"),
    ("clap", "knows no command line"),
    ("std::fs", "reads no file"),
    ("std::os", "asks no kernel"),
    ("std::process", "starts no process"),
    ("std::env", "knows no environment"),
    ("std::thread", "runs in its caller's thread"),
    ("std::time::Instant", "reads no clock"),
    ("std::time::SystemTime", "reads no clock"),
    ("Instant::now", "reads no clock"),
    ("SystemTime::now", "reads no clock"),
    ("std::net::Tcp", "opens no socket"),
    ("std::net::Udp", "opens no socket"),
    ("std::net::ToSocketAddrs", "resolves no name"),
    ("unsafe", "is safe"),
];
/// Modules of the crate on the other side of the wall.
const OUTSIDE: &[&str] =
    &["bpf", "source", "host", "cmd", "view", "cli", "config", "selftest", "demo"];

#[test]
fn pure_modules_stay_behind_the_wall() {
    let found: Vec<String> = sources()
        .iter()
        .filter(|(file, _)| is_pure(file))
        .flat_map(|(file, text)| breaches(file, text))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_pure_module_is_found() {
    let sources = sources();
    for place in PURE {
        let exists = sources.iter().any(|(file, _)| file.starts_with(place));
        assert!(exists || *place == "trace/", "src/{place} is not there");
    }
}

#[test]
fn aya_clap_and_unsafe_stay_in_their_places() {
    let mut found = Vec::new();
    for (file, text) in sources() {
        let in_bpf = file.starts_with("bpf/");
        let types = ["cli.rs", "main.rs"].contains(&file.as_str());
        for Named { line, path } in names(&text) {
            let broken = match path.split("::").next() {
                Some("aya" | "aya_obj" | "aya_log") if !in_bpf => "only src/bpf/ knows aya",
                Some("clap") if !types => "only cli.rs and main.rs know clap",
                _ if path == "unsafe" && !in_bpf => "only src/bpf/ may be unsafe",
                _ => continue,
            };
            found.push(format!("src/{file}:{line}: names `{path}`: {broken}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_wall_can_be_broken() {
    for (planted, named) in [
        ("use aya::Ebpf;", "aya::Ebpf"),
        ("use std::{collections::HashMap, fs};", "std::fs"),
        ("use std::{\n    io,\n    time::{Duration, Instant},\n};", "std::time::Instant"),
        ("let now = Instant::now();", "Instant::now"),
        ("let now = std::time::SystemTime::now();", "std::time::SystemTime"),
        ("use std::net::{IpAddr, TcpStream};", "std::net::TcpStream"),
        ("use crate::{event::Tuple, host::{self, Netns}};", "crate::host"),
        ("use super::super::view;", "super::super::view"),
        ("fn f() { tokio::spawn(async {}); }", "tokio::spawn"),
        ("let x = unsafe { *p };", "unsafe"),
        ("let c = '\"'; use libc::c_int;", "libc::c_int"),
        ("let s = r#\"a\"b\"#; std::thread::sleep(d);", "std::thread"),
    ] {
        let found = breaches("stats/planted.rs", planted);
        assert!(
            found.iter().any(|breach| breach.contains(&format!("names `{named}"))),
            "not found: {planted}: {found:?}"
        );
    }
    let second_line = breaches("event.rs", "//! Text.\nuse rustix::fs;\n");
    assert!(second_line[0].starts_with("src/event.rs:2: names `rustix"), "{second_line:?}");
}

#[test]
fn the_wall_has_doors() {
    for fine in [
        "// use std::fs; unsafe\n/* aya:: /* tokio */ */",
        "let text = \"std::fs and unsafe \\\" aya::\"; let raw = r\"libc\";",
        "use std::net::{IpAddr, Ipv6Addr}; use std::time::{Duration, UNIX_EPOCH};",
        "use crate::{event::Event, probes::Tier}; let host = config; fn f<'aya>() {}",
        "self.source.view(host); #![forbid(unsafe_code)]",
    ] {
        assert_eq!(breaches("event.rs", fine), Vec::<String>::new(), "{fine}");
    }
}

fn is_pure(file: &str) -> bool {
    PURE.iter().any(|place| file.starts_with(place))
}

/// The files under `src/`, by their path there, with their text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it is below").to_string_lossy();
                let text = fs::read_to_string(&path).expect("sources are text");
                files.push((name.into_owned(), text));
            }
        }
    }
    files.sort();
    files
}

/// What `text` names that a pure module may not, one line each.
fn breaches(file: &str, text: &str) -> Vec<String> {
    names(text)
        .into_iter()
        .filter_map(|Named { line, path }| {
            let rule = rule(&path)?;
            Some(format!("src/{file}:{line}: names `{path}`: a pure module {rule}"))
        })
        .collect()
}

fn rule(path: &str) -> Option<&'static str> {
    let below = |prefix: &str| {
        // Of std::net some types are fine: those end in a part of a name.
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with("::") || prefix.starts_with("std::net::")
        })
    };
    if let Some((_, why)) = FORBIDDEN.iter().find(|(prefix, _)| below(prefix)) {
        return Some(why);
    }
    let mut parts = path.split("::").peekable();
    let is_ours = parts.peek().is_some_and(|first| ["crate", "super"].contains(first));
    let named = parts.find(|part| !["crate", "super", "self"].contains(part))?;
    (is_ours && OUTSIDE.contains(&named)).then_some("does not know what is outside")
}

/// A path that a source names, with what is before its braces.
#[derive(Debug)]
struct Named {
    line: usize,
    path: String,
}

/// Every path in `text`: of `a::{b, c::d}` these are `a`, `a::b`, `a::c` and `a::c::d`.
fn names(text: &str) -> Vec<Named> {
    let (mut found, mut stack) = (Vec::new(), Vec::new());
    let (mut base, mut current) = (String::new(), String::new());
    let mut joined = false;
    for (line, token) in tokens(text) {
        match token {
            "::" => joined = true,
            "{" => {
                let inner = if joined { current.clone() } else { String::new() };
                stack.push(std::mem::replace(&mut base, inner));
                joined = false;
            }
            "}" => {
                base = stack.pop().unwrap_or_default();
                joined = false;
            }
            name if name.starts_with(is_name) => {
                let before = if joined { &current } else { &base };
                current =
                    if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") };
                found.push(Named { line, path: current.clone() });
                joined = false;
            }
            _ => {
                joined = false;
                current.clear();
            }
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The names and marks of a source, with their lines; without comments, strings and lifetimes.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let len = skipped(rest).unwrap_or_else(|| {
            let len = match first {
                c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
                _ if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            if !first.is_whitespace() {
                let line = 1 + text[..at].matches('\n').count();
                found.push((line, &rest[..len]));
            }
            len
        });
        at += len;
    }
    found
}

/// The length of the comment, string, character or lifetime that `rest` begins with.
fn skipped(rest: &str) -> Option<usize> {
    let end = |found: Option<usize>, mark: &str| found.map_or(rest.len(), |at| at + mark.len());
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'));
    if let Some(raw) = raw {
        let hashes = &raw[..raw.len() - raw.trim_start_matches('#').len()];
        if raw[hashes.len()..].starts_with('"') {
            let close = format!("\"{hashes}");
            let start = rest.find('"').map_or(0, |at| at + 1);
            return Some(end(rest[start..].find(&close).map(|at| at + start), &close));
        }
    }
    let quoted = rest.strip_prefix("b\"").or_else(|| rest.strip_prefix('"'));
    if let Some(quoted) = quoted {
        let start = rest.len() - quoted.len();
        return Some(start + closing(quoted, '"').unwrap_or(quoted.len()));
    }
    let quoted = rest.strip_prefix('\'')?;
    let is_character = quoted.starts_with('\\') || quoted.chars().nth(1) == Some('\'');
    let len = if is_character {
        closing(quoted, '\'')?
    } else {
        quoted.find(|c| !is_name(c)).unwrap_or(quoted.len())
    };
    Some(1 + len)
}

/// Where a quoted text ends, with its closing mark.
fn closing(quoted: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of a comment in which others may nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}
