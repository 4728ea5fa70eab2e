//! The BPF programs of a process, and how often and how long they ran.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// One program; its counts stand still while the kernel's statistics are off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    id: u64,
    /// The name in the object
    pub(super) name: String,
    /// How often it ran
    pub(super) runs: u64,
    /// How long, in sum
    pub(super) ns: u64,
}

#[cfg(test)]
impl Program {
    /// One for tests, whose id does not matter.
    pub(super) fn of(name: &str, runs: u64, ns: u64) -> Self {
        Self { id: 0, name: name.into(), runs, ns }
    }
}

/// The programs that a process holds, itself or by a link.
pub(super) fn of(pid: u32) -> Result<Vec<Program>> {
    let ids = ids(pid)?;
    let said = command::capture(Command::new("bpftool").args(["--json", "prog", "show"]))?;
    Ok(parse(&said)?.into_iter().filter(|program| ids.contains(&program.id)).collect())
}

/// Their ids alone, which costs no process.
pub(super) fn ids(pid: u32) -> Result<BTreeSet<u64>> {
    let dir = format!("/proc/{pid}/fdinfo");
    let files = fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))?;
    // A descriptor may be closed meanwhile, and is then nothing that counts.
    Ok(files
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .filter_map(|text| parse_id(&text))
        .collect())
}

/// What each of `after` did since `before`.
pub(super) fn since(before: &[Program], after: Vec<Program>) -> Vec<Program> {
    after
        .into_iter()
        .map(|mut program| {
            if let Some(old) = before.iter().find(|old| old.id == program.id) {
                program.runs -= old.runs;
                program.ns -= old.ns;
            }
            program
        })
        .collect()
}

/// Programs have this line, and so have links, of the program they attach.
fn parse_id(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
}

/// bpftool leaves out what is 0.
fn parse(said: &str) -> Result<Vec<Program>> {
    let listed: Vec<Value> =
        serde_json::from_str(said).context("bpftool printed no list in JSON")?;
    let read = |program: &Value| {
        let number = |key: &str| program[key].as_u64().unwrap_or(0);
        let name = program["name"].as_str().unwrap_or("(unnamed)").to_owned();
        let id = program["id"].as_u64().context("bpftool listed a program without an id")?;
        Ok(Program { id, name, runs: number("run_cnt"), ns: number("run_time_ns") })
    };
    listed.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"[
        {"id":7,"type":"tracing","name":"state_tp_btf","run_time_ns":2100,"run_cnt":10},
        {"id":8,"type":"tracepoint","name":"idle"},
        {"id":9,"type":"cgroup_skb"}]"#;

    #[test]
    fn the_list_of_bpftool_is_read() {
        let programs = parse(LISTED).expect("what bpftool prints");
        let names: Vec<&str> = programs.iter().map(|program| program.name.as_str()).collect();
        assert_eq!(names, ["state_tp_btf", "idle", "(unnamed)"]);
        assert_eq!((programs[0].runs, programs[0].ns), (10, 2100));
        assert_eq!((programs[1].runs, programs[1].ns), (0, 0));
        assert!(parse("{").is_err());
    }

    #[test]
    fn only_what_happened_since_counts() {
        let before = parse(LISTED).expect("what bpftool prints");
        let after = parse(
            r#"[{"id":7,"name":"a","run_time_ns":5100,"run_cnt":20},
                              {"id":10,"name":"new","run_time_ns":30,"run_cnt":1}]"#,
        );
        let done = since(&before, after.expect("what bpftool prints"));
        assert_eq!((done[0].runs, done[0].ns), (10, 3000));
        assert_eq!((done[1].runs, done[1].ns), (1, 30));
    }

    #[test]
    fn programs_and_links_name_an_id() {
        assert_eq!(parse_id("pos:\t0\nprog_type:\t26\nprog_id:\t5298\nrun_cnt:\t0\n"), Some(5298));
        assert_eq!(parse_id("link_type:\tperf\nlink_id:\t3\nprog_id:\t5279\n"), Some(5279));
        assert_eq!(parse_id("pos:\t0\nmap_type:\t2\n"), None);
    }
}
