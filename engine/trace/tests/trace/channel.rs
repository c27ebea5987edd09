use std::sync::Arc;
use std::thread;

use glassdock_trace::channel::{Message, Received};
use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Aborted, Actor, Body, Channel, ChannelSink, OpId, Sink, Trace};

use crate::support::{signal, tag};

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
        let Some(Message::Event(event)) = daemon.receive().expect("whole messages") else {
            panic!("an event")
        };
        assert_eq!(event.body, signal(pid));
        assert_eq!((event.parent, event.actor), (5, Actor::Shim));
        assert!(event.span >= 1000);
    }
    assert!(daemon.receive().expect("a closed channel is no error").is_none());
}

#[test]
fn a_far_gate_holds_the_act_and_can_abort_it() {
    let (trace, daemon) = shim(true);
    let worker =
        thread::spawn(move || trace.step(tag("a"), |_| -> std::io::Result<()> { panic!("aborted") }));
    let Some(Message::Ask(event)) = daemon.receive().expect("whole messages") else { panic!("a question") };
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
    let mut buffer = vec![0; glassdock_trace::channel::MESSAGE_LIMIT];
    let mut received = 0;
    while let Ok(Some(Received::Event(_))) = daemon.try_receive(&mut buffer) {
        received += 1;
    }
    assert!((1..1000).contains(&received));
    trace.point(signal(1));
    let Some(Message::Dropped(lost)) = daemon.receive().expect("whole messages") else { panic!("a count") };
    assert_eq!(lost, 1000 - received);
}

#[test]
fn garbage_is_an_error_and_no_panic() {
    let (near, far) = Channel::pair().expect("socketpair");
    rustix::net::send(&far, b"{\"event\":7}", rustix::net::SendFlags::empty()).expect("send");
    let error = near.receive().expect_err("it is no message");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}
