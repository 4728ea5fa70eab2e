//! What is typed: words with a NUL between them.
//!
//! Whatever is accepted is in its range, a filter that is written and read again is the same
//! filter, and an error is one line.
#![no_main]

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, time::Duration};

use anyhow::Result;
use clap::Parser as _;
use libfuzzer_sys::fuzz_target;
use twtrace::{
    cli::{Cli, Command},
    config::{self, Export, Ports, Record, Report, Selftest, Serve, Top, Trace},
    filter::{CgroupPath, Filter, Network, PortSet},
    source::replay::Speed,
};

const YEAR: Duration = Duration::from_secs(365 * 86_400);
const SHORTEST: Duration = Duration::from_millis(50);

fuzz_target!(|typed: &[u8]| {
    if let Ok(text) = str::from_utf8(typed) {
        words(text);
    }
    let typed = typed.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let Ok(Cli { command }) =
        Cli::try_parse_from([OsString::from("twtrace")].into_iter().chain(typed))
    else {
        return;
    };
    if let Err(error) = checked(&command) {
        let error = format!("{error:#}");
        assert!(!error.is_empty(), "{command:?}");
    }
});

/// What stands alone.
fn words(text: &str) {
    if let Ok(ports) = text.parse::<PortSet>() {
        assert_eq!(ports.to_string().parse(), Ok(ports.clone()), "{text}");
        assert!(!ports.contains(0), "{text}");
    }
    match text.parse::<Network>() {
        Ok(network) => assert_eq!(network.to_string().parse(), Ok(network), "{text}"),
        // What is meant can be typed.
        Err(error) => {
            let error = error.to_string();
            if let Some((_, meant)) = error.split_once("behind its prefix: write ") {
                let meant = meant.parse::<Network>().map(|network| network.to_string());
                assert!(meant.is_ok() || error.contains("::ffff:"), "{error}");
            }
        }
    }
    if let Ok(cgroup) = text.parse::<CgroupPath>() {
        assert!(text.starts_with('/'), "{cgroup:?}");
    }
}

fn checked(command: &Command) -> Result<()> {
    match command {
        Command::Top(args) => top(&Top::new(args)?),
        Command::Record(args) => {
            let record = Record::new(args, Some(1024))?;
            assert!(record.duration.is_none_or(|it| (SHORTEST..=YEAR).contains(&it)));
            trace(&record.trace);
        }
        Command::Report(args) => same_again(&Report::new(args)?.filter),
        Command::Ports(args) => {
            let ports = Ports::new(args, None)?;
            assert!(ports.duration.is_none_or(|it| (SHORTEST..=YEAR).contains(&it)));
            same_again(&ports.filter);
            trace(&ports.trace);
        }
        Command::Serve(args) => {
            let serve = Serve::new(args)?;
            assert!((1..=50).contains(&serve.top) && serve.rows >= serve.top);
            same_again(&serve.filter);
            trace(&serve.trace);
        }
        Command::Doctor(args) => trace(&config::Doctor::new(args)?.trace),
        Command::States(args) => drop(config::States::new(args)?),
        Command::Check(args) => trace(&config::Check::new(args)?.trace),
        Command::Selftest(args) => trace(&Selftest::new(args)?.trace),
        Command::Export(args) => drop(Export::new(args)),
        _ => {}
    }
    Ok(())
}

fn top(top: &Top) {
    assert!(top.interval >= SHORTEST, "{top:?}");
    if let Some(replay) = &top.replay
        && let Speed::Times(times) = replay.speed
    {
        assert!(times.is_finite() && times > 0.0, "{times}");
    }
    same_again(&top.filter);
    trace(&top.trace);
}

fn trace(trace: &Trace) {
    assert!(trace.ring_bytes.is_power_of_two() && trace.ring_bytes >= 4096, "{trace:?}");
    assert!(trace.max_connections > 0, "{trace:?}");
    assert!(trace.sample_hz.is_none_or(|hz| hz.get() <= 1_000), "{trace:?}");
}

/// A filter as it is shown can be typed, and means the same.
fn same_again(filter: &Filter) {
    let shown = filter.to_string();
    assert!(!shown.contains(char::is_control), "a terminal would obey {shown:?}");
    let name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "/._".contains(c));
    // Quotes and what a shell would take apart are left out; so is the time a process started.
    if !filter.comm.as_deref().is_none_or(name) || filter.cgroup.is_some() || filter.pid.is_some() {
        return;
    }
    let typed = ["twtrace", "report", "x"].into_iter().chain(shown.split_whitespace());
    let Ok(Cli { command: Command::Report(args) }) = Cli::try_parse_from(typed) else {
        panic!("{shown} cannot be typed")
    };
    assert_eq!(Report::new(&args).expect("it is a filter").filter, *filter, "{shown}");
}
