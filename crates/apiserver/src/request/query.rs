//! Query parameters.

use crate::status::ApiError;

/// The parameters of a request, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the question mark.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or("").as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(candidate, _)| candidate == name)
            .map(|(_, value)| &**value)
    }

    /// A flag, as Go reads booleans; `?watch` alone means true.
    ///
    /// # Errors
    ///
    /// 400 if it is neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.all(name).next() {
            None => Ok(None),
            Some("" | "1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(Some(false)),
            Some(other) => Err(malformed(name, other)),
        }
    }

    /// A number.
    ///
    /// # Errors
    ///
    /// 400 if it is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.get(name)
            .map(|value| value.parse().map_err(|_| malformed(name, value)))
            .transpose()
    }
}

fn malformed(name: &str, value: &str) -> ApiError {
    ApiError::bad_request(format!(
        "invalid value {value:?} of the query parameter {name:?}"
    ))
}
