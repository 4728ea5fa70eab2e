//! Values as text.

use std::{
    fmt::Write,
    net::Ipv6Addr,
    time::{Duration, UNIX_EPOCH},
};

use crate::export::columns::Value;

/// Appends `value` as the text formats have it; nothing for null.
///
/// Pointers are text there, since most readers keep no more than 53 bits of a number.
pub(super) fn append(text: &mut String, value: &Value<'_>) {
    // A String takes everything.
    let _ = match value {
        Value::Null => Ok(()),
        Value::Time(ns) => append_time(text, *ns),
        Value::U64(number) => write!(text, "{number}"),
        Value::U32(number) => write!(text, "{number}"),
        Value::U16(number) => write!(text, "{number}"),
        Value::Pointer(address) => write!(text, "{address:#018x}"),
        // With a point, so that nobody takes the column for one of whole numbers.
        Value::F64(number) => write!(text, "{number:?}"),
        Value::Bool(truth) => write!(text, "{truth}"),
        Value::Text(words) => text.write_str(words),
        Value::Comm(comm) => write!(text, "{comm}"),
        Value::Ip(address) => write!(text, "{}", Ipv6Addr::from_octets(*address).to_canonical()),
    };
}

/// RFC 3339 in UTC, to the nanosecond.
fn append_time(text: &mut String, ns: i64) -> std::fmt::Result {
    let since_epoch = Duration::from_nanos(ns.unsigned_abs());
    write!(text, "{}", humantime::format_rfc3339_nanos(UNIX_EPOCH + since_epoch))
}
