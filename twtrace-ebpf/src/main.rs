//! ebpf
fn main() {}
