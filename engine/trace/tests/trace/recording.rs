use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use glassdock_trace::channel::Received;
use glassdock_trace::gate::Hold;
use glassdock_trace::recording::KEEP;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Actor, Channel, ChannelSink, Event, Header, OpId, Recorder, Sink, Trace, Unfinished};

use crate::support::signal;

fn trace(recording: Arc<dyn Sink>, op: &OpId) -> Trace {
    Trace::root(op.clone(), Actor::Daemon, Origin::now(), recording, Hold::Never)
}

#[test]
fn a_file_has_a_header_and_an_event_a_line_numbered_without_gaps() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::new(folder.path().join("traces"), "0.1.0", BTreeMap::new()).expect("a recorder");
    let op = OpId::new();
    for round in 0..3 {
        let recording = recorder.open(&op);
        let trace = trace(recording.clone(), &op);
        trace.point(signal(round));
        trace.point(signal(round));
        // Before the second round nothing was written, before the third everything, as by an earlier daemon.
        if round == 1 {
            recording.close();
        }
        drop((trace, recording));
    }
    recorder.settle();
    let text = fs::read_to_string(recorder.path(&op)).expect("the file is there");
    let mut lines = text.lines();
    let header: Header = serde_json::from_str(lines.next().expect("a header")).expect("a header");
    assert_eq!(header.op, op.as_str());
    let events: Vec<Event> = lines.map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(recorder.list().expect("a list"), [op]);
}

#[test]
fn an_operation_that_was_over_goes_on_where_its_file_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = || Recorder::new(folder.path(), "0.1.0", BTreeMap::new()).expect("a recorder");
    let op = OpId::new();
    let record = |recorder: &Recorder, op: &OpId| {
        let recording = recorder.open(op);
        trace(recording.clone(), op).point(signal(1));
        recording.close();
    };
    let earlier = new();
    record(&earlier, &op);
    // More than are kept in mind.
    for _ in 0..300 {
        record(&earlier, &OpId::new());
    }
    record(&earlier, &op);
    drop(earlier);
    record(&new(), &op);
    let text = fs::read_to_string(folder.path().join(format!("{op}.jsonl"))).expect("the file is there");
    let numbers = text.lines().skip(1).map(|line| serde_json::from_str::<Event>(line).expect("an event").seq);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn the_oldest_recordings_make_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = |number: usize| OpId::parse(&format!("{number:020x}")).expect("an id");
    for number in 0..KEEP {
        fs::write(folder.path().join(format!("{}.jsonl", old(number))), "").expect("a file");
    }
    let recorder = Recorder::new(folder.path(), "0.1.0", BTreeMap::new()).expect("a recorder");
    let ops: Vec<OpId> = (0..256).map(|_| OpId::new()).collect();
    for op in &ops {
        let recording = recorder.open(op);
        trace(recording.clone(), op).point(signal(1));
        recording.close();
    }
    recorder.settle();
    let left = recorder.list().expect("a list");
    assert!((KEEP..=KEEP + 1).contains(&left.len()), "{}", left.len());
    assert!(!left.contains(&old(0)) && left.contains(&old(KEEP - 1)));
    assert!(ops.iter().all(|op| left.contains(op)));
}

#[test]
fn lines_of_another_process_are_numbered_among_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::new(folder.path(), "0.1.0", BTreeMap::new()).expect("a recorder");
    let op = OpId::new();
    let recording = recorder.open(&op);
    let (near, far) = Channel::pair().expect("socketpair");
    let shim = trace(Arc::new(ChannelSink(Arc::new(far))), &op);
    let own = trace(recording.clone(), &op);
    own.point(signal(1));
    shim.point(signal(2));
    shim.point(signal(3));
    let mut buffer = vec![0; glassdock_trace::channel::MESSAGE_LIMIT];
    let mut known = Unfinished::default();
    while let Ok(Some(Received::Events(short))) = near.try_receive(&mut buffer) {
        recording.record_short(short, &mut known);
    }
    recording.record_short("7\n", &mut known);
    own.point(signal(4));
    recorder.settle();
    let text = fs::read_to_string(recorder.path(&op)).expect("the file is there");
    let events: Vec<Event> =
        text.lines().skip(1).map(|line| serde_json::from_str(line).expect("an event")).collect();
    let told: Vec<_> = events.into_iter().map(|event| (event.seq, event.body)).collect();
    assert_eq!(told, [(1, signal(1)), (2, signal(2)), (3, signal(3)), (4, signal(4))]);
    assert_eq!(recording.dropped(), 1, "what is no event is counted");
}

#[test]
fn an_operation_without_events_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::new(folder.path(), "0.1.0", BTreeMap::new()).expect("a recorder");
    recorder.open(&OpId::new()).close();
    recorder.settle();
    assert!(recorder.list().expect("a list").is_empty());
}

#[test]
fn ids_from_outside_can_not_name_other_files() {
    for text in ["", "../x", "a/b", "a.b", &"a".repeat(65)] {
        assert!(OpId::parse(text).is_none(), "{text:?}");
    }
    let op = OpId::new();
    assert_eq!(OpId::parse(op.as_str()), Some(op));
}

#[test]
fn a_disk_that_refuses_is_counted_and_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::new(folder.path().join("t"), "0.1.0", BTreeMap::new()).expect("a recorder");
    fs::remove_dir_all(folder.path().join("t")).expect("the folder goes");
    let op = OpId::new();
    let recording = recorder.open(&op);
    trace(recording.clone(), &op).point(signal(1));
    recorder.settle();
    assert_eq!(recording.dropped(), 1);
}
