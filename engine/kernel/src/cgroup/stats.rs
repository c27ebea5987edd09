//! What a group used: read from its files, in units that fit both versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a group uses, and did use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// CPU time, in nanoseconds.
    pub cpu_total_ns: u64,
    /// Of that, in user mode.
    pub cpu_user_ns: u64,
    /// Of that, in the kernel.
    pub cpu_system_ns: u64,
    /// CPU time per CPU, where the kernel tells (v1).
    pub cpu_per_cpu_ns: Vec<u64>,
    /// Periods that a quota was enforced in.
    pub cpu_periods: u64,
    /// Periods in which the group was throttled.
    pub cpu_throttled_periods: u64,
    /// Time for which it was throttled, in nanoseconds.
    pub cpu_throttled_ns: u64,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// The most that was in use, where the kernel tells.
    pub memory_peak: Option<u64>,
    /// The limit in bytes; `None` without one.
    pub memory_limit: Option<u64>,
    /// How often the limit was hit; recent kernels don't count it with v1.
    pub memory_failures: u64,
    /// All of `memory.stat`.
    pub memory_detail: BTreeMap<String, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// The limit; `None` without one.
    pub pids_limit: Option<u64>,
    /// Input and output, by block device.
    pub blkio: Vec<BlockStats>,
}

/// Input and output of one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// The device's driver.
    pub major: u32,
    /// The device's number there.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// v1's word for no limit of memory: the largest number of whole pages.
const V1_NO_LIMIT: u64 = i64::MAX as u64 / 65_536 * 65_536;

impl Stats {
    /// From the trees of v1.
    pub(super) fn v1(folder: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let file = |controller: &str, name: &str| {
            folder(controller).map(|folder| text(&folder.join(name))).unwrap_or_default()
        };
        let value = |controller: &str, name: &str| number(&file(controller, name)).unwrap_or(0);
        let throttling = table(&file("cpu", "cpu.stat"));
        let mut devices = BTreeMap::new();
        v1_blocks(&file("blkio", "blkio.throttle.io_service_bytes_recursive"), &mut devices, |block| {
            (&mut block.read_bytes, &mut block.write_bytes)
        });
        v1_blocks(&file("blkio", "blkio.throttle.io_serviced_recursive"), &mut devices, |block| {
            (&mut block.reads, &mut block.writes)
        });
        Self {
            cpu_total_ns: value("cpuacct", "cpuacct.usage"),
            cpu_user_ns: value("cpuacct", "cpuacct.usage_user"),
            cpu_system_ns: value("cpuacct", "cpuacct.usage_sys"),
            cpu_per_cpu_ns: file("cpuacct", "cpuacct.usage_percpu")
                .split_whitespace()
                .filter_map(number)
                .collect(),
            cpu_periods: get(&throttling, "nr_periods"),
            cpu_throttled_periods: get(&throttling, "nr_throttled"),
            cpu_throttled_ns: get(&throttling, "throttled_time"),
            memory: value("memory", "memory.usage_in_bytes"),
            memory_peak: number(&file("memory", "memory.max_usage_in_bytes")),
            memory_limit: number(&file("memory", "memory.limit_in_bytes"))
                .filter(|limit| *limit < V1_NO_LIMIT),
            // Where swap is counted too, that bound is tried first, and fails first.
            memory_failures: value("memory", "memory.failcnt").max(value("memory", "memory.memsw.failcnt")),
            memory_detail: table(&file("memory", "memory.stat")),
            pids: value("pids", "pids.current"),
            pids_limit: number(&file("pids", "pids.max")),
            blkio: devices.into_values().collect(),
        }
    }

    /// From the tree of v2.
    pub(super) fn v2(folder: &Path) -> Self {
        let file = |name: &str| text(&folder.join(name));
        let value = |name: &str| number(&file(name));
        let cpu = table(&file("cpu.stat"));
        let micros = |name: &str| get(&cpu, name) * 1_000;
        Self {
            cpu_total_ns: micros("usage_usec"),
            cpu_user_ns: micros("user_usec"),
            cpu_system_ns: micros("system_usec"),
            cpu_per_cpu_ns: Vec::new(),
            cpu_periods: get(&cpu, "nr_periods"),
            cpu_throttled_periods: get(&cpu, "nr_throttled"),
            cpu_throttled_ns: micros("throttled_usec"),
            memory: value("memory.current").unwrap_or(0),
            memory_peak: value("memory.peak"),
            memory_limit: value("memory.max"),
            memory_failures: get(&table(&file("memory.events")), "max"),
            memory_detail: table(&file("memory.stat")),
            pids: value("pids.current").unwrap_or(0),
            pids_limit: value("pids.max"),
            blkio: file("io.stat").lines().filter_map(v2_block).collect(),
        }
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A number alone; `max` is none.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Lines of a word and a number.
pub(super) fn table(text: &str) -> BTreeMap<String, u64> {
    let pair =
        |line: &str| line.split_once(' ').and_then(|(word, value)| Some((word.to_owned(), number(value)?)));
    text.lines().filter_map(pair).collect()
}

fn get(table: &BTreeMap<String, u64>, word: &str) -> u64 {
    table.get(word).copied().unwrap_or(0)
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `8:0 Read 4096`, a line for each device and direction.
fn v1_blocks(
    text: &str,
    devices: &mut BTreeMap<(u32, u32), BlockStats>,
    fields: impl Fn(&mut BlockStats) -> (&mut u64, &mut u64),
) {
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let &[name, direction, value] = words.as_slice() else { continue };
        let (Some((major, minor)), Some(value)) = (device(name), number(value)) else { continue };
        let block =
            devices.entry((major, minor)).or_insert(BlockStats { major, minor, ..BlockStats::default() });
        let (read, write) = fields(block);
        match direction {
            "Read" => *read = value,
            "Write" => *write = value,
            _ => {}
        }
    }
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`.
fn v2_block(line: &str) -> Option<BlockStats> {
    let mut words = line.split_whitespace();
    let (major, minor) = device(words.next()?)?;
    let mut block = BlockStats { major, minor, ..BlockStats::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let field = match key {
            "rbytes" => &mut block.read_bytes,
            "wbytes" => &mut block.write_bytes,
            "rios" => &mut block.reads,
            "wios" => &mut block.writes,
            _ => continue,
        };
        *field = number(value)?;
    }
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_reads_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [
            (
                "cpu.stat",
                "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 4\nnr_throttled 1\nthrottled_usec 7\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
            ("memory.stat", "anon 4096\nfile 0\n"),
            ("pids.current", "2\n"),
            ("pids.max", "10\n"),
            ("io.stat", "8:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\nnonsense\n"),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let stats = Stats::v2(folder.path());
        assert_eq!((stats.cpu_total_ns, stats.cpu_throttled_ns), (1_500_000, 7_000));
        assert_eq!((stats.memory, stats.memory_limit, stats.memory_failures), (4096, None, 3));
        assert_eq!((stats.pids, stats.pids_limit), (2, Some(10)));
        let block = BlockStats { major: 8, minor: 0, read_bytes: 4096, write_bytes: 1, reads: 2, writes: 3 };
        assert_eq!(stats.blkio, [block]);
        assert_eq!(stats.memory_detail["anon"], 4096);
    }

    #[test]
    fn v1_reads_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [
            ("cpuacct.usage", "9\n"),
            ("cpuacct.usage_percpu", "4 5 \n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("pids.max", "max\n"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n",
            ),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let stats = Stats::v1(|_| Some(folder.path().to_owned()));
        assert_eq!((stats.cpu_total_ns, stats.cpu_per_cpu_ns.as_slice()), (9, [4, 5].as_slice()));
        assert_eq!((stats.memory_limit, stats.pids_limit), (None, None));
        assert_eq!(
            stats.blkio,
            [BlockStats { major: 8, minor: 0, read_bytes: 10, write_bytes: 20, ..BlockStats::default() }]
        );
    }
}
