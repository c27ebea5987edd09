//! `inspect`, of one kind of thing or of whatever has the name.

use serde_json::Value;

use crate::client::encode;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::json::indent;
use crate::show::template::{Mode, Template};
use crate::words::Args;

/// Kinds in the order in which a bare name is looked up.
const KINDS: &[&str] = &["container", "image", "network", "volume"];

pub(crate) async fn inspect(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let kind = match args.spec.name() {
        "inspect" => args.text("type"),
        name => name.split(' ').next().unwrap_or_default(),
    };
    match kind {
        "" | "container" | "image" | "network" | "volume" | "node" | "plugin" | "secret" | "service"
        | "task" => {}
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
                    let shown = template.execute(&value, Mode::Map);
                    match shown.or_else(|_| template.execute(&with_defaults(value), Mode::Map)) {
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

/// What an image's config is where nothing was set.
const DEFAULTS: [(&str, Value); 13] = [
    ("ArgsEscaped", Value::Bool(false)),
    ("Cmd", Value::Null),
    ("Entrypoint", Value::Null),
    ("Env", Value::Null),
    ("ExposedPorts", Value::Null),
    ("Healthcheck", Value::Null),
    ("Labels", Value::Null),
    ("OnBuild", Value::Null),
    ("Shell", Value::Null),
    ("StopSignal", Value::String(String::new())),
    ("User", Value::String(String::new())),
    ("Volumes", Value::Null),
    ("WorkingDir", Value::String(String::new())),
];

/// An image with all fields of its config: the daemon leaves out what is not set, and a template
/// may ask for it all the same, as in Docker.
fn with_defaults(mut value: Value) -> Value {
    let is_image = value.get("RootFS").is_some();
    if let Some(Value::Object(config)) = value.get_mut("Config").filter(|_| is_image) {
        for (name, default) in &DEFAULTS {
            config.entry(*name).or_insert_with(|| default.clone());
        }
    }
    value
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
        other => format!("/{other}s/{name}"),
    };
    let bytes = cx.client.get(&path).await?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_may_ask_an_image_for_what_is_not_set() {
        let show = |format: &str, value: &Value| {
            let template = Template::parse("", format).expect("a template");
            template.execute(&with_defaults(value.clone()), Mode::Map).map_err(|error| error.to_string())
        };
        let image = json!({"RootFS": {}, "Config": {"Cmd": ["sh"]}});
        let format = "{{json .Config.Entrypoint}}|{{json .Config.Cmd}}|{{.Config.User}}|{{range .Config.OnBuild}}x{{end}}";
        assert_eq!(show(format, &image).expect("shown"), r#"null|["sh"]||"#);
        assert!(show("{{.Config.Nope}}", &image).is_err());
        assert!(show("{{.Config.User}}", &json!({"Config": {}})).is_err(), "only images are completed");
    }
}
