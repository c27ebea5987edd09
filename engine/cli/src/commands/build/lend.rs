//! What a build gets beside its context: `--secret` and `--ssh`.
//!
//! ```text
//!   POST /glassdock/builds       the secrets, and the agents' names ─► an id for the build's header
//!   POST …/agents/NAME, upgrade  a line that waits; with its first byte it is joined to the agent here
//! ```
//!
//! Keys that are named by their files get an agent of their own, for as long as the build takes: ssh-agent(1) of this
//! machine. No key leaves it.
//!
//! Nothing of them is in the build's own request. A daemon that isn't Glassdock's gets them only through
//! BuildKit, so there they are refused.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    _agents: Vec<OwnAgent>,
}

/// Lends what the flags name.
pub(crate) async fn lend(cx: &mut Context, args: &Args) -> Result<Lent, Failure> {
    let secrets: BTreeMap<String, String> = args.all("secret").map(secret).collect::<Result<_, _>>()?;
    let (mut agents, mut own) = (BTreeMap::new(), Vec::new());
    for flag in args.all("ssh") {
        let (id, socket) = match agent(flag)? {
            Agent::Socket(id, socket) => (id, socket),
            Agent::Keys(id, files) => {
                let agent = OwnAgent::start(flag, &files)?;
                let socket = agent.socket().to_string_lossy().into_owned();
                own.push(agent);
                (id, socket)
            }
        };
        agents.insert(id, socket);
    }
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
    Ok(Lent { header: Some(id), _lines: lines, _agents: own })
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

/// What an `--ssh` means.
#[derive(Debug, PartialEq, Eq)]
enum Agent {
    /// An agent that runs, by its socket.
    Socket(String, String),
    /// Files of keys.
    Keys(String, Vec<String>),
}

/// `default`, `NAME=SOCKET`, or `NAME=KEY[,KEY]`.
fn agent(flag: &str) -> Result<Agent, Failure> {
    let (id, paths) = flag.split_once('=').unwrap_or((flag, ""));
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    let running = std::env::var("SSH_AUTH_SOCK").ok().filter(|socket| !socket.is_empty());
    let paths: Vec<String> = match (paths, running) {
        ("", Some(socket)) => vec![socket],
        ("", None) => {
            return Err(Failure::say(format!(
                "invalid ssh {flag:?}: no agent runs here (SSH_AUTH_SOCK is not set); start one: eval $(ssh-agent)"
            )));
        }
        (paths, _) => paths.split(',').map(str::to_owned).collect(),
    };
    let mut sockets = 0;
    for path in &paths {
        let metadata = std::fs::metadata(path).map_err(|error| file_failure("stat", path, &error))?;
        sockets += usize::from(metadata.file_type().is_socket());
        if !metadata.file_type().is_socket() && !metadata.is_file() {
            return Err(Failure::say(format!(
                "invalid ssh {flag:?}: {path} is neither an agent's socket nor a key"
            )));
        }
    }
    match (sockets, paths.as_slice()) {
        (0, _) => Ok(Agent::Keys(id, paths)),
        (1, [socket]) => Ok(Agent::Socket(id, socket.clone())),
        _ => Err(Failure::say(format!(
            "invalid ssh {flag:?}: only a single agent socket can be set, and no keys beside it"
        ))),
    }
}

/// How long an agent that is started may take to listen.
const START_TIME: Duration = Duration::from_secs(10);

/// An agent for keys from files; it ends with this.
struct OwnAgent {
    folder: PathBuf,
    child: Child,
}

impl OwnAgent {
    fn start(flag: &str, keys: &[String]) -> Result<Self, Failure> {
        let failed = |reason: String| Failure::say(format!("invalid ssh {flag:?}: {reason}"));
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("glassdock-ssh-{}-{number}", std::process::id()));
        let shown = folder.display().to_string();
        // Made here and nowhere else: somebody else's folder of that name is an error.
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| file_failure("mkdir", &shown, &error))?;
        let spawned = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(folder.join("agent"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = spawned.map_err(|error| {
            let _ = std::fs::remove_dir(&folder);
            failed(format!(
                "ssh-agent is needed for keys, and can't be started: {}",
                crate::failure::os_text(&error)
            ))
        })?;
        let agent = Self { folder, child };
        let begin = Instant::now();
        while !agent.socket().exists() {
            if begin.elapsed() > START_TIME {
                return Err(failed("the agent for its keys does not listen".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for key in keys {
            // Nobody is asked for a passphrase: a build is no place for it.
            let added = Command::new("ssh-add")
                .arg("-q")
                .arg(std::path::absolute(key).unwrap_or_else(|_| PathBuf::from(key)))
                .env("SSH_AUTH_SOCK", agent.socket())
                .env("SSH_ASKPASS", "false")
                .env("SSH_ASKPASS_REQUIRE", "force")
                .stdin(Stdio::null())
                .output()
                .map_err(|error| failed(format!("ssh-add: {}", crate::failure::os_text(&error))))?;
            if !added.status.success() {
                let said = String::from_utf8_lossy(&added.stderr);
                return Err(failed(format!(
                    "{key} is no key that can be used without a passphrase; give it to an agent: ssh-add {key} ({})",
                    said.lines().next().unwrap_or("ssh-add failed").trim()
                )));
            }
        }
        Ok(agent)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("agent")
    }
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
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
        let keys = agent(&format!("mine={path},{path}")).unwrap_or_else(|_| panic!("two keys"));
        assert_eq!(keys, Agent::Keys("mine".into(), vec![path.to_string(), path.to_string()]));
        assert!(agent("default=/no/such/key").is_err() && agent("default=/tmp").is_err());
        let begun = OwnAgent::start("mine", &[path.to_string()]);
        assert!(begun.is_err_and(|failure| failure.to_string().contains("ssh")), "a secret is no key");
        std::fs::remove_file(&file).expect("removed");
    }

    #[test]
    fn keys_get_an_agent_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key").display().to_string();
        let made = |words: &[&str]| {
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-f", &key]).args(words).status()
        };
        // A machine without OpenSSH has no keys either.
        if !made(&["-N", ""]).is_ok_and(|status| status.success()) {
            return;
        }
        let agent =
            OwnAgent::start("x", std::slice::from_ref(&key)).unwrap_or_else(|failure| panic!("{failure}"));
        let listed = Command::new("ssh-add").arg("-L").env("SSH_AUTH_SOCK", agent.socket()).output();
        let listed = String::from_utf8(listed.expect("ssh-add").stdout).expect("text");
        let public = std::fs::read_to_string(format!("{key}.pub")).expect("the public half");
        assert_eq!(listed.split(' ').nth(1), public.split(' ').nth(1));
        let place = agent.folder.clone();
        drop(agent);
        assert!(!place.exists());
        // One with a passphrase is told, and nobody is asked.
        std::fs::remove_file(&key).expect("removed");
        assert!(made(&["-N", "secret words"]).is_ok_and(|status| status.success()));
        let refused = OwnAgent::start("x", std::slice::from_ref(&key)).err().expect("refused").to_string();
        assert!(refused.contains("passphrase"), "{refused}");
    }
}
