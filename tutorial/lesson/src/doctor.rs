//! `glassdock lesson doctor`: what this machine has, and what it lacks for the lessons.

use std::fmt::Write as _;
use std::process::Command;

use crate::need::{self, Need};
use crate::tools::Tools;

/// The findings, a line each, and whether all is there.
#[must_use]
pub fn examine(tools: Result<&Tools, &crate::tools::Error>) -> (String, bool) {
    let mut text = String::new();
    let mut healthy = true;
    let mut tell = |name: &str, found: Result<String, String>| {
        let (mark, words) = match found {
            Ok(words) => ("ok     ", words),
            Err(words) => {
                healthy = false;
                ("missing", words)
            }
        };
        let _ = writeln!(text, "{mark}  {name:<12} {words}");
    };
    for need in Need::ALL {
        tell(need.name(), need.probe());
    }
    match tools {
        Ok(tools) => {
            tell("engine", Ok(format!("{} and its shim", tools.glassdock.display())));
            tell("scenarios", Ok(tools.scenarios.display().to_string()));
        }
        Err(error) => tell("engine", Err(error.to_string())),
    }
    (text, healthy)
}

/// Installs what the lessons need and a package brings: the static BusyBox.
///
/// # Errors
///
/// What could not be done, in words.
pub fn install() -> Result<String, String> {
    if let Ok(found) = Need::Busybox.probe() {
        return Ok(format!("nothing to install: {found}"));
    }
    let command =
        need::install_command().ok_or("no package manager that is known here; install a static BusyBox")?;
    let update = if command.starts_with("apt-get") { "apt-get update -q && " } else { "" };
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{update}{command}"))
        .status()
        .map_err(|error| format!("cannot run sh: {error}"))?;
    if !status.success() {
        return Err(format!("{command} failed: {status}"));
    }
    Need::Busybox.probe()
}
