//! `pull` and `push`.

use http::Method;
use serde_json::Value;

use super::reference::Reference;
use super::{reference, text};
use crate::client::messages::{Lines, Screen, show};
use crate::client::{encode, with_query};
use crate::config::credentials;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::output::complain;
use crate::words::Args;

pub(crate) async fn pull(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut reference = reference::parse(args.operand(0))?;
    let all = args.is("all-tags");
    let quiet = args.is("quiet");
    if all && !reference.is_name_only() {
        return Err(Failure::say("tag can't be used with --all-tags/-a"));
    }
    if !all && reference.is_name_only() {
        reference = reference.or_latest();
        if !quiet {
            cx.out.line(format!("Using default tag: {}", reference.tag.as_deref().unwrap_or_default()));
            cx.out.flush()?;
        }
    }
    let mut lines = request(cx, &reference, args.text("platform")).await?;
    let mut screen = if quiet { Screen::nowhere() } else { Screen::out(&mut cx.out) };
    show(&mut lines, &mut screen, |_| {}).await?;
    let mut full = reference.full_name();
    if let Some(tag) = &reference.tag {
        full.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = &reference.digest {
        full.push_str(&format!("@{digest}"));
    }
    cx.out.line(full);
    Ok(())
}

/// The pull that `run` does for a missing image: shown on standard error.
pub(crate) async fn pull_for_run(
    cx: &mut Context,
    reference: &Reference,
    platform: &str,
    quiet: bool,
) -> Result<(), Failure> {
    let mut lines = request(cx, reference, platform).await?;
    let mut screen = if quiet { Screen::nowhere() } else { Screen::err() };
    show(&mut lines, &mut screen, |_| {}).await
}

async fn request(cx: &mut Context, reference: &Reference, platform: &str) -> Result<Lines, Failure> {
    let tag = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.as_str(),
        (None, Some(tag)) => tag.as_str(),
        (None, None) => "",
    };
    let path = with_query(
        "/images/create",
        &[("fromImage", &reference.familiar_name()), ("tag", tag), ("platform", &platform.to_lowercase())],
    );
    let headers = [("x-registry-auth", credentials::header(&mut cx.config, &reference.domain))];
    let response = cx.client.send(Method::POST, &path, None, &headers).await?;
    Ok(Lines::of(response))
}

pub(crate) async fn push(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let mut reference = reference::parse(args.operand(0))?;
    let all = args.is("all-tags");
    let quiet = args.is("quiet");
    if all && !reference.is_name_only() {
        return Err(Failure::say("tag can't be used with --all-tags/-a"));
    }
    if !all && reference.is_name_only() {
        reference = reference.or_latest();
        if !quiet {
            cx.out.line(format!("Using default tag: {}", reference.tag.as_deref().unwrap_or_default()));
            cx.out.flush()?;
        }
    }
    let platform = match args.text("platform") {
        "" => String::new(),
        given => platform_json(given)?,
    };
    let path = with_query(
        &format!("/images/{}/push", encode(&reference.familiar_name())),
        &[("tag", reference.tag.as_deref().unwrap_or_default()), ("platform", &platform)],
    );
    let headers = [("x-registry-auth", credentials::header(&mut cx.config, &reference.domain))];
    let response = cx.client.send(Method::POST, &path, None, &headers).await?;
    let mut lines = Lines::of(response);
    let mut screen = if quiet { Screen::nowhere() } else { Screen::out(&mut cx.out) };
    show(&mut lines, &mut screen, note).await?;
    if quiet {
        let tag = reference.tag.as_deref().map(|tag| format!(":{tag}")).unwrap_or_default();
        cx.out.line(format!("{}{tag}", reference.full_name()));
    }
    Ok(())
}

fn note(aux: &Value) {
    if text(aux, "ManifestPushedInsteadOfIndex") == "true" {
        complain("Not all multiplatform-content is present, only available single-platform image was pushed");
    }
}

/// Refuses one word that is neither a system nor an architecture, before anything is asked for it.
///
/// # Errors
///
/// In the words of Docker's client.
pub(crate) fn check_platform(text: &str) -> Result<(), Failure> {
    const KNOWN: [&str; 23] = [
        "aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "plan9", "solaris", "windows",
        "macos", "386", "amd64", "arm", "arm64", "i386", "x86_64", "aarch64", "armhf", "armel", "ppc64le",
        "riscv64", "s390x",
    ];
    if text.is_empty() || text.contains('/') || KNOWN.contains(&text.to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::say(format!(
        "error parsing specified platform: {}: unknown operating system or architecture: invalid argument",
        crate::words::check::quote(text)
    )))
}

/// `linux/arm64/v8` as the API takes it.
pub(crate) fn platform_json(text: &str) -> Result<String, Failure> {
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            let mut platform = serde_json::json!({"architecture": architecture, "os": os});
            if let Some(variant) = variant {
                platform["variant"] = variant.into();
            }
            Ok(platform.to_string())
        }
        _ => Err(Failure::say(format!(
            "invalid platform: {}: os[/arch[/variant]] is expected",
            crate::words::check::quote(text)
        ))),
    }
}
