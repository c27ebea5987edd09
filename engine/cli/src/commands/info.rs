//! `info`: the engine and its host.

use serde_json::{Value, json};

use super::{items, number, text};
use crate::client::API_VERSION;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::output::complain;
use crate::show::template::{Mode, Template};
use crate::show::units;
use crate::words::Args;

pub(crate) async fn info(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let format = match args.text("format") {
        "json" => "{{json .}}",
        given => given,
    };
    let answer = cx.client.get_json("/info").await;
    if !format.is_empty() {
        let template = Template::parse("", format)
            .map_err(|error| Failure::new(64, format!("template parsing error: {error}")))?;
        let mut data = answer?;
        data["ClientInfo"] = json!({
            "Debug": false,
            "Version": env!("CARGO_PKG_VERSION"),
            "DefaultAPIVersion": API_VERSION,
            "Os": std::env::consts::OS,
            "Arch": super::version::go_arch(),
            "Context": "default",
            "Plugins": [],
            "Warnings": null,
        });
        let shown = template.execute(&data, Mode::Typed("system.dockerInfo"));
        cx.out.line(shown.as_deref().unwrap_or_default());
        return shown.map(|_| ()).map_err(Failure::say);
    }
    cx.out.line(format!(
        "Client:\n Version:    {}\n Context:    default\n Debug Mode: false",
        env!("CARGO_PKG_VERSION")
    ));
    cx.out.line("\nServer:");
    match answer {
        Ok(info) => {
            server(cx, &info);
            cx.out.flush()?;
            for warning in items(&info, "Warnings").filter_map(Value::as_str) {
                complain(warning);
            }
            Ok(())
        }
        Err(failure) => {
            cx.out.flush()?;
            complain(&failure.message);
            complain("errors pretty printing info");
            Err(Failure::quiet(1))
        }
    }
}

fn server(cx: &mut Context, info: &Value) {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(" Containers: {}", number(info, "Containers")));
    line(format!("  Running: {}", number(info, "ContainersRunning")));
    line(format!("  Paused: {}", number(info, "ContainersPaused")));
    line(format!("  Stopped: {}", number(info, "ContainersStopped")));
    line(format!(" Images: {}", number(info, "Images")));
    let mut known = |label: &str, name: &str| {
        if !text(info, name).is_empty() {
            line(format!(" {label}: {}", text(info, name)));
        }
    };
    known("Server Version", "ServerVersion");
    known("Storage Driver", "Driver");
    for pair in items(info, "DriverStatus") {
        line(format!("  {}: {}", at(pair, 0), at(pair, 1)));
    }
    let mut known = |label: &str, name: &str| {
        if !text(info, name).is_empty() {
            line(format!(" {label}: {}", text(info, name)));
        }
    };
    known("Logging Driver", "LoggingDriver");
    known("Cgroup Driver", "CgroupDriver");
    known("Cgroup Version", "CgroupVersion");
    line(" Plugins:".to_owned());
    for (kind, always) in [("Volume", true), ("Network", true), ("Authorization", false), ("Log", true)] {
        let names: Vec<&str> = info
            .pointer(&format!("/Plugins/{kind}"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if always || !names.is_empty() {
            line(format!("  {kind}: {}", names.join(" ")));
        }
    }
    line(format!(
        " Swarm: {}",
        info.pointer("/Swarm/LocalNodeState").and_then(Value::as_str).unwrap_or("inactive")
    ));
    if let Some(runtimes) =
        info.get("Runtimes").and_then(Value::as_object).filter(|runtimes| !runtimes.is_empty())
    {
        let mut names: Vec<&str> = runtimes.keys().map(String::as_str).collect();
        names.sort_unstable();
        line(format!(" Runtimes: {}", names.join(" ")));
        line(format!(" Default Runtime: {}", text(info, "DefaultRuntime")));
    }
    if text(info, "OSType") == "linux" {
        line(format!(" Init Binary: {}", text(info, "InitBinary")));
        for (label, name) in
            [("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")]
        {
            let id = info.pointer(&format!("/{name}/ID")).and_then(Value::as_str).unwrap_or_default();
            line(format!(" {label} version: {id}"));
        }
        let options: Vec<&str> = items(info, "SecurityOptions").filter_map(Value::as_str).collect();
        if !options.is_empty() {
            line(" Security Options:".to_owned());
            for option in options {
                security(option, &mut line);
            }
        }
    }
    let mut known = |label: &str, name: &str| {
        if !text(info, name).is_empty() {
            line(format!(" {label}: {}", text(info, name)));
        }
    };
    known("Kernel Version", "KernelVersion");
    known("Operating System", "OperatingSystem");
    known("OSType", "OSType");
    known("Architecture", "Architecture");
    line(format!(" CPUs: {}", number(info, "NCPU")));
    line(format!(
        " Total Memory: {}",
        units::binary_size(info.get("MemTotal").and_then(Value::as_f64).unwrap_or(0.0))
    ));
    for (label, name) in [("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir")] {
        if !text(info, name).is_empty() {
            line(format!(" {label}: {}", text(info, name)));
        }
    }
    line(format!(" Debug Mode: {}", truth(info, "Debug")));
    for (label, name) in [("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")]
    {
        if !text(info, name).is_empty() {
            line(format!(" {label}: {}", text(info, name)));
        }
    }
    let labels: Vec<&str> = items(info, "Labels").filter_map(Value::as_str).collect();
    if !labels.is_empty() {
        line(" Labels:".to_owned());
        labels.iter().for_each(|label| line(format!("  {label}")));
    }
    line(format!(" Experimental: {}", truth(info, "ExperimentalBuild")));
    registries(info, &mut line);
    line(format!(" Live Restore Enabled: {}", truth(info, "LiveRestoreEnabled")));
    if !text(info, "ProductLicense").is_empty() {
        line(format!(" Product License: {}", text(info, "ProductLicense")));
    }
    line(String::new());
    cx.out.text(out);
}

fn at(pair: &Value, place: usize) -> &str {
    pair.get(place).and_then(Value::as_str).unwrap_or_default()
}

fn truth(info: &Value, name: &str) -> bool {
    info.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// `name=seccomp,profile=builtin` as two lines.
fn security(option: &str, line: &mut impl FnMut(String)) {
    for (place, part) in option.split(',').enumerate() {
        let (name, value) = part.split_once('=').unwrap_or(("name", part));
        match (place, name) {
            (_, "name") => line(format!("  {value}")),
            (_, "profile") => line(format!("   Profile: {value}")),
            (_, other) => line(format!("   {other}: {value}")),
        }
    }
}

fn registries(info: &Value, line: &mut impl FnMut(String)) {
    let Some(config) = info.get("RegistryConfig") else { return };
    let mut insecure: Vec<String> = config
        .get("IndexConfigs")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, index)| index.get("Secure").and_then(Value::as_bool) == Some(false))
        .map(|(name, _)| name.clone())
        .collect();
    insecure.extend(items(config, "InsecureRegistryCIDRs").filter_map(Value::as_str).map(str::to_owned));
    if !insecure.is_empty() {
        line(" Insecure Registries:".to_owned());
        insecure.into_iter().for_each(|registry| line(format!("  {registry}")));
    }
    let mirrors: Vec<&str> = items(config, "Mirrors").filter_map(Value::as_str).collect();
    if !mirrors.is_empty() {
        line(" Registry Mirrors:".to_owned());
        mirrors.into_iter().for_each(|mirror| line(format!("  {mirror}")));
    }
}
