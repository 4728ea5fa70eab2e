//! Numbers as people read them, and ends as they write them.

/// Digits in groups of three.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let group = |(index, digit): (usize, char)| {
        let starts = index > 0 && (digits.len() - index).is_multiple_of(3);
        starts.then_some(',').into_iter().chain([digit]).collect::<Vec<_>>()
    };
    digits.chars().enumerate().flat_map(group).collect()
}

/// So many of something: `1 socket`, `2 sockets`.
pub(super) fn of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A rate or a duration, with a digit behind the point where it is small.
pub(super) fn number(number: f64) -> String {
    if number < 99.95 { format!("{number:.1}") } else { count(number.round() as u64) }
}

/// A part of a whole.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// Bytes in the unit in which they are few.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => of(bytes, "byte", "bytes"),
        10_000..10_000_000 => format!("{} kB", count(bytes / 1_000)),
        _ => format!("{} MB", count(bytes / 1_000_000)),
    }
}

/// An address and a port.
pub(super) fn endpoint(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_short() {
        assert_eq!([count(0), count(999), count(1_000)], ["0", "999", "1,000"]);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!([of(1, "port", "ports"), of(2, "port", "ports")], ["1 port", "2 ports"]);
        assert_eq!([number(0.04), number(99.94), number(1_234.5)], ["0.0", "99.9", "1,235"]);
        assert_eq!(
            [bytes(264), bytes(264_000), bytes(2_640_000_000)],
            ["264 bytes", "264 kB", "2,640 MB"]
        );
        assert_eq!([endpoint("::1", 2), endpoint("1.2.3.4", 5)], ["[::1]:2", "1.2.3.4:5"]);
    }
}
