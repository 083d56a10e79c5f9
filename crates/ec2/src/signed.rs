//! One request: signed, sent, and its answer as text.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use http_body_util::BodyExt;

use crate::answer::refusal;
use crate::connect::explained;
use crate::{Ec2, Error};

/// The version of the API, which has not changed since.
const VERSION: &str = "2016-11-15";
/// EC2 answers within seconds; what does not is as good as lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request by its name, and what it is asked with.
pub(crate) struct Query {
    pub action: &'static str,
    form: String,
}

impl Query {
    pub fn new(action: &'static str) -> Self {
        let form = String::new();
        Self { action, form }
            .with("Action", action)
            .with("Version", VERSION)
    }

    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        let mut form = form_urlencoded::Serializer::new(self.form);
        self.form = form.append_pair(key, &value.to_string()).finish();
        self
    }

    /// `Key.1`, `Key.2`, as the API writes lists.
    pub fn with_each<T: ToString>(self, key: &str, values: impl IntoIterator<Item = T>) -> Self {
        let numbered = (1..).zip(values);
        numbered.fold(self, |query, (number, value)| {
            query.with(&format!("{key}.{number}"), value)
        })
    }
}

impl Ec2 {
    /// The text of the answer.
    pub(crate) async fn ask(&self, query: Query) -> Result<String, Error> {
        let Query { action, form } = query;
        let request = self.request(action, form).await?;
        let unreachable = |cause: String| Error::Unreachable {
            action,
            endpoint: self.endpoint.clone(),
            cause,
        };
        let answer = async {
            let answer = self.connector.call(request).await;
            let answer = answer.map_err(|error| unreachable(explained(&error)))?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await;
            let body = body.map_err(|error| unreachable(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let late = || unreachable(format!("no answer within {} s", PATIENCE.as_secs()));
        let (status, body) = answer.map_err(|_| late())??;
        let text = String::from_utf8_lossy(&body).into_owned();
        match status {
            200 => Ok(text),
            _ => Err(refusal(action, status, &text)),
        }
    }

    async fn request(&self, action: &'static str, form: String) -> Result<HttpRequest, Error> {
        const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
        let cannot = |cause: String| Error::Unreachable {
            action,
            endpoint: self.endpoint.clone(),
            cause,
        };
        let uri: http::Uri = self
            .endpoint
            .parse()
            .map_err(|e: http::uri::InvalidUri| cannot(e.to_string()))?;
        let host = uri.authority().map(|a| a.to_string()).unwrap_or_default();
        let uri = format!("{}/", self.endpoint.trim_end_matches('/'));
        let headers = [("content-type", FORM), ("host", &host)];
        let identity = self.credentials().await?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ec2")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| cannot(error.to_string()))?
            .into();
        let body = SignableBody::Bytes(form.as_bytes());
        let signable = SignableRequest::new("POST", &uri, headers.into_iter(), body)
            .and_then(|signable| sign(signable, &parameters))
            .map_err(|error| cannot(explained(&error)))?;
        let mut request = http::Request::post(&uri)
            .header("content-type", FORM)
            .body(form.clone().into())
            .map_err(|error| cannot(error.to_string()))?;
        signable
            .into_parts()
            .0
            .apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|error| cannot(explained(&error)))
    }
}
