//! twtrace
fn main() {}
