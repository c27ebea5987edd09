//! `login` and `logout`.

use std::io::{Read, Write};

use serde_json::json;

use super::text;
use crate::config::credentials::{self, Credentials, HUB, key};
use crate::context::Context;
use crate::failure::Failure;
use crate::show::output::complain;
use crate::term;
use crate::words::Args;

pub(crate) async fn login(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let key = key(args.operand(0));
    let mut password = args.text("password").to_owned();
    if args.changed("password") {
        if args.is("password-stdin") {
            return Err(Failure::say(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let mut user = args.text("username").to_owned();
    if args.is("password-stdin") {
        if user.is_empty() {
            return Err(Failure::say("the --password-stdin option requires --username to be set"));
        }
        std::io::stdin().read_to_string(&mut password).map_err(|error| Failure::say(error.to_string()))?;
        password = password.trim_end_matches(['\r', '\n']).to_owned();
    }
    if user.is_empty()
        && password.is_empty()
        && let Some(kept) = credentials::load(&mut cx.config, &key)
        && !kept.user.is_empty()
    {
        cx.out.line("Authenticating with existing credentials...");
        cx.out.flush()?;
        if check(cx, &key, kept).await.is_ok() {
            return Ok(());
        }
    }
    if user.is_empty() || password.is_empty() {
        if !term::stdin_is_terminal() {
            return Err(Failure::say("Error: Cannot perform an interactive login from a non TTY device"));
        }
        if user.is_empty() {
            user = ask("Username: ")?;
        }
        if user.is_empty() {
            return Err(Failure::say("username is required"));
        }
        complain_without_line("Password: ");
        password = term::raw::read_secret().map_err(|error| Failure::say(error.to_string()))?;
        if password.is_empty() {
            return Err(Failure::say("password is required"));
        }
    }
    check(cx, &key, Credentials { user, password, token: String::new() }).await
}

/// Asks the daemon whether the registry takes them, and keeps them if so.
async fn check(cx: &mut Context, key: &str, mut given: Credentials) -> Result<(), Failure> {
    let body = json!({"username": given.user, "password": given.password, "identitytoken": given.token, "serveraddress": key});
    let answer = cx.client.post_json("/auth", Some(&body)).await?;
    let token = text(&answer, "IdentityToken");
    if !token.is_empty() {
        given.password.clear();
        given.token = token.to_owned();
    }
    if credentials::in_file(&mut cx.config, key) {
        complain(format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            cx.config.path().display()
        ));
    }
    credentials::store(&mut cx.config, key, &given)?;
    let status = text(&answer, "Status");
    if !status.is_empty() {
        cx.out.line(status);
    }
    Ok(())
}

fn ask(question: &str) -> Result<String, Failure> {
    complain_without_line(question);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::say(error.to_string()))?;
    Ok(line.trim().to_owned())
}

fn complain_without_line(text: &str) {
    crate::show::output::error_bytes(text.as_bytes());
    let _ = std::io::stderr().flush();
}

pub(crate) fn logout(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    let key = key(args.operand(0));
    let shown = if key == HUB { HUB } else { key.as_str() };
    cx.out.line(format!("Removing login credentials for {shown}"));
    if let Err(failure) = credentials::erase(&mut cx.config, &key) {
        complain(format!("WARNING: could not erase credentials:\n{}: {}", key, failure.message));
    }
    Ok(())
}
