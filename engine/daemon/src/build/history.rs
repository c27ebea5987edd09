//! A step in the words of Docker's history.

use glassdock_build::change;
use glassdock_build::language::{Instruction, Kind as Says, Word};

use super::stage::Stage;
use super::words::quoted;
use crate::error::Error;

impl Stage {
    /// An instruction as Docker's history has it, variables known.
    pub(super) fn shown(&self, instruction: &Instruction, escape: char) -> Result<String, Error> {
        let process = &self.config.config;
        let name = instruction.kind.name();
        let text = |word: &Word| self.text(word, escape);
        Ok(match &instruction.kind {
            Says::Env(pairs) | Says::Label(pairs) => {
                let mut shown = name.to_owned();
                for (key, value) in &pairs.pairs {
                    let key = text(key)?;
                    // Known now, from where they went.
                    let known = if name == "ENV" {
                        change::variable(&process.env, &key)
                    } else {
                        process.labels.get(&key).cloned()
                    };
                    let value = known.map_or_else(|| text(value), Ok)?;
                    shown.push_str(&format!(" {key}={value}"));
                }
                shown
            }
            Says::Cmd(_) => format!("CMD {}", quoted(process.cmd.as_deref().unwrap_or_default())),
            Says::Entrypoint(_) => {
                format!("ENTRYPOINT {}", quoted(process.entrypoint.as_deref().unwrap_or_default()))
            }
            Says::Volume(list) => {
                let list = list.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                format!("VOLUME [{}]", list.join(" "))
            }
            Says::Expose(list) => {
                let mut list = list.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                list.sort_unstable();
                format!("EXPOSE {}", list.join(" "))
            }
            Says::Shell(words) => format!("SHELL [{}]", words.join(" ")),
            Says::User(_) => format!("USER {}", process.user),
            Says::Stopsignal(_) => {
                format!("STOPSIGNAL {}", process.stop_signal.as_deref().unwrap_or_default())
            }
            _ => instruction.source.clone(),
        })
    }
}
