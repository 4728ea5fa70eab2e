//! What holds for every recording: arbitrary frames come back as they were, and whatever
//! becomes of a file, nothing panics, what is sound is read, and what is not is named.

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::{fixture, kernel};
use proptest::{
    collection::vec, option, prelude::*, sample::Index, strategy::ValueTree,
    test_runner::TestRunner,
};
use twtrace::{
    decode,
    event::{PortRange, Role, Tuple},
    frame::{
        AskedRange, Carried, CarriedCounts, CarriedDestination, CarriedMini, CarriedOpener,
        CarriedSocket, CloseWaiting, CloseWaits, Frame, Held, HeldClient, HeldDestination,
        KernelCounters, MiniOf, Polled, PolledMini, PortFacts, ProcessFacts, SeedMini, SeedSocket,
        Sysctls, Totals,
    },
    pipeline::Pipeline,
    stats::snapshot::SCHEMA,
    trace::{
        Damage, End, FileError, FileMeta, Found, Reader, Recording, UnknownFrame, Writer,
        layout::{FILE_MAGIC, FRAME_HEADER, FileHeader, FrameHeader, FrameType},
    },
};
use twtrace_common::{Counters, PAIRS, ProcessKey, TcpState, pair_states};
use zerocopy::FromBytes;

/// Records of one frame, and rows of one frame.
const RECORDS: usize = 4_096;
const ROWS: usize = 2_048;

fn meta() -> FileMeta {
    FileMeta {
        tool: "twtrace test".to_owned(),
        schema: SCHEMA,
        recording: Recording { id: "0123".to_owned(), file: 7 },
        run: kernel::meta(kernel::TP_BTF),
        max_connections: 1_000,
        rows: 50,
        netns: Some(9),
    }
}

/// What was read of a file.
#[derive(Debug, Default)]
struct Told {
    metas: Vec<FileMeta>,
    frames: Vec<Frame>,
    ends: Vec<End>,
    damages: Vec<Damage>,
    unknown: Vec<UnknownFrame>,
}

fn read(file: &[u8]) -> Result<Told, FileError> {
    let mut reader = Reader::new(file)?;
    let mut told = Told::default();
    while let Some(found) = reader.next()? {
        match found {
            Found::File(meta) => told.metas.push(*meta),
            Found::Frame(frame) => told.frames.push(frame),
            Found::End(end) => told.ends.push(*end),
            Found::Damage(damage) => told.damages.push(damage),
            Found::Unknown(unknown) => told.unknown.push(unknown),
        }
    }
    Ok(told)
}

fn written(meta: &FileMeta, frames: &[Frame]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), meta).expect("memory can be written");
    frames.iter().for_each(|frame| writer.frame(frame).expect("memory can be written"));
    let events = writer.events();
    let end = End { snapshot: None, events, goes_on: true };
    writer.end(&end).expect("memory can be written")
}

/// Frames as they come back: batches of records as one and none that is empty, listeners
/// before other seeds, and what was told in several parts put together again.
fn normal(frames: &[Frame]) -> String {
    let is_empty = |frame: &&Frame| matches!(frame, Frame::Records(batch) if batch.is_empty());
    let mut normal: Vec<Frame> = Vec::new();
    for frame in frames.iter().filter(|frame| !is_empty(frame)) {
        let mut frame = frame.clone();
        match &mut frame {
            Frame::Seed { sockets, .. } | Frame::Carried(Carried::Seeds { sockets, .. }) => {
                sockets.sort_by_key(|socket| socket.state != TcpState::Listen);
            }
            _ => {}
        }
        let left = match normal.last_mut() {
            Some(before) => goes_on(before, frame),
            None => Some(frame),
        };
        normal.extend(left);
    }
    format!("{normal:?}")
}

/// Takes `after` into `before` if it is more of the same; returns it otherwise.
fn goes_on(before: &mut Frame, after: Frame) -> Option<Frame> {
    match (before, after) {
        (Frame::Records(before), Frame::Records(after)) => {
            *before = [&before[..], &after].concat().into();
        }
        (
            Frame::Seed { sockets, minis, until_ns, complete },
            Frame::Seed { sockets: more, minis: more_minis, until_ns: until, complete: all },
        ) if (*until_ns, *complete) == (until, all) => {
            sockets.extend(more);
            minis.extend(more_minis);
        }
        (Frame::Carried(before), Frame::Carried(after)) => match (before, after) {
            (Carried::Destinations(before), Carried::Destinations(after)) => before.extend(after),
            (Carried::Sockets(before), Carried::Sockets(after)) => before.extend(after),
            (Carried::Openers(before), Carried::Openers(after)) => before.extend(after),
            (Carried::Minis(before), Carried::Minis(after)) => before.extend(after),
            (
                Carried::Seeds { time_ns, sockets, minis },
                Carried::Seeds { time_ns: time, sockets: more, minis: more_minis },
            ) if *time_ns == time => {
                sockets.extend(more);
                minis.extend(more_minis);
            }
            (_, after) => return Some(Frame::Carried(after)),
        },
        (_, after) => return Some(after),
    }
    None
}

fn any_process() -> impl Strategy<Value = ProcessKey> {
    // 0 and 0 stand for none.
    (any::<u64>(), 1..u32::MAX).prop_map(|(start_time_ns, tgid)| ProcessKey {
        start_time_ns,
        tgid,
        padding: 0,
    })
}

fn any_state() -> impl Strategy<Value = TcpState> {
    prop::sample::select(TcpState::ALL.as_slice())
}

/// Sometimes the same ones again.
fn any_address() -> impl Strategy<Value = [u8; 16]> {
    prop_oneof![(0_u8..3).prop_map(|byte| [byte; 16]), any::<[u8; 16]>()]
}

prop_compose! {
    fn any_tuple()(
        laddr in any_address(), raddr in any_address(), (lport, rport) in any::<(u16, u16)>(),
    ) -> Tuple {
        Tuple { laddr, raddr, lport, rport }
    }
}

prop_compose! {
    fn any_seed_socket()(
        netns in any::<Option<u32>>(), state in any_state(), tuple in any_tuple(),
    ) -> SeedSocket {
        SeedSocket { netns, state, tuple }
    }
}

prop_compose! {
    fn any_seed_mini()(
        (netns, expires_ms) in any::<(u32, u32)>(), substate in any_state(), tuple in any_tuple(),
    ) -> SeedMini {
        SeedMini { netns, substate, expires_ms, tuple }
    }
}

prop_compose! {
    fn any_polled_mini()(cookie in any::<u64>(), mini in any_seed_mini()) -> PolledMini {
        let SeedMini { netns, substate, expires_ms, tuple } = mini;
        PolledMini { netns, cookie, substate, expires_ms, tuple }
    }
}

prop_compose! {
    fn any_look()(
        (time_ns, until_ns, complete) in any::<(u64, u64, bool)>(),
        states in vec((any_state(), any::<u64>()), 0..5),
        sockets in vec(any_seed_socket(), 0..5), minis in vec(any_polled_mini(), 0..5),
        (looked_at, failed) in any::<(Vec<u32>, Vec<u32>)>(),
    ) -> Polled {
        Polled { time_ns, until_ns, states, sockets, minis, looked_at, failed, complete }
    }
}

prop_compose! {
    fn any_close_waiting()(
        (cookie, netns, seen_ns, since_ns, accepted) in any::<(u64, u32, u64, u64, bool)>(),
        tuple in any_tuple(), holder in option::of(any_process()),
    ) -> CloseWaiting {
        CloseWaiting { cookie, netns, tuple, seen_ns, since_ns, accepted, holder }
    }
}

prop_compose! {
    fn any_close_waits()(
        (time_ns, complete) in any::<(u64, bool)>(),
        appeared in vec(any_close_waiting(), 0..5), gone in any::<Vec<u64>>(),
    ) -> CloseWaits {
        CloseWaits { time_ns, complete, appeared, gone }
    }
}

fn any_range() -> impl Strategy<Value = PortRange> {
    any::<(u16, u16)>().prop_map(|(low, high)| PortRange { low, high })
}

prop_compose! {
    fn any_held_destination()(tuple in any_tuple()) -> HeldDestination {
        let Tuple { laddr, raddr, rport, .. } = tuple;
        HeldDestination { laddr, raddr, rport }
    }
}

fn any_held() -> impl Strategy<Value = Held> {
    let port = (any::<u32>(), option::of(any_held_destination()), any::<u16>(), any::<bool>());
    let client = (any::<u32>(), any_tuple()).prop_map(|(netns, tuple)| {
        let Tuple { laddr, raddr, lport, rport } = tuple;
        HeldClient { netns, laddr, lport, raddr, rport }
    });
    prop_oneof![
        Just(Held::Nothing),
        any::<(u32, u16, bool)>().prop_map(|(netns, lport, is_v4)| Held::Listener {
            netns,
            lport,
            is_v4
        }),
        port.prop_map(|(netns, destination, lport, bound)| Held::Port {
            netns,
            destination,
            lport,
            bound
        }),
        option::of(client).prop_map(Held::Quadruplet),
    ]
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Unknown, Role::Client, Role::Server])
}

prop_compose! {
    fn any_carried_socket()(
        sk in any::<u64>(), state in option::of(any_state()), role in any_role(),
        owner in option::of(any_process()), closer in option::of(option::of(any_process())),
        held in any_held(),
    ) -> CarriedSocket {
        CarriedSocket { sk, state, role, owner, closer, held }
    }
}

fn any_owner_of_mini() -> impl Strategy<Value = MiniOf> {
    let closed = (option::of(any_process()), any_role(), any_held());
    prop_oneof![
        any_tuple().prop_map(MiniOf::Closing),
        closed.prop_map(|(process, role, held)| MiniOf::Closed { process, role, held }),
    ]
}

prop_compose! {
    fn any_carried_mini()(
        (tw, born_ns, time_wait_ns, netns) in any::<(u64, u64, u64, u32)>(),
        substate in any_state(), timestamps in any::<Option<bool>>(), of in any_owner_of_mini(),
    ) -> CarriedMini {
        let time_wait_ns = std::num::NonZeroU64::new(time_wait_ns);
        CarriedMini { tw, born_ns, substate, time_wait_ns, timestamps, netns, of }
    }
}

prop_compose! {
    fn any_opener()(tw in any::<u64>(), process in any_process()) -> CarriedOpener {
        CarriedOpener { tw, process }
    }
}

fn any_asked() -> impl Strategy<Value = AskedRange> {
    prop_oneof![
        Just(AskedRange::Nothing),
        Just(AskedRange::Mixed),
        option::of(any_range()).prop_map(AskedRange::Alike),
    ]
}

prop_compose! {
    fn any_carried_destination()(
        netns in any::<u32>(), destination in any_held_destination(), asked in any_asked(),
        last_opened in option::of((any::<u64>(), any_process())),
    ) -> CarriedDestination {
        CarriedDestination { netns, destination, asked, last_opened }
    }
}

prop_compose! {
    fn any_counts()(
        (minis, untold_ends) in any::<(Vec<(u32, u64)>, Vec<(u32, u64)>)>(),
        (in_fin_wait2, complete, seeded_until_ns) in any::<(u64, bool, u64)>(),
    ) -> CarriedCounts {
        CarriedCounts { minis, in_fin_wait2, untold_ends, complete, seeded_until_ns }
    }
}

fn any_carried() -> impl Strategy<Value = Carried> {
    let seeds = (any::<u64>(), vec(any_seed_socket(), 0..5), vec(any_seed_mini(), 0..5));
    prop_oneof![
        vec(any_carried_destination(), 1..5).prop_map(Carried::Destinations),
        vec(any_carried_socket(), 1..5).prop_map(Carried::Sockets),
        vec(any_opener(), 1..5).prop_map(Carried::Openers),
        vec(any_carried_mini(), 1..5).prop_map(Carried::Minis),
        seeds.prop_map(|(time_ns, sockets, minis)| Carried::Seeds { time_ns, sockets, minis }),
        any_counts().prop_map(Carried::Counts),
    ]
}

/// Few of them are not 0, as it is.
fn any_array<const N: usize>() -> impl Strategy<Value = [u64; N]> {
    vec((any::<Index>(), any::<u64>()), 0..4).prop_map(|set| {
        let mut array = [0; N];
        set.iter().for_each(|(index, count)| array[index.index(N)] = *count);
        array
    })
}

prop_compose! {
    fn any_counters()(
        pairs in any_array::<PAIRS>(), outcomes in any_array(), births in any_array(),
        ends in any_array(), searches in any_array(), probed_searches in any_array(),
        failed_searches in any_array(), rest in any::<[u64; 5]>(),
    ) -> Counters {
        let [ends_in_fin_wait2, steps, rearmed, refused, ring_full] = rest;
        // No socket goes from or to a state that there is not.
        let pairs = std::array::from_fn(|index| pair_states(index).map_or(0, |_| pairs[index]));
        Counters {
            pairs, outcomes, births, ends, searches, probed_searches, failed_searches,
            ends_in_fin_wait2, steps, rearmed, refused, ring_full,
        }
    }
}

prop_compose! {
    fn any_port_facts()(
        (netns, step_width, tw_reuse) in any::<(u32, Option<u32>, Option<u8>)>(),
        range in option::of(any_range()), reserved in vec(any_range(), 0..4),
        tw_reuse_delay_ms in any::<Option<u64>>(),
    ) -> PortFacts {
        PortFacts { netns, range, reserved, step_width, tw_reuse, tw_reuse_delay_ms }
    }
}

prop_compose! {
    fn any_kernel_counters()(
        (netns, tw_sockstat) in any::<(u32, Option<u64>)>(),
        counters in any::<BTreeMap<String, u64>>(),
    ) -> KernelCounters {
        let counters = counters.into_iter().map(|(name, count)| (name.into(), count)).collect();
        KernelCounters { netns, tw_sockstat, counters }
    }
}

prop_compose! {
    fn any_facts()(
        key in any_process(), (cgroup, container) in any::<(Option<String>, Option<String>)>(),
    ) -> ProcessFacts {
        ProcessFacts { key, cgroup, container }
    }
}

/// A record of any kind whose other bytes are anything, but for those that are always 0.
fn any_record() -> impl Strategy<Value = Vec<u8>> {
    /// Kinds, and where the bytes are that are always 0.
    const KINDS: [(u8, std::ops::Range<usize>); 9] = [
        (1, 43..44),
        (2, 3..4),
        (3, 3..4),
        (6, 3..4),
        (7, 3..4),
        (4, 1..6),
        (5, 69..72),
        (8, 2..4),
        (16, 2..4),
    ];
    // Some are like many others.
    let bytes = prop_oneof![vec(any::<u8>(), 80), vec(0_u8..2, 80)];
    (prop::sample::select(KINDS.as_slice()), bytes).prop_map(|((kind, zeroes), mut bytes)| {
        bytes.truncate(decode::record_len(kind).expect("it is a kind"));
        bytes[0] = kind;
        bytes[zeroes].fill(0);
        bytes
    })
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let seed = (vec(any_seed_socket(), 0..5), vec(any_seed_mini(), 0..5), any::<(u64, bool)>());
    let totals = (vec((any::<Option<u32>>(), any_counters()), 0..3), any::<Option<u64>>());
    let sysctls = any::<(u32, BTreeMap<String, String>)>();
    prop_oneof![
        4 => vec(any_record(), 0..20).prop_map(|it| Frame::Records(Bytes::from(it.concat()))),
        1 => seed.prop_map(|(sockets, minis, (until_ns, complete))| Frame::Seed {
            sockets, minis, until_ns, complete
        }),
        1 => vec(any_facts(), 0..4).prop_map(Frame::Processes),
        1 => totals.prop_map(|(by_netns, missed)| Frame::Totals(Totals { by_netns, missed })),
        1 => vec(any_kernel_counters(), 0..4).prop_map(Frame::Kernel),
        1 => vec(any_port_facts(), 0..4).prop_map(Frame::Ports),
        1 => option::of(any_look()).prop_map(Frame::Polled),
        1 => option::of(any_close_waits()).prop_map(Frame::CloseWaits),
        1 => any::<u64>().prop_map(|records| Frame::Lost { records }),
        1 => vec(sysctls.prop_map(|(netns, values)| Sysctls { netns, values }), 0..4)
            .prop_map(Frame::Sysctls),
        2 => any_carried().prop_map(Frame::Carried),
        1 => any::<(u64, u64)>().prop_map(|(time_ns, wall_ns)| Frame::Tick { time_ns, wall_ns }),
    ]
}

/// What happens to a file.
#[derive(Clone, Debug)]
enum Mishap {
    Cut(Index, Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Doubled(Index),
    Swapped(Index, Index),
    Moved(Index, Index),
}

fn any_mishap() -> impl Strategy<Value = Mishap> {
    let noise = prop_oneof![
        vec(any::<u8>(), 1..100),
        // What looks like a beginning.
        Just(FILE_MAGIC.to_vec()),
        Just(b"TWF\xf1".to_vec()),
    ];
    prop_oneof![
        any::<(Index, Index)>().prop_map(|(from, to)| Mishap::Cut(from, to)),
        (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Mishap::Flip(at, bit)),
        (any::<Index>(), noise).prop_map(|(at, noise)| Mishap::Insert(at, noise)),
        any::<Index>().prop_map(Mishap::Doubled),
        any::<(Index, Index)>().prop_map(|(a, b)| Mishap::Swapped(a, b)),
        any::<(Index, Index)>().prop_map(|(frame, to)| Mishap::Moved(frame, to)),
    ]
}

/// The file after it, or as it was where there is nothing left that it could happen to.
fn after(file: &[u8], mishap: &Mishap) -> Vec<u8> {
    let sound = sound_frames(file);
    if file.is_empty() || sound.is_empty() {
        return file.to_vec();
    }
    let frame = |index: &Index| sound[index.index(sound.len())].1.clone();
    match mishap {
        Mishap::Cut(from, to) => {
            let (from, to) = (from.index(file.len()), to.index(file.len()));
            [&file[..from.min(to)], &file[from.max(to)..]].concat()
        }
        Mishap::Flip(at, bit) => {
            let mut flipped = file.to_vec();
            flipped[at.index(file.len())] ^= 1 << bit;
            flipped
        }
        Mishap::Insert(at, noise) => {
            let (before, behind) = file.split_at(at.index(file.len()));
            [before, noise, behind].concat()
        }
        Mishap::Doubled(index) => {
            let frame = frame(index);
            [&file[..frame.end], &file[frame.clone()], &file[frame.end..]].concat()
        }
        Mishap::Swapped(a, b) => {
            let (a, b) = (frame(a), frame(b));
            let (a, b) = if a.start <= b.start { (a, b) } else { (b, a) };
            if a == b {
                return file.to_vec();
            }
            let between = &file[a.end..b.start];
            [&file[..a.start], &file[b.clone()], between, &file[a], &file[b.end..]].concat()
        }
        Mishap::Moved(index, to) => {
            let (frame, to) = (frame(index), to.index(file.len()));
            [&file[..to], &file[frame], &file[to..]].concat()
        }
    }
}

/// Where sound frames are, found in the most simple way, and of which type they are.
fn sound_frames(file: &[u8]) -> Vec<(u16, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < file.len() {
        match sound_frame(&file[at..]) {
            Some((frame_type, len)) => {
                found.push((frame_type, at..at + len));
                at += len;
            }
            None => at += 1,
        }
    }
    found
}

fn is_meta(frame_type: u16) -> bool {
    frame_type == FrameType::Meta as u16
}

/// Where those of them are, but META, that are not behind a later one of their file, be that
/// sound or not.
fn in_order(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let (mut at, mut expected) = (0, 0);
    while at < file.len() {
        let ahead = &file[at..];
        let begins = FileHeader::read_from_prefix(ahead).is_ok_and(|(it, _)| it.is_sound());
        expected = if begins { 0 } else { expected };
        let header = FrameHeader::read_from_prefix(ahead).map(|(header, _)| header);
        let header = header.ok().filter(FrameHeader::is_sound);
        let sequence = header.map(|header| header.sequence.get());
        let len = sound_frame(ahead).map(|(frame_type, len)| {
            if !is_meta(frame_type) && sequence >= Some(expected) {
                found.push(at..at + len);
            }
            len
        });
        expected = expected.max(sequence.map_or(0, |sequence| sequence + 1));
        at += len.unwrap_or(1);
    }
    found
}

fn sound_frame(ahead: &[u8]) -> Option<(u16, usize)> {
    let (header, rest) = FrameHeader::read_from_prefix(ahead).ok()?;
    let payload = rest.get(..header.compressed.get() as usize)?;
    let sound = header.is_sound() && header.covers(payload);
    sound.then_some((header.frame_type.get(), FRAME_HEADER + payload.len()))
}

/// A small recording with frames of many types.
fn small() -> Vec<u8> {
    let (_, fixture) = fixture::all().into_iter().find(|(name, _)| name.starts_with("33")).unwrap();
    let (run, max_connections, rows) = fixture.run();
    let meta = FileMeta { run, max_connections, rows, ..meta() };
    written(&meta, &fixture.frames())
}

/// Reads a file of any kind, and has a pipeline take in what is sound.
fn read_anything(file: &[u8]) -> Told {
    let Ok(told) = read(file) else { return Told::default() };
    let mut pipeline = Pipeline::new(kernel::meta(kernel::TP_BTF), 100, 10);
    for frame in &told.frames {
        // Records that cannot be decoded are an error, and nothing else is.
        let _ = pipeline.apply(frame);
    }
    told
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..Default::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn arbitrary_frames_come_back_as_they_were(frames in vec(any_frame(), 0..12)) {
        let file = written(&meta(), &frames);
        let told = read(&file).expect("it is sound");
        prop_assert_eq!(&told.damages[..], &[]);
        prop_assert_eq!(&told.metas[..], &[meta()]);
        prop_assert_eq!(normal(&told.frames), normal(&frames));
        let records = |frame: &Frame| match frame {
            Frame::Records(batch) => decode::records(batch).count() as u64,
            _ => 0,
        };
        let events = frames.iter().map(records).sum();
        prop_assert_eq!(&told.ends[..], &[End { snapshot: None, events, goes_on: true }]);
        prop_assert_eq!(written(&meta(), &told.frames), file, "to the byte, once it was read");
    }

    #[test]
    fn arbitrary_bytes_are_no_panic(
        bytes in vec(any::<u8>(), 0..2_000), begins_well: bool, magics in vec(any::<Index>(), 0..4),
    ) {
        let mut bytes = bytes;
        let room = bytes.len().saturating_sub(FRAME_HEADER);
        for at in magics.iter().filter(|_| room > 0) {
            let at = at.index(room);
            bytes[at..at + 4].copy_from_slice(b"TWF\xf1");
        }
        let header = FileHeader::new();
        let beginning = if begins_well { zerocopy::IntoBytes::as_bytes(&header) } else { &[] };
        let file = [beginning, &bytes].concat();
        let told = read_anything(&file);
        prop_assert!(told.frames.is_empty() && told.ends.is_empty());
        if begins_well {
            let named: u64 = told.damages.iter().map(|damage| damage.len).sum();
            prop_assert_eq!(named, bytes.len() as u64, "every byte of it: {:?}", told.damages);
        }
    }

    #[test]
    fn whatever_becomes_of_a_file_what_is_sound_is_read_and_the_rest_is_named(
        mishaps in vec(any_mishap(), 1..7),
    ) {
        let whole = small();
        let file = mishaps.iter().fold(whole.clone(), |file, mishap| after(&file, mishap));
        let told = match read(&file) {
            Ok(told) => told,
            // So little is left that it cannot be told what it was.
            Err(FileError::NoTrace | FileError::Empty) => {
                prop_assert_eq!(sound_frames(&file), []);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let sound = sound_frames(&file);
        let wanted = in_order(&file);
        prop_assert_eq!(told.frames.len() + told.ends.len(), wanted.len(), "{:?}", told.damages);
        prop_assert_eq!(told.metas.is_empty(), !sound.iter().any(|frame| is_meta(frame.0)));
        // Every byte is part of a header, of a sound frame, or named.
        let named: u64 = told.damages.iter().map(|damage| damage.len).sum();
        let metas = sound.into_iter().filter(|frame| is_meta(frame.0)).map(|frame| frame.1);
        let in_frames: usize = wanted.into_iter().chain(metas).map(|range| range.len()).sum();
        let headers = size_of::<FileHeader>() as u64;
        let rest = file.len() as u64 - in_frames as u64 - named;
        prop_assert_eq!(rest % headers, 0, "{} of {}: {:?}", rest, file.len(), told.damages);
        // META more than twice says nothing new; every other change is named.
        let is_whole = told.damages.is_empty();
        prop_assert!(!is_whole || normal(&told.frames) == normal(&read(&whole).expect("it is").frames));
        read_anything(&file);
    }
}

/// More than fits into one frame, of everything that may be that much.
#[test]
fn large_frames_come_back_from_several_parts() {
    let tuple = |number: usize| Tuple {
        laddr: [1; 16],
        raddr: [2; 16],
        lport: number as u16,
        rport: (number >> 16) as u16,
    };
    let many = 2 * ROWS + 7;
    let states = [TcpState::Established, TcpState::Listen];
    let socket = |number: usize| SeedSocket {
        netns: Some(1),
        state: states[number % 2],
        tuple: tuple(number),
    };
    let mini = |number: usize| SeedMini {
        netns: 1,
        substate: TcpState::TimeWait,
        expires_ms: number as u32,
        tuple: tuple(number),
    };
    let polled = |number: usize| {
        let SeedMini { netns, substate, expires_ms, tuple } = mini(number);
        PolledMini { netns, cookie: number as u64, substate, expires_ms, tuple }
    };
    let waiting = |number: usize| CloseWaiting {
        cookie: number as u64,
        netns: 1,
        tuple: tuple(number),
        seen_ns: 8,
        since_ns: 7,
        accepted: true,
        holder: None,
    };
    let record = kernel::process_record(
        ProcessKey { start_time_ns: 1, tgid: 1, padding: 0 },
        *b"many\0\0\0\0\0\0\0\0\0\0\0\0",
        0,
    );
    let records = zerocopy::IntoBytes::as_bytes(&record).repeat(2 * RECORDS + 3);
    let facts = |number: usize| ProcessFacts {
        key: ProcessKey { start_time_ns: 1, tgid: number as u32 + 1, padding: 0 },
        cgroup: Some(format!("/{number}")),
        container: None,
    };
    // Every other port is reserved, in many namespaces: a part of it is long by itself.
    let reserved = (0..32_000).map(|n| PortRange { low: 2 * n, high: 2 * n }).collect();
    let ports = PortFacts { reserved, ..PortFacts::unknown(1) };
    let look = Polled {
        sockets: (0..many).map(socket).collect(),
        minis: (0..many).map(polled).collect(),
        ..Polled::default()
    };
    let frames = [
        Frame::Records(Bytes::from(records)),
        Frame::Seed {
            sockets: (0..many).map(socket).collect(),
            minis: (0..many).map(mini).collect(),
            until_ns: 5,
            complete: true,
        },
        Frame::Polled(Some(look)),
        Frame::CloseWaits(Some(CloseWaits {
            appeared: (0..many).map(waiting).collect(),
            gone: (0..many).map(|number| number as u64).collect(),
            ..CloseWaits::default()
        })),
        Frame::Processes((0..1_000).map(facts).collect()),
        Frame::Ports(vec![ports; 12]),
        Frame::Totals(Totals {
            by_netns: (0..500).map(|netns| (Some(netns), Counters::ZERO)).collect(),
            missed: Some(3),
        }),
    ];
    let file = written(&meta(), &frames);
    let told = read(&file).expect("it is sound");
    assert_eq!(told.damages, []);
    assert!(normal(&told.frames) == normal(&frames), "they are too long to be shown");
    assert!(written(&meta(), &told.frames) == file, "to the byte, once it was read");
}

/// Records that do not compress are put into more frames, none of which is long.
#[test]
fn no_frame_of_records_is_long() {
    let mut runner = TestRunner::deterministic();
    let records =
        vec(any_record(), 10_000).new_tree(&mut runner).expect("it can be made").current();
    let frames = [Frame::Records(Bytes::from(records.concat()))];
    let file = written(&meta(), &frames);
    let longest = sound_frames(&file).into_iter().map(|(_, range)| range.len()).max();
    assert!(longest.is_some_and(|it| it <= FRAME_HEADER + (64 << 10)), "{longest:?}");
    let told = read(&file).expect("it is sound");
    assert_eq!((told.damages, normal(&told.frames)), (vec![], normal(&frames)));
}

#[test]
fn a_frame_of_a_later_version_is_passed_over_and_kept() {
    let later = UnknownFrame {
        frame_type: 77,
        flags: 0x8001,
        time_ns: 5,
        count: 3,
        payload: b"from the future".to_vec(),
    };
    let mut writer = Writer::new(Vec::new(), &meta()).expect("memory can be written");
    let tick = |time_ns| Frame::Tick { time_ns, wall_ns: 1 };
    writer.frame(&tick(1)).expect("memory can be written");
    writer.unknown(&later).expect("memory can be written");
    writer.frame(&tick(2)).expect("memory can be written");
    let file = writer
        .end(&End { snapshot: None, events: 0, goes_on: false })
        .expect("memory can be written");
    let told = read(&file).expect("it is sound");
    assert_eq!((told.damages, told.unknown), (vec![], vec![later]));
    assert_eq!(normal(&told.frames), normal(&[tick(1), tick(2)]));
}
