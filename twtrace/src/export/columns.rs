//! What a row is made of: its columns, and what is in them.
//!
//! A row type is written once, by [`columns!`]: from that come the struct, the
//! schema of every format, and what `docs/export.md` has to say.

use crate::event::Comm;

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in every format; names stay, new columns are added at the end.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Their unit; empty if they have none.
    pub unit: &'static str,
    /// What they mean.
    pub meaning: &'static str,
    /// When there is none.
    pub null: &'static str,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A moment: nanoseconds since 1970, UTC.
    Time,
    /// A count, or an amount of something.
    U64,
    /// An inode, a number of a process.
    U32,
    /// A port, an errno.
    U16,
    /// An address of kernel memory.
    Pointer,
    /// A measure.
    F64,
    /// Yes or no.
    Bool,
    /// Text, with few different values.
    Text,
}

impl Kind {
    /// The name in `docs/export.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "timestamp",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::Pointer => "pointer",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Text => "text",
        }
    }
}

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    /// Nanoseconds since 1970, not negative.
    Time(i64),
    U64(u64),
    U32(u32),
    U16(u16),
    Pointer(u64),
    F64(f64),
    Bool(bool),
    Text(&'a str),
    /// Text, of a process's choice.
    Comm(Comm),
    /// Text, of an address.
    Ip([u8; 16]),
}

/// What may be a field of a row.
pub(super) trait Cell<'a>: Copy {
    const KIND: Kind;
    fn value(self) -> Value<'a>;
}

/// Nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) i64);

/// An address of kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer(pub(super) u64);

/// An address of the network, IPv4 mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ip(pub(super) [u8; 16]);

macro_rules! cells {
    ($($cell:ty: $kind:ident, $value:expr;)*) => {
        $(impl<'a> Cell<'a> for $cell {
            const KIND: Kind = Kind::$kind;
            fn value(self) -> Value<'a> {
                ($value)(self)
            }
        })*
    };
}

cells! {
    Time: Time, |Time(ns)| Value::Time(ns);
    u64: U64, Value::U64;
    u32: U32, Value::U32;
    u16: U16, Value::U16;
    Pointer: Pointer, |Pointer(address)| Value::Pointer(address);
    f64: F64, Value::F64;
    bool: Bool, Value::Bool;
    &'a str: Text, Value::Text;
    Comm: Text, Value::Comm;
    Ip: Text, |Ip(address)| Value::Ip(address);
}

/// A row type: `name: type, unit, meaning, when it is null;` for each column.
macro_rules! columns {
    ($(#[$about:meta])* $row:ident<$life:lifetime> {
        $($name:ident: $cell:ty, $unit:literal, $meaning:literal, $null:literal;)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default)]
        pub(in crate::export) struct $row<$life> {
            $(#[doc = $meaning] pub(in crate::export) $name: Option<$cell>,)*
            /// Some rows have no text of their own.
            pub(in crate::export) borrowed: std::marker::PhantomData<&$life str>,
        }

        impl<$life> $row<$life> {
            /// Its columns, in order.
            pub(in crate::export) const COLUMNS: &'static [$crate::export::columns::Column] = &[
                $($crate::export::columns::Column {
                    name: stringify!($name),
                    kind: <$cell as $crate::export::columns::Cell<$life>>::KIND,
                    unit: $unit,
                    meaning: $meaning,
                    null: $null,
                },)*
            ];

            /// Its values, in the order of the columns.
            pub(in crate::export) fn values(
                &self,
            ) -> [$crate::export::columns::Value<$life>; [$(stringify!($name)),*].len()] {
                [$(self.$name.map_or(
                    $crate::export::columns::Value::Null,
                    $crate::export::columns::Cell::value,
                )),*]
            }
        }
    };
}
pub(super) use columns;
