//! Docker's resource limits in the specification's words.

use std::os::unix::fs::MetadataExt;

use glassdock_runtime::oci::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources as OciResources, Throttle};

use super::model::{Resources, ThrottleDevice};
use crate::error::Error;

/// The period that `--cpus` is enforced in, in microseconds.
const PERIOD: i64 = 100_000;

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

fn throttles(devices: &[ThrottleDevice]) -> Result<Vec<Throttle>, Error> {
    devices
        .iter()
        .map(|device| {
            let metadata = std::fs::metadata(&device.path).map_err(|error| {
                Error::invalid(format!("the block device {} can't be limited: {error}", device.path))
            })?;
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
    fn device_numbers_are_unpacked() {
        let null = std::fs::metadata("/dev/null").expect("/dev/null");
        assert_eq!(numbers(null.rdev()), (1, 3));
    }
}
