//! The lines that the programs log, in an object built with
//! `cargo xtask bpf --features log`.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, log_enabled};

/// Reader of the programs' log.
pub struct ProgramLog {
    reader: EbpfLogger<&'static dyn Log>,
}

impl ProgramLog {
    /// `None` below `-vv`, and for an object without a log.
    pub(super) fn open(ebpf: &mut Ebpf) -> Option<Self> {
        if !log_enabled!(Level::Debug) {
            return None;
        }
        EbpfLogger::init(ebpf).ok().map(|reader| Self { reader })
    }

    /// Hands what was logged since the last call to the logger.
    pub fn flush(&mut self) {
        self.reader.flush();
    }
}
