//! Where things are: the engine's binaries beside this one, the scenarios, the snapshots.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

/// What a run of lessons uses.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The binary `glassdock`.
    pub glassdock: PathBuf,
    /// The folder of the scenario files.
    pub scenarios: PathBuf,
    /// The folder of the snapshots.
    pub snapshots: PathBuf,
    /// Tells when a run is interrupted.
    pub interrupt: Interrupt,
}

/// Whether someone wants the run to end. All that wait for something wait for this
/// too, and then take down what they have set up: an interrupted run leaves nothing.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<watch::Sender<bool>>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Interrupt {
    /// Ends the run.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// Whether the run shall end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the run shall end, or for `work`, whichever is sooner; `None` if the former.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut receiver = self.0.subscribe();
        tokio::select! {
            biased;
            _ = receiver.wait_for(|set| *set) => None,
            done = work => Some(done),
        }
    }
}

/// Something that was not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine.
    #[error("there is no {name} in {}; `cargo build --release` builds it", folder.display())]
    Binary {
        /// Its name.
        name: &'static str,
        /// Where it should be.
        folder: PathBuf,
    },
    /// No lessons.
    #[error(
        "there is no folder \"scenarios\" here or above; run it in the project, or name it with --scenarios"
    )]
    Scenarios,
}

impl Tools {
    /// Finds everything. The binaries are beside this program, or in the folder of
    /// the variable `GLASSDOCK_BIN`; the scenarios are `scenarios`, or the folder of
    /// that name nearest above the working directory or above this program.
    ///
    /// # Errors
    ///
    /// What is missing, and how it is made.
    pub fn find(scenarios: Option<PathBuf>) -> Result<Self, Error> {
        let own =
            env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
        let folder = env::var_os("GLASSDOCK_BIN").map_or_else(|| own.clone(), PathBuf::from);
        for name in ["glassdock", "glassdock-engine", "glassdock-shim"] {
            if !folder.join(name).is_file() {
                return Err(Error::Binary { name, folder });
            }
        }
        let scenarios = Self::scenarios(scenarios)?;
        let snapshots = scenarios.parent().unwrap_or(Path::new(".")).join("snapshots");
        Ok(Self {
            glassdock: folder.join("glassdock"),
            scenarios,
            snapshots,
            interrupt: Interrupt::default(),
        })
    }

    /// The folder of the scenario files.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn scenarios(named: Option<PathBuf>) -> Result<PathBuf, Error> {
        if let Some(named) = named {
            return Ok(named);
        }
        let starts = [env::current_dir().ok(), env::current_exe().ok()];
        starts
            .iter()
            .flatten()
            .flat_map(|start| start.ancestors())
            .map(|folder| folder.join("scenarios"))
            .find(|folder| folder.is_dir())
            .ok_or(Error::Scenarios)
    }
}
