//! What user space may ask of a socket's ends before anything is written about it.

/// Words of a set of ports: a bit for each.
pub const PORT_WORDS: usize = 1024;

/// A set of ports.
pub type PortBits = [u64; PORT_WORDS];

/// Bits that say which of a socket's ends are asked for.
pub mod asked_ends {
    /// The local port is in a set.
    pub const LPORT: u32 = 1;
    /// The remote port is in a set; who listens has none.
    pub const RPORT: u32 = 2;
    /// The addresses are IPv4, mapped into IPv6 or not.
    pub const IPV4: u32 = 4;
    /// They are IPv6.
    pub const IPV6: u32 = 8;
}

/// The word and the bit of a port in [`PortBits`].
#[inline(always)]
pub const fn port_bit(port: u16) -> (usize, u64) {
    ((port >> 6) as usize, 1 << (port & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_a_bit_of_its_own() {
        let mut bits: PortBits = [0; PORT_WORDS];
        for port in 0..=u16::MAX {
            let (word, bit) = port_bit(port);
            assert_eq!(bits[word] & bit, 0, "{port}");
            bits[word] |= bit;
        }
        assert!(bits.iter().all(|word| *word == u64::MAX));
    }
}
