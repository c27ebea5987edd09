//! What a build gets beside its context: `--secret` and `--ssh`.
//!
//! ```text
//!   POST /glassdock/builds       the secrets, and the agents' names ─► an id for the build's header
//!   POST …/agents/NAME, upgrade  a line that waits; with its first byte it is joined to the agent here
//! ```
//!
//! Nothing of them is in the build's own request. A daemon that isn't Glassdock's gets them only through
//! BuildKit, so there they are refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use base64::Engine as _;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::super::text;
use crate::client::{Client, encode};
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::words::Args;

/// A secret is at most so long, in bytes.
const LARGEST_SECRET: u64 = 500 * 1024;

/// So many lines to an agent wait at a time.
const WAITING_LINES: usize = 2;

/// What is lent; it ends with this.
#[derive(Default)]
pub(crate) struct Lent {
    /// The header's value, if anything is lent.
    pub header: Option<String>,
    _lines: JoinSet<()>,
}

/// Lends what the flags name.
pub(crate) async fn lend(cx: &mut Context, args: &Args) -> Result<Lent, Failure> {
    let secrets: BTreeMap<String, String> = args.all("secret").map(secret).collect::<Result<_, _>>()?;
    let agents: BTreeMap<String, String> = args.all("ssh").map(agent).collect::<Result<_, _>>()?;
    if secrets.is_empty() && agents.is_empty() {
        return Ok(Lent::default());
    }
    cx.client.settle().await?;
    cx.client.get("/_ping").await?;
    if !cx.client.is_glassdock() {
        return Err(Failure::say(
            "--secret and --ssh: the daemon is not Glassdock's, and takes them through BuildKit only; use docker buildx build",
        ));
    }
    let body = json!({ "secrets": secrets, "agents": agents.keys().collect::<Vec<_>>() });
    let answer = cx.client.post_json("/glassdock/builds", Some(&body)).await?;
    let id = text(&answer, "Id").to_owned();
    let mut lines = JoinSet::new();
    for (name, socket) in agents {
        let path = format!("/glassdock/builds/{}/agents/{}", encode(&id), encode(&name));
        for _ in 0..WAITING_LINES {
            lines.spawn(serve(cx.client.another(), path.clone(), socket.clone()));
        }
    }
    Ok(Lent { header: Some(id), _lines: lines })
}

/// Gives lines to an agent, one after the other, until the build is over.
async fn serve(client: Client, path: String, socket: String) {
    let mut open = JoinSet::new();
    // The daemon refuses the next line when the build is over.
    while let Ok(mut line) = client.another().upgrade(&path, None).await {
        let mut first = vec![0; 16 * 1024];
        let Ok(count @ 1..) = line.read(&mut first).await else { return };
        let socket = socket.clone();
        open.spawn(async move {
            let Ok(mut agent) = UnixStream::connect(&socket).await else { return };
            if agent.write_all(&first[..count]).await.is_ok() {
                let _: Result<_, _> = tokio::io::copy_bidirectional(&mut line, &mut agent).await;
            }
        });
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}

/// `id=NAME[,src=FILE|,env=VARIABLE]`; its content in base64.
fn secret(flag: &str) -> Result<(String, String), Failure> {
    let invalid = |reason: &str| Failure::say(format!("invalid secret {flag:?}: {reason}"));
    let (mut id, mut file, mut env, mut kind) = ("", "", "", "");
    for field in flag.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| invalid(&format!("field {field:?} must be a key=value pair")))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "id" => id = value,
            "src" | "source" => file = value,
            "env" => env = value,
            "type" if matches!(value, "file" | "env") => kind = value,
            "type" => return Err(invalid(&format!("unsupported secret type {value:?}"))),
            other => return Err(invalid(&format!("unexpected key {other:?}"))),
        }
    }
    if kind == "env" && env.is_empty() {
        (env, file) = (if file.is_empty() { id } else { file }, "");
    }
    if id.is_empty() {
        id = file.rsplit('/').next().unwrap_or_default();
    }
    if id.is_empty() {
        return Err(invalid("it needs an id"));
    }
    if file.is_empty() && env.is_empty() {
        // As in Docker: a variable of that name, or a file.
        if std::env::var_os(id).is_some() { env = id } else { file = id }
    }
    let bytes = if env.is_empty() {
        let mut bytes = Vec::new();
        let opened = File::open(file).map_err(|error| file_failure("open", file, &error))?;
        opened
            .take(LARGEST_SECRET + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| file_failure("read", file, &error))?;
        bytes
    } else {
        use std::os::unix::ffi::OsStringExt;
        std::env::var_os(env).ok_or_else(|| invalid(&format!("there is no variable {env}")))?.into_vec()
    };
    if bytes.len() as u64 > LARGEST_SECRET {
        return Err(invalid(&format!("it is larger than {LARGEST_SECRET} bytes")));
    }
    Ok((id.to_owned(), base64::engine::general_purpose::STANDARD.encode(bytes)))
}

/// `default`, or `NAME=SOCKET`.
fn agent(flag: &str) -> Result<(String, String), Failure> {
    let (id, socket) = flag.split_once('=').unwrap_or((flag, ""));
    let socket = match socket {
        "" => std::env::var("SSH_AUTH_SOCK").ok().filter(|socket| !socket.is_empty()).ok_or_else(|| {
            Failure::say(format!("invalid ssh {flag:?}: no agent runs here (SSH_AUTH_SOCK is not set); start one: eval $(ssh-agent)"))
        })?,
        socket => socket.to_owned(),
    };
    use std::os::unix::fs::FileTypeExt;
    let metadata = std::fs::metadata(&socket).map_err(|error| file_failure("stat", &socket, &error))?;
    if !metadata.file_type().is_socket() {
        return Err(Failure::say(format!(
            "invalid ssh {flag:?}: {socket} is no socket of an agent; keys are given to an agent: ssh-add {socket}"
        )));
    }
    Ok((if id.is_empty() { "default" } else { id }.to_owned(), socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_variables() {
        let file = std::env::temp_dir().join(format!("glassdock-secret-{}", std::process::id()));
        std::fs::write(&file, "hush").expect("written");
        let path = file.display();
        for flag in [format!("id=a,src={path}"), format!("type=file,source={path},id=a")] {
            let (id, content) = secret(&flag).unwrap_or_else(|_| panic!("{flag}"));
            assert_eq!((id.as_str(), content.as_str()), ("a", "aHVzaA=="));
        }
        let (id, content) = secret("id=b,env=PATH").unwrap_or_else(|_| panic!("a variable"));
        assert!(id == "b" && !content.is_empty());
        for wrong in [
            "",
            "id",
            "id=",
            "id=a,what=b",
            "type=vault,id=a",
            "id=a,env=NO_SUCH_VARIABLE_HERE",
            "id=a,src=/no/such",
        ] {
            assert!(secret(wrong).is_err(), "{wrong}");
        }
        assert!(agent(&format!("default={path}")).is_err(), "a file is no socket");
        std::fs::remove_file(&file).expect("removed");
    }
}
