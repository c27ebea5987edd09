//! The image `registry`: this very program, so that `docker run -p 5000:5000 registry` runs
//! the server that the image was pulled from.
//!
//! A dynamically linked program is not whole without its loader and libraries. Which ones
//! these are the kernel tells best: `/proc/self/maps` (proc_pid_maps(5)) lists the files that
//! are mapped into this process, and so the ones that work with this program. Each goes into
//! the image where it lies here, under the name that the loader looks for: the `DT_SONAME`
//! of its dynamic section, elf(5), which on the disk may be a link to another name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::{DT_SONAME, PT_INTERP};
use elf::endian::NativeEndian;

use super::elf::Machine;
use super::layer::{Finished, Layer};
use super::manifest::{Family, Variant, image as make};
use super::{About, Error, SeedImage, dockerfiles};

/// What is larger is no program or library of ours.
const LARGEST: u64 = 512 * 1024 * 1024;
/// The repository's name.
pub const REPOSITORY: &str = "library/registry";
/// Where the program lies in the image.
const PLACE: &str = "usr/local/bin/glassdock";

/// A program and the files that it can't run without.
#[derive(Clone, Debug)]
pub struct Program {
    content: Vec<u8>,
    /// By their paths in the image, relative to its root.
    libraries: BTreeMap<String, Vec<u8>>,
}

/// The program that runs now.
///
/// # Errors
///
/// [`Error::Program`]: its files can't be read.
pub fn running() -> Result<Program, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Program { path, source }
    };
    let own = Path::new("/proc/self/exe");
    let content = read(own).map_err(failed(own))?;
    let mut libraries = BTreeMap::new();
    // A program without an interpreter is static, and whole by itself.
    if let Some(loader) = interpreter(&content) {
        let loader = PathBuf::from(loader);
        libraries.insert(inside(&loader), read(&loader).map_err(failed(&loader))?);
        let maps = Path::new("/proc/self/maps");
        for path in mapped(&fs::read_to_string(maps).map_err(failed(maps))?) {
            let library = read(&path).map_err(failed(&path))?;
            // What has no such name is no library: the program itself, or data of it.
            let Some(name) = soname(&library) else { continue };
            let path = path.with_file_name(&name);
            if Some(path.file_name()) != Some(loader.file_name()) {
                libraries.insert(inside(&path), library);
            }
        }
    }
    Ok(Program { content, libraries })
}

/// The repository with the image.
///
/// # Errors
///
/// If an archive or a manifest can't be written.
pub fn image(program: &Program, userland: &Finished) -> Result<SeedImage, Error> {
    let mut libraries =
        Layer::new("COPY lib /lib # the loader and the libraries that glassdock is linked with");
    let known: BTreeSet<&str> = ["usr"].into();
    let folders: BTreeSet<&Path> = program
        .libraries
        .keys()
        .flat_map(|path| Path::new(path).ancestors().skip(1))
        .filter(|folder| folder.to_str().is_some_and(|text| !text.is_empty() && !known.contains(text)))
        .collect();
    for folder in folders {
        libraries.directory(&folder.display().to_string(), 0o755)?;
    }
    for (path, content) in &program.libraries {
        libraries.file(path, 0o755, content)?;
    }
    let mut own = Layer::new("COPY glassdock /usr/local/bin/ # this very program");
    own.file(PLACE, 0o755, &program.content)?;
    let mut layers = vec![userland.clone()];
    if !program.libraries.is_empty() {
        layers.push(libraries.finish_quickly()?);
    }
    layers.push(own.finish_quickly()?);
    let variant = Variant::new(Machine::host(), layers)
        .expose("5000/tcp")
        .volume("/data/registry")
        .entrypoint(&["glassdock", "registry", "serve"])
        .command(&["--listen", "0.0.0.0:5000", "--root", "/data/registry"]);
    let tags = ["latest", env!("CARGO_PKG_VERSION")];
    let about = About {
        description: "The registry that you are asking, in an image: docker run -p 5000:5000 registry"
            .to_owned(),
        description_zh: "你正在访问的这个仓库，装进了镜像：docker run -p 5000:5000 registry".to_owned(),
        readme: include_str!("texts/registry.md").to_owned(),
        readme_zh: include_str!("texts/registry.zh.md").to_owned(),
        stars: 4000,
        pulls: 200_000,
        official: true,
        stand_in: false,
        sample: true,
        dockerfiles: dockerfiles(
            &tags,
            "FROM busybox\nCOPY lib /lib # the loader and the libraries that glassdock is linked with\n\
             COPY glassdock /usr/local/bin/ # this very program\nEXPOSE 5000\nVOLUME /data/registry\n\
             ENTRYPOINT [\"glassdock\", \"registry\", \"serve\"]\n\
             CMD [\"--listen\", \"0.0.0.0:5000\", \"--root\", \"/data/registry\"]\n",
        ),
    };
    make(REPOSITORY, Family::Oci, &[(&tags, vec![variant])], about)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a program"));
    }
    fs::read(path)
}

/// A path of this machine as a path in the image.
fn inside(path: &Path) -> String {
    path.display().to_string().trim_start_matches('/').to_owned()
}

/// The files that are mapped, each once: the sixth column of `/proc/PID/maps`.
fn mapped(maps: &str) -> BTreeSet<PathBuf> {
    maps.lines()
        .filter_map(|line| line.splitn(6, ' ').nth(5))
        .map(str::trim_start)
        .filter(|path| path.starts_with('/') && !path.ends_with(" (deleted)") && Path::new(path).is_file())
        .map(PathBuf::from)
        .collect()
}

/// The loader that a program asks for.
fn interpreter(program: &[u8]) -> Option<String> {
    let file = ElfBytes::<NativeEndian>::minimal_parse(program).ok()?;
    let header = file.segments()?.iter().find(|header| header.p_type == PT_INTERP)?;
    let text = file.segment_data(&header).ok()?;
    let path = text.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(path).ok().filter(|path| path.starts_with('/')).map(str::to_owned)
}

/// The name that others ask for a library by.
fn soname(library: &[u8]) -> Option<String> {
    let file = ElfBytes::<NativeEndian>::minimal_parse(library).ok()?;
    let common = file.find_common_data().ok()?;
    let entry = common.dynamic?.iter().find(|entry| entry.d_tag == DT_SONAME)?;
    let name = common.dynsyms_strs?.get(usize::try_from(entry.d_val()).ok()?).ok()?;
    (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_program_comes_with_its_loader_and_libraries() {
        let program = running().expect("it runs, so it can be read");
        let Some(loader) = interpreter(&program.content) else { return };
        assert!(program.libraries.contains_key(loader.trim_start_matches('/')));
        let has_libc = |path: &String| path.rsplit('/').next().is_some_and(|name| name.starts_with("libc."));
        assert!(program.libraries.keys().any(has_libc), "{:?}", program.libraries.keys());
        assert!(program.libraries.keys().all(|path| !path.starts_with('/') && !path.contains("..")));
    }

    #[test]
    fn what_is_no_program_has_no_loader_and_no_name() {
        for content in [&b""[..], b"\x7fELF", b"#!/bin/sh\n"] {
            assert_eq!((interpreter(content), soname(content)), (None, None));
        }
    }

    #[test]
    fn maps_are_read_by_column() {
        let maps = "55d0-55d1 r--p 00000000 fe:00 1234    /proc/self/maps\n7ffd-7ffe rw-p 00000000 00:00 0 [stack]\n\
                    7f00-7f01 rw-p 00000000 00:00 0 \n7f02-7f03 r-xp 00000000 fe:00 9 /gone (deleted)\n";
        assert_eq!(mapped(maps), [PathBuf::from("/proc/self/maps")].into());
    }
}
