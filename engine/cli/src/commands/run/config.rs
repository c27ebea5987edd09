//! Flags into the body of `POST /containers/create`: what the user typed, then what
//! it means to the API.

use serde_json::{Map, Value, json};

use super::{env, mounts, network, ports, resources, security};
use crate::term;
use crate::words::Args;
use crate::words::check;

/// A container to make, and what `run` must know of it.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The request's body.
    pub body: Value,
    pub tty: bool,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    /// Whether the container is removed at its end.
    pub remove: bool,
}

impl Spec {
    /// Nothing attached: `run -d`.
    pub(crate) fn detach(&mut self) {
        (self.attach_stdin, self.attach_stdout, self.attach_stderr) = (false, false, false);
        for name in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"] {
            self.body[name] = false.into();
        }
    }
}

/// Reads the flags.
///
/// # Errors
///
/// What does not go together or can't be read, in Docker's words.
pub(crate) fn read(args: &Args, attaches: bool) -> Result<Spec, String> {
    let given = |stream: &str| args.all("attach").any(|name| name.eq_ignore_ascii_case(stream));
    let all = !args.changed("attach");
    let interactive = args.is("interactive");
    let tty = args.is("tty");
    let attach_stdin = given("stdin") || interactive && (attaches || all || given("stdin"));
    let (attach_stdout, attach_stderr) = (all || given("stdout"), all || given("stderr"));
    let host = host_config(args)?;
    let remove = args.is("rm");
    if remove
        && host
            .pointer("/RestartPolicy/Name")
            .and_then(Value::as_str)
            .is_some_and(|name| !matches!(name, "" | "no"))
    {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    let (exposed, bindings) = ports::read(args)?;
    let (anonymous, binds) = mounts::volumes(args)?;
    let mut body = json!({
        "Hostname": args.text("hostname"),
        "Domainname": args.text("domainname"),
        "User": args.text("user"),
        "AttachStdin": attach_stdin,
        "AttachStdout": attach_stdout,
        "AttachStderr": attach_stderr,
        "ExposedPorts": exposed,
        "Tty": tty,
        "OpenStdin": interactive,
        "StdinOnce": interactive && attach_stdin,
        "Env": env::environment(args)?,
        "Cmd": args.operands.get(1..).filter(|command| !command.is_empty()),
        "Image": args.operand(0),
        "Volumes": anonymous,
        "WorkingDir": args.text("workdir"),
        "Entrypoint": args.changed("entrypoint").then(|| vec![args.text("entrypoint")]),
        "Labels": env::labels(args)?,
        "HostConfig": host,
        "NetworkingConfig": network::read(args)?,
    });
    body["HostConfig"]["PortBindings"] = bindings;
    body["HostConfig"]["Binds"] = or_null(binds);
    if let Some(health) = health(args)? {
        body["Healthcheck"] = health;
    }
    if args.changed("mac-address") {
        body["MacAddress"] = args.text("mac-address").into();
    }
    if args.changed("stop-signal") {
        body["StopSignal"] = args.text("stop-signal").into();
    }
    if let Some(seconds) = args.number("stop-timeout") {
        body["StopTimeout"] = seconds.into();
    }
    Ok(Spec { body, tty, attach_stdin, attach_stdout, attach_stderr, remove })
}

fn host_config(args: &Args) -> Result<Value, String> {
    let size = if args.is("tty") { term::size(std::io::stdout()) } else { None };
    let (columns, rows) = size.unwrap_or((0, 0));
    let (added, dropped) = security::capabilities(args);
    let mut host = json!({
        "ContainerIDFile": args.text("cidfile"),
        "LogConfig": log_config(args)?,
        "NetworkMode": network::mode(args),
        "RestartPolicy": restart_policy(args.text("restart"))?,
        "AutoRemove": args.is("rm"),
        "VolumeDriver": args.text("volume-driver"),
        "VolumesFrom": or_null(args.list("volumes-from")),
        "ConsoleSize": [rows, columns],
        "Annotations": env::pairs(args.all("annotation")),
        "CapAdd": or_null(added),
        "CapDrop": or_null(dropped),
        "CgroupnsMode": checked(args, "cgroupns", "CGROUP", |mode| matches!(mode, "" | "private" | "host"))?,
        "Dns": args.list("dns"),
        "DnsOptions": args.all("dns-option").chain(args.all("dns-opt")).collect::<Vec<_>>(),
        "DnsSearch": args.list("dns-search"),
        "ExtraHosts": args.all("add-host").filter_map(|host| check::add_host(host).ok()).collect::<Vec<_>>(),
        "GroupAdd": args.list("group-add"),
        "IpcMode": args.text("ipc"),
        "Links": Some(args.all("link").map(link).collect::<Vec<_>>()).filter(|links| !links.is_empty()),
        "OomScoreAdj": args.number("oom-score-adj").unwrap_or(0),
        "PidMode": checked(args, "pid", "PID", |mode| mode.is_empty() || mode == "host" || is_container(mode))?,
        "Privileged": args.is("privileged"),
        "PublishAllPorts": args.is("publish-all"),
        "ReadonlyRootfs": args.is("read-only"),
        "UTSMode": checked(args, "uts", "UTS", |mode| matches!(mode, "" | "host"))?,
        "UsernsMode": checked(args, "userns", "USER", |mode| matches!(mode, "" | "host"))?,
        "ShmSize": args.bytes("shm-size").unwrap_or(0),
        "Runtime": args.text("runtime"),
        "Isolation": args.text("isolation"),
        "StorageOpt": env::pairs(args.all("storage-opt")),
        "Sysctls": env::pairs(args.all("sysctl")),
        "Tmpfs": mounts::tmpfs(args),
        "Mounts": mounts::mounts(args)?,
    });
    if args.changed("init") {
        host["Init"] = args.is("init").into();
    }
    security::add(args, &mut host)?;
    resources::add(args, &mut host)?;
    Ok(host)
}

/// A list as the API's client has it: none is `null`.
pub(crate) fn or_null(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}

fn is_container(mode: &str) -> bool {
    mode.strip_prefix("container:").is_some_and(|name| !name.is_empty())
}

fn checked<'a>(
    args: &'a Args,
    name: &str,
    kind: &str,
    fits: impl Fn(&str) -> bool,
) -> Result<&'a str, String> {
    let mode = args.text(name);
    if fits(mode) { Ok(mode) } else { Err(format!("--{name}: invalid {kind} mode")) }
}

/// `web` is a link named as its container is.
fn link(link: &str) -> String {
    if link.contains(':') { link.to_owned() } else { format!("{link}:{link}") }
}

fn log_config(args: &Args) -> Result<Value, String> {
    let driver = args.text("log-driver");
    let options = env::pairs(args.all("log-opt"));
    if driver == "none" && options.as_object().is_some_and(|options| !options.is_empty()) {
        return Err(format!("invalid logging opts for driver {driver}"));
    }
    Ok(json!({"Type": driver, "Config": options}))
}

/// `on-failure:3` as the API has it.
pub(crate) fn restart_policy(text: &str) -> Result<Value, String> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    if count.is_some() && name.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let count = match count {
        None => 0,
        Some(count) => count.parse::<i64>().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(json!({"Name": if name.is_empty() { "no" } else { name }, "MaximumRetryCount": count}))
}

fn health(args: &Args) -> Result<Option<Value>, String> {
    const FLAGS: &[&str] = &[
        "health-cmd",
        "health-interval",
        "health-timeout",
        "health-start-period",
        "health-start-interval",
        "health-retries",
    ];
    let given = FLAGS.iter().any(|flag| args.changed(flag));
    if args.is("no-healthcheck") {
        if given {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(json!({"Test": ["NONE"]})));
    }
    if !given {
        return Ok(None);
    }
    let mut health = Map::new();
    if args.changed("health-cmd") {
        health.insert("Test".to_owned(), json!(["CMD-SHELL", args.text("health-cmd")]));
    }
    for (flag, name) in [
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
    ] {
        let Some(value) = args.last(flag) else { continue };
        let nanoseconds = check::duration_ns(value)?;
        if nanoseconds < 0 {
            return Err(format!("--{flag} cannot be negative"));
        }
        health.insert(name.to_owned(), nanoseconds.into());
    }
    if let Some(retries) = args.number("health-retries") {
        if retries < 0 {
            return Err("--health-retries cannot be negative".to_owned());
        }
        health.insert("Retries".to_owned(), retries.into());
    }
    Ok(Some(Value::Object(health)))
}
