//! An open trace.

use crate::batches::ExitBatches;
use crate::errors::{Raise, TraplineError};
use crate::frame::Frame;
use crate::report::{Report, grouping};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use trapline_analyzer::{self as analyzer, AnalyzerError, DataFrame, SymbolFile, Symbols, tables};
use trapline_formats::{ClockMode, Damage};

/// A table, and where the trace is damaged if it ends early: offset and reason.
type Told = (Frame, Option<(u64, String)>);

fn told(frame: DataFrame, damage: Option<Damage>) -> Told {
    (Frame::new(frame), damage.map(|damage| (damage.offset, damage.reason)))
}

/// A trace on disk; its tables are read when they are asked for.
#[pyclass(frozen, module = "trapline._native")]
pub struct Trace {
    file: Arc<trapline_formats::Trace>,
    symbol_files: Option<Vec<SymbolFile>>,
    /// The names of functions, once somebody needed them.
    symbols: Mutex<Option<Arc<Symbols>>>,
}

impl Trace {
    pub(crate) fn symbols(&self) -> Result<Arc<Symbols>, AnalyzerError> {
        let mut known = self.symbols.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(symbols) = &*known {
            return Ok(Arc::clone(symbols));
        }
        let symbols = Arc::new(match &self.symbol_files {
            Some(files) => Symbols::load(&self.file, files)?,
            None => Symbols::none(),
        });
        *known = Some(Arc::clone(&symbols));
        Ok(symbols)
    }
}

#[pymethods]
impl Trace {
    /// Opens a trace. `symbols`: symbol files besides the trace's own kernel; None names no functions.
    #[new]
    fn open(py: Python<'_>, path: PathBuf, symbols: Option<Vec<String>>) -> PyResult<Self> {
        let parsed: Option<Result<Vec<SymbolFile>, _>> =
            symbols.map(|files| files.iter().map(|file| file.parse()).collect());
        let symbol_files = parsed.transpose().map_err(PyValueError::new_err)?;
        let file =
            py.detach(move || trapline_formats::Trace::open(&path)).map_err(|error| error.raise(py))?;
        Ok(Self { file: Arc::new(file), symbol_files, symbols: Mutex::default() })
    }

    /// What the trace says about itself before its first exit, as JSON.
    fn header(&self) -> PyResult<String> {
        let header = self.file.header();
        let failed = |error: serde_json::Error| TraplineError::new_err(error.to_string());
        let mut value = serde_json::to_value(header).map_err(failed)?;
        value["clock"] = match header.clock {
            ClockMode::Host => json!("host"),
            ClockMode::Virtual => json!("virtual"),
        };
        Ok(value.to_string())
    }

    /// How the recording ended: its name, in words, and the number of exits. None where the end is missing.
    #[getter]
    fn end(&self) -> Option<(&'static str, String, u64)> {
        self.file.end().map(|end| (end.reason.name(), end.reason.to_string(), end.exits))
    }

    /// What is wrong with the tail, as far as opening it shows.
    #[getter]
    fn damage(&self) -> Option<(u64, String)> {
        self.file.damage().map(|damage| (damage.offset, damage.reason.clone()))
    }

    /// The size of the file.
    #[getter]
    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// All exits, in one piece.
    fn exits(&self, py: Python<'_>) -> PyResult<Told> {
        let read = || {
            let mut all = None;
            let damage = tables::exits(&self.file, &*self.symbols()?, usize::MAX, &mut |frame| {
                all = Some(frame);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(told(all.unwrap_or_default(), damage))
        };
        py.detach(read).map_err(|error: AnalyzerError| error.raise(py))
    }

    /// The exits, about so many at a time, in these columns.
    fn batches(&self, py: Python<'_>, columns: Option<Vec<String>>, rows: usize) -> PyResult<ExitBatches> {
        let symbols = py.detach(|| self.symbols()).map_err(|error| error.raise(py))?;
        Ok(ExitBatches::start(Arc::clone(&self.file), symbols, columns, rows))
    }

    /// The sites.
    fn sites(&self, py: Python<'_>) -> PyResult<Frame> {
        let sites = py.detach(|| tables::sites(&self.file, &*self.symbols()?));
        sites.map(Frame::new).map_err(|error| error.raise(py))
    }

    /// The events.
    fn events(&self, py: Python<'_>) -> PyResult<Told> {
        let table = py.detach(|| tables::events(&self.file)).map_err(|error| error.raise(py))?;
        Ok(told(table.frame, table.damage))
    }

    /// The lines on the consoles.
    fn console(&self, py: Python<'_>) -> PyResult<Told> {
        let table = py.detach(|| tables::console(&self.file)).map_err(|error| error.raise(py))?;
        Ok(told(table.frame, table.damage))
    }

    /// The report; with the histograms of its rows, or without.
    fn report(&self, py: Python<'_>, by: &str, histograms: bool) -> PyResult<Report> {
        let by = grouping(by)?;
        let report = py.detach(|| {
            let symbols = Symbols::clone(&*self.symbols()?);
            let options = analyzer::Options { by, symbols, histograms, ..analyzer::Options::default() };
            analyzer::Report::with(&self.file, options, &mut |_| {})
        });
        Ok(Report::new(report.map_err(|error| error.raise(py))?, Arc::clone(&self.file)))
    }
}
