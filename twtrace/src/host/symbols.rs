//! Where the code of kernel functions lies, from /proc/kallsyms.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader},
};

use thiserror::Error;

use super::facts::{Capabilities, Capability, capabilities};

const KALLSYMS: &str = "/proc/kallsyms";
const KPTR_RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";

/// Code of a function, without a gap. Addresses of the running kernel, which
/// change with each boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodeRange {
    /// The address of the first byte.
    pub start: u64,
    /// The address of the first byte that is another function's; `u64::MAX` if
    /// none lies above. Padding between the two counts as the former's.
    pub end: u64,
    /// Whether the compiler split this off or changed how it is called, such as
    /// `name.cold` or `name.isra.0`: a probe on `name` does not fire there.
    pub made_by_compiler: bool,
}

impl CodeRange {
    /// Whether `address`, such as one of a stack, is in this code.
    pub const fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }
}

/// The functions that were asked for, as far as the kernel has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols(BTreeMap<Box<str>, Vec<CodeRange>>);

/// Why there are no addresses.
#[derive(Debug, Error)]
pub enum SymbolsError {
    /// The kernel shows them as zeros.
    #[error("the kernel hides the addresses of its functions: {fix}")]
    Hidden {
        /// What the user can do.
        fix: &'static str,
    },
    /// The kernel lists no functions at all.
    #[error("{KALLSYMS} lists no functions: use a kernel built with CONFIG_KALLSYMS")]
    Empty,
    /// The list cannot be read.
    #[error("cannot read {KALLSYMS}: mount /proc, or run as root if it is forbidden")]
    Unreadable(#[from] io::Error),
}

impl Symbols {
    /// Looks up `names` in one pass over the list. Printing it takes the kernel 40 ms
    /// for 120,000 symbols: call this once, not again and again. Functions of a
    /// module are found like others, while it is loaded.
    ///
    /// # Errors
    /// If the addresses are hidden from the caller, or there is no list.
    pub fn read(names: &[&str]) -> Result<Self, SymbolsError> {
        let list = File::open(KALLSYMS).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SymbolsError::Empty,
            _ => SymbolsError::Unreadable(error),
        })?;
        match scan(BufReader::new(list), names)? {
            Scan::Found(symbols) => Ok(symbols),
            Scan::Hidden => {
                let fix =
                    unhide(&fs::read_to_string(KPTR_RESTRICT).unwrap_or_default(), capabilities());
                Err(SymbolsError::Hidden { fix })
            }
            Scan::Empty => Err(SymbolsError::Empty),
        }
    }

    /// All code of function `name`, by ascending address; several pieces if the
    /// compiler split it or several functions have the name. `None` if the
    /// kernel has no such function: it was inlined, or is not built or loaded.
    pub fn code(&self, name: &str) -> Option<&[CodeRange]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The address of the one function of exactly this name; `None` if there
    /// is none, or more than one.
    pub fn address(&self, name: &str) -> Option<u64> {
        let mut whole = self.code(name)?.iter().filter(|range| !range.made_by_compiler);
        whole.next().filter(|_| whole.next().is_none()).map(|range| range.start)
    }
}

/// The kernel asks for the capability in its first user namespace unless
/// kptr_restrict is 0 and perf is open to everybody; 2 and more hide addresses
/// from everybody
/// ([`kallsyms_show_value`](https://github.com/torvalds/linux/blob/v6.12/kernel/ksyms_common.c)).
fn unhide(kptr_restrict: &str, rights: Capabilities) -> &'static str {
    let for_everybody = kptr_restrict.trim().parse().is_ok_and(|level: u32| level >= 2);
    match (for_everybody, rights.has(Capability::Syslog)) {
        (true, true) => "set sysctl kernel.kptr_restrict=1 (now 2)",
        (true, false) => "give CAP_SYSLOG and set sysctl kernel.kptr_restrict=1 (now 2)",
        (false, false) => "give CAP_SYSLOG",
        (false, true) => "give CAP_SYSLOG on the host, not only in a user namespace",
    }
}

/// What a list tells.
#[derive(Debug, PartialEq, Eq)]
enum Scan {
    Found(Symbols),
    /// All functions are at zero.
    Hidden,
    Empty,
}

/// The functions among `names` that a list has; `None` where it hides addresses or has no functions.
///
/// # Errors
/// The list cannot be read.
pub fn parse_symbols(list: impl BufRead, names: &[&str]) -> io::Result<Option<Symbols>> {
    Ok(match scan(list, names)? {
        Scan::Found(symbols) => Some(symbols),
        Scan::Hidden | Scan::Empty => None,
    })
}

/// Symbols of the kernel come by ascending address, those of modules do not,
/// so where a function ends is known only after the last line.
fn scan(mut list: impl BufRead, names: &[&str]) -> io::Result<Scan> {
    let mut wanted: BTreeMap<&[u8], Vec<CodeRange>> =
        names.iter().map(|name| (name.as_bytes(), Vec::new())).collect();
    let (mut addresses, mut hidden) = (Vec::new(), false);
    let mut line = Vec::new();
    while list.read_until(b'\n', &mut line)? > 0 {
        match function(&line) {
            Some((0, _)) => hidden = true,
            Some((start, symbol)) => {
                addresses.push(start);
                let (name, made_by_compiler) = without_suffix(symbol);
                if let Some(found) = wanted.get_mut(name) {
                    found.push(CodeRange { start, end: u64::MAX, made_by_compiler });
                }
            }
            None => {}
        }
        line.clear();
    }
    Ok(match (addresses.is_empty(), hidden) {
        (false, _) => Scan::Found(Symbols::new(wanted, addresses)),
        (true, true) => Scan::Hidden,
        (true, false) => Scan::Empty,
    })
}

impl Symbols {
    /// `functions` are the addresses of all functions there are.
    fn new(found: BTreeMap<&[u8], Vec<CodeRange>>, mut functions: Vec<u64>) -> Self {
        functions.sort_unstable();
        let end = |start| {
            // Other names of the same address are passed over.
            let next = functions.partition_point(|function| *function <= start);
            functions.get(next).copied().unwrap_or(u64::MAX)
        };
        let known = found.into_iter().filter(|(_, ranges)| !ranges.is_empty());
        Self(
            known
                .map(|(name, mut ranges)| {
                    for range in &mut ranges {
                        range.end = end(range.start);
                    }
                    ranges.sort_unstable();
                    ranges.dedup_by_key(|range| range.start);
                    (String::from_utf8_lossy(name).into(), ranges)
                })
                .collect(),
        )
    }
}

/// Address and name in `ffffffff820065c0 t inet_twsk_kill`, behind which a tab
/// and a module in brackets may follow
/// ([`s_show`](https://github.com/torvalds/linux/blob/v6.12/kernel/kallsyms.c)).
/// `None` for what is not code: the types are those of nm(1).
fn function(line: &[u8]) -> Option<(u64, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (address, rest) = line.split_at(space);
    let [b' ', b't' | b'T' | b'w' | b'W', b' ', name @ ..] = rest else {
        return None;
    };
    let address = u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()?;
    let end = name.iter().position(u8::is_ascii_whitespace).unwrap_or(name.len());
    Some((address, &name[..end]))
}

/// The name in the source, and whether the compiler put something behind it.
/// No name in C has a dot, so all from the first one is the compiler's, as in
/// `name.part.0.isra.0.cold` or `name.llvm.123`.
fn without_suffix(symbol: &[u8]) -> (&[u8], bool) {
    match symbol.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&symbol[..dot], true),
        None => (symbol, false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines of Linux 6.18, and of a module and clang.
    const LIST: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T srso_alias_untrain_ret
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81243a4d t tcp_abort.cold
ffffffff81243a68 t tcp_recv_skb.cold
ffffffff820065b0 t __pfx_inet_twsk_kill
ffffffff820065c0 t inet_twsk_kill
ffffffff82006860 t __pfx_tw_timer_handler
ffffffff82006870 t tw_timer_handler
ffffffff82006890 T __pfx_inet_twsk_deschedule_put
ffffffff82007500 t inet_bhash2_conflict.isra.0
ffffffff82007600 t next.llvm.4242
ffffffff8200bc20 W tcp_abort
ffffffff8200bc20 T tcp_abort_alias
ffffffff8200bc40 d tcp_abort_data
ffffffff8200bd00 t inet_twsk_kill.part.0.constprop.0
ffffffff83b264b0 R tw_timer_handler
ffffffffc0203100 t nf_tproxy_last\t[nf_tproxy_ipv4]
ffffffffc0203000 T nf_tproxy_handle_time_wait4\t[nf_tproxy_ipv4]
ffffffffc0203080 t cleanup\t[nf_tproxy_ipv4]
";

    fn symbols(list: &str, names: &[&str]) -> Symbols {
        match scan(list.as_bytes(), names).unwrap() {
            Scan::Found(symbols) => symbols,
            other => panic!("{other:?}"),
        }
    }

    fn code(name: &str) -> Option<Vec<(u64, u64, bool)>> {
        let triple = |range: &CodeRange| (range.start, range.end, range.made_by_compiler);
        Some(symbols(LIST, &[name]).code(name)?.iter().map(triple).collect())
    }

    #[test]
    fn a_function_ends_where_the_next_one_starts() {
        let kill = vec![
            (0xffff_ffff_8200_65c0, 0xffff_ffff_8200_6860, false),
            (0xffff_ffff_8200_bd00, 0xffff_ffff_c020_3000, true),
        ];
        assert_eq!(code("inet_twsk_kill"), Some(kill));
        let handler = (0xffff_ffff_8200_6870, 0xffff_ffff_8200_6890, false);
        assert_eq!(code("tw_timer_handler"), Some(vec![handler]), "not the data of its name");
    }

    #[test]
    fn aliases_are_no_end_and_data_is_none() {
        let abort = vec![
            (0xffff_ffff_8124_3a4d, 0xffff_ffff_8124_3a68, true),
            (0xffff_ffff_8200_bc20, 0xffff_ffff_8200_bd00, false),
        ];
        assert_eq!(code("tcp_abort"), Some(abort));
    }

    #[test]
    fn modules_need_not_be_sorted_and_the_last_function_has_no_end() {
        let handle = (0xffff_ffff_c020_3000, 0xffff_ffff_c020_3080, false);
        assert_eq!(code("nf_tproxy_handle_time_wait4"), Some(vec![handle]));
        assert_eq!(code("nf_tproxy_last"), Some(vec![(0xffff_ffff_c020_3100, u64::MAX, false)]));
    }

    #[test]
    fn missing_and_ambiguous_functions_have_no_address() {
        let names = ["inet_twsk_kill", "tcp_abort", "inet_bhash2_conflict", "next", "nope", "tcp"];
        let found = symbols(LIST, &names);
        assert_eq!(found.address("inet_twsk_kill"), Some(0xffff_ffff_8200_65c0));
        assert_eq!(found.address("tcp_abort"), Some(0xffff_ffff_8200_bc20));
        assert_eq!(found.address("inet_bhash2_conflict"), None, "only with another signature");
        assert!(found.code("inet_bhash2_conflict").is_some() && found.code("next").is_some());
        assert_eq!((found.code("nope"), found.code("tcp")), (None, None));
        let twice = symbols("10 t a\n20 t a\n20 T a\n", &["a"]);
        assert_eq!((twice.address("a"), twice.code("a").unwrap().len()), (None, 2));
    }

    #[test]
    fn ranges_are_half_open() {
        let range = CodeRange { start: 10, end: 20, made_by_compiler: false };
        assert!(range.contains(10) && range.contains(19));
        assert!(!range.contains(9) && !range.contains(20));
    }

    #[test]
    fn hidden_is_not_missing() {
        let hidden = "0000000000000000 T _text\n0000000000000000 t inet_twsk_kill\n";
        assert_eq!(scan(hidden.as_bytes(), &["inet_twsk_kill"]).unwrap(), Scan::Hidden);
        assert_eq!(scan(&b""[..], &["a"]).unwrap(), Scan::Empty);
        assert_eq!(scan(&b"0000000000000000 A a\n"[..], &["a"]).unwrap(), Scan::Empty);
        let one = symbols("0 t a\n10 t a\n", &["a"]);
        assert_eq!(one.address("a"), Some(0x10), "no function is at zero");
    }

    #[test]
    fn the_fix_is_what_helps() {
        let (none, syslog) = (Capabilities(0), Capabilities(1 << 34));
        assert_eq!(unhide("1\n", none), "give CAP_SYSLOG");
        assert_eq!(unhide("0\n", none), "give CAP_SYSLOG");
        assert_eq!(unhide("", none), "give CAP_SYSLOG");
        assert_eq!(unhide("2\n", syslog), "set sysctl kernel.kptr_restrict=1 (now 2)");
        assert!(unhide("2\n", none).starts_with("give CAP_SYSLOG and set sysctl"));
        assert!(unhide("1\n", syslog).contains("on the host"));
        let error = SymbolsError::Hidden { fix: unhide("1", none) }.to_string();
        assert_eq!(error, "the kernel hides the addresses of its functions: give CAP_SYSLOG");
    }

    /// The handler is never inlined, since its address is taken.
    #[test]
    fn this_kernel_has_addresses_or_a_fix() {
        let names = ["tw_timer_handler", "no_such_function"];
        let started = std::time::Instant::now();
        match Symbols::read(&names) {
            Ok(symbols) => {
                eprintln!("read in {:?}: {symbols:x?}", started.elapsed());
                let start = symbols.address("tw_timer_handler").unwrap();
                let range = symbols.code("tw_timer_handler").unwrap()[0];
                assert!(range.contains(start) && range.end - start < 4096, "{range:x?}");
                assert_eq!(symbols.code("no_such_function"), None);
            }
            Err(error @ SymbolsError::Hidden { .. }) => {
                let sentence = error.to_string();
                assert!(sentence.contains("CAP_SYSLOG") || sentence.contains("kptr_restrict"));
                eprintln!("{sentence}");
            }
            Err(other) => panic!("{other}"),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, name in "[a-z.]{0,3}") {
            let _ = scan(&bytes[..], &[&name]);
        }

        /// Each range ends at the closest function above, whatever the order of lines.
        #[test]
        fn ends_do_not_depend_on_order(
            lines in proptest::collection::vec((1u64..40, "[a-c](\\.cold)?"), 1..20)
        ) {
            let text: String = lines.iter().map(|(at, name)| format!("{at:016x} t {name}\n")).collect();
            let found = symbols(&text, &["a"]);
            for range in found.code("a").unwrap_or_default() {
                let above = lines.iter().map(|(at, _)| *at).filter(|at| *at > range.start).min();
                prop_assert_eq!(range.end, above.unwrap_or(u64::MAX));
            }
        }
    }
}
