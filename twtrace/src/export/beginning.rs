//! What comes before the first tick, held back until it tells the wall clock.

use crate::frame::{Carried, Frame};

/// Held back at most, which is two seconds of a host that opens 18,000 connections in each;
/// beyond it the host is taken to have never been suspended, so that the times of a
/// recording without ticks can be told at all.
const MAX_BYTES: usize = 64 << 20;

/// Such frames, in order.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    frames: Vec<Frame>,
    bytes: usize,
}

impl Beginning {
    pub(super) fn has_room_for(&self, frame: &Frame) -> bool {
        self.bytes + size(frame) <= MAX_BYTES
    }

    pub(super) fn hold(&mut self, frame: Frame) {
        self.bytes += size(&frame);
        self.frames.push(frame);
    }

    pub(super) fn into_frames(self) -> Vec<Frame> {
        self.frames
    }
}

/// What holding a frame costs, about.
fn size(frame: &Frame) -> usize {
    let content = match frame {
        Frame::Records(batch) => batch.len(),
        Frame::Seed { sockets, minis, .. } => {
            size_of_val(sockets.as_slice()) + size_of_val(minis.as_slice())
        }
        Frame::Processes(facts) => size_of_val(facts.as_slice()),
        Frame::Carried(Carried::Sockets(list)) => size_of_val(list.as_slice()),
        Frame::Carried(Carried::Openers(list)) => size_of_val(list.as_slice()),
        Frame::Carried(Carried::Minis(list)) => size_of_val(list.as_slice()),
        Frame::Carried(Carried::Destinations(list)) => size_of_val(list.as_slice()),
        Frame::Carried(Carried::Seeds { sockets, minis, .. }) => {
            size_of_val(sockets.as_slice()) + size_of_val(minis.as_slice())
        }
        Frame::Totals(totals) => size_of_val(totals.by_netns.as_slice()),
        _ => 0,
    };
    size_of::<Frame>() + content
}
