//! Reads single cells of a table by the names of their columns.

use polars::frame::DataFrame;

/// A table whose cells are read one by one. A column that does not exist has no cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<'a>(pub(crate) &'a DataFrame);

impl<'a> Cells<'a> {
    pub(crate) fn u64(self, name: &str, row: usize) -> Option<u64> {
        self.0.column(name).ok()?.u64().ok()?.get(row)
    }

    pub(crate) fn u32(self, name: &str, row: usize) -> Option<u32> {
        self.0.column(name).ok()?.u32().ok()?.get(row)
    }

    pub(crate) fn f64(self, name: &str, row: usize) -> Option<f64> {
        self.0.column(name).ok()?.f64().ok()?.get(row)
    }

    pub(crate) fn bool(self, name: &str, row: usize) -> Option<bool> {
        self.0.column(name).ok()?.bool().ok()?.get(row)
    }

    pub(crate) fn str(self, name: &str, row: usize) -> Option<&'a str> {
        self.0.column(name).ok()?.str().ok()?.get(row)
    }
}
