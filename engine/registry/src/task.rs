//! Tasks: work that goes on beside what asks for it.
//!
//! They are tokio's. But tokio's part of a task is compiled again for each kind of future and of
//! closure that it is given, some thirty functions each time, and the engine has a hundred kinds: a
//! twentieth of its code. Here what is given is boxed first, so that there is one kind of each.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::{JoinError, JoinHandle};

/// What a task gives, whatever it is.
type Given = Box<dyn Any + Send>;

/// A task that was begun. Awaited it gives what the task gives, or that the task panicked or was
/// aborted. Let go of, the task goes on.
pub struct Task<T> {
    handle: JoinHandle<Given>,
    gives: PhantomData<fn() -> T>,
}

/// Begins a task that runs a future.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    let future = async move { Box::new(future.await) as Given };
    Task { handle: spawn_boxed(Box::pin(future)), gives: PhantomData }
}

/// Begins work that blocks (files, a database, the processor) on a thread for that. It can't be
/// aborted once it runs.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    Task { handle: spawn_blocking_boxed(Box::new(move || Box::new(work()))), gives: PhantomData }
}

/// Does work that blocks on a thread for that, and gives what it gives; `None` if it panicked. It goes
/// on when nobody waits for it any more.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    spawn_blocking(work).await.ok()
}

#[inline(never)]
fn spawn_boxed(future: Pin<Box<dyn Future<Output = Given> + Send>>) -> JoinHandle<Given> {
    tokio::spawn(future)
}

#[inline(never)]
fn spawn_blocking_boxed(work: Box<dyn FnOnce() -> Given + Send>) -> JoinHandle<Given> {
    tokio::task::spawn_blocking(work)
}

impl<T> Task<T> {
    /// Ends the task at its next point of waiting, if it runs a future.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let given = ready!(Pin::new(&mut self.handle).poll(context))?;
        match given.downcast() {
            Ok(given) => Poll::Ready(Ok(*given)),
            Err(_) => unreachable!("a task gives what its future or its closure gives"),
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_gives_what_it_was_given() {
        assert_eq!(spawn(async { "a future" }).await.expect("ends"), "a future");
        assert_eq!(spawn_blocking(|| vec![1, 2]).await.expect("ends"), [1, 2]);
        assert_eq!(run(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn a_panic_stays_in_its_task() {
        assert!(spawn(async { panic!("on purpose") }).await.is_err_and(|error| error.is_panic()));
        assert_eq!(run(|| panic!("on purpose")).await, None::<()>);
    }

    #[tokio::test]
    async fn a_task_that_waits_can_be_ended() {
        let waits = spawn(std::future::pending::<()>());
        assert!(!waits.is_finished());
        waits.abort();
        assert!(waits.await.is_err_and(|error| error.is_cancelled()));
    }
}
