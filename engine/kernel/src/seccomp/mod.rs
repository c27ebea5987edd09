//! Seccomp: which system calls a process may make.
//!
//! A [`Profile`] says by name what happens to which calls; [`Profile::compile`] makes it a
//! program for the kernel's small virtual machine (BPF), which runs before each call of the
//! process and of all that it becomes:
//!
//! ```text
//!   which architecture?  ── not ours ──► the process ends
//!        │
//!   which number?        a binary search, so that the last call costs what the first does
//!        │
//!   which arguments?     only where a rule asks
//!        ▼
//!   allow · errno · kill · trap · log · trace
//! ```
//!
//! A list that is searched from the front, as most engines have it, costs a comparison for
//! each of some 350 calls; the search here needs nine. (Since Linux 5.11 the kernel also remembers
//! which numbers are allowed whatever the arguments, and skips the program for those.)
//!
//! Reading order: what a profile is (here), Docker's (`default`), the names and numbers of
//! the calls (`table`), the compiler (`compile`).
//!
//! See seccomp(2), the kernel's `userspace-api/seccomp_filter`; OCI runtime-spec
//! `config-linux.md`, "Seccomp".

mod default;

mod table;

mod compile;

use glassdock_trace::{Body, Trace};

use crate::capability;
use crate::process::{check, set_no_new_privileges};
use crate::{Result, Warning};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is made.
    Allow,
    /// It fails with this error number.
    Errno(u16),
    /// The process ends, as by SIGSYS.
    KillProcess,
    /// The thread ends.
    KillThread,
    /// The thread gets SIGSYS.
    Trap,
    /// It is made, and written to the audit log.
    Log,
    /// A tracer is asked; with this number.
    Trace(u16),
}

impl Action {
    /// The action that the OCI runtime-spec calls so, `SCMP_ACT_ERRNO`; `errno` is EPERM if not given. `None` for a word
    /// that is none, and for `SCMP_ACT_NOTIFY`, which takes a supervisor that the engine does not have.
    #[must_use]
    pub fn from_oci(name: &str, errno: Option<u16>) -> Option<Self> {
        let errno = errno.unwrap_or(EPERM);
        Some(match name {
            "SCMP_ACT_ALLOW" => Self::Allow,
            "SCMP_ACT_ERRNO" => Self::Errno(errno),
            "SCMP_ACT_KILL_PROCESS" => Self::KillProcess,
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Self::KillThread,
            "SCMP_ACT_TRAP" => Self::Trap,
            "SCMP_ACT_LOG" => Self::Log,
            "SCMP_ACT_TRACE" => Self::Trace(errno),
            _ => return None,
        })
    }

    /// As a trace tells it.
    fn text(self) -> String {
        match self {
            Self::Allow => "allow".to_owned(),
            Self::Errno(errno) => format!("errno {errno}"),
            Self::KillProcess => "kill process".to_owned(),
            Self::KillThread => "kill thread".to_owned(),
            Self::Trap => "trap".to_owned(),
            Self::Log => "log".to_owned(),
            Self::Trace(number) => format!("trace {number}"),
        }
    }
}

/// Operation not permitted; errno(3).
const EPERM: u16 = 1;

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Different.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Equal.
    Equal,
    /// Greater or equal.
    GreaterOrEqual,
    /// Greater.
    Greater,
    /// Equal in the bits of this mask.
    MaskedEqual(u64),
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

impl Condition {
    /// The condition that the OCI runtime-spec writes as `index`, `op`, `value` and `valueTwo`. For
    /// `SCMP_CMP_MASKED_EQ` the first value is the mask, and the second is what must be left.
    #[must_use]
    pub fn from_oci(index: u8, operator: &str, value: u64, value_two: u64) -> Option<Self> {
        let plain = |comparison| Some(Self { argument: index, comparison, value });
        match operator {
            "SCMP_CMP_NE" => plain(Comparison::NotEqual),
            "SCMP_CMP_LT" => plain(Comparison::Less),
            "SCMP_CMP_LE" => plain(Comparison::LessOrEqual),
            "SCMP_CMP_EQ" => plain(Comparison::Equal),
            "SCMP_CMP_GE" => plain(Comparison::GreaterOrEqual),
            "SCMP_CMP_GT" => plain(Comparison::Greater),
            "SCMP_CMP_MASKED_EQ" => {
                Some(Self { argument: index, comparison: Comparison::MaskedEqual(value), value: value_two })
            }
            _ => None,
        }
    }
}

/// What happens to some calls, if all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The calls' names; those that this machine does not have are left out, as profiles name calls of many kernels.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// When.
    pub conditions: Vec<Condition>,
}

/// Which calls a process may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What happens to a call that no rule names.
    pub default_action: Action,
    /// The rules. Of several whose conditions hold, the first counts.
    pub rules: Vec<Rule>,
    /// Whether programs for the machine's 32-bit architecture may run, by the same rules; else their first call ends
    /// them. Only x86-64 has one here.
    pub compat: bool,
}

impl Profile {
    /// Docker's: about 370 calls allowed, more with some capabilities, the others refused with EPERM.
    #[must_use]
    pub fn docker_default(capabilities: capability::Set) -> Self {
        default::profile(capabilities)
    }

    /// Makes the profile a program for the kernel. Takes less than a millisecond.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Invalid`] for an argument beyond 5, or a program longer than the kernel takes (4096 instructions).
    pub fn compile(&self) -> Result<Filter> {
        compile::compile(self)
    }

    /// A warning for each name that no architecture here has. Not an error: such a call can't be made anyway.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let names = self.rules.iter().flat_map(|rule| &rule.names);
        let unknown = names.filter(|name| table::find(name).is_none());
        unknown.map(|name| Warning(format!("seccomp: no system call is known as {name:?}"))).collect()
    }
}

/// A compiled profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Instructions, as the kernel's `sock_filter` has them.
    program: Vec<compile::Instruction>,
    default_action: Action,
    /// How many calls the profile names.
    syscalls: u32,
}

impl Filter {
    /// How many instructions it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.program.len()
    }

    /// Whether it has none; never so for a compiled profile.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.program.is_empty()
    }

    /// Puts this process, and all that it becomes, under the filter: seccomp(2). Without `CAP_SYS_ADMIN` that
    /// takes no_new_privs ([`crate::process::set_no_new_privileges`]), which `no_new_privileges` sets.
    ///
    /// # Errors
    ///
    /// `EACCES` without either; `EINVAL` where the kernel has no filters.
    pub fn load(&self, trace: &Trace, no_new_privileges: bool) -> Result<()> {
        let body = Body::SeccompLoad {
            default_action: self.default_action.text(),
            syscalls: self.syscalls,
            instructions: u32::try_from(self.program.len()).ok(),
            no_new_privileges,
        };
        // The end of the step is told under the filter: sendmsg and clock_gettime must be allowed for that, or it is lost.
        trace.step(body, |_| {
            if no_new_privileges {
                set_no_new_privileges()?;
            }
            let program = SockFprog {
                length: u16::try_from(self.program.len()).unwrap_or(u16::MAX),
                filter: self.program.as_ptr(),
            };
            // SAFETY: program has as many instructions as it says (compile keeps them below 4096), in the kernel's
            // layout, and outlives the call, which copies them.
            let answer = unsafe {
                libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
            };
            check("seccomp", &format!("a filter of {} instructions", self.program.len()), answer)?;
            Ok(())
        })
    }
}

/// `struct sock_fprog` of `linux/filter.h`.
#[repr(C)]
struct SockFprog {
    length: u16,
    filter: *const compile::Instruction,
}
