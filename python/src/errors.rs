//! Errors of the libraries as Python exceptions.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use trapline_analyzer::AnalyzerError;
use trapline_formats::TraceError as FileError;
use trapline_machine::MachineError;
use trapline_recorder::RecorderError;
use trapline_replayer::ReplayError as ReplayFailure;

pyo3::create_exception!(trapline, TraplineError, PyException, "What Trapline could not do.");
pyo3::create_exception!(
    trapline,
    TraceError,
    TraplineError,
    "A trace that cannot be read. `offset`: where in the file, in bytes; None where the whole file is no trace."
);
pyo3::create_exception!(trapline, RecordError, TraplineError, "A recording that could not be made.");
pyo3::create_exception!(
    trapline,
    ReplayError,
    TraplineError,
    "A replay that could not be carried out. A divergence is none: it is an outcome."
);

/// An error that has a Python exception.
pub(crate) trait Raise {
    /// The exception.
    fn raise(self, py: Python<'_>) -> PyErr;
}

impl Raise for FileError {
    fn raise(self, py: Python<'_>) -> PyErr {
        let message = self.to_string();
        let offset = match self {
            // What the operating system says has exceptions of its own: FileNotFoundError, PermissionError ...
            Self::Io { source, .. } => return std::io::Error::new(source.kind(), message).into(),
            Self::Damaged { offset, .. } => Some(offset),
            Self::NotATrace { .. } | Self::TooNew { .. } | Self::TooOld { .. } => None,
        };
        let error = TraceError::new_err(message);
        match error.value(py).setattr("offset", offset) {
            Ok(()) => error,
            Err(other) => other,
        }
    }
}

impl Raise for AnalyzerError {
    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Trace(error) => error.raise(py),
            other => TraplineError::new_err(other.to_string()),
        }
    }
}

impl Raise for RecorderError {
    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Trace(error) => error.raise(py),
            Self::Image { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                std::io::Error::new(source.kind(), self.to_string()).into()
            }
            other => RecordError::new_err(other.to_string()),
        }
    }
}

impl Raise for ReplayFailure {
    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Trace(error) => error.raise(py),
            other => ReplayError::new_err(other.to_string()),
        }
    }
}

impl Raise for MachineError {
    fn raise(self, _: Python<'_>) -> PyErr {
        TraplineError::new_err(self.to_string())
    }
}
