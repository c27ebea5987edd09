//! A userland from one file: BusyBox is many commands in one program, which looks
//! at the name that it was called by.

use std::fs;
use std::path::Path;

use super::Error;
use super::layer::{Finished, Layer};

/// A BusyBox is about 2 MiB; what is larger than this is none.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The host's BusyBox.
pub struct Busybox {
    program: Vec<u8>,
    commands: Vec<String>,
    /// Its version, such as `1.35.0`.
    pub version: String,
}

impl Busybox {
    /// Reads a static BusyBox, its version and its commands. The program is not
    /// run for that: the names stand in it, one behind the other, and sorted.
    ///
    /// # Errors
    ///
    /// [`Error::NoBusybox`], [`Error::OddBusybox`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let missing = |source| Error::NoBusybox { path: path.to_owned(), source };
        let odd = |reason| Error::OddBusybox { path: path.to_owned(), reason };
        let metadata = fs::metadata(path).map_err(missing)?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(odd("it is no file of the usual size"));
        }
        let program = fs::read(path).map_err(missing)?;
        if has_interpreter(&program) {
            return Err(odd("it needs a dynamic linker, which images don't have"));
        }
        let commands = commands(&program).ok_or_else(|| odd("no list of commands was found in it"))?;
        let version = version(&program).ok_or_else(|| odd("no version was found in it"))?;
        Ok(Self { program, commands, version })
    }

    /// The layer with the program, its names, and the files that programs expect.
    ///
    /// # Errors
    ///
    /// If the archive can't be written.
    pub fn layer(&self, made_by: &str) -> Result<Finished, Error> {
        let mut layer = Layer::new(made_by);
        for (path, mode) in [
            ("bin", 0o755),
            ("dev", 0o755),
            ("etc", 0o755),
            ("home", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
        ] {
            layer.directory(path, mode)?;
        }
        layer.file("bin/busybox", 0o755, &self.program)?;
        for command in self.commands.iter().filter(|command| *command != "busybox") {
            layer.hard_link(&format!("bin/{command}"), "bin/busybox")?;
        }
        layer.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
        layer.file("etc/group", 0o644, GROUP.as_bytes())?;
        layer.file("etc/shadow", 0o640, b"root:*:::::::\n")?;
        layer.file("etc/hosts", 0o644, b"127.0.0.1\tlocalhost\n")?;
        layer.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
        for path in
            ["usr", "usr/bin", "usr/sbin", "usr/local", "usr/local/bin", "var", "var/log", "var/spool"]
        {
            layer.directory(path, 0o755)?;
        }
        layer.symlink("usr/bin/env", "/bin/env")?;
        layer.directory("var/tmp", 0o1777)?;
        Ok(layer.finish()?)
    }
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
";

const GROUP: &str = "\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
wheel:x:10:root
www-data:x:33:
staff:x:50:
users:x:100:
nogroup:x:65534:
";

/// Whether an ELF file asks for a dynamic linker (a `PT_INTERP` header, elf(5)).
fn has_interpreter(program: &[u8]) -> bool {
    let half =
        |at: usize| program.get(at..at + 2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let offset = program.get(32..40).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (size, count) = (usize::from(half(54)), usize::from(half(56)));
    let Ok(offset) = usize::try_from(offset) else { return true };
    (0..count).any(|index| {
        let at = offset.saturating_add(index * size);
        program.get(at..at.saturating_add(4)) == Some(&3_u32.to_le_bytes()[..])
    })
}

/// The names of the commands: the list that begins with `[` and `[[`.
fn commands(program: &[u8]) -> Option<Vec<String>> {
    const BEGIN: &[u8] = b"\0[\0[[\0";
    let begin = program.windows(BEGIN.len()).position(|window| window == BEGIN)? + 1;
    let mut commands = Vec::new();
    for name in program.get(begin..)?.split(|byte| *byte == 0) {
        if name.is_empty() {
            break;
        }
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('/') && name.len() < 64)?;
        commands.push(name.to_owned());
    }
    (commands.len() > 20 && commands.iter().any(|name| name == "sh")).then_some(commands)
}

fn version(program: &[u8]) -> Option<String> {
    const BEGIN: &[u8] = b"BusyBox v";
    let begin = program.windows(BEGIN.len()).position(|window| window == BEGIN)? + BEGIN.len();
    let rest = program.get(begin..begin + 32)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    std::str::from_utf8(&rest[..end]).ok().filter(|text| !text.is_empty()).map(str::to_owned)
}
