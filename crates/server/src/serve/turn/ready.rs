//! Which of many sockets have something to read: a wake-up names its socket, so that ten thousand
//! quiet ones cost nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The sockets that have been woken, and the task that looks at them.
#[derive(Debug, Default)]
pub(super) struct Ready {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sockets: Vec<u32>,
    task: Option<Waker>,
}

/// Wakes for one socket.
#[derive(Debug)]
pub(super) struct SocketWaker {
    socket: u32,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Ready {
    /// A waker for `socket`, which counts as woken at once: whoever looks learns what is there.
    pub(super) fn waker(self: &Arc<Self>, socket: u32) -> Arc<SocketWaker> {
        let waker = Arc::new(SocketWaker {
            socket,
            queued: AtomicBool::new(false),
            ready: self.clone(),
        });
        waker.wake_by_ref();
        waker
    }

    /// Moves the woken sockets to `into`; pending while there are none.
    pub(super) fn poll(&self, context: &mut Context<'_>, into: &mut Vec<u32>) -> Poll<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.sockets.is_empty() {
            let same = state
                .task
                .as_ref()
                .is_some_and(|task| task.will_wake(context.waker()));
            if !same {
                state.task = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        into.clear();
        into.append(&mut state.sockets);
        Poll::Ready(())
    }
}

impl SocketWaker {
    /// From here on it can be woken again.
    pub(super) fn seen(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut state = self
                .ready
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            state.sockets.push(self.socket);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}
