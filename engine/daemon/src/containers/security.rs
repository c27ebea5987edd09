//! What a container may do: capabilities, the filter of system calls, and the
//! `--security-opt` words.

use glassdock_kernel::capability::Set;
use glassdock_kernel::seccomp::{Action, Comparison, Profile};
use glassdock_runtime::oci::{Seccomp, SyscallArgument, SyscallRule};

use super::model::HostConfig;
use crate::error::{Error, Kind};

/// What the `--security-opt` words say.
#[derive(Debug)]
pub struct Options {
    /// Whether an execve can't gain privileges.
    pub no_new_privileges: bool,
    /// Which filter of system calls.
    pub seccomp: SeccompOption,
}

/// A filter of system calls, as it is asked for.
#[derive(Debug)]
pub enum SeccompOption {
    /// Docker's.
    Default,
    /// None.
    Unconfined,
    /// The client's own.
    Profile(Box<Seccomp>),
}

/// Reads the `--security-opt` words.
///
/// # Errors
///
/// Invalid, in Docker's words, for one that is not known.
pub fn options(host: &HostConfig) -> Result<Options, Error> {
    let seccomp = if host.privileged { SeccompOption::Unconfined } else { SeccompOption::Default };
    let mut options = Options { no_new_privileges: false, seccomp };
    for word in host.security_opt.iter().flatten() {
        let (name, value) = word.split_once('=').or_else(|| word.split_once(':')).unwrap_or((word, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
            ("no-new-privileges", "false") => options.no_new_privileges = false,
            ("seccomp", "unconfined") => options.seccomp = SeccompOption::Unconfined,
            ("seccomp", "builtin") => options.seccomp = SeccompOption::Default,
            ("seccomp", text) => {
                let profile = serde_json::from_str(text)
                    .map_err(|error| Error::invalid(format!("Decoding seccomp profile failed: {error}")))?;
                options.seccomp = SeccompOption::Profile(Box::new(profile));
            }
            // This machine has no such module, or doesn't use it: there is nothing to turn off or on.
            ("label" | "apparmor" | "systempaths" | "writable-cgroups", _) => {}
            // The number says which of Docker's two checks it failed: no name and value, or no name that is known.
            _ => {
                let check = if word.contains(['=', ':']) { 2 } else { 1 };
                return Err(Error::invalid(format!("invalid --security-opt {check}: {word:?}")));
            }
        }
    }
    Ok(options)
}

/// The capabilities of a container: Docker's fourteen, with what is added and
/// without what is dropped.
///
/// # Errors
///
/// Invalid, in Docker's words, for a name that is none.
pub fn capabilities(host: &HostConfig) -> Result<Set, Error> {
    let parse = |field: &str, names: &Option<Vec<String>>| -> Result<Set, Error> {
        let names = names.as_deref().unwrap_or_default();
        Set::parse(names).map_err(|error| {
            let unknown = names.iter().find(|name| Set::parse(std::slice::from_ref(*name)).is_err());
            let Some(name) = unknown else { return Error::of(Kind::Invalid, &error) };
            let name = name.to_ascii_uppercase();
            let name = name.strip_prefix("CAP_").unwrap_or(&name);
            Error::invalid(format!("invalid {field}: unknown capability: \"CAP_{name}\""))
        })
    };
    let has_all =
        |names: &Option<Vec<String>>| names.iter().flatten().any(|name| name.eq_ignore_ascii_case("all"));
    let (add, drop) = (parse("CapAdd", &host.cap_add)?, parse("CapDrop", &host.cap_drop)?);
    if host.privileged {
        return Ok(Set::all());
    }
    // `ALL` is a basis; names beside it count against it.
    Ok(match (has_all(&host.cap_add), has_all(&host.cap_drop)) {
        (true, true) => Set::all(),
        (true, false) => Set::all().without(drop),
        (false, true) => add,
        (false, false) => Set::docker_default().union(add).without(drop),
    })
}

/// Docker's filter, in the specification's words, so that a student can read it
/// in `config.json`.
#[must_use]
pub fn default_profile(capabilities: Set) -> Seccomp {
    let profile = Profile::docker_default(capabilities);
    let (default_action, default_errno_ret) = action(profile.default_action);
    let rule = |rule: &glassdock_kernel::seccomp::Rule| {
        let (action, errno_ret) = action(rule.action);
        SyscallRule {
            names: rule.names.clone(),
            action,
            errno_ret,
            args: rule.conditions.iter().map(|condition| argument(*condition)).collect(),
        }
    };
    Seccomp {
        default_action,
        default_errno_ret,
        architectures: architectures(profile.compat),
        flags: Vec::new(),
        syscalls: profile.rules.iter().map(rule).collect(),
    }
}

fn architectures(compat: bool) -> Vec<String> {
    let (own, other) = match std::env::consts::ARCH {
        "aarch64" => ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
        _ => ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),
    };
    let all = [Some(own), compat.then_some(other)];
    all.into_iter().flatten().map(str::to_owned).collect()
}

fn action(action: Action) -> (String, Option<u32>) {
    let (word, number) = match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Errno(errno) => ("SCMP_ACT_ERRNO", Some(u32::from(errno))),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Trace(number) => ("SCMP_ACT_TRACE", Some(u32::from(number))),
    };
    (word.to_owned(), number)
}

fn argument(condition: glassdock_kernel::seccomp::Condition) -> SyscallArgument {
    // In the specification a masked comparison has the mask first, then the value.
    let (op, value, value_two) = match condition.comparison {
        Comparison::NotEqual => ("SCMP_CMP_NE", condition.value, 0),
        Comparison::Less => ("SCMP_CMP_LT", condition.value, 0),
        Comparison::LessOrEqual => ("SCMP_CMP_LE", condition.value, 0),
        Comparison::Equal => ("SCMP_CMP_EQ", condition.value, 0),
        Comparison::GreaterOrEqual => ("SCMP_CMP_GE", condition.value, 0),
        Comparison::Greater => ("SCMP_CMP_GT", condition.value, 0),
        Comparison::MaskedEqual(mask) => ("SCMP_CMP_MASKED_EQ", mask, condition.value),
    };
    SyscallArgument { index: u32::from(condition.argument), value, value_two, op: op.to_owned() }
}
