//! The trace of a run: complete, in order, and true.

use glassdock_trace::{Actor, Event, Kind, Level, Phase};

use crate::support::{Fixture, eventually, requires_root_and_busybox};

fn traced(command: &str) -> Vec<Event> {
    let mut container = Fixture::shell(command).traced();
    container.run().unwrap();
    let events = container.events.clone();
    eventually("the last event is there", || {
        let events = events.lock().unwrap();
        events.iter().any(|event| event.body.kind() == Kind::CgroupRemove && event.phase == Phase::End)
    });
    let events = events.lock().unwrap();
    events.clone()
}

#[test]
fn steps_come_in_the_order_that_is_promised() {
    if !requires_root_and_busybox() {
        return;
    }
    let events = traced("true");
    let begins = |event: &&Event| matches!(event.phase, Phase::Begin | Phase::Point);
    let mut steps: Vec<_> = events
        .iter()
        .filter(begins)
        .map(|event| event.body.kind())
        .filter(|kind| kind.level() == Level::Step)
        .collect();
    steps.dedup();
    let expected = [
        Kind::ProcessSpawn,
        Kind::CgroupCreate,
        Kind::NamespaceCreate,
        Kind::LayerMount,
        Kind::RootfsPivot,
        Kind::SeccompLoad,
        Kind::CapabilitySet,
        Kind::UserSet,
        Kind::ProcessExec,
        Kind::ProcessExit,
        Kind::CgroupRemove,
    ];
    assert_eq!(steps, expected);
}

#[test]
fn every_begin_has_an_end_and_actors_are_named() {
    if !requires_root_and_busybox() {
        return;
    }
    let events = traced("true");
    for event in events.iter().filter(|event| event.phase == Phase::Begin) {
        let ends = events.iter().filter(|other| other.span == event.span && other.phase == Phase::End);
        let ends: Vec<_> = ends.collect();
        assert_eq!(ends.len(), 1, "{event:?}");
        assert!(ends[0].result.as_ref().is_some_and(|result| result.ok), "{:?}", ends[0]);
    }
    let exec = events.iter().find(|event| event.body.kind() == Kind::ProcessExec).unwrap();
    assert_eq!(exec.actor, Actor::Init);
    let exit = events.iter().find(|event| event.body.kind() == Kind::ProcessExit).unwrap();
    assert_eq!(exit.actor, Actor::Shim);
    // Init tells its number as the host has it.
    assert!(exec.pid > 1, "{exec:?}");
    match &exit.body {
        glassdock_trace::Body::ProcessExit { pid, status, .. } => assert_eq!((*pid, *status), (exec.pid, 0)),
        other => panic!("{other:?}"),
    }
}
