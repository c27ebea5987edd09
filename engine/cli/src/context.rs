//! What every command has at hand.

use crate::client::Client;
use crate::config::Config;
use crate::show::output::Output;

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    /// The way to the daemon.
    pub client: Client,
    /// Standard output.
    pub out: Output,
    /// The user's configuration, read when it is asked for.
    pub config: Config,
    /// Whether `--trace` or `--step` write to the terminal while the command runs.
    pub watched: bool,
}
