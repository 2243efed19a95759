//! `trapline._native`: what the Python package `trapline` is made of. Frames cross over through the Arrow C interface.
#![forbid(unsafe_code)]

mod attended;
mod batches;
mod errors;
mod frame;
mod guest;
mod record;
mod replay;
mod report;
mod trace;

use pyo3::prelude::*;

/// The native half of the package.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::batches::ExitBatches;
    #[pymodule_export]
    use crate::errors::{RecordError, ReplayError, TraceError, TraplineError};
    #[pymodule_export]
    use crate::frame::Frame;
    #[pymodule_export]
    use crate::record::record;
    #[pymodule_export]
    use crate::replay::replay;
    #[pymodule_export]
    use crate::report::{Comparison, Report};
    #[pymodule_export]
    use crate::trace::Trace;
}
