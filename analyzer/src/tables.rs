//! A trace as data frames, for programs that ask questions of their own: its exits, sites, events and console.
//!
//! SCHEMA.md describes the columns.

mod clock;
mod console;
mod events;
mod exits;
mod sites;

pub use console::console;
pub use events::events;
pub use exits::exits;
pub use sites::sites;

use polars::prelude::{
    CategoricalPhysical, Categories, Column, DataFrame, DataType, NamedFrom, PolarsResult, Series,
};
use trapline_formats::Damage;

/// A table, as far as the trace is readable.
#[derive(Debug, Clone)]
pub struct Table {
    /// The rows.
    pub frame: DataFrame,
    /// What is wrong with the tail of the trace: the rows end before it.
    pub damage: Option<Damage>,
}

/// Whose categories these are: frames of two traces share them, and can be put one below the other.
const NAMESPACE: &str = "trapline";

fn column<T, Phantom: ?Sized>(name: &str, values: Vec<T>) -> Column
where
    Series: NamedFrom<Vec<T>, Phantom>,
{
    Series::new(name.into(), values).into()
}

/// A column of texts that repeat, each stored once.
fn categories<T: AsRef<str>>(name: &str, texts: &[Option<T>]) -> PolarsResult<Column> {
    let texts: Vec<Option<&str>> = texts.iter().map(|t| t.as_ref().map(AsRef::as_ref)).collect();
    let own = Categories::new(name.into(), NAMESPACE.into(), CategoricalPhysical::U32);
    Ok(Series::new(name.into(), texts).cast(&DataType::from_categories(own))?.into())
}
