//! What a build was asked for: the query of `POST /build`.

use std::collections::BTreeMap;

use glassdock_build::remote::Remote;
use glassdock_image::{Platform, Reference};
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::containers::model::{HostConfig, Ulimit};
use crate::error::Error;

/// The argument that keeps `.git` of a context that is a repository.
pub(super) const KEEP_GIT: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// A build, as its client wants it.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The names of the image.
    pub tags: Vec<Reference>,
    /// Where the context comes from, if the client doesn't send it.
    pub remote: Option<Remote>,
    /// Where the Dockerfile lies in the context.
    pub dockerfile: String,
    /// `--build-arg`; without a value: taken away.
    pub arguments: BTreeMap<String, Option<String>>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--target`; empty for the last stage.
    pub target: String,
    /// Whether the cache is asked.
    pub cache: bool,
    /// `--cache-from`: images that steps are looked for in, and nowhere else then.
    pub cache_from: Vec<String>,
    /// Whether the images of inner stages are made too, and told.
    pub stages: bool,
    /// Whether base images are pulled though they are here.
    pub pull: bool,
    /// Whether only the id is told.
    pub quiet: bool,
    /// Whether the client hears of steps by messages, instead of the classic words.
    pub steps: bool,
    /// Whether the containers of steps are removed, those of failed ones too: Docker's classic builder
    /// leaves these, BuildKit has none.
    pub remove: bool,
    /// Whether those of failed steps are removed in any case.
    pub always_remove: bool,
    /// The platform of the image.
    pub platform: Platform,
    /// How the containers of RUN stand on the host.
    pub host: HostConfig,
}

impl Wish {
    /// Reads a request's query.
    ///
    /// # Errors
    ///
    /// Invalid, for what makes no sense; unsupported, for what this builder has not.
    pub fn of(call: &Call) -> Result<Self, Error> {
        if call.query("version").is_some_and(|version| version == "2") {
            return Err(Error::unsupported(
                "this engine has no BuildKit: build with DOCKER_BUILDKIT=0, or with glassdock build",
            ));
        }
        let remote = call.query("remote").filter(|remote| !remote.is_empty()).map(|remote| {
            Remote::of_context(remote).ok_or_else(|| {
                Error::invalid(format!(
                    "remote URL could not be parsed: {remote:?} is no http, https or git URL"
                ))
            })
        });
        if call.flag("squash") {
            return Err(Error::invalid("squash is only supported with experimental mode"));
        }
        let tags = call.query_all("t").filter(|tag| !tag.is_empty()).map(|tag| {
            let reference = Reference::parse(tag)?;
            if reference.digest().is_some() {
                return Err(Error::invalid("build tag cannot contain a digest"));
            }
            Ok(reference.with_default_tag())
        });
        let platform = match call.query("platform").filter(|platform| !platform.is_empty()) {
            None => Platform::host(),
            Some(text) => crate::images::platform::named(text)?,
        };
        let dockerfile = call.query("dockerfile").filter(|path| !path.is_empty()).unwrap_or("Dockerfile");
        Ok(Self {
            remote: remote.transpose()?,
            tags: tags.collect::<Result<_, Error>>()?,
            dockerfile: dockerfile.to_owned(),
            arguments: json(call, "buildargs")?.unwrap_or_default(),
            labels: json(call, "labels")?.unwrap_or_default(),
            target: call.query("target").unwrap_or_default().to_owned(),
            cache: !call.flag("nocache"),
            cache_from: json(call, "cachefrom")?.unwrap_or_default(),
            stages: call.flag("stages"),
            pull: call.flag("pull"),
            quiet: call.flag("q"),
            steps: call.flag("steps"),
            remove: call.flag_or("rm", true),
            always_remove: call.flag("forcerm"),
            platform,
            host: host(call)?,
        })
    }
}

fn host(call: &Call) -> Result<HostConfig, Error> {
    let number = |name: &str| Ok::<_, Error>(call.number(name)?.unwrap_or(0));
    let text = |name: &str| call.query(name).unwrap_or_default().to_owned();
    let mut host = HostConfig {
        network_mode: text("networkmode"),
        shm_size: number("shmsize")?,
        ..HostConfig::default()
    };
    // One parameter a host.
    let hosts: Vec<String> =
        call.query_all("extrahosts").filter(|host| !host.is_empty()).map(str::to_owned).collect();
    host.extra_hosts = (!hosts.is_empty()).then_some(hosts);
    host.security_opt = json(call, "securityopt")?;
    let resources = &mut host.resources;
    resources.memory = number("memory")?;
    resources.memory_swap = number("memswap")?;
    resources.cpu_shares = number("cpushares")?;
    resources.cpu_period = number("cpuperiod")?;
    resources.cpu_quota = number("cpuquota")?;
    resources.cpuset_cpus = text("cpusetcpus");
    resources.cpuset_mems = text("cpusetmems");
    resources.cgroup_parent = text("cgroupparent");
    let ulimits = json::<Option<Vec<Ulimit>>>(call, "ulimits")?.flatten().unwrap_or_default();
    if call.engine.facts.cgroups.controllers().iter().any(|name| name == "pids") {
        resources.pids_limit = most_processes(&ulimits);
    }
    resources.ulimits = ulimits.into();
    Ok(host)
}

/// So many processes and threads may a command have: many more than any compiler starts, and few enough that one
/// which forks without end takes neither the machine's memory nor its process ids.
const MOST_PROCESSES: i64 = 4096;

/// How many processes a command may have. `--ulimit nproc` says otherwise, -1 without end: POST /build has no
/// word of its own for it, and the kernel holds root to no such ulimit.
fn most_processes(ulimits: &[Ulimit]) -> Option<i64> {
    match ulimits.iter().find(|ulimit| ulimit.name == "nproc") {
        Some(given) => (given.hard > 0).then_some(given.hard),
        None => Some(MOST_PROCESSES),
    }
}

/// A parameter that is JSON; `null` and nothing mean none.
fn json<T: DeserializeOwned>(call: &Call, name: &str) -> Result<Option<T>, Error> {
    match call.query(name) {
        None | Some("" | "null") => Ok(None),
        Some(text) => serde_json::from_str(text)
            .map(Some)
            .map_err(|error| Error::invalid(format!("error reading {name}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_have_a_limit_unless_a_ulimit_says_another() {
        let given = |name: &str, hard| Ulimit { name: name.to_owned(), hard, soft: 1 };
        assert_eq!(most_processes(&[]), Some(MOST_PROCESSES));
        assert_eq!(most_processes(&[given("nofile", 9)]), Some(MOST_PROCESSES));
        assert_eq!(most_processes(&[given("nproc", 20_000)]), Some(20_000));
        assert_eq!(most_processes(&[given("nproc", -1)]), None);
    }
}
