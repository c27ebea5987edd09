//! Many containers: starts side by side, a long list, and a further process in one of them.

use std::sync::Mutex;
use std::time::Instant;

use crate::api::Api;
use crate::engines::{Docker, Engine, Glassdock, Registry};
use crate::measure::{Row, median};
use crate::{Result, measure};

/// So many starts are under way at one time.
const SIDE_BY_SIDE: usize = 8;

/// 100 containers started side by side, and 200 that run at once.
pub(crate) fn starts(registry: &Registry, docker: &Docker, glassdock: &Glassdock) -> Result<Vec<Row>> {
    let image = registry.image("library/busybox");
    let mut rows = Vec::new();
    for count in [100_usize, 200] {
        let mut seconds = [0.0; 2];
        for (index, engine) in engines(docker, glassdock).into_iter().enumerate() {
            let names = create(engine, &image, "start", count)?;
            seconds[index] = start_all(engine, &names)?;
            let running = running(engine)?;
            let removed = remove(engine, &names);
            if running < count {
                return Err(format!("of {count} containers only {running} run").into());
            }
            removed?;
        }
        let what =
            format!("{count} containers started, {SIDE_BY_SIDE} at a time, all running at the end (API)");
        rows.push(Row::seconds(&what, seconds[0], seconds[1]));
    }
    Ok(rows)
}

/// The list of all containers, when there are 500.
pub(crate) fn list(registry: &Registry, docker: &Docker, glassdock: &Glassdock) -> Result<Vec<Row>> {
    const CONTAINERS: usize = 500;
    let image = registry.image("library/busybox");
    let (mut api, mut client) = ([0.0; 2], [0.0; 2]);
    for (index, engine) in engines(docker, glassdock).into_iter().enumerate() {
        let names = create(engine, &image, "list", CONTAINERS)?;
        let measured = measure_list(engine, CONTAINERS);
        let removed = remove(engine, &names);
        (api[index], client[index]) = measured?;
        removed?;
    }
    Ok(vec![
        Row::seconds("`ps --all` with 500 containers (API)", api[0], api[1]),
        Row::seconds("the same, whole client process", client[0], client[1]),
    ])
}

fn measure_list(engine: &dyn Engine, count: usize) -> Result<(f64, f64)> {
    let (mut api, mut client) = (Vec::new(), Vec::new());
    for round in 0..23 {
        let begin = Instant::now();
        let body = Api(engine.socket()).ask("GET", "/containers/json?all=1", "")?;
        let seconds = begin.elapsed().as_secs_f64();
        let found = body.matches("\"ImageID\"").count();
        if found < count {
            return Err(format!("of {count} containers {found} are listed").into());
        }
        let whole = engine.timed(&["ps", "--all"])?;
        // The first rounds warm the engine.
        if round >= 3 {
            api.push(seconds);
            client.push(whole);
        }
    }
    Ok((median(&api), median(&client)))
}

/// `exec true` in a container that runs.
pub(crate) fn exec(registry: &Registry, docker: &Docker, glassdock: &Glassdock) -> Result<Vec<Row>> {
    let image = registry.image("library/busybox");
    let (mut api, mut client) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let engines = engines(docker, glassdock);
    for engine in engines {
        let names = create(engine, &image, "exec", 1)?;
        start_all(engine, &names)?;
    }
    // In turns of ten: what an exec leaves its engine to clean up falls on its own next one, not on the
    // other engine's. The first of a turn bears the other's and is not counted.
    for _ in 0..4 {
        for (index, engine) in engines.into_iter().enumerate() {
            for number in 0..11 {
                let begin = Instant::now();
                Api(engine.socket()).exec_true("benchexec0")?;
                let seconds = begin.elapsed().as_secs_f64();
                if number > 0 {
                    api[index].push(seconds);
                }
            }
            for number in 0..11 {
                let whole = engine.timed(&["exec", "benchexec0", "true"])?;
                if number > 0 {
                    client[index].push(whole);
                }
            }
        }
    }
    for engine in engines {
        remove(engine, &["benchexec0".to_owned()])?;
    }
    let row = |what: &str, [theirs, ours]: &[Vec<f64>; 2]| Row::seconds(what, median(theirs), median(ours));
    Ok(vec![row("`exec true` (API)", &api), row("the same, whole client process", &client)])
}

fn engines<'a>(docker: &'a Docker, glassdock: &'a Glassdock) -> [&'a dyn Engine; 2] {
    [docker, glassdock]
}

fn create(engine: &dyn Engine, image: &str, what: &str, count: usize) -> Result<Vec<String>> {
    engine.client(&["pull", "-q", image])?;
    let names: Vec<_> = (0..count).map(|number| format!("bench{what}{number}")).collect();
    for name in &names {
        Api(engine.socket()).create(image, name)?;
    }
    Ok(names)
}

/// Starts containers side by side; the seconds that took.
fn start_all(engine: &dyn Engine, names: &[String]) -> Result<f64> {
    let waiting = Mutex::new(names.iter());
    let socket = engine.socket();
    let begin = Instant::now();
    let failed = std::thread::scope(|scope| {
        let work = || -> std::result::Result<(), String> {
            loop {
                let next = waiting.lock().map_err(|error| error.to_string())?.next();
                let Some(name) = next else { return Ok(()) };
                let path = format!("/containers/{name}/start");
                Api(socket).ask("POST", &path, "").map_err(|error| error.to_string())?;
            }
        };
        let threads: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()?.err()).next()
    });
    let seconds = begin.elapsed().as_secs_f64();
    failed.map_or(Ok(seconds), |error| Err(error.into()))
}

fn running(engine: &dyn Engine) -> Result<usize> {
    let body = Api(engine.socket()).ask("GET", "/containers/json", "")?;
    Ok(body.matches("\"ImageID\"").count())
}

fn remove(engine: &dyn Engine, names: &[String]) -> Result<()> {
    for name in names {
        Api(engine.socket()).ask("DELETE", &format!("/containers/{name}?force=1"), "")?;
    }
    // What one engine left for the disk to write is not the next one's to wait for.
    measure::sync()
}
