use std::sync::Arc;
use std::thread;

use glassdock_trace::channel::{MESSAGE_LIMIT, Message, Received};
use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{
    Aborted, Actor, Body, Channel, ChannelSink, Event, Gathering, OpId, Sink, Tape, TapeSink, Trace,
    Unfinished,
};

use crate::support::{signal, tag};

/// The next message: its events, or what else it is. Those in short are each a whole step.
fn next(daemon: &Channel) -> Option<Result<Vec<Event>, Message>> {
    let mut buffer = vec![0; MESSAGE_LIMIT];
    let read = |line| serde_json::from_str(line).expect("an event");
    Some(match daemon.receive(&mut buffer).expect("whole messages")? {
        Received::Events(short) => {
            let op = OpId::parse("01ab").expect("an id");
            let (lines, lost) = Unfinished::default().lines(&op, short);
            assert_eq!(lost, 0, "{short}");
            Ok(lines.lines().map(read).collect())
        }
        Received::Other(message) => Err(message),
    })
}

/// A tape for one process: what is on it, how much of that was taken, and how much it takes.
#[derive(Debug, Default)]
struct Own(std::sync::Mutex<(Vec<u8>, usize)>, usize);

impl Tape for Own {
    fn add(&self, line: &[u8]) -> bool {
        let (lines, _) = &mut *self.0.lock().expect("no panic");
        let fits = lines.len() + line.len() <= self.1;
        if fits {
            lines.extend_from_slice(line);
        }
        fits
    }

    fn take(&self, give: &mut dyn FnMut(&[u8])) -> bool {
        let (lines, taken) = &mut *self.0.lock().expect("no panic");
        let (_, new) = lines.split_at(*taken);
        *taken += new.len();
        if !new.is_empty() {
            give(new);
        }
        !new.is_empty()
    }
}

/// A shim's trace, and the daemon's end of it.
fn shim(stepped: bool) -> (Trace, Channel) {
    let (near, far) = Channel::pair().expect("socketpair");
    let far = Arc::new(far);
    let hold = if stepped { Hold::There(Arc::clone(&far)) } else { Hold::Never };
    let origin = Origin { start_ns: Trace::clock(), spans_from: 1000, parent: 5 };
    let sink: Arc<dyn Sink> = Arc::new(ChannelSink(far));
    (Trace::root(OpId::new(), Actor::Shim, origin, sink, hold), near)
}

#[test]
fn events_arrive_in_order_and_the_end_is_seen() {
    let (trace, daemon) = shim(false);
    trace.point(signal(1));
    trace.point(signal(2));
    drop(trace);
    for pid in [1, 2] {
        let Some(Ok(events)) = next(&daemon) else { panic!("an event") };
        let [event] = events.as_slice() else { panic!("each is sent at once") };
        assert_eq!(event.body, signal(pid));
        assert_eq!((event.parent, event.actor), (5, Actor::Shim));
        assert!(event.span >= 1000);
    }
    assert!(next(&daemon).is_none(), "a closed channel is no error");
}

#[test]
fn a_tape_is_sent_on_whole_and_before_what_it_has_no_room_for() {
    let (near, far) = Channel::pair().expect("socketpair");
    let (channel, tape) = (Arc::new(far), Arc::new(Own(std::sync::Mutex::default(), 800)));
    let (on, way) = (Arc::clone(&tape), Arc::clone(&channel));
    let sink: Arc<dyn Sink> = Arc::new(TapeSink::new(on, way));
    let trace = Trace::root(OpId::new(), Actor::Init, Origin::now(), sink, Hold::Never);
    let told = |near: &Channel| match next(near) {
        Some(Ok(events)) => events.into_iter().map(|event| event.body).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    trace.point(signal(1));
    trace.point(signal(2));
    channel.forward(Vec::new(), &[], &*tape);
    assert_eq!(told(&near), [signal(1), signal(2)], "one message");
    trace.point(signal(3));
    trace.point(Body::ProcessSpawn { role: "exec".into(), argv: vec!["x".repeat(800)], pid: None });
    assert_eq!(told(&near), [signal(3)]);
    assert!(matches!(told(&near).as_slice(), [Body::ProcessSpawn { .. }]));
}

#[test]
fn what_is_gathered_goes_in_one_message_and_never_grows_beyond_one() {
    let (near, far) = Channel::pair().expect("socketpair");
    let gathering = Arc::new(Gathering::new(Arc::new(far)));
    let trace = Trace::root(OpId::new(), Actor::Shim, Origin::now(), gathering.clone(), Hold::Never);
    gathering.flush();
    trace.point(signal(1));
    trace.point(signal(2));
    let mut buffer = vec![0; MESSAGE_LIMIT];
    let early = near.try_receive(&mut buffer).expect_err("nothing was sent yet");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    gathering.flush();
    let Some(Ok(events)) = next(&near) else { panic!("events") };
    assert_eq!(events.into_iter().map(|event| event.body).collect::<Vec<_>>(), [signal(1), signal(2)]);
    for pid in 0..2000 {
        trace.point(signal(pid));
    }
    gathering.flush();
    let mut pid = 0;
    while pid < 2000 {
        let Some(Ok(events)) = next(&near) else { panic!("nothing is lost") };
        for event in events {
            assert_eq!(event.body, signal(pid));
            pid += 1;
        }
    }
}

#[test]
fn a_far_gate_holds_the_act_and_can_abort_it() {
    let (trace, daemon) = shim(true);
    let worker =
        thread::spawn(move || trace.step(tag("a"), |_| -> std::io::Result<()> { panic!("aborted") }));
    let Some(Err(Message::Ask(event))) = next(&daemon) else { panic!("a question") };
    assert_eq!(event.body, tag("a"));
    daemon.answer(Err(Aborted)).expect("the shim listens");
    assert!(worker.join().expect("the worker ends").is_err());
}

#[test]
fn without_a_daemon_nothing_is_held_and_nothing_blocks() {
    let (trace, daemon) = shim(true);
    drop(daemon);
    trace.step(tag("a"), |_| std::io::Result::Ok(())).expect("the container goes on");
}

#[test]
fn what_a_full_channel_loses_is_counted_and_told() {
    let (trace, daemon) = shim(false);
    let argv = vec!["x".repeat(4096)];
    for _ in 0..1000 {
        trace.point(Body::ProcessSpawn { role: "exec".into(), argv: argv.clone(), pid: None });
    }
    let mut buffer = vec![0; MESSAGE_LIMIT];
    let mut received = 0;
    while let Ok(Some(Received::Events(_))) = daemon.try_receive(&mut buffer) {
        received += 1;
    }
    assert!((1..1000).contains(&received));
    trace.point(signal(1));
    let Some(Err(Message::Dropped(lost))) = next(&daemon) else { panic!("a count") };
    assert_eq!(lost, 1000 - received);
}

#[test]
fn garbage_is_an_error_and_no_panic() {
    let (near, far) = Channel::pair().expect("socketpair");
    rustix::net::send(&far, b"{\"event\":7}", rustix::net::SendFlags::empty()).expect("send");
    let error = near.receive(&mut vec![0; MESSAGE_LIMIT]).expect_err("it is no message");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}
