//! Whether our program has more rights than whoever started it.

use std::fs;

/// Of the auxiliary vector: the program was given rights by its file, setuid or `setcap`
/// ([getauxval(3)](https://man7.org/linux/man-pages/man3/getauxval.3.html)).
const AT_SECURE: usize = 23;

/// Whether rights came with the program's file. Where that cannot be read they did: the kernel hides
/// /proc/PID of such a process from its user.
pub fn has_rights_of_the_file() -> bool {
    fs::read("/proc/self/auxv").map_or(true, |vector| is_secure(&vector))
}

fn is_secure(vector: &[u8]) -> bool {
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, usize::from_ne_bytes);
    let mut pairs = vector.chunks_exact(2 * WORD);
    pairs.any(|pair| word(&pair[..WORD]) == AT_SECURE && word(&pair[WORD..]) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(pairs: &[[usize; 2]]) -> Vec<u8> {
        pairs.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_value_is_no_key() {
        assert!(!is_secure(&vector(&[[6, AT_SECURE], [AT_SECURE, 0], [0, 0]])));
        assert!(is_secure(&vector(&[[6, 4096], [AT_SECURE, 1], [0, 0]])));
        assert!(!is_secure(&[]));
        assert!(!has_rights_of_the_file(), "tests are run by who has their rights");
    }
}
