//! A long run under mixed load: `twtrace-soak SECONDS`, which `cargo xtask soak` starts.
//!
//! It prints one object of JSON, whether or not every promise in it was kept.

use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [seconds] = &args[..] else { panic!("SECONDS") };
    let seconds: f64 = seconds.parse().expect("a number of seconds");
    println!("{}", twtrace_tests::soak::run(Duration::from_secs_f64(seconds)));
}
