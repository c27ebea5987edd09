//! `glassdock registry serve`, `seed`, `config` and `gc`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};
use glassdock_registry::seed;
use glassdock_registry::server::settings::{KEYS, Key, Settings, Time};
use glassdock_registry::server::{Server, collect, plant};
use glassdock_trace::{Actor, OpId, Recorder, Trace, gate::Hold, tracer::Origin};

use super::{chain, read};
use crate::failure::Failure;
use crate::show::output::{Output, complain};

/// Run a registry of images.
#[derive(Debug, Parser)]
struct Words {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serve a registry over HTTP until SIGTERM.
    ///
    /// The first line on standard output says where: `listening on http://127.0.0.1:5000`.
    #[command(after_help = "\
Examples:
  glassdock registry serve --root /data/registry --seed
  glassdock registry serve --config config.yml --workers 4 --access-log -
  glassdock registry serve --listen 0.0.0.0:5000 --tls-certificate cert.pem --tls-key key.pem
  glassdock registry serve --htpasswd users --auth-method token --anonymous pull
  glassdock registry serve --mirror https://registry-1.docker.io
  AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… glassdock registry serve --s3-bucket images --s3-endpoint https://s3.test")]
    Serve(Told),
    /// Print the configuration that would be in force, as a file would say it.
    #[command(after_help = "\
Examples:
  glassdock registry config > config.yml
  GLASSDOCK_REGISTRY_WORKERS=4 glassdock registry config --config config.yml")]
    Config(Told),
    /// Remove what nothing needs any more, also while the registry serves.
    ///
    /// Blobs that no manifest of their repository names, content that no repository has, and
    /// uploads that were given up. What came or was asked for lately stays.
    #[command(after_help = "\
Examples:
  glassdock registry gc --root /data/registry --dry-run
  glassdock registry gc --config config.yml --collect-untagged --collect-grace 0s")]
    Gc {
        #[command(flatten)]
        told: Told,
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Put the lessons' images into a registry's folder, also while it is served.
    #[command(after_help = "\
Examples:
  glassdock registry seed --root /data/registry
  glassdock registry seed --root /data/registry hello-world busybox java")]
    Seed {
        #[command(flatten)]
        told: Told,
        /// The images; all of them without a name.
        #[arg(value_name = "IMAGE")]
        images: Vec<String>,
    },
}

/// The configuration file, and what is said on top of it.
#[derive(Debug, Args)]
struct Told {
    /// A configuration file (YAML); `glassdock registry config` prints one with all keys.
    #[arg(long, value_name = "FILE", env = "GLASSDOCK_REGISTRY_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    over: Over,
}

/// The keys of the configuration that were given as flags or in the environment.
#[derive(Debug)]
struct Over(Vec<(&'static str, String)>);

impl Args for Over {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| command.arg(argument(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(key: &Key) -> Arg {
    let argument = Arg::new(key.path).long(key.flag).help(key.help).env(key.variable());
    if key.value.is_empty() {
        // `--seed` is as good as `--seed=true`.
        argument.value_name("on|off").num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        argument.value_name(key.value)
    }
}

impl FromArgMatches for Over {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |key: &Key| Some((key.path, matches.get_one::<String>(key.path)?.clone()));
        Ok(Self(KEYS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Told {
    fn settings(&self) -> Result<Settings, Failure> {
        Settings::read(self.config.as_deref(), &self.over.0)
            .map_err(|error| chain("glassdock registry", &error))
    }
}

pub(crate) fn run(words: &[String]) -> Result<(), Failure> {
    let Words { what } = read("registry", words)?;
    match what {
        What::Serve(told) => serve(&told.settings()?),
        What::Config(told) => {
            let mut out = Output::default();
            out.line(told.settings()?.to_yaml().trim_end());
            out.flush()
        }
        What::Seed { told, images } => sow(&told.settings()?, &images),
        What::Gc { told, dry_run } => gc(&told.settings()?, dry_run),
    }
}

fn serve(settings: &Settings) -> Result<(), Failure> {
    if settings.seed {
        sow(settings, &[])?;
    }
    // What goes wrong is told on standard error, apart from the access log.
    super::logging::start("glassdock=info,warn");
    let failed = |error: &dyn std::error::Error| chain("glassdock registry", error);
    let mut config = settings.config().map_err(|error| failed(&error))?;
    // Kept to the end: dropped, it has written all that was recorded.
    let recorder = settings.traces.as_ref().map(|folder| recorder(folder)).transpose();
    let recorder = recorder.map_err(|error| failed(&error))?;
    if let Some(recorder) = &recorder {
        config.trace = recorded(recorder);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.threads())
        .enable_all()
        .build()
        .map_err(|error| Failure::say(format!("cannot start the reactor: {error}")))?;
    runtime.block_on(async {
        let server = Server::bind(config).await.map_err(|error| failed(&error))?;
        let mut out = Output::default();
        out.line(format!("listening on {}", server.url()));
        out.flush()?;
        server.serve(stopped()).await;
        Ok(())
    })
}

fn recorder(folder: &Path) -> std::io::Result<Recorder> {
    Recorder::new(folder, concat!("glassdock ", env!("CARGO_PKG_VERSION")), BTreeMap::new())
}

/// A trace of all that this server does, in a file of its own.
fn recorded(recorder: &Recorder) -> Trace {
    let op = OpId::new();
    let recording = recorder.open(&op);
    Trace::root(op, Actor::Registry, Origin::now(), recording, Hold::Never)
}

fn gc(settings: &Settings, dry_run: bool) -> Result<(), Failure> {
    let mut how = settings.collecting();
    how.dry_run = dry_run;
    let done = collect(settings.place(), how).map_err(|error| chain("glassdock registry", &error))?;
    let mut out = Output::default();
    let did = if dry_run { "would remove" } else { "removed" };
    if how.untagged {
        out.line(format!("{did} {} manifests without a tag", done.manifests));
    }
    out.line(format!("{did} {} blobs from repositories whose manifests don't name them", done.links));
    out.line(format!("{did} {} blobs that no repository has, {} bytes", done.blobs, done.bytes));
    if !dry_run {
        let age = Time(how.uploads);
        out.line(format!("gave up {} uploads that nobody went on with for {age}", done.uploads));
    }
    out.flush()
}

/// Puts the lessons' images into the registry.
fn sow(settings: &Settings, names: &[String]) -> Result<(), Failure> {
    let fail = |error: seed::Error| chain("glassdock registry: seed", &error);
    let seed = seed::chosen(&settings.busybox, names).map_err(fail)?;
    plant(settings.place(), &seed.images).map_err(|error| chain("glassdock registry: seed", &error))?;
    if let Some(missing) = seed.missing {
        complain(chain("glassdock registry: some images are left out", &missing).message);
    }
    Ok(())
}

/// Until SIGTERM or SIGINT.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
