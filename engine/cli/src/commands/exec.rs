//! `exec`: one more process in a running container.

use serde_json::json;

use super::run::env;
use super::stream::{self, End, Wires};
use super::{container_path, number, text};
use crate::context::Context;
use crate::failure::Failure;
use crate::term;
use crate::words::Args;

pub(crate) async fn exec(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let (tty, detach) = (args.is("tty"), args.is("detach"));
    let stdin = args.is("interactive") && !detach;
    let environment = env::of_exec(args).map_err(Failure::say)?;
    let detach_keys = args.text("detach-keys");
    let keys = stream::keys(detach_keys)?;
    let create = container_path(args.operand(0), "/exec")?;
    if tty && stdin && !term::stdin_is_terminal() {
        // A container that isn't there is the better complaint.
        cx.client.get(&container_path(args.operand(0), "/json")?).await?;
        stream::check_tty(tty, stdin)?;
    }
    let size = if tty { term::size(std::io::stdout()).map(|(columns, rows)| [rows, columns]) } else { None };
    let body = json!({
        "User": args.text("user"),
        "Privileged": args.is("privileged"),
        "Tty": tty,
        "ConsoleSize": size,
        "AttachStdin": stdin,
        "AttachStdout": !detach,
        "AttachStderr": !detach,
        "DetachKeys": detach_keys,
        "Env": environment,
        "WorkingDir": args.text("workdir"),
        "Cmd": args.operands.get(1..),
    });
    let answer = cx.client.post_json(&create, Some(&body)).await?;
    let id = text(&answer, "Id").to_owned();
    if id.is_empty() {
        return Err(Failure::say("exec ID empty"));
    }
    let start = format!("/exec/{id}/start");
    let body = json!({"Detach": detach, "Tty": tty, "ConsoleSize": size});
    if detach {
        cx.client.post(&start, Some(&body)).await?;
        return Ok(());
    }
    let connection = cx.client.another().upgrade(&start, Some(&body)).await?;
    let sizes = (tty && term::stdout_is_terminal())
        .then(|| stream::follow_size(cx.client.another(), format!("/exec/{id}")));
    let wires = Wires { tty, stdin, stdout: true, stderr: true, keys };
    let end = stream::carry(connection, wires).await;
    if let Some(sizes) = sizes {
        sizes.abort();
    }
    if end? == End::Detached {
        return Ok(());
    }
    let state = cx.client.get_json(&format!("/exec/{id}/json")).await?;
    match i32::try_from(number(&state, "ExitCode")).unwrap_or(125) {
        0 => Ok(()),
        status => Err(Failure::quiet(status)),
    }
}
