//! Long work that Ctrl-C ends.

use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Python looks for signals this often.
const LOOK: Duration = Duration::from_millis(50);

/// How the work can be ended from outside; set by the work once it knows.
#[derive(Default)]
pub(crate) struct Stop {
    how: Mutex<How>,
}

#[derive(Default)]
enum How {
    #[default]
    NotYet,
    Known(Box<dyn Fn() + Send>),
    Wanted,
}

impl Stop {
    /// Tells how; does it at once where it is wanted already.
    pub(crate) fn by(&self, end: impl Fn() + Send + 'static) {
        let mut how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*how, How::Wanted) {
            end();
        }
        *how = How::Known(Box::new(end));
    }

    fn stop(&self) {
        let mut how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        match &*how {
            How::Known(end) => end(),
            _ => *how = How::Wanted,
        }
    }
}

/// Does the work on a thread of its own, the interpreter free for others meanwhile. A signal whose handler raises (Ctrl-C)
/// ends the work, and is what is returned once it has ended.
pub(crate) fn attended<T: Send>(py: Python<'_>, work: impl FnOnce(&Stop) -> T + Send) -> PyResult<T> {
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let (done, mut waiting) = sync_channel(1);
        let stop = &stop;
        scope.spawn(move || done.send(work(stop)));
        let mut raised = None;
        loop {
            let result;
            (result, waiting) = py.detach(move || (waiting.recv_timeout(LOOK), waiting));
            match result {
                Ok(result) => return raised.map_or(Ok(result), Err),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = py.check_signals() {
                        stop.stop();
                        raised = Some(error);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(pyo3::exceptions::PyRuntimeError::new_err(
                        "the thread that did the work has died: please report this",
                    ));
                }
            }
        }
    })
}
