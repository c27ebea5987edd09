use std::io;

use glassdock_trace::gate::Hold;
use glassdock_trace::{Phase, Trace};

use crate::support::{kept, signal, tag};

#[test]
fn a_step_has_a_begin_and_an_end_and_what_is_inside_names_it_as_parent() {
    let (trace, sink) = kept(Hold::Never);
    let result: io::Result<u8> = trace.step(tag("a"), |span| {
        span.trace().point(signal(7));
        Ok(1)
    });
    assert_eq!(result.expect("the act succeeds"), 1);

    let events = sink.events();
    let phases: Vec<_> = events.iter().map(|event| event.phase).collect();
    assert_eq!(phases, [Phase::Begin, Phase::Point, Phase::End]);
    assert_eq!(events[0].span, events[2].span);
    assert_eq!(events[1].parent, events[0].span);
    assert_eq!((events[0].parent, events[2].parent), (0, 0));
    assert!(events[2].result.as_ref().is_some_and(|result| result.ok) && events[2].dur_ns.is_some());
    assert!(events.windows(2).all(|pair| pair[0].t_ns <= pair[1].t_ns));
}

#[test]
fn a_failure_is_told_with_its_errno_and_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("mount overlay on /x")]
    struct Mount(#[source] io::Error);
    impl From<glassdock_trace::Aborted> for Mount {
        fn from(aborted: glassdock_trace::Aborted) -> Self {
            Self(aborted.into())
        }
    }

    let (trace, sink) = kept(Hold::Never);
    let failed: Result<(), Mount> = trace.step(tag("a"), |_| Err(Mount(io::Error::from_raw_os_error(19))));
    assert!(failed.is_err());
    let outcome = sink.events()[1].result.clone().expect("an end has a result");
    assert_eq!(outcome.errno.as_deref(), Some("ENODEV"));
    assert!(
        outcome.message.is_some_and(|message| message.starts_with("mount overlay on /x: No such device"))
    );
}

#[test]
fn a_span_that_is_dropped_says_that_it_was_cancelled() {
    let (trace, sink) = kept(Hold::Never);
    drop(trace.begin(tag("a")).expect("nobody holds it"));
    let events = sink.events();
    assert_eq!(events.len(), 2);
    assert!(events[1].result.as_ref().is_some_and(|result| !result.ok));
}

#[test]
fn a_trace_that_is_off_costs_and_records_nothing() {
    let trace = Trace::off();
    trace.point_with(signal(1), || panic!("evidence is not gathered for nobody"));
    let span = trace.begin(tag("a")).expect("nobody holds it");
    assert!(!span.trace().is_on());
    span.ok();
}
