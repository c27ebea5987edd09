//! One command is one operation of the trace, however many requests it sends:
//! each carries the operation's id, and the last says how the command ended.

use glassdock_trace::OpId;
use serde_json::json;

use crate::client::{Client, encode};

/// The operation that this command is.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Its id.
    pub id: OpId,
    /// The command as typed.
    pub command: Vec<String>,
    /// Nothing of it is to be recorded.
    pub silent: bool,
}

impl Operation {
    /// A new operation for what was typed.
    pub(crate) fn new(program: &str, argv: &[String], silent: bool) -> Self {
        let command = std::iter::once(program.to_owned()).chain(argv.iter().cloned());
        Self { id: OpId::new(), command: hide_secrets(command.collect()), silent }
    }

    /// The headers of each request.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        // A header is read whole by the daemon: a very long command is cut there.
        let mut command = encode(&json!(self.command).to_string());
        if command.len() > 8 * 1024 {
            command = encode(&json!(self.command.iter().take(2).collect::<Vec<_>>()).to_string());
        }
        let mut headers =
            vec![("x-glassdock-operation", self.id.to_string()), ("x-glassdock-command", command)];
        if self.silent {
            headers.push(("x-glassdock-trace", "off".to_owned()));
        }
        headers
    }

    /// Tells the daemon that the command is over. A daemon that is not ours, or
    /// has gone, needs no telling; nor does one that was never asked for anything, unless the
    /// operation was `opened` beforehand, to be watched.
    pub(crate) async fn end(&self, client: &mut Client, status: i32, opened: bool) {
        if opened || client.is_glassdock() {
            let path = format!("/glassdock/operations/{}/end", self.id);
            let _ = client.post(&path, Some(&json!({"status": status}))).await;
        }
    }
}

/// Secrets never enter a trace: the values behind these flags are starred out.
fn hide_secrets(mut command: Vec<String>) -> Vec<String> {
    let mut hide_next = false;
    let is_login = command.iter().any(|word| word == "login");
    for word in &mut command {
        if std::mem::take(&mut hide_next) {
            *word = "***".to_owned();
            continue;
        }
        if !is_login {
            continue;
        }
        if word == "-p" || word == "--password" {
            hide_next = true;
        } else if word.starts_with("--password=") {
            *word = "--password=***".to_owned();
        } else if word.starts_with("-p") {
            *word = "-p***".to_owned();
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_stay_out_of_the_trace() {
        let typed = ["login", "-u", "me", "-p", "secret", "--password=secret", "-psecret"].map(str::to_owned);
        let operation = Operation::new("docker", &typed, false);
        assert!(operation.command.iter().all(|word| !word.contains("secret")), "{:?}", operation.command);
    }
}
