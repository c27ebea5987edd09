//! Capabilities: root's power in pieces.
//!
//! A process has five sets of them. What it may do is the *effective* set; execve(2)
//! makes the next program's sets from the others:
//!
//! ```text
//!   root:        permitted' = effective' = bounding (and what is inheritable)
//!   not root:    permitted' = effective' = ambient  (and what the file brings)
//! ```
//!
//! So the bounding set is the one that holds a container's root down.
//!
//! See capabilities(7); OCI runtime-spec `config.md`, "capabilities".

use glassdock_trace::{Body, Evidence, Trace};
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::process::check;
use crate::user::User;
use crate::{Error, Result};

/// The names by number, without `CAP_`; `linux/capability.h`.
#[rustfmt::skip]
const NAMES: [&str; 41] = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
];

/// The fourteen that Docker leaves to a container.
const DOCKER_DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(u64);

/// The bit of a name, with or without `CAP_`, in any case.
fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == short).map(|number| 1 << number)
}

impl Set {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// Reads names, `CAP_CHOWN` or `chown`; `ALL` is all.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Invalid`] for a name that is none.
    pub fn parse<I: IntoIterator<Item = S>, S: AsRef<str>>(names: I) -> Result<Self> {
        names.into_iter().try_fold(Self::EMPTY, |set, name| {
            let name = name.as_ref();
            if name.eq_ignore_ascii_case("ALL") {
                return Ok(Self::all());
            }
            let bit = bit(name).ok_or_else(|| Error::Invalid {
                what: "capability",
                value: name.to_owned(),
                reason: "no capability has this name",
            })?;
            Ok(Self(set.0 | bit))
        })
    }

    /// All that have a name.
    #[must_use]
    pub const fn all() -> Self {
        Self((1 << NAMES.len()) - 1)
    }

    /// The fourteen that Docker leaves to a container.
    #[must_use]
    pub fn docker_default() -> Self {
        Self(DOCKER_DEFAULT.iter().filter_map(|name| bit(name)).fold(0, |set, bit| set | bit))
    }

    /// The set with all of another.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without those of another.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a capability is in it, by name.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        bit(name).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Whether none is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their numbers.
    fn numbers(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |number| self.0 & (1 << number) != 0)
    }

    /// Their names, `CAP_CHOWN`, in the kernel's order; one that is too new to have a name here is its number.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        let name = |number: u32| match NAMES.get(number as usize) {
            Some(name) => format!("CAP_{name}"),
            None => format!("CAP_{number}"),
        };
        self.numbers().map(name).collect()
    }

    fn kernel(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }
}

/// The five sets of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// The most that any execve(2) can give it.
    pub bounding: Set,
    /// What counts now.
    pub effective: Set,
    /// What it may make effective.
    pub permitted: Set,
    /// What programs with inheritable file capabilities may keep.
    pub inheritable: Set,
    /// What ordinary programs keep across execve(2) without being root.
    pub ambient: Set,
}

impl Sets {
    /// What of these sets a process that has `own` can really get: nothing that it lacks,
    /// nothing effective that is not permitted, nothing ambient that is not inheritable.
    fn attainable(&self, own: &Self) -> Self {
        let bounding = self.bounding.intersection(own.bounding);
        let permitted = self.permitted.intersection(own.permitted);
        let inheritable = self.inheritable.intersection(own.permitted.union(own.inheritable));
        Self {
            bounding,
            permitted,
            inheritable,
            effective: self.effective.intersection(permitted),
            ambient: self.ambient.intersection(permitted).intersection(inheritable),
        }
    }
}

/// Gives up all capabilities but those in `sets`, and becomes `user`, in the one order that works:
/// the bounding set while CAP_SETPCAP is there; groups and user (keeping what is permitted); the
/// three sets; and the ambient set, which can't be larger than they are. The trace has the
/// step `capability.set` with `user.set` inside; its evidence is what capget(2) and prctl(2) say afterwards.
///
/// Capabilities that this process itself lacks can't be given; they are left out, also in the trace.
///
/// # Errors
///
/// `EPERM` without CAP_SETPCAP, CAP_SETUID or CAP_SETGID.
pub fn drop_to(trace: &Trace, sets: &Sets, user: &User) -> Result<()> {
    let own = current()?;
    let sets = sets.attainable(&own);
    let body = Body::CapabilitySet {
        bounding: sets.bounding.names(),
        effective: sets.effective.names(),
        permitted: sets.permitted.names(),
        inheritable: sets.inheritable.names(),
        ambient: sets.ambient.names(),
    };
    trace.step(body, |span| {
        for number in own.bounding.without(sets.bounding).numbers() {
            prctl(libc::PR_CAPBSET_DROP, "PR_CAPBSET_DROP", number.into(), 0)?;
        }
        keep_capabilities(true)?;
        become_user(span.trace(), user)?;
        keep_capabilities(false)?;
        let kernel = CapabilitySets {
            effective: sets.effective.kernel(),
            permitted: sets.permitted.kernel(),
            inheritable: sets.inheritable.kernel(),
        };
        rustix::thread::set_capabilities(None, kernel).map_err(|error| Error::call("capset", "", error))?;
        set_ambient(sets.ambient)?;
        span.evidence(capability_lines);
        Ok(())
    })
}

/// setgroups(2), setresgid(2), setresuid(2): in that order, since the last gives the power for the
/// others away.
fn become_user(trace: &Trace, user: &User) -> Result<()> {
    let body = Body::UserSet { uid: user.uid, gid: user.gid, groups: user.groups.clone() };
    trace.step(body, |_| {
        let groups: Vec<_> = user.groups.iter().copied().map(Gid::from_raw).collect();
        // For this thread alone, which is the process: there is one.
        rustix::thread::set_thread_groups(&groups)
            .map_err(|error| Error::call("setgroups", format!("{:?}", user.groups), error))?;
        let gid = Gid::from_raw(user.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)
            .map_err(|error| Error::call("setresgid", user.gid.to_string(), error))?;
        let uid = Uid::from_raw(user.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid)
            .map_err(|error| Error::call("setresuid", user.uid.to_string(), error))
    })
}

fn keep_capabilities(keep: bool) -> Result<()> {
    rustix::thread::set_keep_capabilities(keep)
        .map_err(|error| Error::call("prctl", "PR_SET_KEEPCAPS", error))
}

fn set_ambient(ambient: Set) -> Result<()> {
    const WHAT: &str = "PR_CAP_AMBIENT";
    prctl(libc::PR_CAP_AMBIENT, WHAT, libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned().into(), 0)?;
    for number in ambient.numbers() {
        prctl(libc::PR_CAP_AMBIENT, WHAT, libc::PR_CAP_AMBIENT_RAISE.cast_unsigned().into(), number.into())?;
    }
    Ok(())
}

/// prctl(2) with numbers only.
fn prctl(option: i32, name: &str, first: u64, second: u64) -> Result<i64> {
    // SAFETY: the options that this module uses take numbers and touch no memory.
    let answer = unsafe { libc::prctl(option, first, second, 0_u64, 0_u64) };
    check("prctl", name, answer.into())
}

/// The sets, as the lines of `/proc/PID/status` show them. They are asked for by their calls: the whole file takes the
/// kernel, in a new mount of proc, longer than all that it is the evidence of.
fn capability_lines() -> Evidence {
    let lines = current().map(|sets| {
        let Sets { inheritable, permitted, effective, bounding, ambient } = sets;
        let named = [
            ("Inh", inheritable),
            ("Prm", permitted),
            ("Eff", effective),
            ("Bnd", bounding),
            ("Amb", ambient),
        ];
        named.map(|(name, Set(bits))| format!("Cap{name}:\t{bits:016x}"))
    });
    Evidence::new("capget(2), prctl(2)", lines.into_iter().flatten())
}

/// The sets of this process: capget(2), prctl(2).
///
/// # Errors
///
/// Those of capget(2).
pub fn current() -> Result<Sets> {
    let kernel = rustix::thread::capabilities(None).map_err(|error| Error::call("capget", "", error))?;
    let held = |is: &dyn Fn(u64) -> Result<i64>| {
        // The first number that the kernel does not know is refused with EINVAL.
        let known = (0..u64::BITS).map_while(|at| is(at.into()).ok().map(|held| (at, held)));
        Set(known.filter(|(_, held)| *held == 1).fold(0, |set, (at, _)| set | 1 << at))
    };
    let inheritable = Set(kernel.inheritable.bits());
    Ok(Sets {
        bounding: held(&|at| prctl(libc::PR_CAPBSET_READ, "", at, 0)),
        effective: Set(kernel.effective.bits()),
        permitted: Set(kernel.permitted.bits()),
        // Only what is inheritable can be ambient.
        ambient: if inheritable.is_empty() {
            Set::EMPTY
        } else {
            let is_set = libc::PR_CAP_AMBIENT_IS_SET.cast_unsigned();
            held(&|at| prctl(libc::PR_CAP_AMBIENT, "", is_set.into(), at))
        },
        inheritable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert_eq!(Set::parse(Set::all().names()).expect("its own names"), Set::all());
        assert_eq!(Set::parse(["net_admin"]).expect("known").names(), ["CAP_NET_ADMIN"]);
        assert_eq!(Set::parse(["all"]).expect("known"), Set::all());
        assert!(matches!(Set::parse(["CAP_FLY"]), Err(Error::Invalid { .. })));
    }

    #[test]
    fn the_default_is_fourteen() {
        assert_eq!(Set::docker_default().names().len(), 14);
        // What `CapBnd` says in a container of Docker.
        assert_eq!(Set::docker_default(), Set(0xa804_25fb));
    }

    #[test]
    fn nothing_is_given_that_is_not_there() {
        let own = Sets { bounding: Set(0b111), permitted: Set(0b011), ..Sets::default() };
        let all = Set(0b1111);
        let wanted =
            Sets { bounding: all, effective: all, permitted: all, inheritable: Set(0b001), ambient: all };
        let got = wanted.attainable(&own);
        assert_eq!(got.bounding, Set(0b111));
        assert_eq!((got.permitted, got.effective), (Set(0b011), Set(0b011)));
        assert_eq!((got.inheritable, got.ambient), (Set(0b001), Set(0b001)));
    }

    #[test]
    fn the_present_sets_are_those_in_proc() {
        let status = std::fs::read_to_string("/proc/self/status").expect("every Linux has it");
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
            Set(u64::from_str_radix(line.trim(), 16).expect("hexadecimal"))
        };
        let sets = current().expect("always allowed");
        assert_eq!((sets.bounding, sets.effective), (line("CapBnd:"), line("CapEff:")));
        assert_eq!(
            (sets.permitted, sets.inheritable, sets.ambient),
            (line("CapPrm:"), line("CapInh:"), line("CapAmb:"))
        );
    }
}
