//! A data frame that crosses over to Python without being copied.

use polars_arrow::array::{Array, PrimitiveArray, StructArray};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_arrow::ffi;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use trapline_analyzer::{CompatLevel, DataFrame};

/// A table in native memory. `polars.DataFrame(frame)` and whatever else knows the Arrow C interface take it as it is.
#[pyclass(frozen, module = "trapline._native")]
pub struct Frame {
    frame: DataFrame,
}

impl Frame {
    pub(crate) fn new(mut frame: DataFrame) -> Self {
        frame.align_chunks();
        Self { frame }
    }

    fn field(&self) -> Field {
        let columns = self.frame.columns().iter();
        let columns = columns.map(|c| c.field().to_arrow(CompatLevel::newest())).collect();
        Field::new("".into(), ArrowDataType::Struct(columns), false)
    }

    /// The rows as Arrow has them: what the columns hold is shared, not copied.
    fn batches(&self) -> Vec<StructArray> {
        let dtype = self.field().dtype;
        let batch =
            |columns: Vec<Box<dyn Array>>, height| StructArray::new(dtype.clone(), height, columns, None);
        self.frame
            .iter_chunks(CompatLevel::newest(), false)
            .map(|chunk| (chunk.height(), chunk.into_arrays()))
            .map(|(height, columns)| batch(columns, height))
            .collect()
    }
}

#[pymethods]
impl Frame {
    /// The rows, as the Arrow PyCapsule interface has it. A requested schema is a wish, and is not granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches = self.batches().into_iter().map(|batch| Ok(Box::new(batch) as Box<dyn Array>));
        let stream = ffi::export_iterator(Box::new(batches), self.field());
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __len__(&self) -> usize {
        self.frame.height()
    }

    /// Where the values of a column of numbers are, chunk by chunk.
    fn addresses(&self, column: &str) -> PyResult<Vec<usize>> {
        let found = self.frame.get_column_index(column);
        let index = found.ok_or_else(|| PyKeyError::new_err(format!("no column `{column}`")))?;
        let address = |batch: &StructArray| {
            address(batch.values()[index].as_ref())
                .ok_or_else(|| PyTypeError::new_err(format!("`{column}` is no column of numbers")))
        };
        self.batches().iter().map(address).collect()
    }
}

/// Where the values of an array of numbers are.
fn address(array: &dyn Array) -> Option<usize> {
    fn of<T: polars_arrow::types::NativeType>(array: &dyn Array) -> Option<usize> {
        Some(array.as_any().downcast_ref::<PrimitiveArray<T>>()?.values().as_ptr().addr())
    }
    of::<u64>(array).or_else(|| of::<u32>(array)).or_else(|| of::<u8>(array)).or_else(|| of::<f64>(array))
}
