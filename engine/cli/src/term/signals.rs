//! Signals that the client passes on to a container.

use glassdock_registry::task;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Signals that a person or a script sends to the client to mean the container.
const PROXIED: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (15, "TERM"),
    (18, "CONT"),
    (30, "PWR"),
];

/// The names of signals as they come in.
pub(crate) fn listen() -> mpsc::UnboundedReceiver<&'static str> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (number, name) in PROXIED {
        let Ok(mut signals) = signal(SignalKind::from_raw(*number)) else { continue };
        let sender = sender.clone();
        task::spawn(async move { while signals.recv().await.is_some() && sender.send(*name).is_ok() {} });
    }
    receiver
}

/// Changes of the terminal's size.
pub(crate) fn resizes() -> Option<Signal> {
    signal(SignalKind::window_change()).ok()
}
