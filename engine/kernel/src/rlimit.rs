//! Resource limits of a process: open files, processes, stack and their like.
//!
//! A limit has a soft value, which counts, and a hard value, up to which the
//! process may raise it itself. Raising the hard value takes `CAP_SYS_RESOURCE`; where the
//! engine lacks that, the limit becomes what is possible, and a warning says so.
//!
//! See getrlimit(2), prlimit(2); OCI runtime-spec `config.md`, "rlimits".

use glassdock_trace::{Body, Trace};
use rustix::io::Errno;
use rustix::process::{Resource as Which, Rlimit, getrlimit, setrlimit};

use crate::{Error, Result, Warning};

/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// A resource that can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource(Which);

const NAMES: [(&str, Which); 16] = [
    ("RLIMIT_AS", Which::As),
    ("RLIMIT_CORE", Which::Core),
    ("RLIMIT_CPU", Which::Cpu),
    ("RLIMIT_DATA", Which::Data),
    ("RLIMIT_FSIZE", Which::Fsize),
    ("RLIMIT_LOCKS", Which::Locks),
    ("RLIMIT_MEMLOCK", Which::Memlock),
    ("RLIMIT_MSGQUEUE", Which::Msgqueue),
    ("RLIMIT_NICE", Which::Nice),
    ("RLIMIT_NOFILE", Which::Nofile),
    ("RLIMIT_NPROC", Which::Nproc),
    ("RLIMIT_RSS", Which::Rss),
    ("RLIMIT_RTPRIO", Which::Rtprio),
    ("RLIMIT_RTTIME", Which::Rttime),
    ("RLIMIT_SIGPENDING", Which::Sigpending),
    ("RLIMIT_STACK", Which::Stack),
];

impl Resource {
    /// The resource of that name, as OCI (`RLIMIT_NOFILE`) or `docker run --ulimit` (`nofile`) has it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
        NAMES
            .iter()
            .find(|(known, _)| known.strip_prefix("RLIMIT_") == Some(short))
            .map(|(_, which)| Self(*which))
    }

    /// The name, such as `RLIMIT_NOFILE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, which)| *which == self.0).map_or("RLIMIT", |(name, _)| name)
    }
}

/// Sets a limit of this process.
///
/// # Errors
///
/// [`Error::Invalid`] for a soft value above the hard one. Those of prlimit(2), but not `EPERM`: then the limit goes
/// as high as the present hard one, and a warning is returned.
pub fn set(trace: &Trace, resource: Resource, soft: u64, hard: u64) -> Result<Option<Warning>> {
    if soft > hard {
        return Err(Error::Invalid {
            what: "resource limit",
            value: format!("{}={soft}:{hard}", resource.name()),
            reason: "the soft value is above the hard one",
        });
    }
    let body = Body::RlimitSet { resource: resource.name().to_owned(), soft, hard };
    trace.step(body, |span| {
        let call = |soft, hard| setrlimit(resource.0, Rlimit { current: bound(soft), maximum: bound(hard) });
        let failed = |error| Error::call("prlimit", resource.name(), error);
        match call(soft, hard) {
            Ok(()) => Ok(None),
            Err(Errno::PERM) => {
                let most = most(resource);
                let (soft, lowered) = (soft.min(most), hard.min(most));
                call(soft, lowered).map_err(failed)?;
                *span.body_mut() =
                    Body::RlimitSet { resource: resource.name().to_owned(), soft, hard: lowered };
                Ok(Some(Warning(format!(
                    "{} can't be raised to {hard} without CAP_SYS_RESOURCE; it is {lowered}",
                    resource.name()
                ))))
            }
            Err(error) => Err(failed(error)),
        }
    })
}

/// The present hard limit of this process: as high as it goes without CAP_SYS_RESOURCE.
#[must_use]
pub fn most(resource: Resource) -> u64 {
    getrlimit(resource.0).maximum.unwrap_or(INFINITY)
}

fn bound(value: u64) -> Option<u64> {
    (value != INFINITY).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for (name, which) in NAMES {
            assert_eq!(Resource::parse(name), Some(Resource(which)));
            assert_eq!(Resource(which).name(), name);
        }
        assert_eq!(Resource::parse("nofile").map(Resource::name), Some("RLIMIT_NOFILE"));
        assert_eq!(Resource::parse("nofiles"), None);
    }

    #[test]
    fn the_soft_value_is_the_lower_one() {
        let files = Resource::parse("nofile").expect("known");
        assert!(matches!(set(&Trace::off(), files, 2, 1), Err(Error::Invalid { .. })));
    }
}
