//! What a client lends to a build beside its context: secrets, and its agent of keys.
//!
//! ```text
//!   client                                       daemon
//!     POST /glassdock/builds {secrets, agents} ──► a session, in memory; its id goes back
//!     POST …/builds/ID/agents/NAME (upgrade) ────► a line that waits
//!     POST /build, X-Glassdock-Build: ID ────────► takes the session; it ends with the build
//!                                                  a container connects to its socket:
//!     connects to its own agent ◄── first byte ─── a waiting line is joined to it
//!     POST …/agents/NAME (upgrade) ──────────────► the next line
//! ```
//!
//! Docker's API has no words for these: its clients send them through BuildKit. They are in no
//! query (which others log), no trace, no layer, and no database. A file of a secret lies in the
//! run folder, which machines keep in memory, as long as the command runs that sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use glassdock_registry::task;
use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::call::Call;
use crate::containers::names;
use crate::error::Error;
use crate::reply::{self, Reply};

/// A secret is at most so long, in bytes: BuildKit's bound.
const LARGEST_SECRET: usize = 500 * 1024;

/// So many secrets and agents may one session have.
const MOST_LENT: usize = 64;

/// So many sessions may wait for their builds.
const MOST_SESSIONS: usize = 256;

/// A session that no build takes within that time is forgotten.
const PATIENCE: Duration = Duration::from_secs(600);

/// So many lines to one agent may wait.
const WAITING_LINES: usize = 4;

/// How long a container's connection waits for a line to the client's agent.
const LINE_TIME: Duration = Duration::from_secs(10);

/// The header by which a build names its session.
pub(super) const HEADER: &str = "x-glassdock-build";

/// A client's line, as it is once the request is upgraded.
type Line = TokioIo<Upgraded>;

/// The sessions that are open.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

/// What one client lends to one build.
#[derive(Default)]
pub struct Session {
    secrets: BTreeMap<String, Vec<u8>>,
    agents: BTreeMap<String, Agent>,
    made: Option<Instant>,
}

/// Lines that wait, and where the next one comes from.
struct Agent {
    give: mpsc::Sender<Line>,
    take: tokio::sync::Mutex<mpsc::Receiver<Line>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its secrets are nobody's business.
        f.debug_struct("Session").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

/// The request's body.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Lent {
    /// Base64, by id.
    secrets: BTreeMap<String, String>,
    /// Ids.
    agents: Vec<String>,
}

impl Session {
    fn of(lent: Lent) -> Result<Self, Error> {
        if lent.secrets.len() + lent.agents.len() > MOST_LENT {
            return Err(Error::invalid(format!("a build takes at most {MOST_LENT} secrets and agents")));
        }
        let secrets = lent.secrets.into_iter().map(|(id, text)| {
            // Nothing of the secret is in the message.
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(&text)
                .map_err(|_| Error::invalid(format!("the secret {id} is no base64")))?;
            if bytes.len() > LARGEST_SECRET {
                return Err(Error::invalid(format!(
                    "invalid secret size for {id}: it is larger than {LARGEST_SECRET} bytes"
                )));
            }
            Ok((id, bytes))
        });
        let agents = lent.agents.into_iter().map(|id| {
            let (give, take) = mpsc::channel(WAITING_LINES);
            (id, Agent { give, take: tokio::sync::Mutex::new(take) })
        });
        Ok(Self {
            secrets: secrets.collect::<Result<_, Error>>()?,
            agents: agents.collect(),
            made: Some(Instant::now()),
        })
    }

    /// A secret's bytes.
    #[must_use]
    pub fn secret(&self, id: &str) -> Option<&[u8]> {
        self.secrets.get(id).map(Vec::as_slice)
    }

    /// Whether there is such an agent.
    #[must_use]
    pub fn has_agent(&self, id: &str) -> bool {
        self.agents.contains_key(id)
    }

    /// A line to an agent; `None` if the client gives none in time.
    pub(super) async fn line(&self, id: &str) -> Option<Line> {
        let agent = self.agents.get(id)?;
        let mut take = agent.take.lock().await;
        tokio::time::timeout(LINE_TIME, take.recv()).await.ok()?
    }
}

impl Sessions {
    fn open(&self, session: Session) -> Result<String, Error> {
        let id = names::hex_digits::<16>()?;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that a build has is held by it as well; it goes with the build.
        open.retain(|_, session| session.made.is_some_and(|made| made.elapsed() < PATIENCE));
        if open.len() >= MOST_SESSIONS {
            return Err(Error::conflict("too many builds wait to begin; try again later"));
        }
        open.insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    fn find(&self, id: &str) -> Result<Arc<Session>, Error> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id).cloned().ok_or_else(|| Error::not_found("no such build, or it is over"))
    }

    /// What a build's header names; nothing lent, without one.
    ///
    /// # Errors
    ///
    /// Not found, if there is no such session.
    pub(super) fn of_build(self: &Arc<Self>, header: Option<&str>) -> Result<Taken, Error> {
        let Some(id) = header else { return Ok(Taken { sessions: None, session: Arc::default() }) };
        let session = self.find(id)?;
        Ok(Taken { sessions: Some((Arc::clone(self), id.to_owned())), session })
    }
}

/// A session that a build has; it ends with the build.
#[derive(Debug)]
pub struct Taken {
    sessions: Option<(Arc<Sessions>, String)>,
    /// What is lent.
    pub session: Arc<Session>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some((sessions, id)) = &self.sessions {
            sessions.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
    }
}

/// `POST /glassdock/builds`: a client lends something to the build that it is about to ask for.
pub(crate) async fn open(mut call: Call) -> Reply {
    let session = Session::of(call.json().await?)?;
    let id = call.engine.builds.sessions.open(session)?;
    reply::json_with(StatusCode::CREATED, &json!({ "Id": id }))
}

/// `POST /glassdock/builds/{id}/agents/{name}`: a line to the client's agent, which waits for a container.
pub(crate) async fn agent(mut call: Call) -> Reply {
    let session = call.engine.builds.sessions.find(call.param("id"))?;
    let name = call.param("name").to_owned();
    let no_agent = || Error::not_found(format!("the build has no agent {name}"));
    let give = session.agents.get(&name).map(|agent| agent.give.clone()).ok_or_else(no_agent)?;
    drop(session);
    let upgrade = call.upgrade().ok_or_else(|| Error::invalid("an agent's line needs Upgrade: tcp"))?;
    task::spawn(async move {
        if let Ok(line) = upgrade.await {
            // When the build is over nobody takes it, and the client sees its end.
            let _ = give.send(TokioIo::new(line)).await;
        }
    });
    Ok(reply::upgraded("application/vnd.docker.raw-stream"))
}
