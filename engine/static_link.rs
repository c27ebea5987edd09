//! Links a program statically, at a fixed address, where the machine has the C library for that. For the
//! build scripts of the two programs that it is worth for: they include this file.
//!
//! The shim stands beside each container, so each page that it dirties counts once a container. A static
//! program without relocations dirties about a hundred kilobytes less than a dynamic one. The client is
//! started for each command, and half of such a start is the dynamic linker's work. The other programs
//! stay dynamic: `+crt-static` can only be set for everything at once, and then no procedural macro compiles.
//!
//! What stands in the way is that rustc asks the linker for shared libraries by name.
//! So the linker finds those names first in a folder of our own, where they are linker scripts (ld's
//! `GROUP`) that name the archives. Without the archives (Debian's libc6-dev has them) nothing
//! is changed, and the program is dynamic.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The libraries that rustc names for this target, and the archives that stand for each.
const LIBRARIES: [(&str, &[&str]); 7] = [
    ("gcc_s", &["gcc_eh", "gcc", "c"]),
    ("c", &["c"]),
    ("m", &["m"]),
    ("rt", &["rt"]),
    ("pthread", &["pthread"]),
    ("util", &["util"]),
    ("dl", &["dl"]),
];

/// Has cargo link `program`, a binary of the package whose build script this is, statically.
pub(crate) fn link(program: &str) {
    println!("cargo:rerun-if-changed=../static_link.rs");
    println!("cargo:rerun-if-env-changed=GLASSDOCK_DYNAMIC");
    let variable = |name| std::env::var(name).unwrap_or_default();
    let native = variable("TARGET") == variable("HOST");
    let glibc = variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    let unwanted = std::env::var_os("GLASSDOCK_DYNAMIC").is_some();
    if !native || !glibc || unwanted || !has_archives() {
        return;
    }
    let folder = PathBuf::from(variable("OUT_DIR"));
    for (library, archives) in LIBRARIES {
        let archives: String = archives.iter().map(|archive| format!(" -l:lib{archive}.a")).collect();
        if std::fs::write(folder.join(format!("lib{library}.so")), format!("GROUP ({archives} )\n")).is_err()
        {
            return;
        }
    }
    for argument in [format!("-L{}", folder.display()), "-static".to_owned(), "-no-pie".to_owned()] {
        println!("cargo:rustc-link-arg-bin={program}={argument}");
    }
}

/// Whether the C compiler, which links for rustc, finds every archive.
fn has_archives() -> bool {
    LIBRARIES.iter().flat_map(|(_, archives)| *archives).all(|archive| {
        let output = Command::new("cc").arg(format!("-print-file-name=lib{archive}.a")).output();
        // A name that is not found is printed as it was asked for.
        output.is_ok_and(|output| {
            String::from_utf8(output.stdout).is_ok_and(|path| Path::new(path.trim()).is_absolute())
        })
    })
}
