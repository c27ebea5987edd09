//! `ContainerWait`: a client hears how a container ends.
//!
//! The reply's head is sent at once and its body at the end: a client that asked
//! before the start knows then that it will miss nothing.

use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;

use super::container::Progress;
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    NotRunning,
    NextExit,
    Removed,
}

/// `ContainerWait`.
pub(crate) async fn wait(call: Call) -> Reply {
    let condition = match call.query("condition").unwrap_or_default() {
        "" | "not-running" => Condition::NotRunning,
        "next-exit" => Condition::NextExit,
        "removed" => Condition::Removed,
        other => return Err(Error::invalid(format!("invalid condition: \"{other}\""))),
    };
    let container = call.engine.containers.find(call.param("id"))?;
    let progress = container.progress();
    // The body must not keep the container alive, only hear of it.
    drop(container);
    let body = stream::once(async move {
        let code = until(progress, condition).await;
        Ok::<_, std::io::Error>(Bytes::from(json!({ "StatusCode": code }).to_string() + "\n"))
    });
    Ok(reply::stream("application/json", body))
}

async fn until(mut progress: watch::Receiver<Progress>, condition: Condition) -> i32 {
    let exits = progress.borrow().exits;
    let over = |now: &Progress| match condition {
        Condition::NotRunning => !now.running,
        Condition::NextExit => now.exits > exits,
        Condition::Removed => now.removed,
    };
    // The sender is gone with the container: then it is over, however it is called.
    let now = match progress.wait_for(|now| over(now) || now.removed).await {
        Ok(now) => *now,
        Err(_) => Progress::default(),
    };
    now.code
}
