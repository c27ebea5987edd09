//! `RUN --mount` and `--network`: what a step's container has beside its layers.
//!
//! ```text
//!   bind     files of the context, laid out on the disk, read-only; files of a stage, or writable ones: a stack of
//!            its own, mounted in the container's mount namespace only, whose changes are thrown away
//!   cache    ROOT/build-cache/…
//!   tmpfs    in memory
//!   secret   a file in the run folder, as long as the command runs
//!   ssh      a socket in the run folder; who connects is joined to a line of the client
//! ```
//!
//! Sources are found by openat2(2) inside the context or the stage first, so no link in them leads out,
//! and what is mounted is the path that was found, which has no links.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glassdock_build::change::workdir;
use glassdock_build::ignore::Ignore;
use glassdock_build::language::Instruction;
use glassdock_build::language::mount::{Kind, Looks, Mount};
use glassdock_kernel::path::Root;
use glassdock_registry::task::{self, Task};
use glassdock_runtime::bundle::{Overlay, SecretVariable, Stack};
use glassdock_runtime::oci;
use glassdock_trace::Trace;
use tokio::net::{UnixListener, UnixStream};

use super::builder::Shared;
use super::caches::Held;
use super::context::Context;
use super::copy::{Below, mounted};
use super::files::Source;
use super::session::Session;
use super::stage::Stage;
use crate::containers::model::HostConfig;
use crate::containers::record::Beside;
use crate::containers::{fill, names};
use crate::error::Error;

/// So many connections to one agent may be open at once.
const MOST_CONNECTIONS: usize = 32;

/// How the container of a RUN stands on the host.
///
/// # Errors
///
/// Invalid, for a network that makes no sense.
pub(super) fn host(shared: &Shared, instruction: &Instruction) -> Result<HostConfig, Error> {
    let mut host = shared.wish.host.clone();
    if let Some(network) = instruction.flag("network") {
        match network.text.as_str() {
            "default" => {}
            "none" | "host" => host.network_mode = network.text,
            other => return Err(Error::invalid(format!("unsupported network mode: {other:?}"))),
        }
    }
    if instruction.flag("security").is_some_and(|security| security.text != "sandbox") {
        return Err(Error::invalid("RUN --security=insecure is not allowed"));
    }
    Ok(host)
}

/// The mounts of a RUN, with what is written of each, variables known.
///
/// # Errors
///
/// Invalid, for one that makes no sense.
pub(super) fn read(
    stage: &Stage,
    shared: &Shared,
    instruction: &Instruction,
) -> Result<Vec<(String, Mount)>, Error> {
    let words = instruction.flag_values("mount").into_iter().map(|word| {
        let text = stage.text(&word, shared.file.directives.escape)?;
        let mount = Mount::parse(&text).map_err(|error| Error::invalid(format!("RUN --mount: {error}")))?;
        Ok((text, mount))
    });
    words.collect()
}

/// What a step depends on, by name or path.
type Inputs = BTreeMap<String, String>;

/// What a step's result depends on by its mounts: the files of the context, and the layers of stages. Blocks.
///
/// # Errors
///
/// Invalid, for files that aren't there.
pub(super) fn inputs(
    mounts: &[(String, Mount)],
    others: &BTreeMap<String, Below>,
    context: &Context,
) -> Result<(Inputs, Inputs), Error> {
    let (mut inputs, mut files) = (BTreeMap::new(), BTreeMap::new());
    for (text, mount) in mounts {
        let layers = mount.from().and_then(|from| others.get(from)).map(|below| {
            let ids: Vec<String> = below.diff_ids.iter().map(ToString::to_string).collect();
            ids.join(" ")
        });
        inputs.insert(format!("--mount={text}"), layers.unwrap_or_default());
        if let Kind::Bind { from: None, source, .. } = &mount.kind {
            let path = if source.is_empty() { "." } else { source };
            let missing =
                |_| Error::invalid(format!("RUN --mount={text}: {path}: not found in the build context"));
            let tree = context.tree()?;
            tree.find(Path::new(path)).map_err(missing)?;
            Source::find(&tree, path, &Ignore::default(), context.ignore())?.sums(false, &mut files)?;
        }
    }
    Ok((inputs, files))
}

/// Where a mount is mounted; `None` where its kind has a place of its own.
fn place(mount: &Mount, working_dir: &str) -> Result<Option<String>, &'static str> {
    let here = match mount.kind {
        Kind::Bind { .. } | Kind::Cache { .. } | Kind::Tmpfs { .. } => Some("."),
        Kind::Secret { .. } | Kind::Ssh { .. } => None,
    };
    let target = mount.target.as_deref().or(here).map(|path| workdir(working_dir, path));
    if target.as_deref() == Some("/") {
        return Err("invalid mount target \"/\": say target=PATH, of a place below it");
    }
    Ok(target)
}

/// What is ready for a container; it goes when this is dropped, after the container.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// The mounts.
    pub(super) beside: Beside,
    /// Variables that tell of them.
    pub(super) env: Vec<String>,
    _caches: Vec<Held>,
    _agents: Vec<Served>,
    _folder: Option<Folder>,
}

/// The end of an agent's socket.
#[derive(Debug)]
struct Served(Task<()>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A folder in the run folder.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            // The next start of the engine sweeps it up.
            tracing::warn!(folder = %self.0.display(), %error, "a build's secrets stay");
        }
    }
}

/// Where secrets and sockets of builds lie.
pub(super) fn run_folder(run_dir: &Path) -> PathBuf {
    run_dir.join("builds")
}

impl Ready {
    /// Makes all ready that a command's mounts need.
    ///
    /// # Errors
    ///
    /// Invalid, for what isn't there but required; whatever the disk says.
    pub(super) async fn of(
        mounts: Vec<(String, Mount)>,
        others: &BTreeMap<String, Below>,
        working_dir: &str,
        shared: &Shared,
        trace: &Trace,
    ) -> Result<Self, Error> {
        let mut ready = Self::default();
        for (text, mount) in mounts {
            let target = place(&mount, working_dir)
                .map_err(|problem| Error::invalid(format!("RUN --mount={text}: {problem}")))?;
            let below = mount.from().map(|from| others.get(from).cloned().unwrap_or_default());
            match mount.kind {
                Kind::Bind { source, writable, .. } => {
                    let (context, trace) = (Arc::clone(&shared.context), trace.clone());
                    let found = shared
                        .engine
                        .blocking(move |_| bind(&text, below.as_ref(), &source, writable, &context, &trace));
                    let (stack, source) = found.await?;
                    ready.beside.stacks.extend(stack);
                    ready.bind(target, &source, writable);
                }
                Kind::Cache { id, source, sharing, read_only, looks, .. } => {
                    let id = id.or_else(|| target.clone()).unwrap_or_default();
                    let root = shared.engine.config.root.clone();
                    let held = shared.engine.builds.caches.hold(&root, &id, sharing, looks).await?;
                    let (folder, new, trace) = (held.folder.clone(), held.new, trace.clone());
                    let found =
                        shared.engine.blocking(move |_| cache(&folder, new, below.as_ref(), &source, &trace));
                    let folder = found.await?;
                    ready._caches.push(held);
                    ready.bind(target, &folder, !read_only);
                }
                Kind::Tmpfs { size } => {
                    let mut options = vec!["nosuid".to_owned()];
                    options.extend((size > 0).then(|| format!("size={size}")));
                    ready.beside.mounts.push(oci::Mount {
                        destination: target.unwrap_or_default(),
                        kind: Some("tmpfs".to_owned()),
                        source: Some("tmpfs".to_owned()),
                        options,
                    });
                }
                Kind::Secret { id, env, required, looks } => {
                    ready.secret(shared, &id, target, env, required, looks)?;
                }
                Kind::Ssh { id, required, looks } => ready.agent(shared, &id, target, required, looks)?,
            }
        }
        Ok(ready)
    }

    /// The places of all mounts.
    pub(super) fn places(&self) -> Vec<String> {
        self.beside.mounts.iter().map(|mount| mount.destination.clone()).collect()
    }

    /// A script that the command executes, at a place of its own.
    pub(super) fn script(&mut self, target: &str, content: &str, context: &Context) -> Result<(), Error> {
        let path = context.scratch()?.join("script");
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        self.bind(Some(target.to_owned()), &path, false);
        Ok(())
    }

    fn bind(&mut self, target: Option<String>, source: &Path, writable: bool) {
        let access = if writable { "rw" } else { "ro" };
        self.beside.mounts.push(oci::Mount {
            destination: target.unwrap_or_default(),
            kind: Some("bind".to_owned()),
            source: Some(source.to_string_lossy().into_owned()),
            options: ["rbind", "rprivate", access].map(str::to_owned).to_vec(),
        });
    }

    fn folder(&mut self, shared: &Shared) -> Result<PathBuf, Error> {
        if let Some(folder) = &self._folder {
            return Ok(folder.0.clone());
        }
        let folder = run_folder(&shared.engine.config.run_dir).join(names::hex_digits::<8>()?);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        self._folder = Some(Folder(folder.clone()));
        Ok(folder)
    }

    fn secret(
        &mut self,
        shared: &Shared,
        id: &str,
        target: Option<String>,
        env: Option<String>,
        required: bool,
        looks: Looks,
    ) -> Result<(), Error> {
        let session = Arc::clone(&shared.lent.session);
        let Some(content) = session.secret(id) else {
            let missing =
                format!("secret {id}: not found: it is required; give it by --secret id={id},src=FILE");
            return if required { Err(Error::invalid(missing)) } else { Ok(()) };
        };
        let name = format!("secret-{}", self.beside.mounts.len() + self.beside.secret_env.len());
        let path = self.folder(shared)?.join(name);
        fs::write(&path, content)?;
        chown(&path, Some(looks.uid), Some(looks.gid))?;
        fs::set_permissions(&path, Permissions::from_mode(looks.mode))?;
        let as_file = env.is_none() || target.is_some();
        if let Some(name) = env {
            self.beside.secret_env.push(SecretVariable { name, path: path.clone() });
        }
        if as_file {
            self.bind(Some(target.unwrap_or_else(|| format!("/run/secrets/{id}"))), &path, false);
        }
        Ok(())
    }

    fn agent(
        &mut self,
        shared: &Shared,
        id: &str,
        target: Option<String>,
        required: bool,
        looks: Looks,
    ) -> Result<(), Error> {
        let session = Arc::clone(&shared.lent.session);
        if !session.has_agent(id) {
            let missing =
                format!("no SSH key {id:?} forwarded from the client: it is required; give it by --ssh {id}");
            return if required { Err(Error::invalid(missing)) } else { Ok(()) };
        }
        let number = self._agents.len();
        let path = self.folder(shared)?.join(format!("agent-{number}"));
        let listener = UnixListener::bind(&path)
            .map_err(|error| Error::internal(format!("cannot listen at {}: {error}", path.display())))?;
        chown(&path, Some(looks.uid), Some(looks.gid))?;
        fs::set_permissions(&path, Permissions::from_mode(looks.mode))?;
        self._agents.push(Served(task::spawn(serve(listener, session, id.to_owned()))));
        let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{number}"));
        if number == 0 {
            self.env.push(format!("SSH_AUTH_SOCK={target}"));
        }
        self.bind(Some(target), &path, true);
        Ok(())
    }
}

/// Joins who connects to lines of the client's agent.
async fn serve(listener: UnixListener, session: Arc<Session>, id: String) {
    // Dropped with this task, and all connections with it.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        while open.try_join_next().is_some() {}
        if open.len() >= MOST_CONNECTIONS {
            continue;
        }
        let (session, id) = (Arc::clone(&session), id.clone());
        open.spawn(async move {
            let Some(mut line) = session.line(&id).await else { return };
            let _: Result<_, _> = join(&mut stream, &mut line).await;
        });
    }
}

async fn join(
    stream: &mut UnixStream,
    line: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
) -> std::io::Result<(u64, u64)> {
    tokio::io::copy_bidirectional(stream, line).await
}

/// What a bind shows: a stack that is to be mounted first, if there is one, and the path on the host. Blocks.
fn bind(
    text: &str,
    below: Option<&Below>,
    source: &str,
    writable: bool,
    context: &Context,
    trace: &Trace,
) -> Result<(Option<Stack>, PathBuf), Error> {
    let source = if source.is_empty() { "/" } else { source };
    let missing = || Error::invalid(format!("RUN --mount={text}: {source}: not found"));
    let found = |root: &Root| -> Result<(PathBuf, bool), Error> {
        let place = root.resolve(Path::new(source)).map_err(|_| missing())?;
        let path = fs::read_link(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()))?;
        Ok((path, place.is_dir()?))
    };
    let (lower, inside, is_folder) = match below {
        None => {
            let (path, is_folder) = context.on_disk(source).map_err(|error| match error.kind() {
                crate::error::Kind::Invalid => missing(),
                _ => error,
            })?;
            if !writable {
                return Ok((None, path));
            }
            let folder = if is_folder { path.as_path() } else { path.parent().unwrap_or(&path) };
            let inside = path.strip_prefix(folder).unwrap_or(Path::new("")).to_owned();
            (vec![folder.to_owned()], inside, is_folder)
        }
        Some(below) if below.lower.is_empty() => {
            return Err(Error::invalid(format!("RUN --mount={text}: the stage has no files")));
        }
        Some(below) => {
            let (_mount, root) = mounted(trace, below)?;
            let (path, is_folder) = found(&root)?;
            (below.lower.clone(), path.strip_prefix("/").unwrap_or(&path).to_owned(), is_folder)
        }
    };
    let scratch = context.scratch()?;
    let folder = |name: &str| -> Result<PathBuf, Error> {
        let folder = scratch.join(name);
        fs::create_dir(&folder)?;
        Ok(folder)
    };
    let place = folder("place")?;
    let mut layers = Overlay { lower, volatile: true, ..Overlay::default() };
    if writable {
        (layers.upper, layers.work) = (Some(folder("upper")?), Some(folder("work")?));
    }
    let path = if inside.as_os_str().is_empty() && is_folder { place.clone() } else { place.join(&inside) };
    Ok((Some(Stack { place, layers }), path))
}

/// The folder that a cache shows: all of it, or a part; filled, if it is new. Blocks.
fn cache(
    folder: &Path,
    new: bool,
    below: Option<&Below>,
    source: &str,
    trace: &Trace,
) -> Result<PathBuf, Error> {
    let source = if source.is_empty() { "/" } else { source };
    if let Some(below) = below {
        if new && fill::has_something(&below.lower, source) {
            fill::from_layers(trace, &below.lower, source, folder)?;
        }
        return Ok(folder.to_owned());
    }
    let place = Root::open(folder)?.create_dir_all(Path::new(source), 0o755)?;
    Ok(fs::read_link(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()))?)
}
