//! How a virtual machine answers: frames of a name, a length and as many bytes.
//!
//! The length tells an answer that is whole from one that was cut off when the machine went down.

use std::collections::BTreeMap;

/// The whole frames that arrived, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frames(BTreeMap<String, Vec<u8>>);

impl Frames {
    /// Reads what has arrived so far; stops where something is missing.
    pub(super) fn read(mut bytes: &[u8]) -> Self {
        let mut frames = BTreeMap::new();
        while let Some((name, content, rest)) = first(bytes) {
            frames.insert(name, content.to_vec());
            bytes = rest;
        }
        Self(frames)
    }

    /// The content of a frame as text, without the newline at its end.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|content| text(content))
    }

    /// The frames whose names end so, by what comes before that.
    pub(super) fn texts(&self, ending: &'static str) -> impl Iterator<Item = (&str, String)> {
        let named = self
            .0
            .iter()
            .filter_map(move |(name, content)| Some((name.strip_suffix(ending)?, content)));
        named.map(|(name, content)| (name, text(content)))
    }
}

fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content).trim_end().to_owned()
}

/// Name, content, and what follows.
fn first(bytes: &[u8]) -> Option<(String, &[u8], &[u8])> {
    let (header, rest) = split_at_newline(bytes)?;
    let (name, length) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let length = length.parse().ok()?;
    let (content, rest) = rest.split_at_checked(length)?;
    let (nothing, rest) = split_at_newline(rest)?;
    nothing.is_empty().then(|| (name.to_owned(), content, rest))
}

fn split_at_newline(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[u8] = b"release 4\n6.1\n\na.out 12\nb.out 1\n{}\n\n\nend 0\n\n";

    #[test]
    fn frames_are_told_by_their_length_and_not_by_their_content() {
        let frames = Frames::read(ALL);
        assert_eq!(frames.text("release").as_deref(), Some("6.1"));
        assert_eq!(frames.text("a.out").as_deref(), Some("b.out 1\n{}"));
        assert_eq!(frames.text("b.out"), None);
        assert_eq!(frames.text("end").as_deref(), Some(""));
    }

    #[test]
    fn a_frame_that_was_cut_off_is_none() {
        for length in 0..ALL.len() {
            let frames = Frames::read(&ALL[..length]);
            assert_eq!(frames.text("end"), None, "{length}");
            assert!(frames.text("a.out").is_none_or(|text| text == "b.out 1\n{}"), "{length}");
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_reading() {
        assert_eq!(Frames::read(b"noise\nrelease 1\n6\n"), Frames::default());
        assert_eq!(Frames::read(b"release 1\n66\n"), Frames::default());
    }
}
