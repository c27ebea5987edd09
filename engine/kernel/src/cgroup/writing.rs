//! Limits, written into the files of a group.

use std::io;
use std::path::Path;

use glassdock_trace::{Body, Trace};

use super::directories::{open, put};
use super::hierarchy::Hierarchy;
use super::limits::Limits;
use super::settings::{self, Setting};
use super::{Cgroup, device_filter};
use crate::{Error, Result, Warning};

impl Cgroup {
    pub(super) fn apply(&self, trace: &Trace, limits: &Limits) -> Result<Vec<Warning>> {
        let settings = match self.hierarchy {
            Hierarchy::V1(_) => settings::v1(limits),
            _ => settings::v2(limits),
        };
        let mut warnings = Vec::new();
        let mut again = Vec::new();
        for setting in settings {
            match self.set(trace, &setting) {
                // v1 refuses a limit of memory above the one of memory and swap, which may come next.
                Err(error)
                    if setting.file == "memory.limit_in_bytes" && error.errno() == Some(libc::EINVAL) =>
                {
                    again.push(setting);
                }
                result => warnings.extend(result?),
            }
        }
        for setting in again {
            warnings.extend(self.set(trace, &setting)?);
        }
        if let Some(directory) = self.birthplace().filter(|_| !limits.devices.is_empty()) {
            warnings.extend(device_filter::set(trace, &self.name, directory, &limits.devices)?);
        }
        Ok(warnings)
    }

    /// Writes one limit. A controller or file that this machine lacks is a warning.
    fn set(&self, trace: &Trace, setting: &Setting) -> Result<Option<Warning>> {
        let Setting { controller, file, value } = setting;
        let lacking = |what: &str| Ok(Some(Warning(format!("{file} is not set to {value}: {what}"))));
        let known =
            *controller == "unified" && self.hierarchy.version() == 2 || self.hierarchy.has(controller);
        let Some(folder) = self.folder(controller).filter(|_| known) else {
            return lacking("this machine has no such control group");
        };
        if Path::new(file).file_name() != Some(file.as_ref()) {
            return Err(Error::Invalid {
                what: "file of a control group",
                value: file.clone(),
                reason: "it is no name",
            });
        }
        let path = folder.join(file);
        let opened = match open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return lacking("this kernel has no such file");
            }
            opened => opened,
        };
        let body = Body::CgroupSet { path: self.name.clone(), file: file.clone(), value: value.clone() };
        match trace.step(body, |_| put(opened, &path, value)) {
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
                lacking("this kernel does not support it")
            }
            result => result.map(|()| None),
        }
    }
}
