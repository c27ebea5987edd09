//! # The seed: the images that lessons need, built from code
//!
//! A classroom has no internet, so the embedded registry brings its own images.
//! They are made here, byte for byte the same each time: fixed times, fixed
//! order, root as the owner of everything.
//!
//! | repository | what it is |
//! |---|---|
//! | `hello-world` | one layer, one file: a program of a few hundred bytes ([`elf`]) |
//! | `busybox` | the host's static BusyBox with its command names as links ([`userland`]) |
//! | `ubuntu`, `java`, `postgres` | stand-ins on the BusyBox userland: they say so themselves ([`standins`]) |
//! | `lessons/java-app`, `lessons/coffee` | built on those, to be searched for ([`lessons`]) |
//! | `registry` | this very program, with what it is linked with ([`program`]) |
//!
//! A stand-in has the shape of the image that it stands for (names, tags,
//! layers, configuration), so that commands and Dockerfiles work as printed. It
//! does not have that software, and each place where one might take it for the
//! real thing says that it isn't. Stars and numbers of pulls are made up too: a
//! list is sorted and filtered by them, and the hub's pages say that they are samples.

pub mod elf;

pub mod layer;

pub mod userland;

pub mod standins;

pub mod lessons;

pub mod program;

pub mod manifest;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use manifest::Variant;
use userland::Busybox;

/// Where Debian's `busybox-static` puts its program.
pub const BUSYBOX: &str = "/bin/busybox";

/// When everything in the seed was "made": 2026-01-01T00:00:00Z.
pub(crate) const EPOCH: u64 = 1_767_225_600;

/// [`EPOCH`] as image configurations write it.
pub(crate) const CREATED: &str = "2026-01-01T00:00:00Z";

/// What can go wrong while the seed is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no static BusyBox on this machine.
    #[error(
        "cannot read {}: the lessons' images are made of a static BusyBox; install it (Debian: apt-get install busybox-static)",
        path.display()
    )]
    NoBusybox {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The program is there, but is none that can be used.
    #[error("{} is not a static BusyBox: {reason}; install Debian's busybox-static", path.display())]
    OddBusybox {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// This program's own files could not be read, for the image that holds them.
    #[error("cannot read {}, which the image registry is made of", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The seed has no such image.
    #[error("the seed has no image {name}; the hub's first page, or docker search, shows those that it has")]
    Unknown {
        /// The repository that was looked for.
        name: String,
    },
    /// An archive could not be written (to memory: only a lack of it can be the reason).
    #[error("write the archive of a layer")]
    Archive(#[from] io::Error),
    /// A manifest could not be written.
    #[error("write a manifest or configuration")]
    Json(#[from] serde_json::Error),
}

/// A piece of content with its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The media type that the registry serves it with.
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The content itself.
    pub bytes: Vec<u8>,
}

/// What the hub tells about a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// One line, as `docker search` shows it.
    pub description: String,
    /// The same in Chinese; empty where there is none.
    pub description_zh: String,
    /// The whole page, in Markdown.
    pub readme: String,
    /// The same in Chinese; empty where there is none.
    pub readme_zh: String,
    /// How many people like it.
    pub stars: u64,
    /// How often it was pulled.
    pub pulls: u64,
    /// Whether it is one of the maintained images without a user's name.
    pub official: bool,
    /// Whether it only has the shape of what its name says.
    pub stand_in: bool,
    /// Whether stars and pulls are made up, for lessons to sort and filter by.
    pub sample: bool,
    /// The Dockerfile that would make each tag.
    pub dockerfiles: Vec<(String, String)>,
}

/// A repository as the seed fills it.
#[derive(Clone, Debug)]
pub struct SeedImage {
    /// The name in the registry, such as `library/busybox`.
    pub repository: String,
    /// Each tag with the digest of the manifest that it names.
    pub tags: Vec<(String, String)>,
    /// Layers and configurations.
    pub blobs: Vec<Content>,
    /// Manifests of single images first, then the indexes over them.
    pub manifests: Vec<Content>,
    /// What the hub tells about it.
    pub about: About,
}

/// All images of the seed, and what had to be left out.
#[derive(Debug)]
pub struct Seed {
    /// The images.
    pub images: Vec<SeedImage>,
    /// Why the images with a userland are missing, if they are.
    pub missing: Option<Error>,
}

/// Makes the seed, but for `registry`. `busybox` is the program that becomes the userland, normally
/// [`BUSYBOX`]; without it the seed has `hello-world` alone, and says why.
///
/// # Errors
///
/// Only if an archive or a manifest can't be written; a missing BusyBox is told
/// in [`Seed::missing`].
pub fn images(busybox: &Path) -> Result<Seed, Error> {
    sow(busybox, None)
}

/// The images of these names, such as `busybox` or `ubuntu:12.04` (its tag is of no matter);
/// all of them where none is named, `registry` with the running program included.
///
/// # Errors
///
/// As [`images`]; [`Error::Unknown`] for a name that no image of the seed has, and
/// [`Error::Program`] where this program's own files are needed and can't be read.
pub fn chosen(busybox: &Path, names: &[String]) -> Result<Seed, Error> {
    let wanted: Vec<String> = names.iter().map(|name| repository(name)).collect();
    let is_wanted = |repository: &str| wanted.is_empty() || wanted.iter().any(|name| name == repository);
    let program = is_wanted(program::REPOSITORY).then(program::running).transpose()?;
    let mut seed = sow(busybox, program.as_ref())?;
    let known = |name: &str| seed.images.iter().any(|image| image.repository == name);
    // Without a userland most images are missing, and that is what has to be told.
    if let (Some(name), None) = (wanted.iter().find(|name| !known(name)), &seed.missing) {
        return Err(Error::Unknown { name: name.clone() });
    }
    seed.images.retain(|image| is_wanted(&image.repository));
    Ok(seed)
}

/// The repository that a name stands for at Docker Hub.
fn repository(name: &str) -> String {
    let name = name.split(':').next().unwrap_or(name);
    if name.contains('/') { name.to_owned() } else { format!("library/{name}") }
}

fn sow(busybox: &Path, program: Option<&program::Program>) -> Result<Seed, Error> {
    let mut images = vec![hello_world()?];
    let missing = match Busybox::read(busybox) {
        Ok(busybox) => {
            let userland = busybox.layer("COPY busybox /bin/ # and a link for each of its commands")?;
            images.extend(standins::all(&busybox, &userland)?);
            images.extend(lessons::all(&userland)?);
            if let Some(program) = program {
                images.push(program::image(program, &userland)?);
            }
            None
        }
        Err(error) => Some(error),
    };
    Ok(Seed { images, missing })
}

/// The smallest image of all: one file, no shell, two architectures.
fn hello_world() -> Result<SeedImage, Error> {
    let greeting = include_str!("texts/hello-world.txt");
    let mut variants = Vec::new();
    for machine in [elf::Machine::Amd64, elf::Machine::Arm64] {
        let mut layer = layer::Layer::new("COPY hello / # one program, no shell");
        layer.file("hello", 0o755, &elf::greeter(machine, greeting))?;
        variants.push(Variant::new(machine.architecture(), vec![layer.finish()?]).command(&["/hello"]));
    }
    let about = About {
        description: "A program of a few hundred bytes that greets, to see that everything works".to_owned(),
        description_zh: "一个几百字节的程序，打一声招呼，看看一切是否正常".to_owned(),
        readme: include_str!("texts/hello-world.md").to_owned(),
        readme_zh: include_str!("texts/hello-world.zh.md").to_owned(),
        stars: 2400,
        pulls: 1_000_000,
        official: true,
        stand_in: false,
        sample: true,
        dockerfiles: dockerfiles(&["latest", "linux"], "FROM scratch\nCOPY hello /\nCMD [\"/hello\"]\n"),
    };
    // Docker's own media types here, OCI's in the others: clients must know both.
    manifest::image(
        "library/hello-world",
        manifest::Family::Docker,
        &[(&["latest", "linux"], variants)],
        about,
    )
}

/// The same Dockerfile for several tags.
fn dockerfiles(tags: &[&str], text: &str) -> Vec<(String, String)> {
    tags.iter().map(|tag| ((*tag).to_owned(), text.to_owned())).collect()
}

#[cfg(test)]
mod tests;
