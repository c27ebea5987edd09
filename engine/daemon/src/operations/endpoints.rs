//! The endpoints beside Docker's: reading traces, opening and ending operations,
//! and talking with the one who steps through.

use std::sync::Arc;
use std::time::Duration;

use glassdock_registry::task;
use glassdock_trace::{Answer, Kind, OpId, Stepping};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::files;
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

/// A question for what is held is answered after this long even if nothing is.
const POLL: Duration = Duration::from_secs(30);

/// `GET /glassdock/traces`: all recordings, the newest last.
pub(crate) async fn list(call: Call) -> Reply {
    let operations = call.engine.operations.clone();
    let summaries = task::spawn_blocking(move || {
        let recorder = operations.recorder();
        recorder.settle();
        let mut summaries = Vec::new();
        for op in recorder.list()? {
            // One that is pruned meanwhile is simply not listed.
            if let Ok(Some(summary)) = files::summary(&op, &recorder.path(&op)) {
                summaries.push(summary);
            }
        }
        Ok::<_, std::io::Error>(summaries)
    })
    .await??;
    reply::json(&summaries)
}

/// `GET /glassdock/traces/{op}`: the lines of one recording; with `follow=1` also
/// those that come, until the operation's end.
pub(crate) async fn show(call: Call) -> Reply {
    let op = op_of(&call)?;
    let operations = &call.engine.operations;
    // Who follows subscribes before reading the file, so that no line falls between.
    let live = match operations.get(&op) {
        Some(operation) if call.flag("follow") => Some(operation.recording().subscribe()),
        _ => None,
    };
    let path = operations.recorder().path(&op);
    let all = Arc::clone(operations);
    let read = task::spawn_blocking(move || {
        all.recorder().settle();
        std::fs::read_to_string(path)
    });
    let recorded = match read.await? {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && live.is_some() => String::new(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::not_found(format!("No such trace: {op}")));
        }
        Err(error) => return Err(error.into()),
    };
    // A line that is being written is told by the subscription.
    let whole = recorded.rfind('\n').map_or(0, |end| end + 1);
    let recorded = recorded.get(..whole).unwrap_or_default().to_owned();
    Ok(reply::stream("application/x-ndjson", files::follow(recorded, live)))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct OpenRequest {
    command: Vec<String>,
    stepping: Option<SteppingRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SteppingRequest {
    Steps,
    Syscalls,
    Break(Vec<Kind>),
}

/// `POST /glassdock/operations/{op}`: opens an operation before its first request.
pub(crate) async fn open(mut call: Call) -> Reply {
    let op = op_of(&call)?;
    let request: OpenRequest = call.json_or_empty().await?.unwrap_or_default();
    if call.engine.operations.get(&op).is_some() {
        return Err(Error::conflict(format!("operation {op} is open already")));
    }
    let stepping = request.stepping.map(|stepping| match stepping {
        SteppingRequest::Steps => Stepping::Steps,
        SteppingRequest::Syscalls => Stepping::Syscalls,
        SteppingRequest::Break(kinds) => Stepping::Break(kinds),
    });
    call.engine.operations.open(op.clone(), request.command, stepping);
    reply::json_with(StatusCode::CREATED, &json!({ "op": op }))
}

#[derive(Deserialize)]
struct EndRequest {
    status: i32,
}

/// `POST /glassdock/operations/{op}/end`: the client is through.
pub(crate) async fn end(mut call: Call) -> Reply {
    let operation = operation_of(&call)?;
    let request: EndRequest = call.json().await?;
    call.engine.operations.end(&operation, Some(request.status));
    reply::done()
}

/// `GET /glassdock/operations/{op}/held`: waits until a step is held that is not
/// the one numbered `after`, or the operation has ended.
pub(crate) async fn held(call: Call) -> Reply {
    let op = op_of(&call)?;
    let after = call.number("after")?.and_then(|span| u64::try_from(span).ok());
    let Some(operation) = call.engine.operations.get(&op) else {
        return reply::json(&json!({ "held": null, "ended": true }));
    };
    let Some(gate) = operation.gate() else {
        return Err(Error::conflict(format!(
            "nobody steps through operation {op}: it was opened without stepping"
        )));
    };
    let watch = operation.recording().subscribe();
    let ended = async { while watch.next().await.is_some() {} };
    tokio::select! {
        held = gate.held_after(after) => reply::json(&json!({ "held": held, "ended": false })),
        () = ended => reply::json(&json!({ "held": null, "ended": true })),
        () = tokio::time::sleep(POLL) => reply::json(&json!({ "held": null, "ended": false })),
    }
}

#[derive(Deserialize)]
struct AnswerRequest {
    span: u64,
    answer: Answer,
}

/// `POST /glassdock/operations/{op}/answer`: what becomes of a held step.
pub(crate) async fn answer(mut call: Call) -> Reply {
    let operation = operation_of(&call)?;
    let request: AnswerRequest = call.json().await?;
    match operation.gate() {
        Some(gate) if gate.answer(request.span, request.answer) => reply::done(),
        _ => Err(Error::conflict(format!("step {} is not held", request.span))),
    }
}

fn op_of(call: &Call) -> Result<OpId, Error> {
    let name = call.param("op");
    OpId::parse(name).ok_or_else(|| Error::invalid(format!("invalid operation id: {name:?}")))
}

fn operation_of(call: &Call) -> Result<Arc<super::Operation>, Error> {
    let op = op_of(call)?;
    call.engine.operations.get(&op).ok_or_else(|| Error::not_found(format!("No such open operation: {op}")))
}
