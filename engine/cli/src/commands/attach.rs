//! `attach` and `start`.

use serde_json::Value;

use super::stream::{self, End, Wires};
use super::{container_path, text};
use crate::client::encode;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::output::complain;
use crate::term;
use crate::words::Args;

pub(crate) async fn attach(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let container = inspect(cx, args.operand(0)).await?;
    let state =
        |name: &str| container.pointer(&format!("/State/{name}")).and_then(Value::as_bool).unwrap_or(false);
    if !state("Running") {
        return Err(Failure::say("You cannot attach to a stopped container, start it first"));
    }
    if state("Paused") {
        return Err(Failure::say("You cannot attach to a paused container, unpause it first"));
    }
    if state("Restarting") {
        return Err(Failure::say("You cannot attach to a restarting container, wait until it is running"));
    }
    let flag =
        |name: &str| container.pointer(&format!("/Config/{name}")).and_then(Value::as_bool).unwrap_or(false);
    let tty = flag("Tty");
    let stdin = flag("OpenStdin") && !args.is("no-stdin");
    stream::check_tty(tty, stdin)?;
    let detach_keys = args.text("detach-keys");
    let wires = Wires { tty, stdin, stdout: true, stderr: true, keys: stream::keys(detach_keys)? };
    let id = text(&container, "Id").to_owned();
    let proxy = (args.is_or("sig-proxy", true) && !tty)
        .then(|| stream::proxy_signals(cx.client.another(), id.clone()));
    let status = stream::wait(cx.client.another(), &id, "");
    tokio::task::yield_now().await;
    let path = stream::attach_path(&id, &wires, detach_keys, false);
    let connection = cx.client.another().upgrade(&path, None).await?;
    let sizes = (tty && term::stdout_is_terminal())
        .then(|| stream::follow_size(cx.client.another(), format!("/containers/{id}")));
    let end = stream::carry(connection, wires).await;
    for task in [proxy, sizes].into_iter().flatten() {
        task.abort();
    }
    if end? == End::Detached {
        complain("read escape sequence");
        return Err(Failure::quiet(1));
    }
    finish(status.await)
}

fn finish(status: Result<Result<i32, Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    match status.map_err(|error| Failure::say(error.to_string()))?? {
        0 => Ok(()),
        status => Err(Failure::quiet(status)),
    }
}

async fn inspect(cx: &mut Context, name: &str) -> Result<Value, Failure> {
    cx.client.get_json(&container_path(name, "/json")?).await
}

pub(crate) async fn start(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let (attach, interactive) = (args.is("attach"), args.is("interactive"));
    if !attach && !interactive {
        return start_each(cx, args).await;
    }
    if args.operands.len() > 1 {
        return Err(Failure::say("you cannot start and attach multiple containers at once"));
    }
    let detach_keys = args.text("detach-keys");
    let container = inspect(cx, args.operand(0)).await?;
    let id = text(&container, "Id").to_owned();
    let flag = |name: &str| container.pointer(name).and_then(Value::as_bool).unwrap_or(false);
    let tty = flag("/Config/Tty");
    let stdin = interactive && flag("/Config/OpenStdin");
    let remove = flag("/HostConfig/AutoRemove");
    let proxy = (!tty).then(|| stream::proxy_signals(cx.client.another(), id.clone()));
    let wires = Wires { tty, stdin, stdout: true, stderr: true, keys: stream::keys(detach_keys)? };
    let path = stream::attach_path(&id, &wires, detach_keys, false);
    let connection = cx.client.another().upgrade(&path, None).await?;
    let status = stream::wait(cx.client.another(), &id, if remove { "removed" } else { "next-exit" });
    tokio::task::yield_now().await;
    if let Err(failure) = cx.client.post(&format!("/containers/{}/start", encode(&id)), None).await {
        if remove {
            let _ = status.await;
        }
        return Err(failure);
    }
    let sizes = (tty && term::stdout_is_terminal())
        .then(|| stream::follow_size(cx.client.another(), format!("/containers/{id}")));
    let end = stream::carry(connection, wires).await;
    for task in [proxy, sizes].into_iter().flatten() {
        task.abort();
    }
    if end? == End::Detached {
        return Ok(());
    }
    finish(status.await)
}

async fn start_each(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for name in &args.operands {
        let path = container_path(name, "/start")?;
        match cx.client.post(&path, None).await {
            Ok(_) => cx.out.line(name),
            Err(failure) => {
                cx.out.flush()?;
                complain(&failure.message);
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::say(format!("Error: failed to start containers: {}", failed.join(", "))))
}
