//! A trace made comparable: two runs of the same command on the same engine give
//! the same text, on any machine.
//!
//! Three things differ from run to run, and each is taken care of:
//!
//! - *volatile values* (ids, times, pids, places) get names: [`crate::redact`];
//! - *order*, where work is done side by side. Which events may stand in either
//!   order is a table ([`are_independent`]); of all orders that the table allows,
//!   the first in the vocabulary's order is taken. (A trace with such a table is
//!   what Mazurkiewicz called a trace, and this its lexicographic normal form.)
//! - *the host*: which files of a control group are written and how many hierarchies
//!   are mounted depends on its version, and which files of `/proc` there are to be
//!   hidden on the kernel's configuration. Such events are left out ([`HOST_ONLY`]),
//!   told without their details ([`HOST_SHAPED`]), or told once.
//!
//! Snapshots and `trace diff` use this, and only this.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::event::Actor;
use crate::redact::{self, Names, Rule};
use crate::render::{self, escape};
use crate::tree::{Node, Tree};
use crate::vocabulary::{Body, Kind, Level};

/// Kinds whose events depend on the host more than on the engine.
pub const HOST_ONLY: &[Kind] = &[Kind::CgroupSet, Kind::CgroupAttach, Kind::RlimitSet];

/// Kinds of which only the target is told: how a file of `/proc` is hidden, and whether it is
/// there to be hidden, is the kernel's configuration.
pub const HOST_SHAPED: &[Kind] = &[Kind::MountMask, Kind::MountReadonly];

/// Where the host's control groups are shown to the container: one mount with v2, many with v1.
const CGROUP_MOUNTS: &str = "/sys/fs/cgroup";

/// Above so many steps side by side, their order is left as it was.
const SORT_LIMIT: usize = 4000;

/// The trace as text, a step a line: its kind, who did it, its fields, how it went.
/// `names` keeps what was named, for the next trace or a command's output.
#[must_use]
pub fn normalise(tree: &Tree, names: &mut Names) -> String {
    let order = canonical_order(tree);
    give_names(tree, &order, names);
    let mut lines: Vec<(usize, Kind, String)> = Vec::new();
    for (depth, place) in order {
        let Some(node) = tree.nodes.get(place) else { continue };
        if is_of_the_host(tree, node) {
            continue;
        }
        let line = describe(node, depth, names);
        let repeated = node.kind().name().starts_with("cgroup.")
            && lines
                .iter()
                .rev()
                .take_while(|(_, kind, _)| *kind == node.kind())
                .any(|(_, _, last)| *last == line);
        if !repeated {
            lines.push((depth, node.kind(), line));
        }
    }
    lines.into_iter().map(|(_, _, line)| line + "\n").collect()
}

/// Whether an event is left out, since another host would have others.
fn is_of_the_host(tree: &Tree, node: &Node) -> bool {
    let around = node.parent.and_then(|parent| tree.nodes.get(parent));
    let target = match &node.body {
        Body::MountAttach { target, .. } | Body::MountReadonly { target, .. } => target.as_str(),
        _ => "",
    };
    HOST_ONLY.contains(&node.kind())
        || target.starts_with(CGROUP_MOUNTS)
        || around.is_some_and(|around| HOST_SHAPED.contains(&around.kind()))
}

/// Every node with its depth, from the top, in the canonical order.
fn canonical_order(tree: &Tree) -> Vec<(usize, usize)> {
    let mut order = Vec::with_capacity(tree.nodes.len());
    let mut stack: Vec<(usize, usize)> = Vec::new();
    let push = |stack: &mut Vec<(usize, usize)>, places: &[usize], depth| {
        stack.extend(sorted(tree, places).into_iter().rev().map(|place| (depth, place)));
    };
    push(&mut stack, &tree.roots, 0);
    while let Some((depth, place)) = stack.pop() {
        order.push((depth, place));
        if let Some(node) = tree.nodes.get(place) {
            push(&mut stack, &node.children, depth + 1);
        }
    }
    order
}

/// Steps that are inside of the same one, each as early as the steps that it
/// depends on let it be, and the first of the vocabulary first.
fn sorted(tree: &Tree, places: &[usize]) -> Vec<usize> {
    let nodes: Vec<&Node> = places.iter().filter_map(|place| tree.nodes.get(*place)).collect();
    if nodes.len() > SORT_LIMIT || nodes.len() != places.len() {
        return places.to_vec();
    }
    // An image's config, a JSON text, is pushed when all layers are there.
    let configs: BTreeSet<String> = nodes
        .iter()
        .filter(|node| matches!(&node.body, Body::BlobUpload { media_type: Some(kind), .. } if kind.ends_with("+json")))
        .filter_map(|node| digest_of(node))
        .collect();
    let asks_for_config = |node: &Node| blob_asked_for(node).is_some_and(|digest| configs.contains(digest));
    let mut waits = vec![0_usize; nodes.len()];
    let mut leads: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (late, node) in nodes.iter().enumerate() {
        for (early, before) in nodes.iter().enumerate().take(late) {
            if (!are_independent(before, node) || asks_for_config(before) || asks_for_config(node))
                && let (Some(wait), Some(lead)) = (waits.get_mut(late), leads.get_mut(early))
            {
                *wait += 1;
                lead.push(late);
            }
        }
    }
    // How large a blob is that is asked for tells whoever sends it afterwards.
    let sizes: BTreeMap<String, u64> =
        nodes.iter().filter_map(|node| Some((digest_of(node)?, size_of(node)?))).collect();
    let key = |at: usize| nodes.get(at).map(|node| std::cmp::Reverse((rank(node, &sizes), at)));
    let mut free: BinaryHeap<_> =
        waits.iter().enumerate().filter(|(_, wait)| **wait == 0).filter_map(|(at, _)| key(at)).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(std::cmp::Reverse((_, at))) = free.pop() {
        order.extend(places.get(at));
        for late in leads.get(at).into_iter().flatten() {
            if let Some(wait) = waits.get_mut(*late) {
                *wait -= 1;
                if *wait == 0 {
                    free.extend(key(*late));
                }
            }
        }
    }
    order
}

/// Whether two steps inside of the same one are done side by side, so that either
/// may come first: a pull's layers, and the network that the daemon makes while a
/// container's first process mounts its file systems.
#[must_use]
pub fn are_independent(a: &Node, b: &Node) -> bool {
    if a.operation != b.operation {
        return false;
    }
    let side_by_side = |node: &Node| {
        matches!(
            node.kind(),
            Kind::BlobFetch
                | Kind::BlobReuse
                | Kind::BlobVerify
                | Kind::BlobUpload
                | Kind::BlobMount
                | Kind::LayerUnpack
        )
    };
    if side_by_side(a) && side_by_side(b) {
        return true;
    }
    // Whether a registry has a blob is asked while others are asked for, and uploaded.
    match (blob_asked_for(a), blob_asked_for(b)) {
        (Some(one), Some(other)) => return one != other,
        (Some(asked), None) if side_by_side(b) => return digest_of(b).is_none_or(|digest| digest != asked),
        (None, Some(asked)) if side_by_side(a) => return digest_of(a).is_none_or(|digest| digest != asked),
        _ => {}
    }
    let makes_network = |node: &Node| {
        node.actor == Actor::Daemon
            && (matches!(node.kind(), Kind::NamespaceJoin | Kind::PortPublish)
                || node.kind().name().starts_with("net."))
    };
    let in_container = |node: &Node| matches!(node.actor, Actor::Init | Actor::Shim);
    // A short program may have ended before the daemon has noted that it runs.
    let notes = |node: &Node| matches!(&node.body, Body::ContainerState { to, .. } if to == "running");
    let ends =
        |node: &Node| matches!(node.kind(), Kind::ProcessExit | Kind::ProcessReap | Kind::CgroupRemove);
    let either = |one: &dyn Fn(&Node) -> bool, other: &dyn Fn(&Node) -> bool| {
        (one(a) && other(b)) || (other(a) && one(b))
    };
    // A client that is attached waits for the end and asks for the start in one breath.
    let asks =
        |node: &Node, what: &str| matches!(&node.body, Body::ApiRequest { path, .. } if path.ends_with(what));
    either(&makes_network, &in_container)
        || either(&notes, &ends)
        || either(&|node| asks(node, "/start"), &|node| asks(node, "/wait"))
}

/// The digest of the blob that a registry is asked for without its content.
fn blob_asked_for(node: &Node) -> Option<&str> {
    match &node.body {
        Body::RegistryRequest { method, url, .. } if method == "HEAD" => {
            url.rsplit_once("/blobs/").map(|(_, digest)| digest)
        }
        _ => None,
    }
}

/// The digest of the blob that a step sends or gets.
fn digest_of(node: &Node) -> Option<String> {
    render::fields(&node.body).get("digest")?.as_str().map(str::to_owned)
}

/// The place of a step among those that it is independent of: its kind, then what
/// is the same in every run and on every host. Digests come last: they differ where
/// the host's programs are part of an image, but sizes then seldom change places.
fn rank(node: &Node, sizes: &BTreeMap<String, u64>) -> (Kind, u64, String) {
    let fields = render::fields(&node.body);
    let asked = blob_asked_for(node).and_then(|digest| sizes.get(digest).copied());
    let number = asked.or_else(|| size_of(node)).unwrap_or(0);
    let text = ["media_type", "digest", "chain_id", "path"]
        .iter()
        .filter_map(|name| fields.get(*name)?.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let kind = match &node.body {
        Body::ContainerState { to, .. } if to == "running" => Kind::ProcessExec,
        _ => node.kind(),
    };
    (kind, number, text)
}

/// How much a step moves.
fn size_of(node: &Node) -> Option<u64> {
    let fields = render::fields(&node.body);
    ["size", "bytes"].iter().find_map(|name| fields.get(*name)?.as_u64())
}

/// Gives names to all ids and digests, in the order of the table of rules.
fn give_names(tree: &Tree, order: &[(usize, usize)], names: &mut Names) {
    let nodes: Vec<_> = order
        .iter()
        .filter_map(|(_, place)| tree.nodes.get(*place))
        .map(|node| (node.kind().name(), render::fields(&node.body)))
        .collect();
    for (of, field, rule) in redact::FIELDS {
        if !matches!(rule, Rule::Named(_) | Rule::MaybeGenerated | Rule::Resolved) {
            continue;
        }
        for (kind, fields) in &nodes {
            if (*of == "*" || of == kind)
                && redact::rule(kind, field) == Some(*rule)
                && let Some(value) = fields.get(*field)
            {
                field_value(*rule, fields, value, names);
            }
        }
    }
}

fn describe(node: &Node, depth: usize, names: &mut Names) -> String {
    let mark = if node.level() == Level::Step { "" } else { "· " };
    let actor = format!("{:?}", node.actor).to_lowercase();
    let kind = node.kind().name();
    let mut line = format!("{}{mark}{kind} [{actor}]", "  ".repeat(depth));
    let fields = render::fields(&node.body);
    for (name, value) in &fields {
        let value = match redact::rule(kind, name) {
            Some(Rule::Dropped) => continue,
            Some(rule) => field_value(rule, &fields, value, names),
            None => plain(value, names),
        };
        let _ = write!(line, " {name}={value}");
    }
    if let Some(reason) = node.skipped.as_ref().filter(|_| !HOST_SHAPED.contains(&node.kind())) {
        let _ = write!(line, " (skipped: {})", escape(&names.text(reason)));
    }
    if let Some(result) = node.result.as_ref().filter(|result| !result.ok) {
        let message = result.message.as_deref().unwrap_or_default();
        let _ = write!(
            line,
            " → failed {}: {}",
            result.errno.as_deref().unwrap_or("without errno"),
            escape(&names.text(message))
        );
    }
    if node.is_open() {
        line.push_str(" (not over)");
    }
    line
}

/// A rule that depends on the other fields, decided.
fn settled(rule: Rule, fields: &Map<String, Value>) -> Rule {
    match rule {
        Rule::Resolved if fields.get("source").and_then(Value::as_str) == Some("local") => {
            Rule::Named("image")
        }
        Rule::Resolved => Rule::Named("manifest"),
        other => other,
    }
}

/// A field's value as its rule says, which may depend on the other fields.
fn field_value(rule: Rule, fields: &Map<String, Value>, value: &Value, names: &mut Names) -> String {
    match (rule, value, fields.get("container").and_then(Value::as_str)) {
        (Rule::MaybeGenerated, Value::String(text), Some(container)) => names.of_container(text, container),
        _ => apply(settled(rule, fields), value, names),
    }
}

fn apply(rule: Rule, value: &Value, names: &mut Names) -> String {
    match (rule, value) {
        (_, Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| apply(rule, item, names)).collect();
            format!("[{}]", items.join(" "))
        }
        (Rule::Named(sort), Value::String(text)) => names.name(sort, text),
        (Rule::MaybeGenerated, Value::String(text)) => names.maybe_generated(text),
        (Rule::Number, _) => "N".to_owned(),
        (_, other) => plain(other, names),
    }
}

fn plain(value: &Value, names: &mut Names) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| plain(item, names)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::String(text) => escape(&names.text(text)),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::samples::{self, Script, digest};

    fn text(events: &[Event]) -> String {
        normalise(&Tree::of(events), &mut Names::default())
    }

    #[test]
    fn a_run() {
        insta::assert_snapshot!(text(&samples::run()), @r"
        operation [daemon] command=[docker run busybox] status=127
          image.resolve [daemon] reference=docker.io/library/busybox:latest source=local digest=image1
            · blob.reuse [daemon] digest=blob1 size=N
          container.state [daemon] container=c1 name=name1 to=created
          namespace.create [shim] namespaces=[mnt pid] pid=N
          layer.mount [shim] lower=[/tmp/x/layers/layer1/fs] upper=/tmp/x/containers/c1/upper
          user.set [init] uid=0 gid=0 (skipped: the user is root already)
          rootfs.pivot [init] root=/tmp/x/rootfs
            · mount.detach [init] target=/ flags=[detach]
          process.exec [init] argv=[nosuch] env=2 → failed ENOENT: no nosuch in PATH
        ");
    }

    #[test]
    fn what_differs_from_run_to_run_does_not_show() {
        let again = samples::run_jsonl()
            .replace("0123456789abcdef", "fedcba9876543210")
            .replace(&digest('a'), &digest('7'))
            .replace("brave_otter", "calm_heron")
            .replace("4712", "99")
            .replace("/tmp/x", "/tmp/other");
        let again = crate::Reading::parse(&again).expect("a trace").events;
        let (mut one, mut two) = (Names::default(), Names::default());
        one.literal("/tmp/x", "ROOT");
        two.literal("/tmp/other", "ROOT");
        assert_eq!(normalise(&Tree::of(&samples::run()), &mut one), normalise(&Tree::of(&again), &mut two));
    }

    #[test]
    fn parallel_fetches_are_sorted_and_changed_steps_show() {
        let fetch =
            |letter, size| Body::BlobFetch { digest: digest(letter), size, media_type: None, offset: None };
        let order = |first: (char, u64), second: (char, u64)| {
            let mut script = Script::default();
            let daemon = Actor::Daemon;
            script.begin(daemon, fetch(first.0, first.1)).end(daemon);
            script.begin(daemon, fetch(second.0, second.1)).end(daemon);
            text(&script.events)
        };
        assert_eq!(order(('a', 10), ('b', 20)), order(('b', 20), ('a', 10)));
        let mut changed = samples::run();
        changed.retain(|event| event.body.kind() != Kind::LayerMount);
        assert_ne!(text(&changed), text(&samples::run()));
    }

    #[test]
    fn a_push_asks_for_its_layers_in_any_order() {
        let ask = |letter| Body::RegistryRequest {
            method: "HEAD".into(),
            url: format!("http://127.0.0.1:5000/v2/a/blobs/{}", digest(letter)),
            status: Some(404),
            sent: None,
            received: None,
            attempt: 1,
        };
        let send = |letter, size| Body::BlobUpload { digest: digest(letter), size, media_type: None };
        let told = |order: &[&Body]| {
            let mut script = Script::default();
            for body in order {
                script.begin(Actor::Daemon, (*body).clone()).end(Actor::Daemon);
            }
            text(&script.events)
        };
        let (ask_a, ask_b, send_a, send_b) = (ask('a'), ask('b'), send('a', 10), send('b', 20));
        let one = told(&[&ask_a, &ask_b, &send_a, &send_b]);
        assert_eq!(one, told(&[&ask_b, &ask_a, &send_a, &send_b]));
        assert_eq!(one, told(&[&ask_a, &send_a, &ask_b, &send_b]));
        assert_eq!(one, told(&[&ask_b, &send_b, &ask_a, &send_a]));
        // The config comes last in any case, though it is the smallest.
        let config = Body::BlobUpload {
            digest: digest('c'),
            size: 1,
            media_type: Some("application/vnd.oci.image.config.v1+json".into()),
        };
        let whole = told(&[&ask_b, &ask_a, &send_a, &send_b, &ask('c'), &config]);
        assert!(whole.starts_with(&one), "{whole}");
        // But a blob that is sent unasked is another matter.
        assert_ne!(one, told(&[&send_a, &ask_a, &ask_b, &send_b]));
    }

    #[test]
    fn hosts_do_not_show() {
        let script = |v1: bool| {
            let mut script = Script::default();
            let init = Actor::Init;
            let mount = |target: &str| Body::MountAttach {
                target: target.into(),
                fstype: Some("cgroup".into()),
                source: None,
                flags: vec![],
                data: None,
            };
            let mask = Body::MountMask { target: "/proc/keys".into(), source: "/dev/null".into() };
            script.point(init, mount("/sys/fs/cgroup"));
            script.point(init, Body::CgroupCreate { path: "x".into(), version: 1, controllers: vec![] });
            if v1 {
                script.point(init, mount("/sys/fs/cgroup/memory"));
                script.point(init, Body::CgroupCreate { path: "x".into(), version: 1, controllers: vec![] });
                script.skip(init, mask, "it does not exist");
            } else {
                script.begin(init, mask).point(init, mount("/proc/keys")).end(init);
            }
            text(&script.events)
        };
        assert_eq!(script(true), script(false));
        assert_eq!(script(true), "cgroup.create [init] path=x\n· mount.mask [init] target=/proc/keys\n");
    }

    #[test]
    fn a_short_program_may_end_before_it_is_noted() {
        let id = || "1".repeat(64);
        let running =
            || Body::ContainerState { container: id(), name: None, from: None, to: "running".into() };
        let exit = || Body::ProcessExit { pid: 1, status: 0, signal: None };
        let (mut one, mut two) = (Script::default(), Script::default());
        one.point(Actor::Daemon, running()).point(Actor::Shim, exit());
        two.point(Actor::Shim, exit()).point(Actor::Daemon, running());
        assert_eq!(text(&one.events), text(&two.events));
        assert!(text(&two.events).starts_with("container.state"));
    }

    #[test]
    fn the_network_has_its_place_beside_the_mounts() {
        let script = |net_first: bool| {
            let mut script = Script::default();
            let link = Body::NetLink {
                name: "eth0".into(),
                action: "create".into(),
                peer: None,
                bridge: None,
                netns: None,
            };
            let pivot = Body::RootfsPivot { root: "/".into() };
            let exec = Body::ProcessExec { argv: vec!["true".into()], path: None, cwd: None, env: 0 };
            if net_first {
                script.begin(Actor::Daemon, link.clone()).end(Actor::Daemon);
            }
            script.begin(Actor::Init, pivot).end(Actor::Init);
            if !net_first {
                script.begin(Actor::Daemon, link).end(Actor::Daemon);
            }
            script.begin(Actor::Init, exec).end(Actor::Init);
            text(&script.events)
        };
        assert_eq!(script(true), script(false));
        assert!(script(true).find("net.link") < script(true).find("process.exec"));
    }
}
