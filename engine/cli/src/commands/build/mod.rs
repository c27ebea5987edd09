//! `build`: a Dockerfile becomes an image, or is only read.
//!
//! ```text
//!   folder ─ .dockerignore ─► tar ─► POST /build ─► the daemon's words, as they come
//! ```

mod cache;

mod context;

mod lend;

pub(crate) mod read;

mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use serde_json::{Value, json};

use super::text;
use crate::client::messages::{Lines, Screen, show};
use crate::client::with_query;
use crate::config::credentials;
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::show::output::complain;
use crate::show::units;
use crate::words::{Args, check};
use view::Progress;

pub(crate) async fn build(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let [operand] = args.operands.as_slice() else {
        let (program, name) = (args.program, &args.name);
        return Err(Failure::say(format!(
            "{program}: '{program} {name}' requires 1 argument\n\nUsage:  {}\n\nRun '{program} {name} --help' for more information",
            args.spec.use_line(program, name)
        )));
    };
    let quiet = args.is("quiet");
    let progress = view::choose(args.text("progress"), cx.watched)?;
    cache::check(args)?;
    let context = context::of(operand, args.text("file"))?;
    let cached = cache::from(cx, args).await?;
    let mut pairs = query(args, &context.dockerfile)?;
    if !cached.is_empty() {
        pairs.push(("cachefrom", json!(cached).to_string()));
    }
    if cache::wants_stages(args)? {
        pairs.push(("stages", "1".to_owned()));
    }
    let mut view = (!quiet && progress == Progress::Tty).then(|| view::View::new(context.remote.is_none()));
    if view.is_some() {
        pairs.push(("steps", "1".to_owned()));
    }
    pairs.extend(context.remote.clone().map(|remote| ("remote", remote)));
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let sent = Arc::new(AtomicU64::new(0));
    let stream = context.stream(Arc::clone(&sent));
    let lent = lend::lend(cx, args).await?;
    let mut headers = vec![("content-type", "application/x-tar".to_owned())];
    headers.extend(lent.header.clone().map(|id| ("x-glassdock-build", id)));
    headers.extend(credentials::all_header(&mut cx.config).map(|all| ("x-registry-config", all)));
    let path = with_query("/build", &pairs);
    let response = cx.client.send_stream(Method::POST, &path, stream, &headers);
    let response = match &mut view {
        Some(view) => view.sending(&mut cx.out, &sent, response).await?,
        None => response.await?,
    };
    if !quiet && progress == Progress::Plain && context.remote.is_none() {
        // The answer begins when the context is there whole.
        let size = units::size(number(sent.load(Ordering::Relaxed)));
        cx.out.text(format!("Sending build context to Docker daemon  {size}\r\r\n"));
        cx.out.flush()?;
    }
    let (mut id, mut stages) = (String::new(), None);
    let aux = |value: &Value| match value.get("Stages").and_then(Value::as_array) {
        Some(ids) => stages = Some(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        None => text(value, "ID").clone_into(&mut id),
    };
    let mut lines = Lines::of(response);
    match (&mut view, progress) {
        (Some(view), _) => view.follow(&mut cx.out, &mut lines, aux).await?,
        (None, Progress::Json) => raw(cx, &mut lines, aux).await?,
        (None, _) => show(&mut lines, &mut Screen::out(&mut cx.out), aux).await?,
    }
    cache::to(cx, args, &id, stages).await?;
    let file = args.text("iidfile");
    if !file.is_empty() {
        std::fs::write(file, &id).map_err(|error| file_failure("open", file, &error))?;
    }
    Ok(())
}

/// The daemon's messages as they are, a line each.
async fn raw(cx: &mut Context, lines: &mut Lines, mut aux: impl FnMut(&Value)) -> Result<(), Failure> {
    let mut failed = None;
    while let Some(message) = lines.next_json().await? {
        if let Some(value) = message.get("aux") {
            aux(value);
        }
        if let Some(error) = message.get("error").and_then(Value::as_str) {
            let code = message.pointer("/errorDetail/code").and_then(Value::as_i64).unwrap_or(1);
            failed = Some(Failure::new(i32::try_from(code).unwrap_or(1).max(1), error));
        }
        cx.out.line(message.to_string());
        cx.out.flush()?;
    }
    failed.map_or(Ok(()), Err)
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn number(bytes: u64) -> f64 {
    bytes as f64
}

/// The request's query.
fn query(args: &Args, dockerfile: &str) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut pairs: Vec<(&'static str, String)> = args.all("tag").map(|tag| ("t", tag.to_owned())).collect();
    pairs.push(("dockerfile", dockerfile.to_owned()));
    let yes = |is: bool| if is { "1".to_owned() } else { String::new() };
    pairs.push(("nocache", yes(args.is("no-cache"))));
    pairs.push(("pull", yes(args.is("pull"))));
    pairs.push(("q", yes(args.is("quiet"))));
    pairs.push(("rm", if args.is_or("rm", true) { "1" } else { "0" }.to_owned()));
    pairs.push(("forcerm", yes(args.is("force-rm"))));
    pairs.push(("squash", yes(args.is("squash"))));
    for (flag, name) in [
        ("target", "target"),
        ("network", "networkmode"),
        ("platform", "platform"),
        ("cgroup-parent", "cgroupparent"),
        ("cpuset-cpus", "cpusetcpus"),
        ("cpuset-mems", "cpusetmems"),
        ("cpu-shares", "cpushares"),
        ("cpu-period", "cpuperiod"),
        ("cpu-quota", "cpuquota"),
    ] {
        pairs.push((name, args.text(flag).to_owned()));
    }
    for (flag, name) in [("memory", "memory"), ("memory-swap", "memswap"), ("shm-size", "shmsize")] {
        pairs.push((name, args.bytes(flag).map(|bytes| bytes.to_string()).unwrap_or_default()));
    }
    let arguments: BTreeMap<&str, Value> = args
        .all("build-arg")
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name, Value::from(value)),
            // Without a value it is the environment's.
            None => (pair, std::env::var(pair).map_or(Value::Null, Value::from)),
        })
        .collect();
    let labels: BTreeMap<&str, &str> =
        args.all("label").map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let ulimits: Result<Vec<Value>, String> = args
        .all("ulimit")
        .map(|text| {
            check::ulimit(text).map(|(name, soft, hard)| json!({"Name": name, "Soft": soft, "Hard": hard}))
        })
        .collect();
    let ulimits = ulimits.map_err(Failure::say)?;
    let mut put = |name, value: Value, empty: bool| {
        pairs.push((name, if empty { String::new() } else { value.to_string() }));
    };
    put("buildargs", json!(arguments), arguments.is_empty());
    put("labels", json!(labels), labels.is_empty());
    let security = args.commas("security-opt");
    put("securityopt", json!(security), security.is_empty());
    let nothing = ulimits.is_empty();
    put("ulimits", Value::from(ulimits), nothing);
    pairs.extend(args.list("add-host").into_iter().map(|host| ("extrahosts", host.to_owned())));
    if args.changed("isolation") {
        complain("WARNING: --isolation has no meaning on Linux");
    }
    Ok(pairs)
}
