//! A sink that keeps what it gets, and short ways to a trace.

use std::sync::{Arc, Mutex};

use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Actor, Body, Event, OpId, Sink, Trace};

/// Keeps events in memory.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<Event>>);

impl Kept {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().expect("no test panics while it holds this").clone()
    }
}

impl Sink for Kept {
    fn record(&self, event: &Event) {
        self.0.lock().expect("no test panics while it holds this").push(event.clone());
    }
}

/// A trace into memory, held by `hold`.
pub(crate) fn kept(hold: Hold) -> (Trace, Arc<Kept>) {
    let sink = Arc::new(Kept::default());
    let trace =
        Trace::root(OpId::new(), Actor::Daemon, Origin::now(), Arc::clone(&sink) as Arc<dyn Sink>, hold);
    (trace, sink)
}

pub(crate) fn tag(name: &str) -> Body {
    Body::ImageTag { reference: name.to_owned(), image: "sha256:00".to_owned() }
}

pub(crate) fn signal(pid: u32) -> Body {
    Body::ProcessSignal { pid, signal: "SIGTERM".to_owned() }
}
