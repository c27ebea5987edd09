//! `inspect`, of one kind of thing or of whatever has the name.

use serde_json::Value;

use crate::client::encode;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::json::indent;
use crate::show::output::complain;
use crate::show::template::{Mode, Template};
use crate::show::typed;
use crate::words::Args;

/// Kinds in the order in which a bare name is looked up.
const KINDS: &[&str] = &["container", "image", "network", "volume"];

pub(crate) async fn inspect(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let kind = match args.spec.name() {
        "inspect" => args.text("type"),
        name => name.split(' ').next().unwrap_or_default(),
    };
    match kind {
        "" | "container" | "image" | "network" | "volume" | "config" | "node" | "plugin" | "secret"
        | "service" | "task" => {}
        other => {
            let values = "\"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"";
            return Err(Failure::say(format!(
                "unknown type: {}: must be one of {values}",
                crate::words::check::quote(other)
            )));
        }
    }
    let format = args.text("format");
    let template = match format {
        "" | "json" => None,
        given => Some(
            Template::parse("", given)
                .map_err(|error| Failure::new(64, format!("template parsing error: {error}")))?,
        ),
    };
    let mut texts: Vec<String> = Vec::new();
    let mut failures = Vec::new();
    for name in &args.operands {
        match find(cx, kind, name, args).await {
            Ok(text) => match &template {
                Some(template) => {
                    let value: Value =
                        serde_json::from_str(&text).map_err(|error| Failure::say(error.to_string()))?;
                    match filled(template, value, args.spec.name()) {
                        Ok(shown) => cx.out.line(shown),
                        Err(error) => {
                            cx.out.line("");
                            return Err(Failure::say(format!("template parsing error: {error}")));
                        }
                    }
                }
                None => texts.push(text),
            },
            Err(failure) => failures.push(failure.message),
        }
    }
    match &template {
        Some(_) => {
            if failures.len() == args.operands.len() {
                cx.out.line("");
            }
        }
        None if format == "json" => {
            if texts.is_empty() {
                cx.out.line("[]");
            } else {
                cx.out.line(format!("[{}]", texts.join(",")));
            }
        }
        None => cx.out.line(indent(&format!("[{}]", texts.join(",")), "", "    ")),
    }
    super::gather(failures)
}

/// A template with a thing of the API's types, or else with its JSON; `volume inspect` never sees that.
fn filled(template: &Template, value: Value, command: &str) -> Result<String, String> {
    let typed = typed::completed(kind_of(&value), value.clone());
    if command == "volume inspect" {
        return template
            .execute(&typed, Mode::Struct)
            .or_else(|_| template.execute(&typed, Mode::Typed("volume.Volume")));
    }
    template.execute(&typed, Mode::Struct).or_else(|_| template.execute(&value, Mode::Map))
}

/// What a thing is, by what only it has.
fn kind_of(value: &Value) -> &'static str {
    let has = |name| value.get(name).is_some();
    match () {
        () if has("HostConfig") => "container",
        () if has("RootFS") => "image",
        () if has("IPAM") => "network",
        () if has("Mountpoint") => "volume",
        () => "",
    }
}

/// The thing's JSON as the daemon wrote it.
async fn find(cx: &mut Context, kind: &str, name: &str, args: &Args) -> Result<String, Failure> {
    if name.trim().is_empty() && kind != "image" {
        let what = if kind.is_empty() { "container" } else { kind };
        return Err(Failure::say(format!("invalid {what} name or ID: value is empty")));
    }
    if !kind.is_empty() {
        return one(cx, kind, name, args).await;
    }
    for kind in KINDS {
        match one(cx, kind, name, args).await {
            Ok(text) => return Ok(text),
            Err(failure) if failure.is_not_found() || failure.api == Some(400) => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::say(format!("Error: No such object: {name}")))
}

async fn one(cx: &mut Context, kind: &str, name: &str, args: &Args) -> Result<String, Failure> {
    let name = encode(name);
    let path = match kind {
        "container" if args.is("size") => format!("/containers/{name}/json?size=1"),
        "container" => format!("/containers/{name}/json"),
        "image" => {
            let path = format!("/images/{name}/json");
            match args.text("platform") {
                "" => path,
                platform => {
                    crate::client::with_query(&path, &[("platform", &super::pull::platform_json(platform)?)])
                }
            }
        }
        "network" if args.is("verbose") => format!("/networks/{name}?verbose=true"),
        "network" => format!("/networks/{name}"),
        "volume" => format!("/volumes/{name}"),
        "plugin" => format!("/plugins/{name}/json"),
        other => format!("/{other}s/{name}"),
    };
    let bytes = cx.client.get(&path).await?;
    if kind != "container" && args.spec.name() == "inspect" && args.is("size") {
        complain(format!("WARNING: --size ignored for {kind}"));
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_may_ask_for_what_is_not_set() {
        let show = |format: &str, value: &Value| {
            filled(&Template::parse("", format).expect("a template"), value.clone(), "inspect")
        };
        let image = json!({"RootFS": {}, "Config": {"Cmd": ["sh"]}});
        let format = "{{json .Config.Entrypoint}}|{{json .Config.Cmd}}|{{.Config.User}}|{{range .Config.OnBuild}}x{{end}}";
        assert_eq!(show(format, &image).expect("shown"), r#"null|["sh"]||"#);
        let format = "{{.Config.Entrypoint}}|{{.Config.Labels}}|{{.Config.Healthcheck}}";
        assert_eq!(show(format, &image).expect("shown"), "[]|map[]|<nil>");
        assert!(show("{{.Config.Nope}}", &image).is_err());
        assert!(show("{{.Config.User}}", &json!({"Config": {}})).is_err(), "no thing of a known kind");
        let container = json!({
            "Id": "a", "State": {"Status": "created"}, "HostConfig": {"Binds": null, "Dns": null, "LogConfig": {"Type": "t", "Config": {}}},
            "Config": {"Image": "i", "Labels": {"Capital": "1"}, "Healthcheck": {"Test": ["NONE"], "Interval": 90_000_000_000_i64}},
            "GraphDriver": {"Data": {"UpperDir": "/u"}},
        });
        for (format, expected) in [
            (
                "{{.HostConfig.Binds}} {{.HostConfig.Init}} {{.State.Health}} {{.SizeRw}}",
                "[] <nil> <nil> <nil>",
            ),
            ("{{.Config.Labels}} {{.GraphDriver.Data}}", "map[Capital:1] map[UpperDir:/u]"),
            ("{{.Config.Labels.x}}|{{index .Config.Labels \"x\"}}|", "<no value>||"),
            ("{{.Config.Healthcheck}} {{.Config.Healthcheck.Interval}}", "{[NONE] 1m30s 0s 0s 0s 0} 1m30s"),
            ("{{with .State.Health}}x{{end}}{{if .Config.Shell}}y{{end}}", ""),
            // Go's struct calls these ID and DNS: the template is one for JSON then.
            ("{{.Id}} {{.HostConfig.Binds}}", "a <no value>"),
            ("{{.HostConfig.Dns}}", "<no value>"),
        ] {
            assert_eq!(show(format, &container).expect(format), expected, "{format}");
        }
    }
}
