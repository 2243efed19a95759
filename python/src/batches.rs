//! The exits of a trace, some at a time.

use crate::errors::Raise;
use crate::frame::Frame;
use pyo3::prelude::*;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use trapline_analyzer::{AnalyzerError, DataFrame, Symbols, tables};
use trapline_formats::{Damage, Trace};

/// An iterator over frames of exits. A thread reads ahead by one; it ends with the iterator.
#[pyclass(frozen, module = "trapline._native")]
pub struct ExitBatches {
    state: Mutex<State>,
}

struct State {
    frames: Option<Receiver<Item>>,
    damage: Option<Damage>,
}

/// A frame; at the end what is wrong with the tail of the trace.
enum Item {
    Frame(DataFrame),
    End(Result<Option<Damage>, AnalyzerError>),
}

impl ExitBatches {
    /// Frames of about so many rows, with these columns.
    pub(crate) fn start(
        trace: Arc<Trace>,
        symbols: Arc<Symbols>,
        columns: Option<Vec<String>>,
        rows: usize,
    ) -> Self {
        let (queue, frames) = sync_channel(1);
        std::thread::spawn(move || {
            let end = tables::exits(&trace, &symbols, rows, &mut |frame| {
                let frame = match &columns {
                    Some(columns) => frame
                        .select(columns)
                        .map_err(|source| AnalyzerError::Table { action: "pick the columns", source })?,
                    None => frame,
                };
                let is_wanted = queue.send(Item::Frame(frame)).is_ok();
                Ok(if is_wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            });
            // Nobody may be there to hear of the end.
            let _ = queue.send(Item::End(end));
        });
        Self { state: Mutex::new(State { frames: Some(frames), damage: None }) }
    }
}

#[pymethods]
impl ExitBatches {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        let next = py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let item = state.frames.as_ref().and_then(|frames| frames.recv().ok())?;
            if let Item::End(end) = item {
                state.frames = None;
                return Some(end.map(|damage| {
                    state.damage = damage;
                    None
                }));
            }
            let Item::Frame(frame) = item else { return None };
            Some(Ok(Some(frame)))
        });
        next.transpose().map_err(|error| error.raise(py)).map(|frame| frame.flatten().map(Frame::new))
    }

    /// At the end: where the trace is damaged, and how. The exits end before it.
    #[getter]
    fn damage(&self) -> Option<(u64, String)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.damage.as_ref().map(|damage| (damage.offset, damage.reason.clone()))
    }
}
