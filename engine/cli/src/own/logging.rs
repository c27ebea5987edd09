//! What a server of ours tells about itself on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Tells on standard error what `RUST_LOG` asks for, such as `glassdock=debug,warn`: levels by the
/// beginnings of modules' names, and one for all others. `usual` is what counts without it, or where
/// it can't be read.
pub(super) fn start(usual: &str) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    // `usual` is written in our own code; nothing at all is told if it were wrong.
    let filter = wanted.or_else(|| usual.parse().ok()).unwrap_or_default();
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
    tracing_subscriber::registry().with(lines).with(filter).init();
}
