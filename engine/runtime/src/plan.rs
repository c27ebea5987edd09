//! From OCI's words to the kernel's: limits, capabilities, the seccomp profile.
//!
//! All of it is worked out before the first process exists, so that a bundle that
//! can't be right fails with nothing made.

use glassdock_kernel::cgroup::{DeviceRule, Limits, Throttle, ThrottleKind};
use glassdock_kernel::namespace::{IdRange, Kind, Set};
use glassdock_kernel::{capability, seccomp};

use crate::error::Failed;
use crate::oci;

/// What a configuration asks for, that makes no sense.
pub(crate) fn invalid(step: &str, message: impl Into<String>) -> Failed {
    Failed { step: step.to_owned(), message: message.into(), errno: None, status: 128, aborted: false }
}

/// The limits of a control group.
pub(crate) fn limits(resources: &oci::Resources) -> Limits {
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let block_io = resources.block_io.clone().unwrap_or_default();
    // OCI writes "no limit" as -1, and leaves 0 without a meaning.
    let bytes = |value: Option<i64>| value.filter(|value| *value != 0).map(no_limit);
    Limits {
        memory: bytes(memory.limit),
        memory_swap: bytes(memory.swap),
        memory_reservation: bytes(memory.reservation),
        oom_kill_disable: memory.disable_oom_killer.unwrap_or(false),
        cpu_shares: cpu.shares.filter(|shares| *shares != 0),
        cpu_quota: cpu.quota.filter(|quota| *quota != 0),
        cpu_period: cpu.period.filter(|period| *period != 0),
        cpuset_cpus: cpu.cpus.filter(|cpus| !cpus.is_empty()),
        cpuset_mems: cpu.mems.filter(|mems| !mems.is_empty()),
        pids: resources.pids.map(|pids| pids.limit).filter(|limit| *limit != 0).map(no_limit),
        blkio_weight: block_io.weight.filter(|weight| *weight != 0),
        throttle: throttles(&block_io),
        devices: resources.devices.iter().map(device_rule).collect(),
        unified: resources.unified.clone(),
    }
}

fn no_limit(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn throttles(block_io: &oci::BlockIo) -> Vec<Throttle> {
    let lists = [
        (&block_io.throttle_read_bps_device, ThrottleKind::ReadBytes),
        (&block_io.throttle_write_bps_device, ThrottleKind::WriteBytes),
        (&block_io.throttle_read_iops_device, ThrottleKind::ReadOperations),
        (&block_io.throttle_write_iops_device, ThrottleKind::WriteOperations),
    ];
    let of = |(list, what): (&Vec<oci::Throttle>, ThrottleKind)| {
        list.iter()
            .map(|throttle| Throttle {
                major: number(throttle.major).unwrap_or(0),
                minor: number(throttle.minor).unwrap_or(0),
                what,
                rate: throttle.rate,
            })
            .collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of).collect()
}

fn device_rule(rule: &oci::DeviceRule) -> DeviceRule {
    DeviceRule {
        allow: rule.allow,
        kind: rule.kind.as_deref().and_then(|kind| kind.chars().next()).unwrap_or('a'),
        major: rule.major.and_then(number),
        minor: rule.minor.and_then(number),
        access: rule.access.clone().filter(|access| !access.is_empty()).unwrap_or_else(|| "rwm".to_owned()),
    }
}

/// A device number; -1 is OCI's word for any.
fn number(value: i64) -> Option<u32> {
    u32::try_from(value).ok()
}

/// The namespaces that are new, and those that exist, with their paths.
pub(crate) fn namespaces(list: &[oci::Namespace]) -> Result<(Set, Vec<(Kind, String)>), Failed> {
    let mut new = Set::EMPTY;
    let mut given: Vec<(Kind, String)> = Vec::new();
    for namespace in list {
        let kind = Kind::from_oci(&namespace.kind)
            .ok_or_else(|| invalid("namespaces", format!("unknown namespace {:?}", namespace.kind)))?;
        if new.contains(kind) || given.iter().any(|(known, _)| *known == kind) {
            return Err(invalid("namespaces", format!("the namespace {:?} is listed twice", namespace.kind)));
        }
        match namespace.path.as_deref().filter(|path| !path.is_empty()) {
            None => new = new.with(kind),
            Some(path) => given.push((kind, path.to_owned())),
        }
    }
    // setns(2) one by one: the user namespace first, the mounts last, since then the paths are gone.
    given.sort_by_key(|(kind, _)| Kind::ALL.iter().position(|known| known == kind));
    Ok((new, given))
}

/// The ranges of a user namespace.
pub(crate) fn ranges(mappings: &[oci::IdMapping]) -> Vec<IdRange> {
    let range = |mapping: &oci::IdMapping| IdRange {
        inside: mapping.container_id,
        outside: mapping.host_id,
        length: mapping.size,
    };
    mappings.iter().map(range).collect()
}

/// The five sets of capabilities.
pub(crate) fn capabilities(names: Option<&oci::Capabilities>) -> Result<capability::Sets, Failed> {
    let Some(names) = names else { return Ok(capability::Sets::default()) };
    let set = |names: &[String]| {
        capability::Set::parse(names).map_err(|error| invalid("capabilities", error.to_string()))
    };
    Ok(capability::Sets {
        bounding: set(&names.bounding)?,
        effective: set(&names.effective)?,
        permitted: set(&names.permitted)?,
        inheritable: set(&names.inheritable)?,
        ambient: set(&names.ambient)?,
    })
}

/// The filter of system calls.
pub(crate) fn filter(seccomp: oci::Seccomp) -> Result<seccomp::Filter, Failed> {
    let action = |name: &str, errno: Option<u32>| {
        seccomp::Action::from_oci(name, errno.and_then(|errno| u16::try_from(errno).ok()))
            .ok_or_else(|| invalid("seccomp", format!("unknown action {name:?}")))
    };
    let mut rules = Vec::with_capacity(seccomp.syscalls.len());
    for rule in seccomp.syscalls {
        rules.push(seccomp::Rule {
            names: rule.names,
            action: action(&rule.action, rule.errno_ret)?,
            conditions: rule.args.iter().map(condition).collect::<Result<_, _>>()?,
        });
    }
    let compat = seccomp.architectures.iter().any(|name| name == "SCMP_ARCH_X86" || name == "SCMP_ARCH_ARM");
    let profile = seccomp::Profile {
        default_action: action(&seccomp.default_action, seccomp.default_errno_ret)?,
        rules,
        compat,
    };
    profile.compile().map_err(|error| invalid("seccomp", error.to_string()))
}

fn condition(argument: &oci::SyscallArgument) -> Result<seccomp::Condition, Failed> {
    use seccomp::Comparison;
    let (comparison, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (Comparison::NotEqual, argument.value),
        "SCMP_CMP_LT" => (Comparison::Less, argument.value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, argument.value),
        "SCMP_CMP_EQ" => (Comparison::Equal, argument.value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, argument.value),
        "SCMP_CMP_GT" => (Comparison::Greater, argument.value),
        // OCI has the mask first and the value second, as libseccomp has.
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual(argument.value), argument.value_two),
        other => return Err(invalid("seccomp", format!("unknown comparison {other:?}"))),
    };
    let argument = u8::try_from(argument.index).unwrap_or(u8::MAX);
    Ok(seccomp::Condition { argument, comparison, value })
}
