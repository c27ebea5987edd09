//! A container's health: a command that is executed in it now and then.
//!
//! ```text
//!   start ──► starting ──success──► healthy ◄──┐ success
//!                │                     │       │
//!                └── as many failures in a row ┴──► unhealthy
//!                    as it has retries
//! ```
//!
//! The monitor is a task of the container's run: it ends with it, and while the
//! container is frozen. One that is not watched any more counts as unhealthy, as in
//! Docker. What fails within the start period does not count, unless a check
//! succeeded before.
//!
//! See the Engine API, `Health` and `HealthConfig`.

use std::sync::Arc;
use std::time::Duration;

use glassdock_registry::task;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::container::Container;
use super::create::now;
use super::model::HealthConfig;
use super::probe;
use super::record::Record;
use crate::engine::Engine;

/// So many results are kept, and so many checks of a run are recorded as traces: a check a
/// second would push everything else out of them.
const KEPT: usize = 5;

/// Where a request says nothing: between two checks, also in the start period.
const INTERVAL: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// So many failures in a row make a container unhealthy.
const RETRIES: i64 = 3;

/// What is known of a container's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: String,
    /// Failures since the last success.
    pub failing_streak: i64,
    /// The last results, the oldest first.
    pub log: Vec<Checked>,
}

/// The result of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Checked {
    /// When it began, RFC 3339.
    pub start: String,
    /// When it was over.
    pub end: String,
    /// The command's exit status; -1 if it has none.
    pub exit_code: i32,
    /// The beginning of what it said.
    pub output: String,
}

/// The command that checks a container's health, if there is one.
#[must_use]
pub fn command(record: &Record) -> Option<Vec<String>> {
    let (kind, words) = record.config.healthcheck.as_ref()?.test.split_first()?;
    match (kind.as_str(), words) {
        ("CMD", [_, ..]) => Some(words.to_vec()),
        ("CMD-SHELL", [script, ..]) => {
            let shell = record.config.shell.clone().filter(|shell| !shell.is_empty());
            let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            command.push(script.clone());
            Some(command)
        }
        _ => None,
    }
}

/// The health of a container at a start: nothing is known but what was before.
#[must_use]
pub fn at_start(record: &Record) -> Option<Health> {
    command(record)?;
    let log = record.state.health.as_ref().map(|health| health.log.clone()).unwrap_or_default();
    Some(Health { status: "starting".to_owned(), failing_streak: 0, log })
}

/// The API's word for it.
#[must_use]
pub fn word(record: &Record) -> &str {
    record.state.health.as_ref().map_or("none", |health| &health.status)
}

/// What stands after `Up …` in a list.
#[must_use]
pub fn suffix(record: &Record) -> String {
    match word(record) {
        "none" => String::new(),
        "starting" => " (health: starting)".to_owned(),
        word => format!(" ({word})"),
    }
}

/// Watches a running container's health from now on, if it says how.
pub(crate) fn watch(engine: &Arc<Engine>, container: &Arc<Container>) {
    let (command, config) =
        container.look(|record| (command(record), record.config.healthcheck.clone().unwrap_or_default()));
    let Some(command) = command else { return };
    let stop = CancellationToken::new();
    if let Some(before) = container.set_monitor(Some(stop.clone())) {
        before.cancel();
    }
    let monitor = Monitor { engine: Arc::clone(engine), container: Arc::clone(container), command, config };
    task::spawn(async move {
        stop.run_until_cancelled(monitor.run(&stop)).await;
    });
}

/// Watches it no more: it has ended, or is frozen.
pub(crate) fn unwatch(container: &Container) {
    if let Some(stop) = container.set_monitor(None) {
        stop.cancel();
        container.change(|record| {
            if let Some(health) = &mut record.state.health {
                "unhealthy".clone_into(&mut health.status);
            }
        });
    }
}

struct Monitor {
    engine: Arc<Engine>,
    container: Arc<Container>,
    command: Vec<String>,
    config: HealthConfig,
}

impl Monitor {
    async fn run(&self, stop: &CancellationToken) {
        for number in 0_usize.. {
            tokio::time::sleep(self.pause()).await;
            let start = now();
            let early = self.is_early();
            let timeout = or(self.config.timeout, TIMEOUT);
            let probe = probe::Probe {
                engine: &self.engine,
                container: &self.container,
                command: &self.command,
                timeout,
                recorded: number < KEPT,
                stop,
            };
            let (exit_code, output) = probe.run().await;
            if stop.is_cancelled() {
                return;
            }
            self.settle(Checked { start, end: now(), exit_code, output }, early);
        }
    }

    /// How long it is until the next check.
    fn pause(&self) -> Duration {
        let starting = self.container.look(|record| word(record) == "starting");
        if starting && self.is_early() {
            or(self.config.start_interval, START_INTERVAL)
        } else {
            or(self.config.interval, INTERVAL)
        }
    }

    /// Whether the container is within its start period.
    fn is_early(&self) -> bool {
        let period = or(self.config.start_period, Duration::ZERO);
        let started = self.container.look(|record| record.state.started_at.parse::<jiff::Timestamp>());
        let Ok(started) = started else { return false };
        let up = jiff::Timestamp::now().as_nanosecond().saturating_sub(started.as_nanosecond());
        u128::try_from(up).is_ok_and(|up| up < period.as_nanos())
    }

    fn settle(&self, checked: Checked, early: bool) {
        let retries = if self.config.retries > 0 { self.config.retries } else { RETRIES };
        let changed = self.container.change(|record| {
            let health = record.state.health.get_or_insert_default();
            let before = health.status.clone();
            next(health, checked, early, retries);
            (health.status != before).then(|| health.status.clone())
        });
        if let Some(status) = changed {
            if let Err(error) = self.engine.containers.save(&self.container) {
                tracing::warn!(id = self.container.id, %error, "a container's health can't be written");
            }
            self.container.emit(&self.engine, &format!("health_status: {status}"), &[]);
        }
    }
}

/// What a result makes of a container's health.
fn next(health: &mut Health, checked: Checked, early: bool, retries: i64) {
    if checked.exit_code == 0 {
        health.failing_streak = 0;
        "healthy".clone_into(&mut health.status);
    } else if !(early && health.status == "starting") {
        health.failing_streak = health.failing_streak.saturating_add(1);
        if health.failing_streak >= retries {
            "unhealthy".clone_into(&mut health.status);
        }
    }
    health.log.push(checked);
    let over = health.log.len().saturating_sub(KEPT);
    health.log.drain(..over);
}

fn or(nanoseconds: i64, absent: Duration) -> Duration {
    u64::try_from(nanoseconds).ok().filter(|set| *set > 0).map_or(absent, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(results: &[(i32, bool)]) -> (String, i64) {
        let mut health = Health { status: "starting".into(), ..Health::default() };
        for (exit_code, early) in results {
            next(&mut health, Checked { exit_code: *exit_code, ..Checked::default() }, *early, 2);
        }
        assert!(health.log.len() <= KEPT);
        (health.status, health.failing_streak)
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        assert_eq!(after(&[(1, false)]), ("starting".into(), 1));
        assert_eq!(after(&[(1, false), (-1, false)]), ("unhealthy".into(), 2));
        assert_eq!(after(&[(1, false), (1, false), (0, false)]), ("healthy".into(), 0));
        assert_eq!(after(&[(0, false), (1, false), (0, false), (1, false)]), ("healthy".into(), 1));
        assert_eq!(after(&[(0, false); 9]), ("healthy".into(), 0));
    }

    #[test]
    fn failures_of_the_start_period_count_only_after_a_success() {
        assert_eq!(after(&[(1, true), (1, true), (1, true)]), ("starting".into(), 0));
        assert_eq!(after(&[(0, true), (1, true), (1, true)]), ("unhealthy".into(), 2));
    }
}
