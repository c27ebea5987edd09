use std::io;
use std::thread;
use std::time::Duration;

use glassdock_trace::gate::Hold;
use glassdock_trace::{Answer, Event, Gate, Kind, Stepping};

use crate::support::{kept, signal, tag};

/// The step that is held, once one is.
fn held(gate: &Gate) -> Event {
    for _ in 0..2000 {
        if let Some(event) = gate.held() {
            return event;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no step came to the gate");
}

#[test]
fn a_held_step_acts_only_after_next() {
    let gate = Gate::new(Stepping::Steps);
    let (trace, sink) = kept(Hold::Here(gate.clone()));
    let worker = thread::spawn(move || trace.step(tag("a"), |_| io::Result::Ok(())));
    let event = held(&gate);
    assert_eq!(event.body.kind(), Kind::ImageTag);
    assert!(sink.events().is_empty(), "nothing has begun while it is held");
    assert!(gate.answer(event.span, Answer::Next));
    worker.join().expect("the worker ends").expect("the act succeeds");
    assert_eq!(sink.events().len(), 2);
    assert!(!gate.answer(event.span, Answer::Next), "it is held no more");
}

#[test]
fn abort_means_that_the_act_does_not_happen_and_no_later_one() {
    let gate = Gate::new(Stepping::Steps);
    let (trace, sink) = kept(Hold::Here(gate.clone()));
    let worker = thread::spawn(move || {
        let first: io::Result<()> = trace.step(tag("a"), |_| panic!("the act was aborted"));
        let second: io::Result<()> = trace.step(tag("b"), |_| panic!("so was the operation"));
        (first, second)
    });
    gate.answer(held(&gate).span, Answer::Abort);
    let (first, second) = worker.join().expect("the worker ends");
    assert!(first.is_err() && second.is_err());
    assert!(sink.events().is_empty());
}

#[test]
fn over_does_what_is_inside_and_stops_at_the_next() {
    let gate = Gate::new(Stepping::Steps);
    let (trace, _sink) = kept(Hold::Here(gate.clone()));
    let worker = thread::spawn(move || -> io::Result<()> {
        trace.step(tag("outer"), |span| span.trace().step(tag("inner"), |_| io::Result::Ok(())))?;
        trace.step(tag("next"), |_| Ok(()))
    });
    let outer = held(&gate);
    gate.answer(outer.span, Answer::Over);
    let next = held(&gate);
    assert_eq!(next.body, tag("next"));
    gate.answer(next.span, Answer::Continue);
    worker.join().expect("the worker ends").expect("all acts succeed");
}

#[test]
fn steps_pass_evidence_and_a_break_stops_only_at_its_kind() {
    let gate = Gate::new(Stepping::Break(vec![Kind::ProcessExec]));
    let (trace, sink) = kept(Hold::Here(gate.clone()));
    trace.begin(signal(1)).expect("evidence is not held").ok();
    trace.step(tag("a"), |_| io::Result::Ok(())).expect("another kind is not held");
    assert_eq!(sink.events().len(), 4);

    let steps = Gate::new(Stepping::Steps);
    let (trace, _sink) = kept(Hold::Here(steps));
    trace.begin(signal(1)).expect("evidence is not held").ok();
}

#[test]
fn who_leaves_lets_everything_go_on() {
    let gate = Gate::new(Stepping::Syscalls);
    let (trace, _sink) = kept(Hold::Here(gate.clone()));
    let worker = thread::spawn(move || trace.step(tag("a"), |_| io::Result::Ok(())));
    held(&gate);
    gate.release();
    worker.join().expect("the worker ends").expect("the act succeeds");
    assert!(gate.held().is_none());
}

#[test]
fn a_task_that_is_dropped_while_held_leaves_the_queue() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    let gate = Gate::new(Stepping::Steps);
    let (trace, _sink) = kept(Hold::Here(gate.clone()));
    let mut task = Box::pin(trace.begin_async(tag("a")));
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(task.as_mut().poll(&mut context), Poll::Pending));
    assert!(gate.held().is_some());
    drop(task);
    assert!(gate.held().is_none());
}
