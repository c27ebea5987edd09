//! Images as files: `save`, `load`, `import`; and containers: `export`, `commit`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use http::{Method, Response};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{container_path, reference, text};
use crate::client::messages::{Lines, Screen, next_data, show};
use crate::client::with_query;
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::show::output::write_failure;
use crate::term;
use crate::words::Args;

pub(crate) async fn save(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let output = check_output(args.text("output"), "save")?;
    let platform = match args.text("platform") {
        "" => String::new(),
        given => super::pull::platform_json(given)?,
    };
    let mut pairs: Vec<(&str, &str)> = args.operands.iter().map(|name| ("names", name.as_str())).collect();
    pairs.push(("platform", &platform));
    let response = cx.client.send(Method::GET, &with_query("/images/get", &pairs), None, &[]).await?;
    receive(response, output).await
}

pub(crate) async fn export(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let output = check_output(args.text("output"), "export")?;
    let response =
        cx.client.send(Method::GET, &container_path(args.operand(0), "/export")?, None, &[]).await?;
    receive(response, output).await
}

/// The file to write, or standard output where that is no terminal.
fn check_output<'a>(path: &'a str, command: &str) -> Result<Option<&'a Path>, Failure> {
    if path.is_empty() {
        if term::stdout_is_terminal() {
            return Err(Failure::say("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
        }
        return Ok(None);
    }
    let file = Path::new(path);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        let what = if command == "save" { "image" } else { "container" };
        return Err(Failure::say(format!(
            "failed to {command} {what}: invalid output path: stat {}: no such file or directory",
            folder.display()
        )));
    }
    Ok(Some(file))
}

/// Writes an answer to a file, which appears whole or not at all, or to standard output.
pub(crate) async fn receive(response: Response<Incoming>, output: Option<&Path>) -> Result<(), Failure> {
    let mut body = response.into_body();
    let Some(path) = output else {
        while let Some(bytes) = next_data(&mut body).await? {
            io::stdout().lock().write_all(&bytes).map_err(write_failure)?;
        }
        return io::stdout().lock().flush().map_err(write_failure);
    };
    let shown = path.display().to_string();
    if path.exists() && !path.is_file() {
        // A device or a pipe is written to as it is.
        let mut file =
            File::options().write(true).open(path).map_err(|error| file_failure("open", &shown, &error))?;
        while let Some(bytes) = next_data(&mut body).await? {
            file.write_all(&bytes).map_err(|error| file_failure("write", &shown, &error))?;
        }
        return Ok(());
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = path.with_file_name(format!(".tmp-{name}{}", std::process::id()));
    let result = async {
        let mut file = File::create(&beside).map_err(|error| file_failure("open", &shown, &error))?;
        while let Some(bytes) = next_data(&mut body).await? {
            file.write_all(&bytes).map_err(|error| file_failure("write", &shown, &error))?;
        }
        std::fs::rename(&beside, path).map_err(|error| file_failure("rename", &shown, &error))
    }
    .await;
    if result.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    result
}

pub(crate) async fn load(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let path = args.text("input");
    let input: Box<dyn Read + Send> = if path.is_empty() {
        if term::stdin_is_terminal() {
            return Err(Failure::say("requested load from stdin, but stdin is empty"));
        }
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| file_failure("open", path, &error))?)
    };
    let quiet = args.is("quiet") || !term::stdout_is_terminal();
    let platform = match args.text("platform") {
        "" => String::new(),
        given => super::pull::platform_json(given)?,
    };
    let path =
        with_query("/images/load", &[("quiet", if quiet { "1" } else { "0" }), ("platform", &platform)]);
    let headers = [("content-type", "application/x-tar".to_owned())];
    let response = cx.client.send_stream(Method::POST, &path, stream_of(input), &headers).await?;
    let is_json = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"));
    if is_json {
        return show(&mut Lines::of(response), &mut Screen::out(&mut cx.out), |_| {}).await;
    }
    let mut body = response.into_body();
    while let Some(bytes) = next_data(&mut body).await? {
        cx.out.bytes(&bytes)?;
    }
    Ok(())
}

pub(crate) async fn import(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let source = args.operand(0);
    let repository = args.operand(1);
    if !repository.is_empty() {
        reference::parse(repository)?;
    }
    let is_url =
        source.starts_with("http://") || source.starts_with("https://") || source.starts_with("git://");
    let input: Option<Box<dyn Read + Send>> = match source {
        "-" => Some(Box::new(io::stdin())),
        _ if is_url => None,
        path => Some(Box::new(File::open(path).map_err(|error| file_failure("open", path, &error))?)),
    };
    let mut pairs = vec![
        ("fromSrc", if input.is_some() { "-" } else { source }),
        ("message", args.text("message")),
        ("platform", args.text("platform")),
        ("repo", repository),
    ];
    pairs.extend(args.all("change").map(|change| ("changes", change)));
    let path = with_query("/images/create", &pairs);
    let response = match input {
        Some(input) => cx.client.send_stream(Method::POST, &path, stream_of(input), &[]).await?,
        None => cx.client.send(Method::POST, &path, None, &[]).await?,
    };
    show(&mut Lines::of(response), &mut Screen::out(&mut cx.out), |_| {}).await
}

/// A reader as a request's body, read on a thread of its own.
pub(crate) fn stream_of(
    mut input: Box<dyn Read + Send>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    std::thread::spawn(move || {
        loop {
            let mut buffer = vec![0_u8; 128 * 1024];
            let item = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    buffer.truncate(length);
                    Ok(Bytes::from(buffer))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = item.is_err();
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    channel_stream(receiver)
}

/// The receiving end of a channel as a stream.
pub(crate) fn channel_stream(
    receiver: mpsc::Receiver<io::Result<Bytes>>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
}

pub(crate) async fn commit(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let name = args.operand(1);
    let (mut repository, mut tag) = (String::new(), String::new());
    if !name.is_empty() {
        let parsed = reference::parse(name)?;
        if parsed.digest.is_some() {
            return Err(Failure::say("refusing to create a tag with a digest reference"));
        }
        let parsed = parsed.or_latest();
        repository = parsed.familiar_name();
        tag = parsed.tag.unwrap_or_default();
    }
    let container = args.operand(0);
    let mut pairs = vec![
        ("author", args.text("author")),
        ("comment", args.text("message")),
        ("container", container),
        ("repo", repository.as_str()),
        ("tag", tag.as_str()),
    ];
    if !args.is_or("pause", true) {
        pairs.push(("pause", "0"));
    }
    pairs.extend(args.all("change").map(|change| ("changes", change)));
    let answer: Value = cx.client.post_json(&with_query("/commit", &pairs), None).await?;
    cx.out.line(text(&answer, "Id"));
    Ok(())
}
