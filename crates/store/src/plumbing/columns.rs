//! Columns of values for statements that read their rows from arrays.

/// An empty slice for a column that no job uses. `unnest` fills it with nulls, so unused columns cost nothing.
pub(crate) fn used<T>(column: &[Option<T>]) -> &[Option<T>] {
    if column.iter().all(Option::is_none) { &[] } else { column }
}
