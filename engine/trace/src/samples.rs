//! Small traces for the tests of this crate, made by hand.

use crate::event::{Actor, Event, Header, Outcome, Phase, SCHEMA_VERSION};
use crate::vocabulary::Body;

/// Writes events one after the other, a millisecond apart.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) events: Vec<Event>,
    open: Vec<(u64, u64, Body)>,
    span: u64,
}

impl Script {
    fn event(&mut self, phase: Phase, actor: Actor, span: u64, parent: u64, body: Body) -> &mut Event {
        let seq = self.events.len() as u64 + 1;
        self.events.push(Event {
            seq,
            t_ns: seq * 1_000_000,
            op: "0198".to_owned(),
            span,
            parent,
            actor,
            pid: 4711,
            phase,
            body,
            result: None,
            dur_ns: None,
            reason: None,
            evidence: Vec::new(),
            written: crate::line::Written::default(),
        });
        self.events.last_mut().expect("one was pushed")
    }

    fn around(&self) -> u64 {
        self.open.last().map_or(0, |(span, ..)| *span)
    }

    pub(crate) fn begin(&mut self, actor: Actor, body: Body) -> &mut Self {
        self.span += 1;
        let (span, parent) = (self.span, self.around());
        self.event(Phase::Begin, actor, span, parent, body.clone());
        self.open.push((span, self.events.len() as u64, body));
        self
    }

    pub(crate) fn end_with(&mut self, actor: Actor, body: Option<Body>, result: Outcome) -> &mut Self {
        let (span, began, first) = self.open.pop().expect("something is open");
        let parent = self.around();
        let event = self.event(Phase::End, actor, span, parent, body.unwrap_or(first));
        event.result = Some(result);
        event.dur_ns = Some(event.t_ns - began * 1_000_000);
        self
    }

    pub(crate) fn end(&mut self, actor: Actor) -> &mut Self {
        self.end_with(actor, None, Outcome::success())
    }

    pub(crate) fn point(&mut self, actor: Actor, body: Body) -> &mut Self {
        self.span += 1;
        let (span, parent) = (self.span, self.around());
        self.event(Phase::Point, actor, span, parent, body);
        self
    }

    pub(crate) fn skip(&mut self, actor: Actor, body: Body, reason: &str) -> &mut Self {
        self.span += 1;
        let (span, parent) = (self.span, self.around());
        self.event(Phase::Skip, actor, span, parent, body).reason = Some(reason.to_owned());
        self
    }
}

pub(crate) fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// `docker run busybox true`, shortened.
pub(crate) fn run() -> Vec<Event> {
    let mut script = Script::default();
    let daemon = Actor::Daemon;
    let id = "0123456789abcdef".repeat(4);
    let resolve = |digest: Option<String>| Body::ImageResolve {
        reference: "docker.io/library/busybox:latest".into(),
        source: digest.as_ref().map(|_| "local".into()),
        digest,
        platform: None,
    };
    script
        .begin(
            daemon,
            Body::Operation {
                command: vec!["docker".into(), "run".into(), "busybox".into()],
                status: None,
                dropped: None,
            },
        )
        .begin(daemon, resolve(None))
        .point(daemon, Body::BlobReuse { digest: digest('b'), size: 2048 })
        .end_with(daemon, Some(resolve(Some(digest('a')))), Outcome::success())
        .point(
            daemon,
            Body::ContainerState {
                container: id.clone(),
                name: Some("brave_otter".into()),
                from: None,
                to: "created".into(),
            },
        )
        .begin(
            Actor::Shim,
            Body::NamespaceCreate { namespaces: vec!["mnt".into(), "pid".into()], pid: Some(4712) },
        )
        .end(Actor::Shim)
        .begin(
            Actor::Shim,
            Body::LayerMount {
                lower: vec![format!("/tmp/x/layers/{}/fs", "c".repeat(64))],
                upper: Some(format!("/tmp/x/containers/{id}/upper")),
                work: None,
                target: None,
            },
        )
        .end(Actor::Shim)
        .skip(Actor::Init, Body::UserSet { uid: 0, gid: 0, groups: vec![] }, "the user is root already")
        .begin(Actor::Init, Body::RootfsPivot { root: "/tmp/x/rootfs".into() })
        .point(Actor::Init, Body::MountDetach { target: "/".into(), flags: vec!["detach".into()] })
        .end(Actor::Init)
        .begin(Actor::Init, Body::ProcessExec { argv: vec!["nosuch".into()], path: None, cwd: None, env: 2 })
        .end_with(
            Actor::Init,
            None,
            Outcome { ok: false, errno: Some("ENOENT".into()), message: Some("no nosuch in PATH".into()) },
        )
        .end_with(
            daemon,
            Some(Body::Operation {
                command: vec!["docker".into(), "run".into(), "busybox".into()],
                status: Some(127),
                dropped: None,
            }),
            Outcome::success(),
        );
    script.events
}

/// The same as a file.
pub(crate) fn run_jsonl() -> String {
    let header = Header {
        schema: SCHEMA_VERSION,
        engine: "0.1.0".into(),
        op: "0198".into(),
        started: "2026-01-01T00:00:00.000Z".into(),
        kernel: "6.1.0".into(),
        host: [("cgroups".to_owned(), "v2".to_owned())].into(),
    };
    let mut text = serde_json::to_string(&header).expect("plain data") + "\n";
    for event in run() {
        text += &(serde_json::to_string(&event).expect("plain data") + "\n");
    }
    text
}
