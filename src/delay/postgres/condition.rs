//! Filters as SQL.

use tokio_postgres::types::{ToSql, Type};

use super::rows::{Parameter, text};
use crate::delay::record::Filter;

/// A filter as the condition of a `WHERE` clause, with the values of its placeholders.
pub struct WhereClause {
    /// The condition.
    pub sql: String,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl WhereClause {
    /// The messages that match a filter.
    pub fn of(filter: &Filter) -> Self {
        let mut clause = Self { sql: "TRUE".into(), values: Vec::new() };
        for (column, value) in
            [("plugin", &filter.plugin), ("uuid", &filter.uuid), ("key", &filter.key)]
        {
            if let Some(value) = value {
                let number = clause.value(text(value).into_owned(), Type::TEXT);
                clause.term(&format!("{column} = {number}"));
            }
        }
        for (comparison, time) in [("due >=", filter.from), ("due <", filter.until)] {
            if let Some(time) = time {
                let number = clause.value(time.unix_micros(), Type::INT8);
                clause.term(&format!("{comparison} {number}"));
            }
        }
        if let Some(time) = filter.overdue {
            let number = clause.value(time.unix_micros(), Type::INT8);
            clause.term(&format!("(due < {number} OR attempts > 0)"));
        }
        clause
    }

    /// Adds a value. Returns its placeholder.
    pub fn value(&mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    /// Adds a term that must be true as well.
    pub fn term(&mut self, term: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(term);
    }

    /// The values, as parameters of a statement.
    pub fn values(&self) -> Vec<Parameter<'_>> {
        let values = self.values.iter();
        values.map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}
