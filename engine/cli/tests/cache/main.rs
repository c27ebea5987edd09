//! `build --cache-to` and `--cache-from`: what one engine did, another one need not do again.

mod checks;

mod view;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The steps of two stages give something else each time, so that no step of the result can be
/// found unless those of the stages were.
const DOCKERFILE: &str = "\
FROM busybox AS base
RUN echo base >/base
FROM base AS one
RUN cat /proc/sys/kernel/random/uuid >/one
FROM busybox AS two
COPY file /file
RUN cat /proc/sys/kernel/random/uuid >/two
FROM base
COPY --from=one /one /one
COPY --from=two /two /two
CMD [\"cat\", \"/one\"]
";

/// All steps but the four of FROM.
const STEPS: usize = 7;

/// A process that ends with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM: a daemon takes its bridge along.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let begin = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn glassdock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glassdock"));
    command.stdin(Stdio::null());
    command
}

/// What is missing for a build here.
fn missing() -> Option<&'static str> {
    let shim = Path::new(env!("CARGO_BIN_EXE_glassdock")).with_file_name("glassdock-shim");
    let known = [
        (fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0), "root"),
        (Path::new("/bin/busybox").exists(), "busybox (Debian: apt-get install busybox-static)"),
        (shim.exists(), "glassdock-shim beside glassdock (cargo build --workspace)"),
    ];
    known.into_iter().find(|(there, _)| !there).map(|(_, what)| what)
}

/// Whether a test can't be done here; says why.
fn skipped() -> bool {
    let Some(missing) = missing() else { return false };
    assert!(std::env::var_os("GLASSDOCK_TEST_STRICT").is_none(), "missing: {missing}");
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    {
        eprintln!("skipped, missing: {missing}");
    }
    true
}

/// A registry with the seed's images; its address.
fn registry(folder: &Path) -> Result<(Process, String)> {
    let mut command = glassdock();
    command.args(["registry", "serve", "--seed", "--listen", "127.0.0.1:0", "--root"]);
    let mut child =
        command.arg(folder.join("registry")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let process = Process(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let address = line.trim().rsplit("http://").next().ok_or("no address")?;
    Ok((process, address.to_owned()))
}

/// An engine with nothing in it.
struct Engine {
    _process: Process,
    socket: PathBuf,
}

impl Engine {
    fn start(folder: &Path, name: &str, registry: &str) -> Result<Self> {
        let at = |what: &str| folder.join(format!("{name}-{what}"));
        let socket = at("socket");
        let bridge = format!("gc{}{name}", std::process::id());
        let mut command = glassdock();
        command.args(["daemon", "--bridge", &bridge, "--registry-mirror", &format!("http://{registry}")]);
        command.arg("--root").arg(at("root")).arg("--run-dir").arg(at("run"));
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let engine = Self { _process: Process(child), socket };
        let begin = Instant::now();
        while engine.run(&["version"]).is_err() {
            if begin.elapsed() > Duration::from_secs(60) {
                return Err("the daemon is not ready".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(engine)
    }

    /// Runs the client; what it says on both streams.
    fn run(&self, words: &[&str]) -> Result<String> {
        let host = format!("unix://{}", self.socket.display());
        let output = glassdock().args(["--host", &host]).args(words).output()?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(said) } else { Err(said.into()) }
    }

    /// Builds; how many steps were found in a cache.
    fn found(&self, words: &[&str], context: &Path) -> Result<usize> {
        let context = context.display().to_string();
        let said = self.run(&[&["build"], words, &[&context]].concat())?;
        assert!(!said.contains("WARNING"), "{said}");
        Ok(said.matches("Using cache").count())
    }
}

#[test]
fn with_mode_max_the_steps_of_all_stages_are_kept() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let context = folder.path().join("context");
    fs::create_dir(&context)?;
    fs::write(context.join("Dockerfile"), DOCKERFILE)?;
    fs::write(context.join("file"), "x")?;
    let (_registry, address) = registry(folder.path())?;
    let to = |kind: &str, name: &str| match kind {
        "registry" => format!("type=registry,ref={address}/cache:{name}"),
        _ => format!("type=local,dest={}/{name}", folder.path().display()),
    };
    let from = |kind: &str, name: &str| to(kind, name).replace("dest=", "src=");
    let builder = Engine::start(folder.path(), "a", &address)?;
    let mut words = Vec::new();
    for kind in ["registry", "local"] {
        words.push(format!("--cache-to={},mode=max", to(kind, "max")));
        words.push(format!("--cache-to={}", to(kind, "min")));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(builder.found(&[&["-t", "built"], words.as_slice()].concat(), &context)?, 0);
    let id = builder.run(&["images", "--quiet", "--no-trunc", "built"])?;
    for (name, kind) in [("b", "registry"), ("c", "local")] {
        let other = Engine::start(folder.path(), name, &address)?;
        let min = other.found(&["--cache-from", &from(kind, "min")], &context)?;
        assert_eq!(min, 1, "{kind}: of the result's own steps the first one fits");
        let all = other.found(&["-t", "again", "--cache-from", &from(kind, "max")], &context)?;
        assert_eq!(all, STEPS, "{kind}");
        assert_eq!(other.run(&["images", "--quiet", "--no-trunc", "again"])?, id);
    }
    Ok(())
}
