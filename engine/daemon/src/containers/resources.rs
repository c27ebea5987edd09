//! Docker's resource limits in the specification's words.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use glassdock_runtime::oci::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources as OciResources, Throttle};

use super::model::{Resources, ThrottleDevice};
use crate::error::{Error, in_dockers_words};

/// The period that `--cpus` is enforced in, in microseconds.
const PERIOD: i64 = 100_000;

/// So many processes and threads can there be, of all containers together; PID_MAX_LIMIT of the kernel.
const MOST_PIDS: i64 = 4 * 1024 * 1024;

/// A control group is a folder: its name has at most so many bytes.
const LONGEST_NAME: usize = 255;

/// Docker's limits, and the devices' list, as the specification has them.
///
/// # Errors
///
/// Invalid, if a limited block device isn't there.
pub fn of(resources: &Resources, devices: Vec<DeviceRule>) -> Result<OciResources, Error> {
    let set = |number: i64| (number != 0).then_some(number);
    let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let memory = Memory {
        limit: set(resources.memory),
        reservation: set(resources.memory_reservation),
        swap: set(resources.memory_swap),
        swappiness: resources.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: resources.oom_kill_disable.filter(|disabled| *disabled),
    };
    let by_cpus = resources.nano_cpus > 0;
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let cpu = Cpu {
        shares: positive(resources.cpu_shares),
        quota: if by_cpus {
            Some(resources.nano_cpus / (1_000_000_000 / PERIOD))
        } else {
            set(resources.cpu_quota)
        },
        period: positive(if by_cpus { PERIOD } else { resources.cpu_period }),
        realtime_runtime: set(resources.cpu_realtime_runtime),
        realtime_period: positive(resources.cpu_realtime_period),
        cpus: text(&resources.cpuset_cpus),
        mems: text(&resources.cpuset_mems),
    };
    let block_io = BlockIo {
        weight: (resources.blkio_weight > 0).then_some(resources.blkio_weight),
        throttle_read_bps_device: throttles(&resources.blkio_device_read_bps)?,
        throttle_write_bps_device: throttles(&resources.blkio_device_write_bps)?,
        throttle_read_iops_device: throttles(&resources.blkio_device_read_iops)?,
        throttle_write_iops_device: throttles(&resources.blkio_device_write_iops)?,
    };
    Ok(OciResources {
        devices,
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: resources.pids_limit.filter(|limit| *limit != 0).map(|limit| Pids { limit }),
        block_io: (block_io != BlockIo::default()).then_some(block_io),
        ..OciResources::default()
    })
}

/// Where a container runs and is counted: processors and memory that are there, and a parent of its
/// control group that leads nowhere else.
///
/// # Errors
///
/// Invalid, in Docker's words.
pub fn check_places(resources: &Resources) -> Result<(), Error> {
    check_set(&resources.cpuset_cpus, "cpus", "CPUs", "/sys/devices/system/cpu/online")?;
    check_set(&resources.cpuset_mems, "mems", "memory nodes", "/sys/devices/system/node/online")?;
    if let Some(limit) = resources.pids_limit.filter(|limit| *limit > MOST_PIDS) {
        return Err(Error::invalid(format!(
            "the pids limit {limit} is too large: the kernel takes {MOST_PIDS} at most"
        )));
    }
    let parent = resources.cgroup_parent.trim_matches('/');
    let plain = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= LONGEST_NAME;
    if parent.contains('\0') || (!parent.is_empty() && !parent.split('/').all(plain)) {
        return Err(Error::invalid(format!(
            "invalid cgroup parent {:?}: it is no path of names without `.` and `..`",
            resources.cgroup_parent
        )));
    }
    Ok(())
}

/// A list such as `0-2,5` of what the file says that there is.
fn check_set(list: &str, what: &str, plural: &str, file: &str) -> Result<(), Error> {
    if list.is_empty() {
        return Ok(());
    }
    let invalid =
        || Error::invalid(format!("Invalid value {list} for cpuset {what}: invalid format: {list}"));
    // A machine without the file has no nodes to speak of: one.
    let available = std::fs::read_to_string(file).unwrap_or_else(|_| "0".to_owned());
    let available = available.trim();
    let last =
        available.rsplit(['-', ',']).next().and_then(|text| text.parse::<u32>().ok()).unwrap_or(u32::MAX);
    let mut highest = 0;
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.trim().parse::<u32>(), to.trim().parse::<u32>());
        let (Ok(from), Ok(to)) = (from, to) else { return Err(invalid()) };
        if from > to {
            return Err(invalid());
        }
        highest = highest.max(to);
    }
    if highest > last {
        return Err(Error::invalid(format!(
            "Requested {plural} are not available - requested {list}, available: {available}"
        )));
    }
    Ok(())
}

fn throttles(devices: &[ThrottleDevice]) -> Result<Vec<Throttle>, Error> {
    devices
        .iter()
        .map(|device| {
            let metadata = std::fs::metadata(&device.path).map_err(|error| {
                let reason = in_dockers_words(&error.to_string());
                Error::invalid(format!("stat {}: {reason}", device.path))
            })?;
            if !metadata.file_type().is_block_device() {
                let path = &device.path;
                return Err(Error::invalid(format!(
                    "the block device {path} can't be limited: it is not a block device"
                )));
            }
            let (major, minor) = numbers(metadata.rdev());
            Ok(Throttle { major, minor, rate: device.rate })
        })
        .collect()
}

/// The limits that can be changed while a container runs, in the kernel room's words.
///
/// # Errors
///
/// As [`of`].
pub fn limits(resources: &Resources) -> Result<glassdock_kernel::cgroup::Limits, Error> {
    let oci = of(resources, Vec::new())?;
    let (memory, cpu) = (oci.memory.unwrap_or_default(), oci.cpu.unwrap_or_default());
    // -1 is no limit, and larger than every other.
    let size = |number: Option<i64>| number.map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    Ok(glassdock_kernel::cgroup::Limits {
        memory: size(memory.limit),
        memory_swap: size(memory.swap),
        memory_reservation: size(memory.reservation),
        cpu_shares: cpu.shares,
        cpu_quota: cpu.quota,
        cpu_period: cpu.period,
        cpuset_cpus: cpu.cpus,
        cpuset_mems: cpu.mems,
        pids: size(oci.pids.map(|pids| pids.limit)),
        blkio_weight: oci.block_io.and_then(|block| block.weight),
        ..glassdock_kernel::cgroup::Limits::default()
    })
}

/// The driver's and the device's number in a device's id, as glibc packs them; makedev(3).
#[must_use]
pub fn numbers(device: u64) -> (i64, i64) {
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & 0xffff_f000);
    let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
    (i64::try_from(major).unwrap_or(0), i64::try_from(minor).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_a_quota() {
        let oci =
            of(&Resources { nano_cpus: 1_500_000_000, ..Resources::default() }, Vec::new()).expect("plain");
        assert_eq!(oci.cpu.map(|cpu| (cpu.quota, cpu.period)), Some((Some(150_000), Some(100_000))));
        assert_eq!(oci.memory, None);
    }

    #[test]
    fn places_are_there_and_inside() {
        let check = |set: fn(&mut Resources)| {
            let mut resources = Resources::default();
            set(&mut resources);
            check_places(&resources).map_err(|error| error.message().to_owned())
        };
        assert_eq!(check(|resources| resources.cpuset_mems = "0".into()), Ok(()));
        let words = check(|resources| resources.cpuset_mems = "x".into()).expect_err("no number");
        assert_eq!(words, "Invalid value x for cpuset mems: invalid format: x");
        let words = check(|resources| resources.cpuset_mems = "999999".into()).expect_err("no such node");
        assert!(words.starts_with("Requested memory nodes are not available"), "{words}");
        for list in ["x", "0-", "1-0", "4000000", "0,,"] {
            let resources = Resources { cpuset_cpus: list.into(), ..Resources::default() };
            assert!(check_places(&resources).is_err(), "{list}");
        }
        for good in ["", "/", "a", "/a/b.slice", "/a/..b/"] {
            let resources = Resources { cgroup_parent: good.into(), ..Resources::default() };
            assert_eq!(check_places(&resources), Ok(()), "{good}");
        }
        for bad in ["..", "../..", "/a/../b", "a//b", ".", "a\0b", &"x".repeat(300)] {
            let resources = Resources { cgroup_parent: bad.into(), ..Resources::default() };
            assert!(check_places(&resources).is_err(), "{bad}");
        }
    }

    #[test]
    fn device_numbers_are_unpacked() {
        let null = std::fs::metadata("/dev/null").expect("/dev/null");
        assert_eq!(numbers(null.rdev()), (1, 3));
    }
}
