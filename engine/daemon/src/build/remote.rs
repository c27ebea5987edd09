//! Files of ADD and contexts that lie elsewhere: they are fetched into the build's folder first.
//!
//! A file comes through the registry client's door to the network. For a repository the machine's
//! git(1) is run, of whose rules none of the user's or the machine's count: no hooks, no helpers, no
//! protocol that reads the machine's own files, no question on a terminal.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use glassdock_build::remote::{Git, Remote, file_name};
use glassdock_image::Digest;
use glassdock_image::digest::Hasher;
use glassdock_kernel::process::{self, Signal, Spawn};
use glassdock_registry::client::Download;
use glassdock_trace::Trace;

use super::files;
use crate::engine::Engine;
use crate::error::{Error, Kind};

/// A file is at most so large, in bytes: as large as a context.
const LARGEST: u64 = 64 << 30;

/// A repository is at most so large, in bytes, and takes at most so long.
const LARGEST_REPOSITORY: u64 = 8 << 30;
const GIT_TIME: Duration = Duration::from_secs(900);

/// So often git is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// So much of what git says is shown, in bytes.
const MOST_WORDS: u64 = 4096;

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The folder that it lies in.
    pub folder: PathBuf,
    /// Its path in it: a file's name, or a repository's folder (`.` for all of it).
    pub path: String,
    /// Whether it is a repository.
    pub is_repository: bool,
}

/// How a source of ADD is to be fetched.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// `--checksum`
    pub checksum: String,
    /// `--keep-git-dir`
    pub keep_git: bool,
    /// Whether the destination is a folder: then the file needs a name of its own.
    pub into_folder: bool,
}

/// Fetches a source of ADD into a new folder.
///
/// # Errors
///
/// Invalid, for what can't be fetched or has another checksum.
pub async fn source(
    engine: &Arc<Engine>,
    trace: &Trace,
    remote: &Remote,
    how: &How,
    folder: PathBuf,
) -> Result<Fetched, Error> {
    match remote {
        Remote::Git(git) => repository(engine, trace, git, how, folder).await,
        Remote::Http(url) => {
            let own = file_name(url);
            if own.is_none() && how.into_folder {
                return Err(Error::invalid(format!("cannot determine filename for source {url}")));
            }
            let path = own.unwrap_or_else(|| "download".to_owned());
            let mut download = open(engine, trace, url).await?;
            let digest = save(&mut download, url, &folder.join(&path), &how.checksum).await?;
            if !how.checksum.is_empty() && digest.to_string() != how.checksum {
                return Err(Error::invalid(format!(
                    "ADD of {url}: digest mismatch: it has {digest}, and --checksum says {}",
                    how.checksum
                )));
            }
            Ok(Fetched { folder, path, is_repository: false })
        }
    }
}

/// Begins to fetch a file.
///
/// # Errors
///
/// Invalid, in the client's words.
pub async fn open(engine: &Engine, trace: &Trace, url: &str) -> Result<Download, Error> {
    let download = engine.registry.download(trace, url).await;
    let download = download.map_err(|error| {
        let error = Error::of(Kind::Invalid, &error);
        Error::invalid(format!("cannot fetch {url}: {}", error.message()))
    })?;
    if download.length.is_some_and(|length| length > LARGEST) {
        return Err(too_large(url));
    }
    Ok(download)
}

fn too_large(url: &str) -> Error {
    Error::invalid(format!("cannot fetch {url}: it is larger than {LARGEST} bytes"))
}

/// Writes a file as it comes, for root alone, with the server's time; its digest.
async fn save(download: &mut Download, url: &str, path: &Path, checksum: &str) -> Result<Digest, Error> {
    let wanted = if checksum.is_empty() { Digest::of(b"") } else { parse_checksum(checksum)? };
    let mut hasher: Hasher = wanted.hasher();
    let mut file = File::create(path)?;
    let mut length = 0;
    loop {
        let chunk = download.chunk().await;
        let chunk = chunk.map_err(|error| {
            let error = Error::of(Kind::Invalid, &error);
            Error::invalid(format!("cannot fetch {url}: {}", error.message()))
        })?;
        let Some(chunk) = chunk else { break };
        length += chunk.len() as u64;
        if length > LARGEST {
            return Err(too_large(url));
        }
        hasher.update(&chunk);
        // Pieces are small and go to the page cache: a thread for each would cost more.
        file.write_all(&chunk)?;
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    // Without a time of the server's the same file must still make the same layer.
    file.set_modified(UNIX_EPOCH + Duration::from_secs(download.modified.unwrap_or(0)))?;
    Ok(hasher.finish())
}

fn parse_checksum(text: &str) -> Result<Digest, Error> {
    Digest::parse(text).map_err(|error| Error::invalid(format!("invalid checksum {text:?}: {error}")))
}

/// Fetches a repository into a folder: one commit of it, and its submodules.
///
/// # Errors
///
/// Invalid, for one that can't be fetched; unavailable, where the machine has no git.
pub async fn repository(
    engine: &Arc<Engine>,
    trace: &Trace,
    git: &Git,
    how: &How,
    folder: PathBuf,
) -> Result<Fetched, Error> {
    let left = Arc::new(AtomicBool::new(false));
    let _guard = Leaving(Arc::clone(&left));
    let (trace, git, how) = (trace.clone(), git.clone(), how.clone());
    engine.blocking(move |_| fetch(&trace, &git, &how, folder, &left)).await
}

/// Tells the thread that runs git that nobody waits for it any more.
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn fetch(trace: &Trace, git: &Git, how: &How, folder: PathBuf, left: &AtomicBool) -> Result<Fetched, Error> {
    let program = program().ok_or_else(|| {
        Error::new(
            Kind::Unavailable,
            format!("cannot fetch {}: git is needed for that, and is not installed", git.url),
        )
    })?;
    let tree = folder.join("repository");
    fs::create_dir(&tree)?;
    // A name that begins with a dash would be an option; none of git's may.
    if git.url.starts_with('-') || git.reference.starts_with('-') {
        return Err(Error::invalid(format!("invalid repository {}#{}", git.url, git.reference)));
    }
    let run = |words: &[&str]| {
        Runner { trace, program: &program, tree: &tree, folder: &folder, url: &git.url, left }.run(words)
    };
    run(&["init", "--quiet", "--template="])?;
    let reference = if git.reference.is_empty() { "HEAD" } else { &git.reference };
    let shallow = run(&["fetch", "--quiet", "--depth=1", "--no-tags", "--", &git.url, reference]);
    match shallow {
        Ok(()) => run(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?,
        Err(error) if left.load(Ordering::Relaxed) => return Err(error),
        Err(error) => {
            // Not every server takes part in shallow copies, or gives a commit that no branch names.
            let whole = ["fetch", "--quiet", "--no-tags", "--", &git.url, reference];
            let all = ["fetch", "--quiet", "--tags", "--", &git.url, "+refs/heads/*:refs/remotes/origin/*"];
            run(&whole)
                .and_then(|()| run(&["checkout", "--quiet", "--detach", "FETCH_HEAD"]))
                .or_else(|_| run(&all).and_then(|()| run(&["checkout", "--quiet", "--detach", reference])))
                .map_err(|_| error)?;
        }
    }
    let head = fs::read_to_string(tree.join(".git/HEAD"))?;
    if !how.checksum.is_empty() && (how.checksum.len() < 7 || !head.trim().starts_with(&how.checksum)) {
        return Err(Error::invalid(format!(
            "ADD of {}: the commit is {}, and --checksum says {}",
            git.url,
            head.trim(),
            how.checksum
        )));
    }
    if tree.join(".gitmodules").symlink_metadata().is_ok_and(|there| there.is_file()) {
        run(&["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"])?;
    }
    if !how.keep_git {
        fs::remove_dir_all(tree.join(".git"))?;
    }
    let path = git.folder.trim_matches('/');
    let path = if path.is_empty() { "." } else { path }.to_owned();
    Ok(Fetched { folder: tree, path, is_repository: true })
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("git")).find(|file| file.is_file())
}

/// Runs git in a tree, with nothing of the machine's.
struct Runner<'a> {
    trace: &'a Trace,
    program: &'a Path,
    tree: &'a Path,
    folder: &'a Path,
    url: &'a str,
    left: &'a AtomicBool,
}

impl Runner<'_> {
    fn run(&self, words: &[&str]) -> Result<(), Error> {
        let mut argv: Vec<OsString> = vec!["git".into()];
        for setting in [
            "core.hooksPath=/dev/null",
            "credential.helper=",
            "protocol.allow=never",
            "protocol.https.allow=always",
            "protocol.http.allow=always",
            "protocol.git.allow=always",
            "protocol.ssh.allow=always",
            "core.fsmonitor=false",
            "gc.auto=0",
            "http.lowSpeedLimit=1",
            "http.lowSpeedTime=60",
            "advice.detachedHead=false",
        ] {
            argv.extend(["-c".into(), setting.into()]);
        }
        argv.extend(["-C".into(), self.tree.as_os_str().to_owned()]);
        argv.extend(words.iter().map(OsString::from));
        let mut env: Vec<OsString> = [
            "GIT_TERMINAL_PROMPT=0",
            "GIT_CONFIG_NOSYSTEM=1",
            "GIT_CONFIG_GLOBAL=/dev/null",
            "GIT_LFS_SKIP_SMUDGE=1",
            "GIT_ASKPASS=true",
            "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=30",
            "LC_ALL=C",
        ]
        .into_iter()
        .map(OsString::from)
        .collect();
        env.push(format!("HOME={}", self.folder.display()).into());
        for name in ["PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]
        {
            if let Some(value) = std::env::var_os(name) {
                let mut pair = OsString::from(format!("{name}="));
                pair.push(value);
                env.push(pair);
            }
        }
        let words_file = self.folder.join("said");
        let said = File::create(&words_file)?;
        let spawn = Spawn {
            role: "git",
            path: self.program.to_owned(),
            argv,
            env,
            descriptors: vec![(said.as_fd(), 2)],
            session: true,
        };
        let child = process::spawn(self.trace, &spawn).map_err(|error| Error::of(Kind::Internal, &error))?;
        let failed = |reason: &str| Error::invalid(format!("failed to fetch {}: {reason}", self.url));
        let (end, mut look) = (Instant::now() + GIT_TIME, Instant::now());
        let reason = loop {
            if child.has_ended()? {
                break None;
            }
            if self.left.load(Ordering::Relaxed) {
                break Some("nobody waits for it any more".to_owned());
            }
            if Instant::now() > end {
                break Some(format!("it took longer than {} seconds", GIT_TIME.as_secs()));
            }
            if look.elapsed() > Duration::from_secs(2) {
                look = Instant::now();
                if files::size(self.folder) > LARGEST_REPOSITORY {
                    break Some(format!("it is larger than {LARGEST_REPOSITORY} bytes"));
                }
            }
            std::thread::sleep(LOOK);
        };
        if reason.is_some() {
            // It may end at this very moment.
            let _ = child.signal(self.trace, Signal::KILL);
        }
        let exit = child.wait(self.trace)?;
        if let Some(reason) = reason {
            return Err(failed(&reason));
        }
        if exit.code() == 0 {
            return Ok(());
        }
        let mut text = Vec::new();
        std::io::Read::read_to_end(
            &mut std::io::Read::take(File::open(&words_file)?, MOST_WORDS),
            &mut text,
        )?;
        Err(failed(String::from_utf8_lossy(&text).trim()))
    }
}
