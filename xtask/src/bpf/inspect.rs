//! What must hold of an object before anyone loads it.

use anyhow::{Context, Result, bail};
use object::read::elf::ElfFile64;
use object::{
    Architecture, Endianness, Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind,
};

/// Parts of mangled names that only panics have: core::panicking and the panic handler.
const PANICS: [&str; 2] = ["9panicking", "rust_begin_unwind"];

/// Fails unless the object is one of BPF, has BTF, and can reach no panic.
pub(super) fn sound(object: &[u8]) -> Result<()> {
    let elf = ElfFile64::<Endianness>::parse(object).context("the linker wrote no ELF object")?;
    if elf.architecture() != Architecture::Bpf {
        bail!("the object is for {:?}, not for BPF", elf.architecture());
    }
    if elf.section_by_name(".BTF").is_none_or(|section| section.size() == 0) {
        bail!("the object has no BTF: was it built without -C debuginfo=2 or --btf?");
    }
    let panics = panics(elf.symbols().filter_map(|symbol| symbol.name().ok()));
    if !panics.is_empty() {
        bail!(
            "the object can panic: remove the unchecked index, division or unwrap in {} that \
             brought in {}",
            panicking(&elf).join(", "),
            panics.join(", ")
        );
    }
    Ok(())
}

/// The programs that call a panic: those with a relocation into a section that holds one.
///
/// The linker gives panics a section of their own, as cold code.
fn panicking<'a>(elf: &'a ElfFile64<'a, Endianness>) -> Vec<&'a str> {
    let is_panic = |name: &str| PANICS.iter().any(|part| name.contains(part));
    let cold: Vec<_> = elf
        .symbols()
        .filter(|symbol| symbol.name().is_ok_and(is_panic))
        .filter_map(|symbol| symbol.section_index())
        .collect();
    let is_cold = |target| match target {
        RelocationTarget::Symbol(index) => elf
            .symbol_by_index(index)
            .ok()
            .and_then(|symbol| symbol.section_index())
            .is_some_and(|section| cold.contains(&section)),
        _ => false,
    };
    elf.sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .filter(|section| section.relocations().any(|(_, call)| is_cold(call.target())))
        .filter_map(|section| section.name().ok())
        .collect()
}

fn panics<'a>(symbols: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    symbols.filter(|name| PANICS.iter().any(|part| name.contains(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_found_in_both_manglings() {
        let symbols = [
            "on_state",
            "_RNvNtCsjT3GlxiFL8R_4core9panicking18panic_bounds_check",
            "_ZN4core9panicking5panic17h0123456789abcdefE",
            "_RNvCs1234_7___rustc17rust_begin_unwind",
            "_RNvNtCsjT3GlxiFL8R_12twtrace_ebpf4prog6helper",
        ];
        assert_eq!(panics(symbols.into_iter()), symbols[1..4]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(sound(b"").is_err());
        assert!(sound(&[0; 128]).is_err());
    }

    #[test]
    fn an_object_of_the_host_is_refused() {
        let own = std::fs::read("/proc/self/exe").expect("this test is a file");
        let error = sound(&own).expect_err("this test is not for BPF").to_string();
        assert!(error.contains("not for BPF"), "{error}");
    }
}
