//! COPY and ADD: what is copied is found and summed up first, so that the cache can be asked;
//! only what isn't known is written, into a stack of the layers below, whose difference is the layer.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glassdock_build::change::clean;
use glassdock_build::ignore::Ignore;
use glassdock_build::mode::Mode;
use glassdock_image::images::{Changed, Made};
use glassdock_image::layer::{self, Limits, Target};
use glassdock_image::{DiffId, Digest, images};
use glassdock_kernel::mount::{Detached, Overlay};
use glassdock_kernel::path::Root;
use glassdock_trace::Trace;

use super::beneath::Beneath;
use super::context::Context;
use super::files::{self, Looks, Source};
use super::matches;
use super::remote::Fetched;
use super::tree::Tree;
use crate::engine::Engine;
use crate::error::{Error, Kind};

/// A stack of layers that a step stands on.
#[derive(Clone, Debug, Default)]
pub struct Below {
    /// The layers' folders, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// Their diff ids, the lowest first.
    pub diff_ids: Vec<DiffId>,
}

/// A COPY or ADD whose variables are known.
#[derive(Clone, Debug, Default)]
pub struct Copying {
    /// `COPY` or `ADD`.
    pub name: &'static str,
    /// The sources.
    pub sources: Vec<String>,
    /// Files that stand in the Dockerfile: name and content.
    pub documents: Vec<(String, String)>,
    /// Whereto: absolute, with a slash at its end if it was written so.
    pub destination: String,
    /// `--chown`
    pub owner: String,
    /// `--chmod`
    pub mode: Option<Mode>,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// `--parents`
    pub parents: bool,
    /// `--unpack`: whether archives are unpacked; ADD does it with those of the context if nothing is said.
    pub unpack: Option<bool>,
    /// `--link`: the layer knows nothing of those below it.
    pub link: bool,
    /// What was fetched, by its source.
    pub fetched: BTreeMap<String, Fetched>,
    /// Whether the sources are of another stage or image, whose owners they keep.
    pub foreign: bool,
    /// `SOURCE_DATE_EPOCH`
    pub latest: Option<u64>,
}

/// What is to be copied.
#[derive(Debug)]
pub struct Gathered {
    sources: Vec<Source>,
    /// For each path, what it consists of.
    pub files: BTreeMap<String, String>,
    /// As Docker's history calls it: `file:…`, `dir:…`, `multi:…`.
    pub shown: String,
    /// Whether wildcards or several sources were named: then the destination is a folder.
    several: bool,
    /// The mount that the sources lie in.
    _mount: Option<Detached>,
}

/// The file system of a stack, to be read.
///
/// # Errors
///
/// If it can't be stacked.
pub fn mounted(trace: &Trace, below: &Below) -> Result<(Detached, Root), Error> {
    let stack = Overlay { lower: below.lower.clone(), ..Overlay::default() }.mount(trace)?;
    let root = stack.root()?;
    Ok((stack, root))
}

/// Finds what is copied. Blocks.
///
/// # Errors
///
/// Invalid, in Docker's words, for what isn't there.
pub fn gather(
    copying: &Copying,
    mount: Option<Detached>,
    tree: &Tree,
    context: &Context,
) -> Result<Gathered, Error> {
    let exclude = Ignore::of(copying.exclude.iter().map(String::as_str))
        .map_err(|error| Error::invalid(error.to_string()))?;
    let none = Ignore::default();
    // What the context leaves out is left out of its folders too.
    let ignore = if copying.foreign { &none } else { context.ignore() };
    let failed = |message: String| Error::invalid(format!("{} failed: {message}", copying.name));
    let (mut sources, mut several) = (Vec::new(), copying.sources.len() + copying.documents.len() > 1);
    for pattern in &copying.sources {
        if let Some(fetched) = copying.fetched.get(pattern) {
            let tree = Tree::Folder(Root::open(&fetched.folder)?);
            let missing = |_| failed(format!("{pattern} has no {}", fetched.path));
            let mut source = Source::find(&tree, &fetched.path, &exclude, &none).map_err(missing)?;
            source.fetched = !fetched.is_repository;
            sources.push(source);
            continue;
        }
        if climbs_out(pattern) {
            return Err(failed(format!("forbidden path outside the build context: {pattern} ()")));
        }
        // With --parents, what stands before `/./` is not kept.
        let above =
            copying.parents.then(|| pattern.rsplit_once("/./")).flatten().map(|(above, _)| clean(above));
        let plain = clean(pattern);
        let paths = matches::expand(tree, &plain)?;
        if paths.is_empty() {
            return Err(failed("no source files were specified".to_owned()));
        }
        several |= paths.len() > 1;
        for path in paths {
            if !tree.has(&path) || (path != "." && ignore.prunes(&path)) {
                let shown = pattern.trim_start_matches('/');
                return Err(failed(if copying.foreign {
                    format!("stat {shown}: file does not exist")
                } else {
                    format!(
                        "file not found in build context or excluded by .dockerignore: stat {shown}: file does not exist"
                    )
                }));
            }
            let found = Source::find(tree, &path, &exclude, ignore)?;
            let wild = pattern.contains(['*', '?', '[']);
            if wild && !found.is_folder && (exclude.ignores(&path) || exclude.ignores(files::base(&path))) {
                continue;
            }
            sources.push(match &above {
                _ if !copying.parents => found,
                above => found.with_parents(tree, above.as_deref().unwrap_or("").trim_start_matches('/'))?,
            });
        }
    }
    let mut sums = BTreeMap::new();
    for source in &sources {
        source.sums(copying.foreign, &mut sums)?;
    }
    for (name, content) in &copying.documents {
        sums.insert(format!("<<{name}"), Digest::of(content.as_bytes()).hex().to_owned());
    }
    let whole = Digest::of(&serde_json::to_vec(&sums).unwrap_or_default());
    let kind = match sources.as_slice() {
        [one] if copying.documents.is_empty() => {
            if one.is_folder {
                "dir"
            } else {
                "file"
            }
        }
        [] if copying.documents.len() == 1 => "file",
        _ => "multi",
    };
    Ok(Gathered { sources, files: sums, shown: format!("{kind}:{}", whole.hex()), several, _mount: mount })
}

/// Whether a path leads above where it begins, by its text.
fn climbs_out(path: &str) -> bool {
    let mut depth = 0_i32;
    path.split('/').any(|part| {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth < 0
    })
}

/// Writes what was gathered onto a stack, and makes a layer of it; `None` if nothing changed. Blocks.
///
/// # Errors
///
/// Whatever can't be written.
pub fn put(
    engine: &Engine,
    trace: &Trace,
    lease: &images::Lease,
    context: &Context,
    below: &Below,
    copying: &Copying,
    gathered: &Gathered,
) -> Result<Option<Made>, Error> {
    let newest = gathered.sources.iter().map(Source::newest).max().unwrap_or(0);
    let stamp = copying.latest.map_or(newest, |latest| newest.min(latest));
    // With --link it is made as if nothing was there, and so fits on any layers.
    let lower = if copying.link { &[] } else { below.lower.as_slice() };
    change(engine, trace, lease, context, below, lower, stamp, |root| write(root, copying, gathered))
}

/// Makes the folder of WORKDIR, if it isn't there. Blocks.
///
/// # Errors
///
/// Whatever can't be written.
pub fn make_folder(
    engine: &Engine,
    trace: &Trace,
    lease: &images::Lease,
    context: &Context,
    below: &Below,
    folder: &str,
    stamp: u64,
) -> Result<Option<Made>, Error> {
    if !below.lower.is_empty() {
        let (_mount, root) = mounted(trace, below)?;
        if root.resolve(Path::new(folder)).is_ok_and(|place| place.is_dir().unwrap_or(false)) {
            return Ok(None);
        }
    }
    change(engine, trace, lease, context, below, &below.lower, stamp, |root| {
        folders(root, Path::new(folder))?;
        Ok((PathBuf::from(folder), None))
    })
}

/// Makes a folder, and those above it. A file in the way is told by its name.
fn folders(root: &Root, path: &Path) -> Result<(), Error> {
    let made = root.create_dir_all(path, 0o755);
    if made.as_ref().is_ok_and(|place| place.is_dir().unwrap_or(false)) {
        return Ok(());
    }
    let is_file = |path: &&Path| root.resolve(path).is_ok_and(|place| !place.is_dir().unwrap_or(true));
    if let Some(file) = path.ancestors().find(is_file) {
        return Err(Error::invalid(format!(
            "cannot make the folder {}: {} is not a directory (ENOTDIR): take another path, or remove that \
             file in a step before this one",
            path.display(),
            file.display()
        )));
    }
    made.map(drop).map_err(|error| Error::of(Kind::Invalid, &error))
}

/// Does `work` on a stack that takes changes, and makes a layer of them. The folders on the way to the
/// place that `work` returns get the time `stamp`, so that the same input makes the same layer; what it wants
/// written beneath is written when the stack is gone. `lower` are the layers that `work` sees, the uppermost first.
#[expect(clippy::too_many_arguments, reason = "where it is done, on what, and what")]
fn change<'a>(
    engine: &Engine,
    trace: &Trace,
    lease: &images::Lease,
    context: &Context,
    below: &Below,
    lower: &[PathBuf],
    stamp: u64,
    work: impl FnOnce(&Root) -> Result<(PathBuf, Option<Beneath<'a>>), Error>,
) -> Result<Option<Made>, Error> {
    let scratch = context.scratch()?;
    let (upper, own) = (scratch.join("upper"), scratch.join("work"));
    let mut lower = lower.to_vec();
    fs::create_dir(&upper)?;
    fs::create_dir(&own)?;
    if lower.is_empty() {
        lower.push(scratch.join("empty"));
        fs::create_dir(scratch.join("empty"))?;
    }
    {
        let stack = Overlay { lower: lower.clone(), upper: Some((upper.clone(), own)), volatile: true };
        let mount = stack.mount(trace)?;
        let (place, beneath) = work(&mount.root()?)?;
        drop(mount);
        if let Some(beneath) = beneath {
            beneath.write(&Root::open(&upper)?)?;
        }
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(stamp);
        let mut folder = upper.clone();
        for part in place.strip_prefix("/").unwrap_or(&place) {
            folder.push(part);
            if folder.symlink_metadata().is_ok_and(|there| there.is_dir()) {
                File::open(&folder)?.set_modified(time)?;
            }
        }
    }
    let changed = Changed {
        upper: &upper,
        lower: &lower,
        below: &below.diff_ids,
        latest: None,
        mounts: &[],
        take: true,
    };
    let made = engine.images.commit_changes(trace, lease, changed)?;
    let _ = fs::remove_dir_all(&scratch);
    Ok(made)
}

/// Writes all sources below a root; returns the folder that they went to, and what is still to be written there.
fn write<'a>(
    root: &Root,
    copying: &Copying,
    gathered: &'a Gathered,
) -> Result<(PathBuf, Option<Beneath<'a>>), Error> {
    let destination = clean(&copying.destination);
    let there = root.resolve(Path::new(&destination)).ok();
    let is_folder = there.map(|place| place.is_dir()).transpose()?.unwrap_or(false);
    let slash = copying.destination.ends_with('/') || copying.destination.ends_with("/.");
    let any_folder = gathered.sources.iter().any(|source| source.is_folder);
    if gathered.several && !slash && !is_folder {
        return Err(Error::invalid(format!(
            "When using {} with more than one source file, the destination must be a directory and end with a /",
            copying.name
        )));
    }
    let (mut plain, mut archives) = (Vec::new(), Vec::new());
    for source in &gathered.sources {
        let file = if copying.unpack.unwrap_or(!source.fetched) { source.file()? } else { None };
        match file {
            Some(file) if is_archive(file.clone())? => archives.push(file),
            _ => plain.push(source),
        }
    }
    // What an archive holds goes into the destination, which is a folder then.
    let into =
        slash || is_folder || any_folder || copying.parents || gathered.several || !archives.is_empty();
    let folder = if into { destination.clone() } else { clean(&format!("{destination}/..")) };
    folders(root, Path::new(&folder))?;
    let folder = root.follow(Path::new(&folder))?;
    let owner = match copying.owner.as_str() {
        "" => None,
        user => Some(glassdock_runtime::user_numbers(root, user).map_err(Error::invalid)?),
    };
    let looks =
        Looks { owner, mode: copying.mode.clone(), latest: copying.latest, keep_owner: copying.foreign };
    let name = |path: &str| {
        let own = if into { files::base(path) } else { files::base(&destination) };
        folder.join(own)
    };
    let beneath = match gathered.sources.as_slice() {
        // Of several sources a later one may replace what an earlier one brought.
        [only] if copying.documents.is_empty() && !copying.parents && only.is_folder => {
            Some(Beneath::of(only, root, &folder, &looks)?)
        }
        _ => None,
    };
    let none = HashSet::new();
    let otherwise = beneath.as_ref().map_or(&none, |beneath| &beneath.entries);
    let descriptor = || Ok::<_, Error>(root.resolve(Path::new("/"))?.into());
    pass(descriptor()?, |out| {
        for source in plain {
            let to = match (source.is_folder, copying.parents) {
                (true, false) => folder.clone(),
                (_, true) => {
                    source.archive_parents(&folder, &looks, out)?;
                    folder.join(&source.kept)
                }
                (false, false) => name(&source.path),
            };
            source.archive(&to, &looks, otherwise, out)?;
        }
        for (path, content) in &copying.documents {
            let mut header = tar::Header::new_gnu();
            header.set_mode(looks.mode.as_ref().map_or(0o644, |mode| mode.of(0o644, false)));
            let (uid, gid) = looks.owner.unwrap_or((0, 0));
            header.set_uid(u64::from(uid));
            header.set_gid(u64::from(gid));
            header.set_size(content.len() as u64);
            let to = name(path);
            out.append_data(&mut header, to.strip_prefix("/").unwrap_or(&to), content.as_bytes())?;
        }
        Ok(())
    })?;
    for archive in archives {
        let target = Target::new(folder.as_os_str().as_bytes(), false, owner)?;
        layer::extract(descriptor()?, &target, layer::decompressed(archive)?, Limits::default())?;
    }
    Ok((folder, beneath))
}

/// Writes entries of an archive, and unpacks them below a root as they come.
///
/// # Errors
///
/// Those of writing and unpacking.
pub(super) fn pass(
    root: OwnedFd,
    write: impl FnOnce(&mut tar::Builder<&mut dyn Write>) -> io::Result<()> + Send,
) -> Result<(), Error> {
    let (reader, writer) = io::pipe()?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| -> io::Result<()> {
            let mut buffer = BufWriter::with_capacity(128 * 1024, writer);
            let out: &mut dyn Write = &mut buffer;
            let mut archive = tar::Builder::new(out);
            write(&mut archive)?;
            archive.finish()?;
            drop(archive);
            buffer.flush()
        });
        // Named from the root on, so that a link may say whatever it says: it is only followed inside.
        let target = Target::new(b"/", true, None)?;
        let taken = layer::extract(root, &target, io::BufReader::new(reader), Limits::default());
        match sent.join() {
            Ok(Err(error)) if taken.is_ok() => return Err(Error::from(error)),
            Err(_) => return Err(Error::internal("the archive of a copy broke off: a defect of the engine")),
            _ => {}
        }
        taken.map(drop).map_err(Error::from)
    })
}

/// Whether a file is an archive that ADD unpacks.
pub(super) fn is_archive(file: impl Read) -> Result<bool, Error> {
    let mut block = Vec::new();
    let read = layer::decompressed(file)
        .and_then(|plain| plain.take(512).read_to_end(&mut block).map_err(layer::Error::Read));
    // What can't be decompressed is no archive: it is copied as it is.
    Ok(read.is_ok() && block.get(257..262) == Some(b"ustar"))
}
