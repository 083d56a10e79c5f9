//! Content negotiation: which form of an answer a client asks for.
//!
//! kubectl asks for a `Table`, caches of metadata for `PartialObjectMetadata`, discovery for an
//! aggregated list; most programs for JSON, some for protobuf first and JSON second, which then is
//! what they get.

use http::HeaderMap;

use crate::{request::Query, status::ApiError};

/// What an answer should look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The shape of objects in it.
    pub form: Form,
    /// The text they are written as.
    pub syntax: Syntax,
}

/// The shape of objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// Rows of printed columns.
    Table(Include),
    /// Only their metadata.
    Metadata,
    /// Groups, versions and resources in one list; the version of that list.
    Discovery(&'static str),
}

/// What a row of a table has of its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

const OFFERED: &[&str] = &["application/json", "application/yaml"];

impl Accept {
    /// Plain objects as JSON.
    pub const PLAIN: Self = Self {
        form: Form::Object,
        syntax: Syntax::Json,
    };

    /// Finds the first form that the client accepts and we have.
    ///
    /// # Errors
    ///
    /// 406 naming what we have.
    pub fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Self, ApiError> {
        let mut offered = headers
            .get_all(http::header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|range| !range.is_empty())
            .peekable();
        if offered.peek().is_none() {
            return Ok(Self::PLAIN);
        }
        let found = offered.find_map(|range| one(range, query));
        found.ok_or_else(|| ApiError::not_acceptable(OFFERED))
    }

    /// The content type of such an answer.
    pub fn content_type(&self) -> String {
        match (self.syntax, self.form) {
            (Syntax::Yaml, _) => "application/yaml".into(),
            (Syntax::Json, Form::Discovery(version)) => {
                format!(
                    "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                )
            }
            (Syntax::Json, _) => "application/json".into(),
        }
    }
}

/// What we have for one media range.
fn one(range: &str, query: &Query) -> Option<Accept> {
    let mut parts = range.split(';').map(str::trim);
    let syntax = match parts.next()? {
        "application/json" | "application/*" | "*/*" => Syntax::Json,
        "application/yaml" => Syntax::Yaml,
        _ => return None,
    };
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| {
        parameters
            .iter()
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, value)| *value)
    };
    let form = match (parameter("as"), parameter("g"), parameter("v")) {
        (None, ..) => Form::Object,
        (Some("Table"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) => Form::Table(include(query)),
        (
            Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
            Some("meta.k8s.io"),
            Some("v1" | "v1beta1"),
        ) => Form::Metadata,
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
            Form::Discovery("v2")
        }
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
            Form::Discovery("v2beta1")
        }
        _ => return None,
    };
    Some(Accept { form, syntax })
}

fn include(query: &Query) -> Include {
    match query.get("includeObject") {
        Some("None") => Include::None,
        Some("Object") => Include::Object,
        _ => Include::Metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &str) -> Option<Accept> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, accept.parse().unwrap());
        Accept::negotiate(&headers, &Query::default()).ok()
    }

    #[test]
    fn clients_get_the_first_form_that_we_have() {
        let json = |form| {
            Some(Accept {
                form,
                syntax: Syntax::Json,
            })
        };
        for (accept, expected) in [
            ("application/json", json(Form::Object)),
            ("*/*", json(Form::Object)),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                json(Form::Object),
            ),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
            ("application/json;stream=watch", json(Form::Object)),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                json(Form::Table(Include::Metadata)),
            ),
            (
                "application/json;as=Table;v=v9;g=meta.k8s.io, application/json",
                json(Form::Object),
            ),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                json(Form::Metadata),
            ),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                json(Form::Discovery("v2")),
            ),
            (
                "application/yaml",
                Some(Accept {
                    form: Form::Object,
                    syntax: Syntax::Yaml,
                }),
            ),
        ] {
            assert_eq!(negotiate(accept), expected, "{accept}");
        }
    }
}
