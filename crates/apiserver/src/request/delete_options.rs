//! The options of a deletion, from the body and, where that is silent, from the query.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Payload, Query, options::dry_run, read_value};
use crate::{check::Findings, status::ApiError};

/// Options of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    /// How long the object may take to end.
    pub grace_period_seconds: Option<i64>,
    /// What must be so.
    pub preconditions: Preconditions,
    /// What becomes of dependents.
    propagation_policy: Option<String>,
    /// The older form of that.
    orphan_dependents: Option<bool>,
    /// `All`, or nothing.
    dry_run: Vec<String>,
}

/// What must be so for a deletion to happen.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's resource version.
    pub resource_version: Option<String>,
}

/// What becomes of the objects that name a deleted one as their owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted when it is gone.
    Background,
    /// It stays until they are gone.
    Foreground,
    /// They stay, and no longer name it.
    Orphan,
}

impl Propagation {
    /// The finalizer that keeps the object until the garbage collector has seen to it.
    pub fn finalizer(self) -> Option<&'static str> {
        match self {
            Self::Background => None,
            Self::Foreground => Some("foregroundDeletion"),
            Self::Orphan => Some("orphan"),
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            "Orphan" => Some(Self::Orphan),
            _ => None,
        }
    }
}

const POLICIES: [&str; 4] = ["Foreground", "Background", "Orphan", "nil"];

impl DeleteOptions {
    /// Options that say what becomes of dependents, and nothing else.
    pub fn propagating(propagation: Propagation) -> Self {
        Self {
            propagation_policy: Some(format!("{propagation:?}")),
            ..Self::default()
        }
    }

    /// Reads them from the body, and where that is silent from the query.
    ///
    /// # Errors
    ///
    /// 400 for a body that is none, 422 for values that are none.
    pub fn parse(query: &Query, payload: &Payload) -> Result<Self, ApiError> {
        let mut options = if payload.bytes.is_empty() {
            Self::default()
        } else {
            Self::decode(read_value(payload)?.value)?
        };
        if options.grace_period_seconds.is_none() {
            options.grace_period_seconds = query.number("gracePeriodSeconds")?;
        }
        if options.propagation_policy.is_none() && options.orphan_dependents.is_none() {
            options.propagation_policy = query.get("propagationPolicy").map(str::to_owned);
            options.orphan_dependents = query.flag("orphanDependents")?;
        }
        options
            .dry_run
            .extend(query.all("dryRun").map(str::to_owned));
        options.check()
    }

    /// Reads them from a part of a body; nothing there means nothing special.
    ///
    /// # Errors
    ///
    /// 400 for what is none, 422 for values that are none.
    pub fn of(value: Value) -> Result<Self, ApiError> {
        Self::decode(value)?.check()
    }

    fn decode(value: Value) -> Result<Self, ApiError> {
        let decoded = Option::<Self>::deserialize(value).map_err(|cause| {
            ApiError::bad_request(format!("DeleteOptions in the body: {cause}"))
        })?;
        Ok(decoded.unwrap_or_default())
    }

    fn check(self) -> Result<Self, ApiError> {
        let mut findings = Findings::default();
        dry_run(self.dry_run.iter().map(String::as_str), &mut findings);
        if let Some(policy) = self.propagation_policy.as_deref() {
            if self.orphan_dependents.is_some() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                findings.invalid("propagationPolicy", &json!(policy), why);
            }
            if Propagation::named(policy).is_none() {
                findings.unsupported("propagationPolicy", &json!(policy), &POLICIES);
            }
        }
        if findings.is_empty() {
            return Ok(self);
        }
        let error = ApiError::invalid("DeleteOptions", "meta.k8s.io", "", &findings);
        Err(error)
    }

    /// What is to become of dependents, if that is said.
    pub fn propagation(&self) -> Option<Propagation> {
        let older = self.orphan_dependents.map(|orphan| {
            if orphan {
                Propagation::Orphan
            } else {
                Propagation::Background
            }
        });
        older.or_else(|| Propagation::named(self.propagation_policy.as_deref()?))
    }

    /// Whether nothing is to be written.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run.iter().any(|value| !value.is_empty())
    }
}
