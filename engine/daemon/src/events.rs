//! What happened to objects: Docker's event stream.
//!
//! The last [`KEPT`] events are remembered for clients that ask for the past; a
//! client that reads too slowly loses the oldest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};
use crate::route::Filters;

/// So many events are remembered, as in Docker.
pub const KEPT: usize = 256;

/// One event, in the API's shape.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// The action; of containers only, an older field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The object's id; of containers and images only, an older field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The image; of containers only, an older field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `container`, `image`, `network`, `volume`, `daemon`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened: `create`, `start`, `die` …
    #[serde(rename = "Action")]
    pub action: String,
    /// To what.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`: there is no swarm.
    pub scope: &'static str,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// The object of an event.
#[derive(Clone, Debug, Serialize)]
pub struct Actor {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Labels, names, and what else belongs to the action.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// The events of one daemon.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Arc<Message>>>,
    sender: broadcast::Sender<Arc<Message>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: Mutex::new(VecDeque::new()), sender: broadcast::channel(KEPT).0 }
    }
}

impl Events {
    /// Tells everyone that `action` happened to an object.
    pub fn emit(&self, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let now = Timestamp::now();
        let is = |wanted: &str| kind == wanted;
        let old = is("container") || is("image");
        let message = Arc::new(Message {
            status: old.then(|| action.to_owned()),
            id: old.then(|| id.to_owned()),
            from: is("container").then(|| attributes.get("image").cloned()).flatten(),
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local",
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&message));
        // Sent under the lock, so that who subscribes under it misses nothing and hears nothing twice.
        let _ = self.sender.send(message);
    }

    /// The events remembered from `since` on (nanoseconds since 1970), and those to come.
    fn subscribe(&self, since: Option<i64>) -> (Vec<Arc<Message>>, broadcast::Receiver<Arc<Message>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let past = since.map_or_else(Vec::new, |since| {
            kept.iter().filter(|message| message.time_nano >= since).cloned().collect()
        });
        (past, self.sender.subscribe())
    }
}

/// `SystemEvents`: the events that pass the filters, until the client leaves or
/// `until` has come.
pub(crate) async fn stream(call: Call) -> Reply {
    let filters = call.filters()?;
    let since = moment(call.query("since"))?;
    let until = moment(call.query("until"))?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let said = |name: &str| call.query(name).unwrap_or_default().to_owned();
        return Err(Error::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            said("since"),
            said("until")
        )));
    }
    let (past, live) = call.engine.events.subscribe(since.or(until.map(|_| 0)));
    let end = until.map(|until| {
        let left = until.saturating_sub(i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX));
        tokio::time::Instant::now() + std::time::Duration::from_nanos(u64::try_from(left).unwrap_or(0))
    });
    let live = stream::unfold(live, move |mut live| async move {
        loop {
            let received = match end {
                Some(end) => tokio::time::timeout_at(end, live.recv()).await.ok()?,
                None => live.recv().await,
            };
            match received {
                Ok(message) => return Some((message, live)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let lines = stream::iter(past)
        .chain(live)
        .take_while(move |message| std::future::ready(until.is_none_or(|until| message.time_nano <= until)))
        .filter(move |message| std::future::ready(fits(&filters, message)))
        .map(|message| {
            let mut line = serde_json::to_vec(&*message).map_err(std::io::Error::from)?;
            line.push(b'\n');
            Ok::<_, std::io::Error>(Bytes::from(line))
        });
    Ok(reply::stream("application/json", lines))
}

/// Reads a moment as Docker's clients send it, seconds since 1970 with a fraction
/// or RFC 3339, as nanoseconds since 1970.
pub(crate) fn moment(text: Option<&str>) -> Result<Option<i64>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty() && *text != "0") else { return Ok(None) };
    let invalid =
        || Error::invalid(format!("invalid time {text:?}: neither seconds since 1970 nor RFC 3339"));
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        let nanos = timestamp.as_nanosecond();
        return Ok(Some(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let nanos =
        format!("{fraction:0<9}").get(..9).filter(|_| plain).and_then(|digits| digits.parse::<i64>().ok());
    // What is further away than nanoseconds are counted is as good as never.
    let seconds = seconds.parse::<i64>().ok().map(|seconds| seconds.saturating_mul(1_000_000_000));
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Some(seconds.saturating_add(nanos))),
        _ => Err(invalid()),
    }
}

/// What an event may be asked for by, by its name or id. Of some there is none here.
const OBJECTS: [&str; 9] =
    ["container", "network", "volume", "daemon", "plugin", "node", "service", "secret", "config"];

fn fits(filters: &Filters, message: &Message) -> bool {
    let attributes = &message.actor.attributes;
    let object = |kind: &str| {
        filters.any(kind, |wanted| {
            message.kind == kind
                && (message.actor.id == wanted
                    || (wanted.len() >= 4 && message.actor.id.starts_with(wanted))
                    || attributes.get("name").is_some_and(|name| name == wanted.trim_start_matches('/')))
        })
    };
    let image = filters.any("image", |wanted| {
        let names = [Some(&message.actor.id), attributes.get("name"), attributes.get("image")];
        names.into_iter().flatten().any(|name| name == wanted || name.split(':').next() == Some(wanted))
    });
    filters.any("type", |wanted| message.kind == wanted)
        && filters.any("event", |wanted| {
            message.action == wanted || message.action.split(':').next() == Some(wanted)
        })
        && filters.any("scope", |wanted| message.scope == wanted)
        && filters.labels_fit(attributes)
        && image
        && OBJECTS.into_iter().all(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_in_two_shapes() {
        assert_eq!(moment(Some("1.5")).expect("a fraction"), Some(1_500_000_000));
        assert_eq!(moment(Some("12.000000001")).expect("nanoseconds"), Some(12_000_000_001));
        assert_eq!(moment(Some("1970-01-01T00:00:01Z")).expect("RFC 3339"), Some(1_000_000_000));
        assert_eq!(moment(Some("32472144000.5")).expect("far away"), Some(i64::MAX));
        for wrong in ["x", "1.x", "99999999999999999999", "1e9"] {
            assert!(moment(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_choose_events() {
        let events = Events::default();
        let (_, mut live) = events.subscribe(None);
        events.emit("container", "die", "0123456789ab", BTreeMap::from([("name".into(), "otter".into())]));
        let message = live.try_recv().expect("an event");
        let fits = |text: &str| fits(&Filters::parse(text).expect(text), &message);
        assert!(fits(r#"{"container":["otter"],"event":["die"]}"#));
        assert!(fits(r#"{"container":["01234567"],"type":["container"]}"#));
        assert!(!fits(r#"{"container":["badger"]}"#));
        assert!(!fits(r#"{"volume":["otter"]}"#));
        assert!(!fits(r#"{"label":["a"]}"#));
        assert!(!fits(r#"{"plugin":["otter"]}"#));
    }
}
