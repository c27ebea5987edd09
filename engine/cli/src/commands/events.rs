//! `events`: what happens to the engine's objects, as it happens.

use serde_json::Value;

use super::{number, text};
use crate::client::messages::Lines;
use crate::client::{filters, with_query};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::clean;
use crate::show::template::{Mode, Template};
use crate::show::units::api_time;
use crate::words::Args;

pub(crate) async fn events(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let format = match args.text("format") {
        "json" => "{{json .}}",
        given => given,
    };
    let template = if format.is_empty() {
        None
    } else {
        let parsed = Template::parse("", format);
        Some(parsed.map_err(|error| {
            Failure::new(64, format!("Error parsing format: template parsing error: {error}"))
        })?)
    };
    let time = |name: &str| match args.last(name).filter(|given| !given.is_empty()) {
        Some(given) => api_time(given).map_err(Failure::say),
        None => Ok(String::new()),
    };
    let (since, until) = (time("since")?, time("until")?);
    let path = with_query(
        "/events",
        &[("filters", &filters(args.all("filter"))), ("since", &since), ("until", &until)],
    );
    let response = cx.client.send(http::Method::GET, &path, None, &[]).await?;
    let mut lines = Lines::of(response);
    while let Some(event) = lines.next_json().await? {
        match &template {
            Some(template) => {
                let shown = template.execute(&event, Mode::Typed("*events.Message")).map_err(Failure::say)?;
                cx.out.line(shown);
            }
            None => cx.out.line(line(&event)),
        }
        cx.out.flush()?;
    }
    Ok(())
}

/// `2026-11-23T20:30:57.123456789Z container create ID (image=busybox, name=otter)`.
fn line(event: &Value) -> String {
    let nano = number(event, "timeNano");
    let moment = if nano == 0 { number(event, "time") * 1_000_000_000 } else { nano };
    let mut line = stamp(moment);
    line.push_str(&format!(
        " {} {} {}",
        text(event, "Type"),
        clean(text(event, "Action")),
        event.pointer("/Actor/ID").and_then(Value::as_str).unwrap_or_default()
    ));
    let attributes = event.pointer("/Actor/Attributes").and_then(Value::as_object);
    let mut pairs: Vec<String> = attributes
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", clean(value.as_str().unwrap_or_default())))
        .collect();
    if !pairs.is_empty() {
        pairs.sort_unstable();
        line.push_str(&format!(" ({})", pairs.join(", ")));
    }
    line
}

/// RFC 3339 with nine digits and the machine's zone.
fn stamp(nanoseconds: i64) -> String {
    let Ok(moment) = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)) else {
        return nanoseconds.to_string();
    };
    let zoned = moment.to_zoned_datetime(jiff::tz::TimeZone::system());
    let text = zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
    text.strip_suffix("+00:00").map(|utc| format!("{utc}Z")).unwrap_or(text)
}
