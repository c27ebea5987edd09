//! Builds: Docker's classic builder and ours, each through its own client.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::engines::{Docker, Engine, Glassdock, Registry};
use crate::measure::{self, Row, median};

/// So many small files are copied, and changed for the commit.
const FILES: usize = 10_000;

/// So many rounds each: Docker's take half a minute.
const ROUNDS: usize = 3;

pub(crate) fn all(
    registry: &Registry,
    docker: &Docker,
    glassdock: &Glassdock,
    folder: &Path,
) -> Result<Vec<Row>> {
    let image = registry.image("library/busybox");
    let engines = [docker as &dyn Engine, glassdock];
    for engine in engines {
        engine.client(&["pull", "-q", &image])?;
    }
    let contexts = contexts(&image, folder)?;
    let mut rows = Vec::new();
    for (what, context) in [("20 `RUN true`", &contexts.steps), ("`COPY` of 10,000 files", &contexts.files)] {
        let path = context.to_str().ok_or("a path")?;
        let (fresh, cached) = (["build", "-q", "--no-cache", path], ["build", "-q", path]);
        rows.push(compare(&format!("build of {what}"), &engines, |engine| engine.timed(&fresh))?);
        // Once to fill the cache.
        for engine in engines {
            engine.timed(&cached)?;
        }
        rows.push(compare(&format!("the same, cached: {what}"), &engines, |engine| engine.timed(&cached))?);
    }
    rows.push(commit(&image, &engines)?);
    rows.push(growth(&contexts.large, &engines)?);
    Ok(rows)
}

/// Both engines take turns.
fn compare(what: &str, engines: &[&dyn Engine; 2], time: impl Fn(&dyn Engine) -> Result<f64>) -> Result<Row> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (times, engine) in times.iter_mut().zip(engines) {
            // What one engine left for the disk to write is not the next one's to wait for.
            std::process::Command::new("sync").status()?;
            times.push(time(*engine)?);
        }
    }
    Ok(Row::seconds(what, median(&times[0]), median(&times[1])))
}

/// A commit of a container that made files.
fn commit(image: &str, engines: &[&dyn Engine; 2]) -> Result<Row> {
    let make = format!("mkdir /f && cd /f && for i in $(seq {FILES}); do echo $i > $i; done");
    for engine in engines {
        engine.client(&["run", "--name", "changed", image, "sh", "-c", &make])?;
    }
    let row = compare("commit of 10,000 changed files", engines, |engine| {
        let seconds = engine.timed(&["commit", "changed", "bench-commit"])?;
        engine.client(&["rmi", "bench-commit"])?;
        Ok(seconds)
    })?;
    for engine in engines {
        engine.client(&["rm", "changed"])?;
    }
    Ok(row)
}

/// What the daemon grows by, while it takes in a context of 1 GiB and copies it.
fn growth(context: &Path, engines: &[&dyn Engine; 2]) -> Result<Row> {
    let mut growth = [0; 2];
    for (growth, engine) in growth.iter_mut().zip(engines) {
        let before = measure::resident(engine.pid())?;
        measure::reset_peak(engine.pid())?;
        engine.timed(&["build", "-q", context.to_str().ok_or("a path")?])?;
        *growth = measure::peak(engine.pid())?.saturating_sub(before);
    }
    Ok(Row::mebibytes("build with a context of 1 GiB: the daemon grows by", growth[0], growth[1]))
}

struct Contexts {
    steps: PathBuf,
    files: PathBuf,
    large: PathBuf,
}

fn contexts(image: &str, folder: &Path) -> Result<Contexts> {
    let make = |name: &str, lines: &str| -> Result<PathBuf> {
        let context = folder.join(name);
        fs::create_dir(&context)?;
        fs::write(context.join("Dockerfile"), format!("FROM {image}\n{lines}"))?;
        Ok(context)
    };
    let steps: String = (0..20).map(|number| format!("RUN true # {number}\n")).collect();
    let contexts = Contexts {
        steps: make("steps", &steps)?,
        files: make("files", "COPY many /many\n")?,
        large: make("large", "COPY large /large\n")?,
    };
    let many = contexts.files.join("many");
    fs::create_dir(&many)?;
    for number in 0..FILES {
        fs::write(many.join(number.to_string()), format!("file {number}\n"))?;
    }
    // Content that doesn't compress to nothing, and needs no source of randomness.
    let mut block = vec![0_u8; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in &mut block {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[0];
    }
    let mut file = fs::File::create(contexts.large.join("large"))?;
    for number in 0..1024_u32 {
        block[..4].copy_from_slice(&number.to_le_bytes());
        std::io::Write::write_all(&mut file, &block)?;
    }
    Ok(contexts)
}
