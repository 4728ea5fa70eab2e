//! A TCP segment made by hand, such as an old duplicate that comes late.

use std::net::{SocketAddr, SocketAddrV4};

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto};

const ACK: u16 = 0x10;
/// The protocol's number, in the sum over addresses and segment.
const TCP: u16 = 6;
/// In words of 16 bits.
const HEADER: usize = 10;

/// Sends an acknowledgement with a sequence number of long ago, as a duplicate
/// that was under way for long has it. IPv4 alone.
///
/// # Errors
/// Without CAP_NET_RAW.
pub(super) fn send_old_duplicate(from: SocketAddr, to: SocketAddr) -> Result<()> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        bail!("only segments of IPv4 are made by hand");
    };
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )
    .context("cannot make a raw socket: run as root, or give CAP_NET_RAW")?;
    let bytes = acknowledgement(from, to).map(u16::to_be_bytes);
    rustix::net::bind(&socket, &SocketAddrV4::new(*from.ip(), 0))
        .and_then(|()| {
            let to = SocketAddrV4::new(*to.ip(), 0);
            rustix::net::sendto(&socket, bytes.as_flattened(), SendFlags::empty(), &to)
        })
        .context("cannot send a segment made by hand")?;
    Ok(())
}

/// Its words in host order: sequence number and all else 0 but what must not be.
fn acknowledgement(from: SocketAddrV4, to: SocketAddrV4) -> [u16; HEADER] {
    let mut segment = [0; HEADER];
    segment[..2].copy_from_slice(&[from.port(), to.port()]);
    // Five words of 32 bits, and the flags.
    segment[6] = (5 << 12) | ACK;
    segment[8] = checksum(from, to, &segment);
    segment
}

/// The ones' complement of the sum over pseudo-header and segment
/// ([RFC 9293, 3.1](https://www.rfc-editor.org/rfc/rfc9293#section-3.1)).
fn checksum(from: SocketAddrV4, to: SocketAddrV4, segment: &[u16; HEADER]) -> u16 {
    let halves = |address: SocketAddrV4| {
        let bits = address.ip().to_bits();
        [(bits >> 16) as u16, bits as u16]
    };
    let length = 2 * HEADER as u16;
    let pseudo = [halves(from), halves(to), [TCP, length]];
    let words = pseudo.as_flattened().iter().chain(segment);
    let mut sum: u32 = words.map(|word| u32::from(*word)).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_its_checksum_everything_sums_to_all_ones() {
        let [from, to]: [SocketAddrV4; 2] =
            ["127.0.0.1:9000", "192.0.2.255:65535"].map(|address| address.parse().expect("one"));
        assert_eq!(checksum(from, to, &acknowledgement(from, to)), 0);
    }
}
