//! What the client leaves to the whole program: the commands that need a room of the engine inside.
//!
//! ```text
//!   glassdock ──► client(None) ──► a command of the daemon's ──► the socket
//!                        └───────► daemon, registry, manifest inspect,
//!                                  a socket at a name on the network ──► exec(2)
//!                                                                            │
//!   glassdock-engine ──► whole(Some(INSIDE)) ◄───────────────────────────────┘
//! ```
//!
//! A program's start costs by its size: the loader puts an address into each table of functions, and the
//! kernel copies the pages of these tables. The daemon and the registry are three quarters of them, so a
//! client without them starts a millisecond earlier. What nothing refers to the linker leaves out: that is
//! why these functions are named here, and nowhere else. And the client is linked statically (`build.rs`),
//! which is why it looks up no names.

use std::pin::Pin;

use crate::commands;
use crate::context::Context;
use crate::failure::Failure;
use crate::own;
use crate::words::Args;

/// The command of Docker's client that asks registries itself.
pub(crate) const ASKS_REGISTRIES: &str = "manifest inspect";

/// The rooms inside this program; `None` in the client, which becomes the other program for them.
pub(crate) type Rooms = Option<&'static Inside>;

/// The commands that need them.
#[derive(Debug)]
pub(crate) struct Inside {
    /// `glassdock daemon`.
    pub daemon: fn(&Args, &[String]) -> Result<(), Failure>,
    /// `glassdock registry`.
    pub registry: fn(&[String]) -> Result<(), Failure>,
    /// [`ASKS_REGISTRIES`].
    pub inspect_manifest: for<'a> fn(&'a mut Context, &'a Args) -> Waiting<'a>,
}

/// A command that is under way.
type Waiting<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// All of them.
pub(crate) static INSIDE: Inside = Inside {
    daemon: own::daemon::run,
    registry: own::registry::run,
    inspect_manifest: |cx, args| Box::pin(commands::manifest::inspect(cx, args)),
};
