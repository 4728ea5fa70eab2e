//! What a file and each of its frames begin with. All numbers are little-endian.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// What a trace file begins with.
pub const FILE_MAGIC: [u8; 8] = *b"TWTRACE\0";
/// What a frame begins with.
pub const FRAME_MAGIC: [u8; 4] = *b"TWF\xf1";
/// Readers look for the byte that both begin with.
const _: () = assert!(FILE_MAGIC[0] == FRAME_MAGIC[0]);
/// The version of the format. What a higher minor adds may be passed over; a higher major
/// cannot be read.
pub const VERSION: (u16, u16) = (1, 0);

/// A frame's payload, compressed, is no longer than this.
pub const MAX_COMPRESSED: u32 = 1 << 20;
/// A frame's payload, expanded, is no longer than this.
pub const MAX_RAW: u32 = 8 << 20;
/// A payload that is JSON is no longer than this: it takes much more memory than it has bytes.
pub const MAX_DOCUMENT: u32 = 2 << 20;
/// What goes on over several frames is no longer than this, expanded, all of it: rows, and
/// JSON.
pub const MAX_ROWS_TOGETHER: u32 = 128 << 20;
/// See [`MAX_ROWS_TOGETHER`].
pub const MAX_DOCUMENTS_TOGETHER: u32 = 16 << 20;
/// A frame has no more records, or rows, than this.
pub const MAX_COUNT: u32 = 65_536;

/// The first 16 bytes of a file.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FileHeader {
    /// [`FILE_MAGIC`].
    pub magic: [u8; 8],
    /// The first number of [`VERSION`].
    pub major: U16,
    /// The second number of [`VERSION`].
    pub minor: U16,
    /// CRC32C of the bytes before.
    pub checksum: U32,
}

/// The length of a [`FileHeader`].
pub const FILE_HEADER: usize = size_of::<FileHeader>();
const _: () = assert!(FILE_HEADER == 16);

impl FileHeader {
    /// Of this version.
    pub fn new() -> Self {
        let (major, minor) = VERSION;
        let header = Self {
            magic: FILE_MAGIC,
            major: major.into(),
            minor: minor.into(),
            checksum: 0.into(),
        };
        header.sealed()
    }

    /// With its checksum.
    pub fn sealed(self) -> Self {
        Self { checksum: self.sum().into(), ..self }
    }

    /// Whether it is one, and whole.
    pub fn is_sound(&self) -> bool {
        self.magic == FILE_MAGIC && self.checksum.get() == self.sum()
    }

    fn sum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c::crc32c(&bytes[..FILE_HEADER - size_of::<U32>()])
    }
}

impl Default for FileHeader {
    fn default() -> Self {
        Self::new()
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FrameType {
    /// What the recording is; the first frame of a file.
    Meta = 1,
    /// Where processes run.
    Dict = 2,
    /// Sockets that existed, or what was known of them when the file began.
    Seed = 3,
    /// Records of the kernel's hooks.
    Events = 4,
    /// The hooks' own totals.
    Counters = 5,
    /// What was read from /proc: the kernel's counters, port ranges.
    Host = 6,
    // 7, SAMPLE, is kept free: CPU samples are records, so that they stay in order.
    /// Records that were lost on their way to the file.
    Loss = 8,
    /// An interval has passed.
    Tick = 9,
    /// Settings of network namespaces.
    Sysctl = 10,
    /// The last Snapshot; the last frame of a file that was finished.
    End = 11,
    /// All sockets at one moment, where nothing is traced.
    Look = 12,
    /// Sockets that wait for their process to close them.
    CloseWait = 13,
}

impl FrameType {
    const ALL: [Self; 12] = [
        Self::Meta,
        Self::Dict,
        Self::Seed,
        Self::Events,
        Self::Counters,
        Self::Host,
        Self::Loss,
        Self::Tick,
        Self::Sysctl,
        Self::End,
        Self::Look,
        Self::CloseWait,
    ];

    /// The type with this number; `None` for those that this version does not know.
    pub fn from_raw(raw: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u16 == raw)
    }

    /// The name in the format's description and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "META",
            Self::Dict => "DICT",
            Self::Seed => "SEED",
            Self::Events => "EVENTS",
            Self::Counters => "COUNTERS",
            Self::Host => "HOST",
            Self::Loss => "LOSS",
            Self::Tick => "TICK",
            Self::Sysctl => "SYSCTL",
            Self::End => "END",
            Self::Look => "LOOK",
            Self::CloseWait => "CLOSE_WAIT",
        }
    }
}

/// Bits of [`FrameHeader::flags`].
pub mod frame_flags {
    /// What the frame tells goes on in the next one of its type.
    pub const MORE: u16 = 1;
}

/// What a frame begins with; its payload, compressed by zstd, follows.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// [`FRAME_MAGIC`].
    pub magic: [u8; 4],
    /// A [`FrameType`].
    pub frame_type: U16,
    /// Bits of [`frame_flags`].
    pub flags: U16,
    /// The number of the frame in its file, from 0.
    pub sequence: U64,
    /// When what it tells began, on the clock of records; 0 if that has no time.
    pub time_ns: U64,
    /// How many records, or rows, it has.
    pub count: U32,
    /// The length of the payload as it follows.
    pub compressed: U32,
    /// The length of the payload once it is expanded.
    pub raw: U32,
    /// CRC32C of the bytes before: whether the lengths can be trusted.
    pub header_checksum: U32,
    /// CRC32C of all bytes before, and of the payload as it follows.
    pub checksum: U32,
}

/// The length of a [`FrameHeader`].
pub const FRAME_HEADER: usize = size_of::<FrameHeader>();
const _: () = assert!(FRAME_HEADER == 44);

impl FrameHeader {
    /// With its checksums, for `payload` as it will follow.
    pub fn sealed(self, payload: &[u8]) -> Self {
        let sealed = Self { header_checksum: self.header_sum().into(), ..self };
        Self { checksum: sealed.sum(payload).into(), ..sealed }
    }

    /// Whether it is one, whole, and within the limits of the format.
    pub fn is_sound(&self) -> bool {
        self.magic == FRAME_MAGIC
            && self.header_checksum.get() == self.header_sum()
            && self.compressed.get() <= MAX_COMPRESSED
            && self.raw.get() <= MAX_RAW
            && self.count.get() <= MAX_COUNT
    }

    /// Whether `payload` is what was written behind it.
    pub fn covers(&self, payload: &[u8]) -> bool {
        self.checksum.get() == self.sum(payload)
    }

    fn header_sum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..FRAME_HEADER - 2 * size_of::<U32>()])
    }

    fn sum(&self, payload: &[u8]) -> u32 {
        let header = crc32c::crc32c(&self.as_bytes()[..FRAME_HEADER - size_of::<U32>()]);
        crc32c::crc32c_append(header, payload)
    }
}
