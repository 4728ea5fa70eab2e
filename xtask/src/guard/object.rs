//! Instructions of each function in the committed objects, also of programs that this machine
//! cannot attach.

use std::fs;
use std::path::Path;

use ::object::read::elf::ElfFile64;
use ::object::{Endianness, Object as _, ObjectSymbol as _, SymbolKind};
use anyhow::{Context, Result};

use super::baseline::Counts;
use crate::bpf::Arch;
use crate::workspace;

/// `struct bpf_insn`. One that loads 64 bits counts as two.
const INSTRUCTION: u64 = 8;

/// Of both architectures.
pub(super) fn instructions(root: &Path) -> Result<Counts> {
    let mut counts = Counts::new();
    for arch in Arch::ALL {
        let file = workspace::committed_object(root, arch);
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        counts.extend(of_object(&bytes, arch.name())?);
    }
    Ok(counts)
}

fn of_object(bytes: &[u8], arch: &str) -> Result<Counts> {
    let elf = ElfFile64::<Endianness>::parse(bytes).context("the committed object is no ELF")?;
    let function = |symbol: &::object::read::elf::ElfSymbol64<'_, '_>| {
        let is_function = symbol.kind() == SymbolKind::Text && symbol.size() > 0;
        let name = symbol.name().ok().filter(|_| is_function)?;
        Some((format!("bpf.instructions {arch} {name}"), symbol.size() / INSTRUCTION))
    };
    Ok(elf.symbols().filter_map(|symbol| function(&symbol)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_objects_have_programs() {
        let root = workspace::root().expect("tests run in the workspace");
        let counts = instructions(&root).expect("they are committed");
        for arch in Arch::ALL {
            let name = format!("bpf.instructions {} state_tp_btf", arch.name());
            assert!(counts.get(&name).is_some_and(|count| *count > 100), "{name}: {counts:?}");
        }
    }
}
