//! The ways to read kernel memory.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{self, generated};

/// A way to load a field at an offset resolved from kernel BTF.
pub(crate) trait Load {
    /// How to load through a pointer that was loaded so.
    type Behind: Load;

    /// Loads the `T` at `base + offset`; zero where the memory cannot be read.
    ///
    /// # Safety
    /// `base` is a pointer that the hook handed out or that was loaded from
    /// one, and `offset` belongs to a field of that size in its type.
    unsafe fn load<T: Copy + Default>(base: *const u8, offset: u64) -> T;
}

/// A way to reach the socket and the task of a hook.
pub(crate) trait Memory: Load<Behind = Self> + Sized {
    /// Loads the `T` at `offset` of the `struct tcp_sock` around the TCP socket
    /// `sk`, behind the end of its `struct sock`.
    ///
    /// # Safety
    /// As [`Self::load`].
    unsafe fn load_tcp<T: Copy + Default>(sk: *const u8, offset: u64) -> T;

    /// The running task, as a pointer that [`Self::load`] takes.
    fn current_task() -> *const u8;
}

/// A plain load through a pointer whose type the verifier knows: it checks the
/// offset against kernel BTF when the program is loaded, and the kernel turns
/// a fault into zero.
pub(crate) struct Typed;

impl Load for Typed {
    type Behind = Self;

    #[inline(always)]
    unsafe fn load<T: Copy + Default>(base: *const u8, offset: u64) -> T {
        // SAFETY: by the caller's promise; the verifier refuses anything else.
        // Volatile keeps the load whole: two halves would be two other fields.
        unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
    }
}

impl Memory for Typed {
    #[inline(always)]
    unsafe fn load_tcp<T: Copy + Default>(sk: *const u8, offset: u64) -> T {
        // SAFETY: the helper checks the socket, and gives the pointer its larger
        // type; then by the caller's promise.
        unsafe {
            let tcp = generated::bpf_skc_to_tcp_sock(sk.cast_mut().cast());
            if tcp.is_null() { T::default() } else { Self::load(tcp.cast::<u8>(), offset) }
        }
    }

    #[inline(always)]
    fn current_task() -> *const u8 {
        // SAFETY: the helper takes no argument that could be wrong.
        unsafe { generated::bpf_get_current_task_btf() }.cast::<u8>()
    }
}

/// `bpf_probe_read_kernel`, for pointers without a type.
pub(crate) struct Probed;

impl Load for Probed {
    type Behind = Self;

    #[inline(always)]
    unsafe fn load<T: Copy + Default>(base: *const u8, offset: u64) -> T {
        // SAFETY: the helper copes with any address.
        unsafe { helpers::bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }
            .unwrap_or_default()
    }
}

impl Memory for Probed {
    #[inline(always)]
    unsafe fn load_tcp<T: Copy + Default>(sk: *const u8, offset: u64) -> T {
        // SAFETY: by the caller's promise.
        unsafe { Self::load(sk, offset) }
    }

    #[inline(always)]
    fn current_task() -> *const u8 {
        // SAFETY: the helper takes no argument that could be wrong.
        unsafe { generated::bpf_get_current_task() as *const u8 }
    }
}

/// A copy on the stack of the beginning of a kernel structure: one
/// `bpf_probe_read_kernel` for many fields. The verifier checks that each lies
/// within the copy.
pub(crate) struct Copied;

impl Load for Copied {
    type Behind = Probed;

    #[inline(always)]
    unsafe fn load<T: Copy + Default>(base: *const u8, offset: u64) -> T {
        // SAFETY: `base` is an aligned copy of a structure, by the caller's promise.
        unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
    }
}

/// Copies a record of whole words. Word by word, and volatile: left to itself the
/// compiler calls a loop over bytes, which costs more than the rest of a program.
///
/// # Safety
/// `from` is a record, and `to` room for one, both aligned to a word.
#[inline(always)]
pub(crate) unsafe fn copy<T>(from: *const T, to: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8), "it has no whole words") };
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: by the caller's promise.
        unsafe {
            let value = core::ptr::read_volatile(from.cast::<u64>().add(word));
            core::ptr::write_volatile(to.cast::<u64>().add(word), value);
        }
    }
}

/// Fills words with zero; as [`copy`], word by word.
#[inline(always)]
pub(crate) fn zero<const WORDS: usize>(room: &mut MaybeUninit<[u64; WORDS]>) -> &mut [u64; WORDS] {
    for word in 0..WORDS {
        // SAFETY: it lies in the array.
        unsafe { core::ptr::write_volatile(room.as_mut_ptr().cast::<u64>().add(word), 0) };
    }
    // SAFETY: all of it has just been written.
    unsafe { room.assume_init_mut() }
}
