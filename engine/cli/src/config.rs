//! The user's `config.json` (in `~/.docker`, `DOCKER_CONFIG` or `--config`): who to be at
//! which registry, and formats of one's own. Written back with what is not known
//! here left as it was.

pub(crate) mod credentials;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::failure::{Failure, file_failure};

/// The configuration, and where it lies.
#[derive(Debug)]
pub(crate) struct Config {
    folder: PathBuf,
    read: Option<Map<String, Value>>,
}

impl Config {
    /// The configuration of a folder, or of the usual one.
    pub(crate) fn new(folder: &str) -> Self {
        let folder = if folder.is_empty() {
            std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map_or_else(
                || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".docker"),
                PathBuf::from,
            )
        } else {
            PathBuf::from(folder)
        };
        Self { folder, read: None }
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// The file's content; an empty one where it is missing or can't be read.
    pub(crate) fn all(&mut self) -> &mut Map<String, Value> {
        let path = self.path();
        self.read.get_or_insert_with(|| {
            let Ok(text) = fs::read_to_string(&path) else { return Map::new() };
            match serde_json::from_str(&text) {
                Ok(Value::Object(map)) => map,
                _ => {
                    crate::show::output::complain(format!(
                        "WARNING: Error loading config file: {}: no JSON object",
                        path.display()
                    ));
                    Map::new()
                }
            }
        })
    }

    /// A text of the configuration, such as `psFormat`.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.all().get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Writes the file, whole or not at all, for its owner only.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub(crate) fn save(&mut self) -> Result<(), Failure> {
        let path = self.path();
        let text = crate::show::json::indent(&Value::Object(self.all().clone()).to_string(), "", "\t");
        let shown = path.display().to_string();
        fs::create_dir_all(&self.folder).map_err(|error| file_failure("mkdir", &shown, &error))?;
        let beside = self.folder.join(format!("config.json.{}", std::process::id()));
        let result = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&beside, &path));
        result.map_err(|error| {
            let _ = fs::remove_file(&beside);
            file_failure("write", &shown, &error)
        })
    }
}
