//! Work that blocks, on a thread for that.

use std::sync::{Arc, Mutex, PoisonError};

/// Does work that blocks (files, a database, the processor) on a thread for that, and gives what it
/// gives; `None` if it panicked. It goes on when nobody waits for it any more.
///
/// The runtime's part is one for all kinds of work: it is a large part, and would be compiled for
/// each of them.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let work = move || {
        let done = work();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    };
    run_boxed(Box::new(work)).await;
    result.lock().unwrap_or_else(PoisonError::into_inner).take()
}

async fn run_boxed(work: Box<dyn FnOnce() + Send>) {
    // Whoever panicked has left no result.
    let _ = tokio::task::spawn_blocking(work).await;
}
