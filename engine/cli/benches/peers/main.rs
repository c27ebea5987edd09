//! Glassdock beside its peers, on this machine, in one run.
//!
//! ```text
//! cargo build --release && cargo bench -p glassdock-cli --bench peers [-- WHAT…]
//! ```
//!
//! WHAT is any of `run`, `starts`, `list`, `exec`, `pull`, `layers`, `push`, `build`, `idle`, `trace`; all of them
//! without one. Needs root, and from Debian `docker.io`, `skopeo` and `busybox-static`.
//! Prints a Markdown table for the README. Nothing here asserts a time: machines
//! are noisy, so the two engines take turns and the medians' ratio is what counts.

mod api;
mod builds;
mod engines;
mod images;
mod many;
mod measure;
mod pushes;

use std::error::Error;
use std::path::Path;

use engines::{Docker, Engine, Glassdock, Registry};
use measure::{Row, median};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |what: &str| wanted.is_empty() || wanted.iter().any(|word| word == what);

    let folder = tempfile::tempdir()?;
    let registry = Registry::start(folder.path())?;
    let docker = Docker::start(folder.path())?;
    let glassdock = Glassdock::start(folder.path(), "on", &[])?;
    let mut rows = Vec::new();

    if wants("run") {
        rows.push(run(&registry, &docker, &glassdock)?);
    }
    if wants("starts") {
        rows.extend(many::starts(&registry, &docker, &glassdock)?);
    }
    if wants("list") {
        rows.extend(many::list(&registry, &docker, &glassdock)?);
    }
    if wants("exec") {
        rows.extend(many::exec(&registry, &docker, &glassdock)?);
    }
    if wants("pull") {
        images::push_big(&registry, folder.path())?;
        rows.extend(pull(
            "pull of 1 GiB, 8 layers, 20,000 files",
            "bench/big",
            3,
            &registry,
            &docker,
            &glassdock,
        )?);
    }
    if wants("layers") {
        images::push_many(&registry, folder.path())?;
        rows.extend(pull("pull of 60 small layers", "bench/many", 5, &registry, &docker, &glassdock)?);
    }
    if wants("push") {
        images::push_big(&registry, folder.path())?;
        let what = "push of 1 GiB, 8 layers, that were pulled";
        rows.push(pushes::push(what, "bench/big", &registry, &docker, &glassdock, folder.path())?);
    }
    if wants("build") {
        rows.extend(builds::all(&registry, &docker, &glassdock, folder.path())?);
    }
    if wants("idle") {
        rows.push(idle(&registry, &docker, &glassdock)?);
    }
    if wants("trace") {
        rows.push(trace_cost(&registry, folder.path())?);
    }
    measure::print(&rows);
    Ok(())
}

/// A whole client process of `run --rm busybox true`, warm, with the network on.
fn run(registry: &Registry, docker: &Docker, glassdock: &Glassdock) -> Result<Row> {
    let image = registry.image("library/busybox");
    let words = ["run", "--rm", &image, "true"];
    docker.client(&["pull", "-q", &image])?;
    glassdock.client(&["pull", "-q", &image])?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for round in 0..33 {
        let (their, our) = (docker.timed(&words)?, glassdock.timed(&words)?);
        // The first rounds warm both engines.
        if round >= 3 {
            theirs.push(their);
            ours.push(our);
        }
    }
    Ok(Row::seconds("`run --rm busybox true`, warm, network on", median(&theirs), median(&ours)))
}

/// Pulls of an image that the engine does not have, and what the daemon grows by.
fn pull(
    what: &str,
    repository: &str,
    rounds: usize,
    registry: &Registry,
    docker: &Docker,
    glassdock: &Glassdock,
) -> Result<Vec<Row>> {
    let image = registry.image(repository);
    let (mut theirs, mut ours, mut growth) = (Vec::new(), Vec::new(), [0_u64; 2]);
    for _ in 0..rounds {
        for (index, engine) in [docker as &dyn Engine, glassdock].into_iter().enumerate() {
            // What one engine left for the disk to write is not the next one's to wait for.
            measure::sync()?;
            let before = measure::resident(engine.pid())?;
            measure::reset_peak(engine.pid())?;
            let seconds = engine.timed(&["pull", "-q", &image])?;
            growth[index] = growth[index].max(measure::peak(engine.pid())?.saturating_sub(before));
            engine.client(&["rmi", &image])?;
            if index == 0 { theirs.push(seconds) } else { ours.push(seconds) }
        }
    }
    Ok(vec![
        Row::seconds(what, median(&theirs), median(&ours)),
        Row::mebibytes(&format!("{what}: the daemon grows by"), growth[0], growth[1]),
    ])
}

/// Memory (PSS) that an idle container costs: what its helpers and the daemon
/// have more than before, divided by the number of containers.
fn idle(registry: &Registry, docker: &Docker, glassdock: &Glassdock) -> Result<Row> {
    const CONTAINERS: u64 = 40;
    let image = registry.image("library/busybox");
    let mut costs = [0_u64; 2];
    for (index, engine) in [docker as &dyn Engine, glassdock].into_iter().enumerate() {
        engine.client(&["run", "--rm", &image, "true"])?;
        let before = engine.helpers_pss()?;
        let mut names = Vec::new();
        for number in 0..CONTAINERS {
            let name = format!("idle{number}");
            engine.client(&["run", "-d", "--name", &name, &image, "sleep", "1000"])?;
            names.push(name);
        }
        costs[index] = engine.helpers_pss()?.saturating_sub(before) / CONTAINERS;
        let mut remove = vec!["rm", "-f"];
        remove.extend(names.iter().map(String::as_str));
        engine.client(&remove)?;
    }
    Ok(Row::mebibytes(
        "memory per idle container, PSS (40 of them; helpers and the daemon's growth)",
        costs[0],
        costs[1],
    ))
}

/// What recording the trace costs a run: the same daemon runs it with and without. A daemon has its luck with where its
/// memory lies, so there are several, all of them new.
fn trace_cost(registry: &Registry, folder: &Path) -> Result<Row> {
    let image = registry.image("library/busybox");
    let recorded = ["run", "--rm", &image, "true"];
    let silent = ["run", "--trace=off", "--rm", &image, "true"];
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for daemon in 0..12 {
        let engine = Glassdock::start(folder, &format!("t{daemon}"), &[])?;
        engine.client(&["pull", "-q", &image])?;
        for round in 0..210 {
            // Neither is always the one that comes after the other.
            let (on, off) = if (round + daemon) % 2 == 0 {
                let off = engine.timed(&silent)?;
                (engine.timed(&recorded)?, off)
            } else {
                (engine.timed(&recorded)?, engine.timed(&silent)?)
            };
            if round >= 10 {
                without.push(off);
                with.push(on);
            }
        }
    }
    Ok(Row::seconds(
        "the same `run`, without and with a recorded trace",
        measure::trimmed_mean(&without),
        measure::trimmed_mean(&with),
    ))
}
