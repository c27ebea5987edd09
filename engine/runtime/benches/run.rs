//! `cargo bench -p glassdock-runtime --bench run`: create, start, exit and clean-up of BusyBox's `true`,
//! in full namespaces on an overlay; beside it `crun run` of the same, where crun is installed. Then an
//! idle container's memory, and the time of an exec. Reported, never asserted.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[path = "../tests/runtime/support.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

use glassdock_runtime::ExecSpec;
use glassdock_trace::Trace;
use support::{Fixture, requires_root_and_busybox};

const ROUNDS: usize = 40;

fn main() {
    if !requires_root_and_busybox() {
        return;
    }
    let seccomp = std::env::var_os("NOSECCOMP").is_none();
    let (mut ours, mut crun) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(run_ours(seccomp));
        crun.extend(run_crun(seccomp));
    }
    report("glassdock: create, start, exit, clean up", &mut ours);
    report("crun run, the same on a plain folder", &mut crun);
    idle(seccomp);
}

fn run_ours(seccomp: bool) -> Duration {
    let mut container = Fixture::new(&["/bin/true"]);
    if !seccomp {
        container.linux().seccomp = None;
    }
    let begin = Instant::now();
    let running = container.create().unwrap();
    running.shim.start().unwrap();
    running.ends();
    begin.elapsed()
}

fn run_crun(seccomp: bool) -> Option<Duration> {
    let mut container = Fixture::new(&["/bin/true"]);
    // An overlay takes a mount of the host before crun, and one after it: its time here is without.
    if !seccomp {
        container.linux().seccomp = None;
    }
    let folder = container.bundle().folder().to_owned();
    container.spec.root = Some(glassdock_runtime::oci::Root { path: "../lower".into(), readonly: true });
    container.linux().masked_paths.retain(|path| path != "/nowhere");
    std::fs::write(folder.join("config.json"), serde_json::to_vec(&container.spec).unwrap()).unwrap();
    // crun refuses a v2 tree with controllers beside v1, so it gets a view without one; its own time is taken inside.
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; s=$EPOCHREALTIME; crun run --bundle $0 $1 || exit 1; echo $s $EPOCHREALTIME";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", script]);
    let output = command
        .arg(&folder)
        .arg(&container.extras.id)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let times: Vec<f64> = text.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    Some(Duration::from_secs_f64(times.get(1)? - times.first()?))
}

fn idle(seccomp: bool) {
    let mut containers = Vec::new();
    for _ in 0..10 {
        let mut container = Fixture::new(&["/bin/sleep", "1000"]);
        if !seccomp {
            container.linux().seccomp = None;
        }
        let running = container.create().unwrap();
        running.shim.start().unwrap();
        containers.push((container, running));
        if [1, 10].contains(&containers.len()) {
            // So that it has come to rest.
            std::thread::sleep(Duration::from_millis(500));
            let total: u64 = containers.iter().map(|(_, running)| pss_kib(running.created.shim.pid())).sum();
            println!(
                "shim's PSS with {} container(s): {} KiB each",
                containers.len(),
                total / containers.len() as u64
            );
        }
    }
    let mut execs = Vec::new();
    for number in 0..ROUNDS {
        let spec = ExecSpec {
            id: format!("e{number}"),
            process: glassdock_runtime::oci::Process {
                args: vec!["/bin/true".into()],
                cwd: "/".into(),
                ..Default::default()
            },
            attach: Some(glassdock_runtime::Streams { stdin: false, stdout: true, stderr: true }),
            ..ExecSpec::default()
        };
        let begin = Instant::now();
        let stream = containers[0].1.shim.exec(&spec, &Trace::off(), None).unwrap().stream.unwrap();
        support::frames(stream);
        execs.push(begin.elapsed());
    }
    report("exec true", &mut execs);
    if let Some(path) = std::env::var_os("SMAPS") {
        std::thread::sleep(Duration::from_millis(500));
        let from = format!("/proc/{}/smaps", containers[0].1.created.shim.pid());
        std::fs::copy(from, PathBuf::from(path)).unwrap();
    }
    for (_, running) in &containers {
        running.kill();
    }
}

fn pss_kib(pid: u32) -> u64 {
    let text =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    if let (Some(least), Some(middle)) = (times.first(), times.get(times.len() / 2)) {
        println!("{what}: least {least:.1?}, median {middle:.1?}, of {}", times.len());
    }
}
