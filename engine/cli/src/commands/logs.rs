//! `logs`.

use serde_json::Value;

use super::stream::write_to;
use super::{container_path, text};
use crate::client::frames::{Frames, Target};
use crate::client::messages::next_data;
use crate::client::with_query;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::units::api_time;
use crate::words::Args;

pub(crate) async fn logs(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let container = cx.client.get_json(&container_path(args.operand(0), "/json")?).await?;
    let tty = container.pointer("/Config/Tty").and_then(Value::as_bool).unwrap_or(false);
    let flag = |name: &str| if args.is(name) { "1" } else { "" };
    let time = |name: &str| match args.last(name).filter(|given| !given.is_empty()) {
        Some(given) => {
            api_time(given).map_err(|reason| Failure::say(format!("invalid value for \"{name}\": {reason}")))
        }
        None => Ok(String::new()),
    };
    let (since, until) = (time("since")?, time("until")?);
    let path = with_query(
        &format!("/containers/{}/logs", text(&container, "Id")),
        &[
            ("details", flag("details")),
            ("follow", flag("follow")),
            ("since", &since),
            ("stderr", "1"),
            ("stdout", "1"),
            ("tail", args.last("tail").unwrap_or("all")),
            ("timestamps", flag("timestamps")),
            ("until", &until),
        ],
    );
    let response = cx.client.send(http::Method::GET, &path, None, &[]).await?;
    let mut body = response.into_body();
    let mut frames = Frames::default();
    while let Some(bytes) = next_data(&mut body).await? {
        if tty {
            write_to(Target::Out, &bytes, true, true)?;
        } else {
            frames.feed(&bytes, |target, piece| write_to(target, piece, true, true))?;
        }
    }
    Ok(())
}
