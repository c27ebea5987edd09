//! `version`: the client's and the daemon's.

use serde_json::{Map, Value, json};

use super::{items, text};
use crate::client::API_VERSION;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::table::align_with;
use crate::show::template::{Mode, Template};
use crate::words::Args;

pub(crate) async fn version(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let format = match args.text("format") {
        "json" => "{{json .}}",
        given => given,
    };
    let template = if format.is_empty() {
        None
    } else {
        let parsed = Template::parse("version", format);
        Some(parsed.map_err(|error| Failure::new(64, format!("template parsing error: {error}")))?)
    };
    let answer = cx.client.get_json("/version").await;
    let client = client(cx);
    if let Some(template) = template {
        let server = answer.as_ref().ok().cloned().map_or(Value::Null, server);
        let data = json!({"Client": client, "Server": server});
        let shown = template.execute(&data, Mode::Typed("system.versionInfo"));
        cx.out.line(shown.as_deref().unwrap_or_default());
        shown.map_err(Failure::say)?;
        return answer.map(|_| ());
    }
    print_client(cx, &client);
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            cx.out.flush()?;
            return Err(failure);
        }
    };
    print_server(cx, &answer);
    Ok(())
}

fn client(cx: &Context) -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": cx.client.version(),
        "DefaultAPIVersion": API_VERSION,
        "Os": std::env::consts::OS,
        "Arch": go_arch(),
        "Context": "default",
    })
}

/// The machine's architecture in Go's words, as images have it.
pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn print_client(cx: &mut Context, client: &Value) {
    let api = text(client, "ApiVersion");
    let default = text(client, "DefaultAPIVersion");
    let api = if api == default { api.to_owned() } else { format!("{api} (downgraded from {default})") };
    let lines = format!(
        "Client:\n Version:\t{}\n API version:\t{api}\n OS/Arch:\t{}/{}\n Context:\tdefault\n",
        text(client, "Version"),
        text(client, "Os"),
        text(client, "Arch")
    );
    cx.out.text(align_with(&lines, 20, 1));
}

/// The server's answer as templates see it: without what is empty.
fn server(mut answer: Value) -> Value {
    if let Some(map) = answer.as_object_mut() {
        map.retain(|_, value| !matches!(value, Value::String(text) if text.is_empty()));
    }
    answer
}

fn print_server(cx: &mut Context, answer: &Value) {
    let platform = answer.pointer("/Platform/Name").and_then(Value::as_str).unwrap_or_default();
    let mut lines =
        if platform.is_empty() { "\nServer:\n".to_owned() } else { format!("\nServer: {platform}\n") };
    let mut components: Vec<Value> = items(answer, "Components").cloned().collect();
    if components.is_empty() {
        components.push(json!({"Name": "Engine", "Version": text(answer, "Version"), "Details": answer}));
    }
    for component in &components {
        lines.push_str(&format!(" {}:\n", text(component, "Name")));
        lines.push_str(&format!("  Version:\t{}\n", text(component, "Version")));
        let empty = Map::new();
        let details = component.get("Details").and_then(Value::as_object).unwrap_or(&empty);
        let detail = |name: &str| details.get(name).and_then(Value::as_str).unwrap_or_default();
        if text(component, "Name") == "Engine" {
            lines.push_str(&format!(
                "  API version:\t{} (minimum version {})\n",
                detail("ApiVersion"),
                detail("MinAPIVersion")
            ));
            if !detail("GoVersion").is_empty() {
                lines.push_str(&format!("  Go version:\t{}\n", detail("GoVersion")));
            }
            lines.push_str(&format!("  Git commit:\t{}\n", detail("GitCommit")));
            lines.push_str(&format!("  Built:\t{}\n", built(detail("BuildTime"))));
            lines.push_str(&format!("  OS/Arch:\t{}/{}\n", detail("Os"), detail("Arch")));
            lines.push_str(&format!("  Experimental:\t{}\n", detail("Experimental")));
            continue;
        }
        let mut names: Vec<&String> = details.keys().collect();
        names.sort_unstable();
        for name in names {
            lines.push_str(&format!("  {name}:\t{}\n", detail(name)));
        }
    }
    cx.out.text(align_with(&lines, 20, 1));
}

/// A moment as C's asctime prints it, where it is one.
fn built(time: &str) -> String {
    time.parse::<jiff::Timestamp>()
        .map_or_else(|_| time.to_owned(), |moment| moment.strftime("%a %b %e %H:%M:%S %Y").to_string())
}
