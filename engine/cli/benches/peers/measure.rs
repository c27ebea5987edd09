//! Medians, memory as the kernel tells it, and the table.

use std::fs;

use crate::Result;

/// One line of the table.
pub(crate) struct Row {
    what: String,
    theirs: String,
    ours: String,
    ratio: f64,
}

impl Row {
    pub(crate) fn seconds(what: &str, theirs: f64, ours: f64) -> Self {
        let show = |seconds: f64| {
            if seconds < 1.0 { format!("{:.2} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
        };
        Self { what: what.to_owned(), theirs: show(theirs), ours: show(ours), ratio: theirs / ours }
    }

    /// Bytes, shown as MiB.
    #[expect(clippy::cast_precision_loss, reason = "far fewer bytes than 2^53")]
    pub(crate) fn mebibytes(what: &str, theirs: u64, ours: u64) -> Self {
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        let (theirs, ours) = (mebibytes(theirs), mebibytes(ours));
        Self {
            what: what.to_owned(),
            theirs: format!("{theirs:.2} MiB"),
            ours: format!("{ours:.2} MiB"),
            ratio: theirs / ours,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
pub(crate) fn print(rows: &[Row]) {
    println!("| work | Docker | Glassdock | Docker / Glassdock |\n|---|---|---|---|");
    for row in rows {
        println!("| {} | {} | {} | {:.2} |", row.what, row.theirs, row.ours, row.ratio);
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The mean without the tenth that lies farthest out.
#[expect(clippy::cast_precision_loss, reason = "a few thousand values")]
pub(crate) fn trimmed_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 20;
    let kept = sorted.get(cut..sorted.len() - cut).unwrap_or_default();
    kept.iter().sum::<f64>() / kept.len() as f64
}

/// Resident memory of a process now, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    kibibytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most that it had since [`reset_peak`].
pub(crate) fn peak(pid: u32) -> Result<u64> {
    kibibytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Forgets the peak; see `clear_refs` in proc(5).
pub(crate) fn reset_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// A process's share of memory, what is shared divided among those who share it.
pub(crate) fn pss(pid: u32) -> Result<u64> {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kibibytes(path: &str, key: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line =
        text.lines().find(|line| line.starts_with(key)).ok_or_else(|| format!("{path} has no {key}"))?;
    let number = line.split_whitespace().nth(1).ok_or_else(|| format!("{path}: {line}"))?;
    Ok(number.parse::<u64>()? * 1024)
}

/// Waits until the disk has all that was written.
pub(crate) fn sync() -> Result<()> {
    std::process::Command::new("sync").status()?;
    Ok(())
}

/// The process `root`, and every other one whose program was called by a name that begins so.
pub(crate) fn helpers(root: u32, named: &str) -> Result<Vec<u32>> {
    let mut pids = vec![root];
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Not the kernel's name for it: a program that is executed by its descriptor has another there.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let called = line.split(|byte| *byte == 0).next().unwrap_or_default();
        let called = String::from_utf8_lossy(called);
        if pid != root && called.rsplit('/').next().is_some_and(|name| name.starts_with(named)) {
            pids.push(pid);
        }
    }
    Ok(pids)
}
