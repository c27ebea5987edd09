//! Slots: what two runs side by side must not share.
//!
//! A slot is a number; the bridge's name, the subnet and the temporary folder of a
//! lab are made from it. It is claimed by a lock on a file (flock(2)), which the
//! kernel takes away when its holder dies, however it dies. So whoever holds a
//! slot knows that what lies around under its number is left over from a dead run.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// How many slots there are: 250 subnets of each of 40 neighbours, `10.213` to `10.252`,
/// so that a host that uses some of them for itself leaves others.
const COUNT: u16 = 40 * 250;

/// A claimed number; free again when dropped.
#[derive(Debug)]
pub struct Slot {
    number: u16,
    _lock: File,
}

impl Slot {
    /// Claims the lowest free slot whose subnet no route of the host has.
    ///
    /// # Errors
    ///
    /// If the folder for locks can't be made, or the host has routes to all that labs use.
    pub fn claim() -> io::Result<Self> {
        let folder = locks();
        fs::create_dir_all(&folder).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot make {}: {error}", folder.display()))
        })?;
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        for number in 0..COUNT {
            let own = Path::new("/sys/class/net").join(bridge(number));
            // A route that leads to a bridge of this very name is left over, not the host's.
            if !own.exists() && is_routed(&routes, subnet(number)) {
                continue;
            }
            let path = folder.join(format!("slot-{number}.lock"));
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            return Ok(Self { number, _lock: lock });
        }
        Err(io::Error::other("no subnet of 10.213.0.0 to 10.252.0.0 is free for a lab"))
    }

    /// The bridge's name on the host.
    #[must_use]
    pub fn bridge(&self) -> String {
        bridge(self.number)
    }

    /// The bridge's address with its subnet.
    #[must_use]
    pub fn address(&self) -> String {
        let [a, b, c, _] = subnet(self.number);
        format!("{a}.{b}.{c}.1/24")
    }

    /// How the names of this slot's temporary folders begin.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("glassdock-lesson-{}-", self.number)
    }
}

fn bridge(number: u16) -> String {
    format!("gdlesson{number}")
}

fn subnet(number: u16) -> [u8; 4] {
    let part = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
    [10, part(213 + number / 250), part(number % 250), 0]
}

/// A port of the host, which lessons name by its number, so that one lab has it at a time. The
/// next one waits, also in another process.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

/// So long a lesson waits for its turn: longer than any lesson takes.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// And so often it asks.
const ASKED: Duration = Duration::from_millis(100);

impl Turn {
    /// Waits until no other lab has the port.
    ///
    /// # Errors
    ///
    /// If the folder for locks can't be made, or another lab keeps the port for a quarter of an hour.
    pub async fn wait(port: u16) -> io::Result<Self> {
        let folder = locks();
        fs::create_dir_all(&folder).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot make {}: {error}", folder.display()))
        })?;
        let path = folder.join(format!("port-{port}.lock"));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        let begun = Instant::now();
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if begun.elapsed() > PATIENCE {
                let words = format!(
                    "another lesson has port {port} for a quarter of an hour; `fuser {}` shows which process",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            tokio::time::sleep(ASKED).await;
        }
        Ok(Self { _lock: lock })
    }
}

fn locks() -> PathBuf {
    let run = Path::new("/run");
    let folder = if run.is_dir() { run.to_owned() } else { std::env::temp_dir() };
    folder.join("glassdock-lesson")
}

/// Whether a route other than the default one leads to an address.
/// The table has addresses as hexadecimal numbers in the machine's byte order: proc(5).
fn is_routed(table: &str, address: [u8; 4]) -> bool {
    let address = u32::from_ne_bytes(address);
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace();
        let number = |field: Option<&str>| field.and_then(|field| u32::from_str_radix(field, 16).ok());
        let destination = number(fields.nth(1));
        let mask = number(fields.nth(5));
        matches!((destination, mask), (Some(to), Some(mask)) if mask != 0 && address & mask == to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                     eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n\
                     br0 0000D50A 00000000 0001 0 0 0 0000FFFF 0 0 0\n";
        assert!(is_routed(table, [10, 213, 7, 0]));
        assert!(!is_routed(table, [10, 214, 7, 0]), "the default route does not count");
    }

    #[tokio::test]
    async fn a_port_is_one_labs_at_a_time() {
        // A number that no lesson uses: nobody else is kept waiting.
        let Ok(first) = Turn::wait(1).await else { return };
        let mut second = Box::pin(Turn::wait(1));
        let early = tokio::time::timeout(ASKED * 3, &mut second).await;
        assert!(early.is_err(), "the first one still has it");
        drop(first);
        second.await.expect("its turn");
    }

    #[test]
    fn two_never_meet() {
        let (Ok(one), Ok(two)) = (Slot::claim(), Slot::claim()) else { return };
        assert_ne!(one.bridge(), two.bridge());
        assert_ne!(one.address(), two.address());
        assert!(bridge(COUNT).len() <= 15, "IFNAMSIZ");
        assert_eq!(subnet(COUNT - 1), [10, 252, 249, 0]);
    }
}
