//! `ContainerCreate`: a request becomes a container that can be started.
//!
//! In this order: the request is checked, the image found, its configuration
//! merged in, the name taken (that decides a race), volumes made, the bundle's
//! folders made, the record written. What was made is taken back if a later
//! step fails.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glassdock_build::change::clean;
use glassdock_trace::Trace;
use http::StatusCode;
use serde_json::json;

use super::container::Container;
use super::image;
use super::model::{CreateRequest, MountPoint, VolumeOptions};
use super::record::{Beside, MountedImage, Record};
use super::wanted::{self, Wanted};
use super::{fill, images, links, merge, names, networks, older, ports, security, sharing, warnings};
use crate::call::{ApiVersion, Call};
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::{self, Reply};
use crate::volumes::Volume;

/// `ContainerCreate`.
pub(crate) async fn create(mut call: Call) -> Reply {
    let name = match call.query("name") {
        None | Some("") => None,
        Some(name) => Some(names::parse(name)?),
    };
    let platform =
        call.query("platform").filter(|platform| !platform.is_empty() && call.version >= ApiVersion(41));
    let platform = platform.map(str::to_owned);
    let Some(mut request) =
        call.json::<Option<CreateRequest>>().await?.filter(|request| *request != CreateRequest::default())
    else {
        return Err(Error::invalid("config cannot be empty in order to create a container"));
    };
    let told = older::settle(call.version, &call.engine.facts.cgroups, &mut request)?;
    let trace = call.trace.clone();
    let made =
        call.engine.blocking(move |engine| make(engine, &trace, name, request, platform.as_deref())).await;
    let (container, mut warnings) = made?;
    warnings.extend(told);
    container.emit(&call.engine, "create", &[]);
    reply::json_with(StatusCode::CREATED, &json!({ "Id": container.id, "Warnings": warnings }))
}

fn make(
    engine: &Arc<Engine>,
    trace: &Trace,
    name: Option<String>,
    request: CreateRequest,
    platform: Option<&str>,
) -> Result<(Arc<Container>, Vec<String>), Error> {
    let found = image::find(engine, trace, &request.config.image, platform)?;
    make_of(engine, trace, name, request, found, Beside::default())
}

/// Makes a container of an image that was found, or of layers that are no image yet: a build's.
///
/// # Errors
///
/// Whatever of the request makes no sense, and what the disk says.
pub(crate) fn make_of(
    engine: &Arc<Engine>,
    trace: &Trace,
    name: Option<String>,
    request: CreateRequest,
    found: image::Found,
    beside: Beside,
) -> Result<(Arc<Container>, Vec<String>), Error> {
    let CreateRequest { mut config, mut host_config, networking_config, runtime, shallow_read_only } =
        request;
    if host_config.runtime.is_empty() {
        host_config.runtime = runtime;
    }
    merge::complete(&mut config, &found.config);
    merge::check(&config)?;
    let id = names::new_id()?;
    merge::settle(&mut host_config, &mut config, &id)?;
    sharing::settle(engine, &mut host_config)?;
    ports::requests(&config, &host_config)?;
    security::options(&host_config)?;
    security::capabilities(&host_config)?;
    let warnings = warnings::of(&mut host_config, &engine.facts);
    let taken = engine.containers.take_name(name, &id)?;
    let mut record = Record {
        id: id.clone(),
        name: taken.name.clone(),
        created: now(),
        image: found.id,
        layers: found.layers,
        beside,
        config,
        host_config,
        networks: networking_config.endpoints_config,
        shallow_read_only,
        ..Record::default()
    };
    complete_networks(engine, &mut record)?;
    check_endpoints(engine, &record)?;
    links::register(engine, &mut record)?;
    let wanted = wanted::wanted(&record)?;
    let from_others = from_others(engine, &record, &wanted)?;
    let folder = engine.containers.folder().join(&id);
    let mut undo = Undo { engine, trace, folder: None, volumes: Vec::new() };
    for wanted in wanted {
        let point = if wanted.point.kind == "image" {
            let place = images::place(&folder, &record);
            let (point, image) = images::choose(engine, trace, place, wanted)?;
            record.images.push(image);
            point
        } else {
            place(engine, trace, &record, wanted, &mut undo)?
        };
        record.mounts.push(point);
    }
    for (mut point, image) in from_others {
        if let Some(mut image) = image {
            image.stack.place = images::place(&folder, &record);
            point.source = image.stack.place.to_string_lossy().into_owned();
            record.images.push(image);
        }
        record.mounts.push(point);
    }
    record.anonymous_volumes.clone_from(&undo.volumes);
    undo.folder = Some(folder.clone());
    std::fs::create_dir(&folder)?;
    for image in &record.images {
        std::fs::create_dir_all(&image.stack.place)?;
    }
    std::fs::create_dir(folder.join("upper"))?;
    std::fs::create_dir(folder.join("work"))?;
    // The steps of a build find their image as it is.
    if !record.beside.passing {
        engine.images.layers().furnish(&folder.join("upper"), &record.layers)?;
    }
    // Whether everything can be put in the specification's words is known now rather than at the start. Devices come
    // and go: what is there counts when the container starts.
    let mut without = record.clone();
    without.host_config.resources.devices = super::sent::List::default();
    let checked = Container::new(engine.containers.folder(), without.clone());
    super::spec::of(&checked, &without, &super::spec::Shared::default())?;
    let container = engine.containers.add(taken, record)?;
    undo.keep();
    container.tell_state(trace, None, "created");
    Ok((container, warnings))
}

/// The present moment, as records and the API have it: nanoseconds, all nine digits.
#[must_use]
pub fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

/// The network of the network mode is among the networks, and each is there.
fn complete_networks(engine: &Engine, record: &mut Record) -> Result<(), Error> {
    let mode = record.host_config.network_mode.clone();
    if mode.starts_with("container:") {
        record.networks.clear();
        return Ok(());
    }
    // A client may write `default` for what the mode calls `bridge`.
    if let Some(settings) = record.networks.remove("default") {
        record.networks.entry("bridge".to_owned()).or_insert(settings);
    }
    record.networks.entry(mode).or_default();
    let mut named = std::collections::BTreeMap::new();
    for (name, settings) in std::mem::take(&mut record.networks) {
        // That a network isn't there is told by the start, as in Docker; but its name is settled now if it is.
        let name = engine.networks.find(&name).map_or(name, |network| network.name);
        named.insert(name, settings);
    }
    record.networks = named;
    Ok(())
}

/// What is asked for in each network can be had there.
fn check_endpoints(engine: &Engine, record: &Record) -> Result<(), Error> {
    for (name, settings) in &record.networks {
        let network = engine.networks.find(name).ok();
        networks::check_endpoint(name, network.as_ref(), settings).map_err(|error| {
            Error::invalid(format!("invalid config for network {name}: {}", error.message()))
        })?;
    }
    networks::endpoint_configs(record).map(drop)
}

/// The mount points that `--volumes-from` takes over, with the images of those that are such.
fn from_others(
    engine: &Engine,
    record: &Record,
    own: &[Wanted],
) -> Result<Vec<(MountPoint, Option<MountedImage>)>, Error> {
    let mut points: Vec<(MountPoint, Option<MountedImage>)> = Vec::new();
    for text in record.host_config.volumes_from.iter().flatten() {
        if text.is_empty() {
            return Err(Error::invalid("volumes-from specification cannot be an empty string"));
        }
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        if !matches!(mode, "" | "rw" | "ro" | "z" | "Z") {
            return Err(Error::invalid(format!("invalid mode: {mode}")));
        }
        let other = engine.containers.find(name).map_err(sharing::not_the_image)?;
        let (mounts, images) = other.look(|record| (record.mounts.clone(), record.images.clone()));
        for mut point in mounts {
            // What is in memory is each container's own.
            if point.kind == "tmpfs" {
                continue;
            }
            let taken = own.iter().any(|wanted| wanted.point.destination == point.destination)
                || points.iter().any(|(known, _)| known.destination == point.destination);
            if !taken {
                point.rw &= mode != "ro";
                point.mode.clear();
                let image = images.iter().find(|image| image.stack.place == Path::new(&point.source));
                points.push((point, image.cloned()));
            }
        }
    }
    Ok(points)
}

/// Makes sure that what is to be mounted is there.
fn place(
    engine: &Engine,
    trace: &Trace,
    record: &Record,
    wanted: Wanted,
    undo: &mut Undo<'_>,
) -> Result<MountPoint, Error> {
    let Wanted { point, make_source, copy, subpath } = wanted;
    let mut point = MountPoint {
        kind: point.kind.to_owned(),
        name: point.name,
        source: point.source,
        destination: point.destination,
        driver: String::new(),
        mode: point.mode,
        rw: point.rw,
        propagation: point.propagation,
    };
    if point.kind == "bind" {
        point.propagation = wanted::propagation(&point.propagation, &point.source, &engine.config.root)?;
    }
    if point.kind != "volume" {
        if make_source && !Path::new(&point.source).exists() {
            std::fs::create_dir_all(&point.source).map_err(|error| {
                Error::internal(format!("error while creating mount source path '{}': {error}", point.source))
            })?;
        }
        return Ok(point);
    }
    let driver = &record.host_config.volume_driver;
    if !matches!(driver.as_str(), "" | "local") {
        return Err(no_driver(&point.name, driver));
    }
    let anonymous = point.name.is_empty();
    let wishes = volume_wishes(record, &point.destination);
    let driver = wishes.driver_config.unwrap_or_default();
    if !matches!(driver.name.as_str(), "" | "local") {
        return Err(no_driver(&point.name, &driver.name));
    }
    let (labels, options) = (wishes.labels, driver.options);
    let (volume, new) =
        engine.volumes.create(trace, Volume { name: point.name, labels, options, ..Volume::default() })?;
    if new {
        crate::volumes::endpoints::emit(engine, "create", &volume.name);
    }
    if anonymous {
        undo.volumes.push(volume.name.clone());
    }
    let path = engine.volumes.path(&volume.name);
    let copy = copy && fill::has_something(&record.layers, &point.destination);
    // A volume with a file system of its own is mounted only where somebody looks into it.
    if copy {
        engine.volumes.while_held(trace, &[&volume.name], || {
            if subpath.is_empty() {
                return fill::fill(trace, record, &point.destination, &path);
            }
            // A part that isn't there is told by the start.
            let Ok(part) = glassdock_kernel::mount::part_of(&path, Path::new(&subpath)) else {
                return Ok(());
            };
            if !part.is_dir()? {
                return Ok(());
            }
            let part = PathBuf::from(format!("/proc/self/fd/{}", part.as_fd().as_raw_fd()));
            fill::fill(trace, record, &point.destination, &part)
        })?;
    }
    point.source = path.to_string_lossy().into_owned();
    point.name = volume.name;
    "local".clone_into(&mut point.driver);
    if point.mode.is_empty() && !anonymous {
        "z".clone_into(&mut point.mode);
    }
    Ok(point)
}

fn no_driver(volume: &str, driver: &str) -> Error {
    Error::invalid(format!(
        "create {volume}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
    ))
}

/// What `--mount` says of the volume at a place.
fn volume_wishes(record: &Record, destination: &str) -> VolumeOptions {
    let mut requests = record.host_config.mounts.iter().flatten();
    let own = requests.find(|request| clean(&request.target) == destination);
    own.and_then(|request| request.volume_options.clone()).unwrap_or_default()
}

/// Takes back what a create made, unless it came to its end.
struct Undo<'a> {
    engine: &'a Engine,
    trace: &'a Trace,
    folder: Option<PathBuf>,
    volumes: Vec<String>,
}

impl Undo<'_> {
    fn keep(&mut self) {
        self.folder = None;
        self.volumes.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // What stays here is swept up when the daemon starts the next time.
            let _ = std::fs::remove_dir_all(folder);
        }
        for volume in &self.volumes {
            let _ = self.engine.volumes.remove(self.trace, volume);
        }
    }
}
