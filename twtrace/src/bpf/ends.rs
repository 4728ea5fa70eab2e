//! What the programs leave out by a socket's ends; see `twtrace-ebpf/src/wanted.rs`.

use twtrace_common::{PORT_WORDS, PortBits, asked_ends, port_bit};

use crate::filter::{Family, Filter, PortSet};

/// What is asked of a socket's ends, as the programs take it. By default: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Bits of [`asked_ends`].
    pub(super) asked: u32,
    /// The local ports, if they are asked for.
    pub(super) lports: Box<PortBits>,
    /// The remote ports, if they are asked for.
    pub(super) rports: Box<PortBits>,
}

impl Default for Ends {
    fn default() -> Self {
        Self { asked: 0, lports: none(), rports: none() }
    }
}

impl From<&Filter> for Ends {
    fn from(filter: &Filter) -> Self {
        let family = match filter.family {
            None => 0,
            Some(Family::V4) => asked_ends::IPV4,
            Some(Family::V6) => asked_ends::IPV6,
        };
        let (lport, lports) = ports(filter.lports.as_ref(), asked_ends::LPORT);
        let (rport, rports) = ports(filter.rports.as_ref(), asked_ends::RPORT);
        Self { asked: family | lport | rport, lports, rports }
    }
}

fn ports(asked: Option<&PortSet>, flag: u32) -> (u32, Box<PortBits>) {
    let mut bits = none();
    for port in asked.into_iter().flat_map(PortSet::ports) {
        let (word, bit) = port_bit(port);
        bits[word] |= bit;
    }
    (if asked.is_some() { flag } else { 0 }, bits)
}

fn none() -> Box<PortBits> {
    Box::new([0; PORT_WORDS])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(bits: &PortBits, port: u16) -> bool {
        let (word, bit) = port_bit(port);
        bits[word] & bit != 0
    }

    #[test]
    fn each_port_asked_for_is_there_and_no_other() {
        let written = "1,80,8000-8099,65535";
        let lports: PortSet = written.parse().unwrap();
        let ends = Ends::from(&Filter { lports: Some(lports.clone()), ..Filter::default() });
        assert_eq!(ends.asked, asked_ends::LPORT);
        for port in 0..=u16::MAX {
            assert_eq!(holds(&ends.lports, port), lports.contains(port), "{port}");
            assert!(!holds(&ends.rports, port));
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_looked_at() {
        assert_eq!(Ends::from(&Filter::default()), Ends::default());
        let v6 = Filter { family: Some(Family::V6), ..Filter::default() };
        assert_eq!(Ends::from(&v6).asked, asked_ends::IPV6);
    }
}
