//! Server-side apply: a configuration that says only what its manager wants of an object.

use http::{Response, StatusCode};
use jiff::Timestamp;
use sealane_ownership::{ApplyError, Conflicts, Managers, apply as merge};
use serde_json::{Value, json};

use super::{
    decode::{Incoming, decode, judge},
    finish::Outcome,
    patch::{check_name, refuse},
    update::{ATTEMPTS, Part},
};
use crate::{
    admission,
    answer::Body,
    check::Findings,
    kinds::Kind,
    object::{self, Input, parse_yaml},
    owners::{Writing, shape_of, take_entries},
    request::{Payload, WriteOptions},
    server::Context,
    status::ApiError,
    webhooks,
};

/// The media type of configurations.
pub const MEDIA: &str = "application/apply-patch+yaml";

/// Applies the configuration in the body.
///
/// # Errors
///
/// As Kubernetes: 400, 404, 409, 422.
pub async fn apply(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let applied = Configuration::read(context, &payload)?;
    let (outcome, code, said) = applied.write(context, Part::of(context)).await?;
    let warnings = [&applied.warnings[..], &said].concat();
    Ok(outcome.answer(context, code, &warnings))
}

/// A configuration and how it is to be applied.
pub struct Configuration<'a> {
    /// What it says.
    pub value: Value,
    /// What the client is told of it.
    pub warnings: Vec<String>,
    payload: &'a Payload,
    options: WriteOptions,
}

impl<'a> Configuration<'a> {
    /// Reads it out of a body.
    ///
    /// # Errors
    ///
    /// 400 for a body that is none, 422 for options that do not go together.
    pub fn read(context: &Context, payload: &'a Payload) -> Result<Self, ApiError> {
        let options = WriteOptions::parse(&context.query, "PatchOptions")?;
        if options.field_manager.is_empty() {
            let mut findings = Findings::default();
            findings.required("fieldManager", "is required for apply patch");
            let of = "PatchOptions";
            return Err(ApiError::invalid(of, "meta.k8s.io", "", &findings));
        }
        let Input { value, duplicates } = parse_yaml(&payload.bytes)
            .map_err(|cause| ApiError::bad_request(format!("error decoding YAML: {cause}")))?;
        if !value.is_object() {
            let why = "error decoding YAML: the configuration is not an object";
            return Err(ApiError::bad_request(why));
        }
        let doubled: Vec<String> = duplicates
            .iter()
            .map(|path| format!("duplicate field {path:?}"))
            .collect();
        let warnings = judge(doubled, options.field_validation, |why| {
            ApiError::bad_request(format!("error decoding YAML: {why}"))
        })?;
        Ok(Self {
            value,
            warnings,
            payload,
            options,
        })
    }

    /// Writes what it makes of the object, or makes the object.
    ///
    /// # Errors
    ///
    /// 400 for another kind's, 409 for conflicts, and those of every write.
    pub async fn write(
        &self,
        context: &Context,
        part: Part,
    ) -> Result<(Outcome, StatusCode, Vec<String>), ApiError> {
        let (kind, target) = (&*context.kind, &context.target);
        check_kind(kind, &self.value)?;
        let mut config = writable(kind, part, self.value.clone());
        if kind.namespaced && object::namespace(&config).is_empty() {
            let metadata = object::metadata_mut(&mut config);
            metadata.insert("namespace".into(), target.namespace.as_str().into());
        }
        let versioned = !object::resource_version(&config).is_empty();
        for attempt in 1.. {
            let found = context
                .server
                .store
                .get(&kind.key(&target.namespace, &target.name));
            let Some(current) = found else {
                return self.create(context, part, &config).await;
            };
            let old = kind.read(&current).map_err(ApiError::internal)?;
            let mut live = kind.to_served(old.clone());
            let entries = take_entries(&mut live);
            let managers = Managers::parse(&entries).unwrap_or_default();
            let (object, writing) = self.merge(context, &live, &config, managers)?;
            let mut new = self.decode(context, object)?;
            admission::check(context, Some(&new), Some(&old))?;
            if !versioned {
                object::metadata_mut(&mut new).remove("resourceVersion");
            }
            let written = webhooks::replace(context, part, new, &current, &writing).await;
            match written {
                Ok((outcome, said)) => return Ok((outcome, StatusCode::OK, said)),
                Err(error) if error.reason == "Conflict" && !versioned && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn create(
        &self,
        context: &Context,
        part: Part,
        config: &Value,
    ) -> Result<(Outcome, StatusCode, Vec<String>), ApiError> {
        let (kind, target) = (&*context.kind, &context.target);
        if part != Part::Main || !target.subresource.is_empty() {
            return Err(ApiError::not_found(kind, &target.name));
        }
        let uid = object::meta(config, "uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object \
                 was found"
            );
            return Err(ApiError::conflict(kind, &target.name, &why));
        }
        let (object, writing) = self.merge(context, &json!({}), config, Managers::default())?;
        let new = self.decode(context, object)?;
        admission::check_create(context)?;
        admission::check(context, Some(&new), None)?;
        let (made, said) = webhooks::create(context, new, &writing).await?;
        Ok((made, StatusCode::CREATED, said))
    }

    fn merge(
        &self,
        context: &Context,
        live: &Value,
        config: &Value,
        managers: Managers,
    ) -> Result<(Value, Writing), ApiError> {
        let kind = &*context.kind;
        let writing = Writing::of(context, self.payload, &self.options);
        let (api_version, now) = (kind.api_version(), object::time(Timestamp::now()));
        let writer = writing.writer(&api_version, &now);
        let force = self.options.force.unwrap_or(false);
        let applied = merge(shape_of(kind), live, config, managers, &writer, force);
        match applied {
            Ok(applied) => Ok((applied.object, writing.applied(applied.managers))),
            Err(ApplyError::Conflicts(conflicts)) => Err(conflict(&conflicts)),
            Err(ApplyError::Misfit(why)) => {
                let of = Named(kind, context, config);
                let message = format!("failed to create typed patch object ({of}): {why}");
                let code = StatusCode::INTERNAL_SERVER_ERROR;
                Err(ApiError::new(code, "", message))
            }
        }
    }

    fn decode(&self, context: &Context, object: Value) -> Result<Value, ApiError> {
        let input = Input {
            value: object,
            duplicates: Vec::new(),
        };
        let kind = &*context.kind;
        let Incoming { object, problems } = decode(kind, input, |why| refuse(self.payload, why))?;
        judge(problems, self.options.field_validation, |why| {
            refuse(self.payload, &why)
        })?;
        check_name(context, &object)?;
        Ok(object)
    }
}

/// An object in a message: `NAMESPACE/NAME; GROUP/VERSION, Kind=KIND`.
struct Named<'a>(&'a Kind, &'a Context, &'a Value);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(kind, context, config) = self;
        let (namespace, name) = (&context.target.namespace, object::name(config));
        write!(
            f,
            "{namespace}/{name}; {}, Kind={}",
            go_version(&kind.api_version()),
            kind.kind
        )
    }
}

/// A version as Go prints it: that of the core group begins with a slash.
fn go_version(api_version: &str) -> String {
    if api_version.contains('/') {
        api_version.to_owned()
    } else {
        format!("/{api_version}")
    }
}

/// Whether a configuration is one for this kind.
///
/// # Errors
///
/// 400 if not.
pub fn check_kind(kind: &Kind, config: &Value) -> Result<(), ApiError> {
    let said = |part: &str| config[part].as_str().unwrap_or("");
    let (api_version, name) = (said("apiVersion"), said("kind"));
    if name != kind.kind || api_version != kind.api_version() {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}, Kind={name}",
            go_version(api_version)
        )));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// What of a configuration a write of this part can write: nobody comes to own the rest by it.
fn writable(kind: &Kind, part: Part, mut config: Value) -> Value {
    let Some(fields) = config.as_object_mut() else {
        return config;
    };
    match part {
        Part::Main => {
            if kind.status {
                fields.remove("status");
            }
        }
        Part::Status | Part::Finalizers => {
            let own = if part == Part::Status {
                "status"
            } else {
                "spec"
            };
            fields.retain(|name, _| ["apiVersion", "kind", "metadata", own].contains(&&**name));
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                let kept = [
                    "annotations",
                    "labels",
                    "name",
                    "namespace",
                    "resourceVersion",
                    "uid",
                ];
                metadata.retain(|name, _| kept.contains(&&**name));
            }
        }
    }
    config
}

/// The error for changes of what others own: kubectl shows its causes.
fn conflict(conflicts: &Conflicts) -> ApiError {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|conflict| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {}", conflict.manager),
                "field": conflict.field(),
            })
        })
        .collect();
    ApiError {
        details: json!({ "causes": causes }),
        ..ApiError::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string())
    }
}
