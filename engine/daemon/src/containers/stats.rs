//! `ContainerStats`: what a container uses, once or every second.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use glassdock_kernel::cgroup::{Cgroup, Stats};
use glassdock_registry::task;
use serde_json::{Value, json};

use super::container::Container;
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

/// A stream of statistics has one so often.
const EVERY: Duration = Duration::from_secs(1);

/// A moment's numbers, with the machine's.
struct Sample {
    time: String,
    stats: Stats,
    system_ns: u64,
    network: Value,
}

/// `ContainerStats`.
pub(crate) async fn stats(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let streams = call.flag_or("stream", true);
    let one_shot = call.flag("one-shot");
    if !streams {
        // Rates need two moments, unless the client works them out itself.
        let before = if one_shot { None } else { sample(&container).await? };
        if before.is_some() {
            tokio::time::sleep(EVERY).await;
        }
        let now = sample(&container).await?;
        return reply::json(&shown(&container, before.as_ref(), now.as_ref()));
    }
    let ticks = stream::unfold((container, None::<Sample>, true), |(container, before, first)| async move {
        if !first {
            tokio::time::sleep(EVERY).await;
        }
        if container.progress().borrow().removed {
            return None;
        }
        let now = sample(&container).await.unwrap_or_default();
        let text = shown(&container, before.as_ref(), now.as_ref()).to_string() + "\n";
        Some((Ok::<_, std::io::Error>(Bytes::from(text)), (container, now, false)))
    });
    Ok(reply::stream("application/json", ticks))
}

async fn sample(container: &Arc<Container>) -> Result<Option<Sample>, Error> {
    if !container.status().has_process() {
        return Ok(None);
    }
    let (name, pid) = (super::cgroup_of(container), container.look(|record| record.state.pid));
    let sample = task::spawn_blocking(move || {
        let stats = Cgroup::open(&name).and_then(|group| group.stats()).ok()?;
        Some(Sample { time: super::create::now(), stats, system_ns: system_ns(), network: network(pid) })
    });
    Ok(sample.await?)
}

/// The time that all of the machine's processors have spent on anything, from
/// `/proc/stat` (proc(5)), whose unit is a hundredth of a second.
fn system_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    first.split_whitespace().skip(1).take(7).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
        * 10_000_000
}

/// The counters of the container's links, from `/proc/PID/net/dev`.
fn network(pid: u32) -> Value {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let mut links = serde_json::Map::new();
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let number = |place: usize| numbers.get(place).copied().unwrap_or(0);
        if name.trim() != "lo" {
            links.insert(name.trim().to_owned(), json!({
                "rx_bytes": number(0), "rx_packets": number(1), "rx_errors": number(2), "rx_dropped": number(3),
                "tx_bytes": number(8), "tx_packets": number(9), "tx_errors": number(10), "tx_dropped": number(11),
            }));
        }
    }
    Value::Object(links)
}

fn shown(container: &Container, before: Option<&Sample>, now: Option<&Sample>) -> Value {
    let (id, name) = (&container.id, format!("/{}", container.name()));
    let never = "0001-01-01T00:00:00Z";
    let Some(now) = now else {
        return json!({
            "read": never, "preread": never, "name": name, "id": id, "num_procs": 0, "pids_stats": {},
            "cpu_stats": cpu(None), "precpu_stats": cpu(None), "memory_stats": {}, "blkio_stats": blkio(&[]), "storage_stats": {},
        });
    };
    let stats = &now.stats;
    let mut pids = json!({ "current": stats.pids });
    if let (Some(limit), Some(map)) = (stats.pids_limit, pids.as_object_mut()) {
        map.insert("limit".to_owned(), json!(limit));
    }
    json!({
        "read": now.time,
        "preread": before.map_or(never, |before| before.time.as_str()),
        "name": name,
        "id": id,
        "num_procs": 0,
        "pids_stats": pids,
        "cpu_stats": cpu(Some(now)),
        "precpu_stats": cpu(before),
        "memory_stats": {
            "usage": stats.memory,
            "max_usage": stats.memory_peak,
            "failcnt": stats.memory_failures,
            "limit": stats.memory_limit.unwrap_or_else(crate::system::memory_total),
            "stats": stats.memory_detail,
        },
        "blkio_stats": blkio(&stats.blkio),
        "storage_stats": {},
        "networks": now.network,
    })
}

fn cpu(sample: Option<&Sample>) -> Value {
    let Some(sample) = sample else {
        return json!({
            "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        });
    };
    let stats = &sample.stats;
    json!({
        "cpu_usage": {
            "total_usage": stats.cpu_total_ns,
            "percpu_usage": stats.cpu_per_cpu_ns,
            "usage_in_kernelmode": stats.cpu_system_ns,
            "usage_in_usermode": stats.cpu_user_ns,
        },
        "system_cpu_usage": sample.system_ns,
        "online_cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "throttling_data": {
            "periods": stats.cpu_periods,
            "throttled_periods": stats.cpu_throttled_periods,
            "throttled_time": stats.cpu_throttled_ns,
        },
    })
}

fn blkio(devices: &[glassdock_kernel::cgroup::BlockStats]) -> Value {
    let entries = |of: fn(&glassdock_kernel::cgroup::BlockStats) -> [(&'static str, u64); 2]| -> Value {
        let lines = devices.iter().flat_map(|device| {
            of(device).map(|(op, value)| json!({ "major": device.major, "minor": device.minor, "op": op, "value": value }))
        });
        Value::Array(lines.collect())
    };
    json!({
        "io_service_bytes_recursive": entries(|device| [("read", device.read_bytes), ("write", device.write_bytes)]),
        "io_serviced_recursive": entries(|device| [("read", device.reads), ("write", device.writes)]),
        "io_queue_recursive": null, "io_service_time_recursive": null, "io_wait_time_recursive": null,
        "io_merged_recursive": null, "io_time_recursive": null, "sectors_recursive": null,
    })
}
