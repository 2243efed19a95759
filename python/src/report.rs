//! What exits cost, and whether it has changed.

use crate::errors::Raise;
use crate::frame::Frame;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;
use trapline_analyzer::{self as analyzer, By};

/// The grouping of this name, as the command line has it: a row of `instruction` is an instruction doing one thing to one
/// address.
pub(crate) fn grouping(name: &str) -> PyResult<By> {
    match name {
        "instruction" => Ok(By::Site),
        "symbol" => Ok(By::Symbol),
        "reason" => Ok(By::Reason),
        "device" => Ok(By::Device),
        "address" => Ok(By::Address),
        _ => Err(PyValueError::new_err(format!(
            "by={name:?}: choose one of instruction, symbol, reason, device, address"
        ))),
    }
}

/// A report.
#[pyclass(frozen, module = "trapline._native")]
pub struct Report {
    report: analyzer::Report,
    trace: Arc<trapline_formats::Trace>,
}

impl Report {
    pub(crate) fn new(report: analyzer::Report, trace: Arc<trapline_formats::Trace>) -> Self {
        Self { report, trace }
    }
}

#[pymethods]
impl Report {
    /// The rows.
    fn frame(&self) -> Frame {
        Frame::new(self.report.table().clone())
    }

    /// The steps of the histograms of the rows; none, where the report was made without.
    fn histograms(&self, py: Python<'_>) -> PyResult<Frame> {
        self.report.histograms(None).map(Frame::new).map_err(|error| error.raise(py))
    }

    /// The histograms as a log of HdrHistogram.
    fn hdr_log(&self, py: Python<'_>) -> PyResult<String> {
        self.report.to_hdr_log(None).map_err(|error| error.raise(py))
    }

    /// The whole report, as `report --format json` has it, with at most `top` rows of costs.
    fn json(&self, py: Python<'_>, top: Option<usize>) -> PyResult<String> {
        self.report.to_json(top).map_err(|error| error.raise(py))
    }

    /// The report for people, at most so many columns wide.
    fn text(&self, top: Option<usize>, width: usize) -> String {
        self.report.to_text(top, width)
    }

    /// A page for a browser.
    fn html(&self, py: Python<'_>, top: Option<usize>) -> PyResult<String> {
        if self.report.by() != By::Site {
            return Err(PyValueError::new_err(
                "a page is by instruction: ask for report(by=\"instruction\")",
            ));
        }
        py.detach(|| self.report.to_html(&self.trace, top)).map_err(|error| error.raise(py))
    }

    /// This report beside an earlier one.
    fn against(&self, before: &Report, least_percent: f64) -> PyResult<Comparison> {
        if self.report.by() != By::Site || before.report.by() != By::Site {
            return Err(PyValueError::new_err(
                "a comparison is by instruction: ask for report(by=\"instruction\")",
            ));
        }
        Ok(Comparison(analyzer::Comparison::of(&self.report, &before.report, least_percent)))
    }
}

/// Two recordings, site by site.
#[pyclass(frozen, module = "trapline._native")]
pub struct Comparison(analyzer::Comparison);

#[pymethods]
impl Comparison {
    /// The comparison, as `report --against --format json` has it.
    fn json(&self, py: Python<'_>) -> PyResult<String> {
        self.0.to_json().map_err(|error| error.raise(py))
    }

    /// The comparison for people.
    fn text(&self, top: Option<usize>, width: usize) -> String {
        self.0.to_text(top, width)
    }
}
