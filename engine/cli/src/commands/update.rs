//! `update`: other limits for containers that exist.

use serde_json::json;

use super::run::{config, resources};
use super::{container_path, gather, warn};
use crate::context::Context;
use crate::failure::Failure;
use crate::words::Args;

pub(crate) async fn update(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    if !args.any_flag() {
        return Err(Failure::say("you must provide one or more flags when using this command"));
    }
    let mut body = json!({});
    resources::limits(args, &mut body).map_err(Failure::say)?;
    if args.changed("restart") {
        body["RestartPolicy"] = config::restart_policy(args.text("restart")).map_err(Failure::say)?;
    }
    let mut failures = Vec::new();
    for name in &args.operands {
        match cx.client.post_json(&container_path(name, "/update")?, Some(&body)).await {
            Ok(answer) => {
                cx.out.line(name);
                warn(&answer);
            }
            Err(failure) => failures.push(failure.message),
        }
    }
    gather(failures)
}
