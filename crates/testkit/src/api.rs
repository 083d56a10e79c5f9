//! The Kubernetes API without `kubectl`: for conditions that are asked for often, and for latencies.
//!
//! `kubectl` is what users type, so tests of behaviour use it; but each call costs a process and a
//! tenth of a second. This client keeps one connection.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use http::{Method, Request};
use kube::core::WatchEvent;
use sealane_kube::{Access, Client};
use serde_json::Value;

use crate::history::History;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(20);

impl std::fmt::Debug for Api {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Api")
    }
}

/// A client with the rights of a kubeconfig.
pub struct Api {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Api {
    /// Reads a kubeconfig. Connects with the first request.
    ///
    /// # Panics
    /// When the file is not a usable kubeconfig.
    #[track_caller]
    pub fn from_kubeconfig(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap_or_else(|error| panic!("start a runtime for the API client: {error}"));
        let access = Access {
            kubeconfig: Some(path.to_owned()),
            ..Access::default()
        };
        let client = runtime
            .block_on(sealane_kube::client(&access, "testkit"))
            .unwrap_or_else(|error| panic!("use kubeconfig {}: {error}", path.display()));
        Self { runtime, client }
    }

    /// Reads an object or a list.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        self.request(Method::GET, path, "application/json", None)
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, String> {
        self.request(Method::POST, path, "application/json", Some(object))
    }

    /// Deletes an object or a collection.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub fn delete(&self, path: &str) -> Result<Value, String> {
        self.request(Method::DELETE, path, "application/json", None)
    }

    /// Deletes an object with options, such as `{"gracePeriodSeconds": 0}`.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub fn delete_with(&self, path: &str, options: &Value) -> Result<Value, String> {
        self.request(Method::DELETE, path, "application/json", Some(options))
    }

    /// Changes an object by a merge patch: RFC 7396.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Value, String> {
        let kind = "application/merge-patch+json";
        self.request(Method::PATCH, path, kind, Some(patch))
    }

    /// Changes an object by a strategic merge patch, which merges lists by their keys.
    ///
    /// # Errors
    /// What the server answers, or that it does not.
    pub fn merge_lists(&self, path: &str, patch: &Value) -> Result<Value, String> {
        let kind = "application/strategic-merge-patch+json";
        self.request(Method::PATCH, path, kind, Some(patch))
    }

    /// Every change of a collection from now on.
    ///
    /// # Panics
    /// When the collection cannot be read.
    #[track_caller]
    pub fn history(&self, path: &str) -> History {
        History::follow(self.runtime.handle(), self.client.clone(), path)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let line = format!("{method} {path}");
        let bytes = body
            .map(|body| body.to_string().into_bytes())
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(bytes)
            .map_err(|error| format!("{line}: {error}"))?;
        let answer =
            async { tokio::time::timeout(LIMIT, self.client.request::<Value>(request)).await };
        match self.runtime.block_on(answer) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(format!("{line}: {error}")),
            Err(_) => Err(format!("{line}: no answer within {LIMIT:?}")),
        }
    }

    /// Follows a collection until `found` returns something for an object that was added or modified.
    ///
    /// # Errors
    /// When the watch ends or the deadline passes before.
    pub fn watch<T>(
        &self,
        path: &str,
        deadline: Duration,
        mut found: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T, String> {
        let request = Request::get(format!("{path}?watch=true"))
            .body(Vec::new())
            .map_err(|error| format!("watch {path}: {error}"))?;
        let follow = async {
            let events = self
                .client
                .request_events::<Value>(request)
                .await
                .map_err(|error| error.to_string())?;
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.try_next().await.map_err(|error| error.to_string())? {
                let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
                    continue;
                };
                if let Some(value) = found(&object) {
                    return Ok(value);
                }
            }
            Err("the server ended the watch".to_owned())
        };
        let limited = async { tokio::time::timeout(deadline, follow).await };
        let ended = self.runtime.block_on(limited);
        ended
            .unwrap_or_else(|_| Err(format!("nothing within {deadline:?}")))
            .map_err(|error| format!("watch {path}: {error}"))
    }
}
