//! Asking the webhooks that want to see a request.

use std::sync::Arc;

use futures::future::try_join_all;
use sealane_structural::Admission;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Hooks, Operation, call,
    hook::{Hook, Subject},
    review::{self, Verdict},
    shown::Shown,
};
use crate::{
    kinds::{KindRef, NAMESPACE},
    object::{self, Input},
    server::Context,
    status::ApiError,
    verbs,
};

/// A request and the webhooks that want to see it.
pub struct Asked<'a> {
    context: &'a Context,
    operation: Operation,
    dry_run: bool,
    shown: Shown,
    hooks: Arc<Hooks>,
    mutating: Vec<(usize, KindRef)>,
    validating: Vec<(usize, KindRef)>,
    /// What they want people to be told.
    pub warnings: Vec<String>,
}

/// Configurations are not subject to themselves, or nobody could mend a wrong one.
const EXEMPT: &str = "admissionregistration.k8s.io";

impl<'a> Asked<'a> {
    /// Finds those whose rules are about this request.
    pub fn new(context: &'a Context, operation: Operation, dry_run: bool) -> Self {
        let hooks = context.server.webhooks.now(&context.server);
        let exempt = context.kind.group == EXEMPT;
        let wanted = |all: &[Hook]| -> Vec<(usize, KindRef)> {
            let all = all.iter().enumerate().filter(|_| !exempt);
            all.filter_map(|(index, hook)| Some((index, form(context, operation, hook)?)))
                .collect()
        };
        Self {
            mutating: wanted(&hooks.mutating),
            validating: wanted(&hooks.validating),
            shown: Shown::of(&context.kind, &context.target.subresource),
            context,
            operation,
            dry_run,
            hooks,
            warnings: Vec::new(),
        }
    }

    /// Whether no webhook wants to see it.
    pub fn is_nobody(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty()
    }

    /// Asks the mutating ones in turn what the object should be.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub async fn mutate(&mut self, object: Value, old: Option<&Value>) -> Result<Value, ApiError> {
        let hooks = Arc::clone(&self.hooks);
        let mut object = object;
        let mut seen: Vec<Value> = Vec::new();
        let turns = std::mem::take(&mut self.mutating);
        for (index, form) in &turns {
            object = self
                .change(&hooks.mutating[*index], form, object, old)
                .await?;
            seen.push(object.clone());
        }
        for ((index, form), seen) in turns.iter().zip(seen) {
            let hook = &hooks.mutating[*index];
            if hook.reinvoked && seen != object {
                object = self.change(hook, form, object, old).await?;
            }
        }
        Ok(object)
    }

    async fn change(
        &mut self,
        hook: &Hook,
        form: &KindRef,
        object: Value,
        old: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let new = (!object.is_null()).then_some(&object);
        let verdict = self.ask(hook, form, new, old).await?;
        self.warnings.extend(verdict.warnings);
        let Some(changed) = verdict.changed.filter(|_| new.is_some()) else {
            return Ok(object);
        };
        if self.shown != Shown::Object {
            return Ok(self.shown.taken(&self.context.kind, object, changed));
        }
        let input = Input {
            value: changed,
            duplicates: Vec::new(),
        };
        let refuse = |why: &str| failed(hook, &format!("its patch does not fit: {why}"));
        let mut decoded = verbs::decode(form, input, refuse)?.object;
        decoded["apiVersion"] = object["apiVersion"].clone();
        Ok(decoded)
    }

    /// Asks the validating ones, all at once, whether the object may be so.
    ///
    /// # Errors
    ///
    /// A refusal.
    pub async fn validate(
        &mut self,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let hooks = Arc::clone(&self.hooks);
        let asked = self.validating.iter();
        let asked = asked.map(|(index, form)| self.ask(&hooks.validating[*index], form, new, old));
        let verdicts = try_join_all(asked).await?;
        let warnings = verdicts.into_iter().flat_map(|verdict| verdict.warnings);
        self.warnings.extend(warnings);
        Ok(())
    }

    async fn ask(
        &self,
        hook: &Hook,
        form: &KindRef,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Verdict, ApiError> {
        let uid = Uuid::new_v4().to_string();
        let request = self.request(form, &uid, new, old);
        if !self.is_chosen(hook, &request) || !self.meets(hook, &request)? {
            return Ok(Verdict::default());
        }
        let server = &self.context.server;
        let answered = call::call(server, hook, &review::question(&request)).await;
        let verdict = answered
            .map_err(|cause| format!("failed to call webhook: {cause}"))
            .and_then(|bytes| {
                let read = review::answer(&hook.name, &uid, &bytes, &request["object"]);
                read.map_err(|cause| format!("received invalid webhook response: {cause}"))
            });
        match verdict {
            Ok(Verdict {
                refusal: Some(refusal),
                ..
            }) => Err(refusal),
            Ok(verdict) => Ok(verdict),
            Err(cause) if hook.must_answer => Err(failed(hook, &cause)),
            Err(cause) => {
                let (name, configuration) = (&hook.name, &hook.configuration);
                tracing::warn!(
                    name,
                    configuration,
                    cause,
                    "a webhook failed and is passed over"
                );
                Ok(Verdict::default())
            }
        }
    }

    fn is_chosen(&self, hook: &Hook, request: &Value) -> bool {
        let labels = |object: &Value| match &object["metadata"] {
            Value::Null => Value::Null,
            metadata if metadata["labels"].is_null() => json!({}),
            metadata => metadata["labels"].clone(),
        };
        let (new, old) = (labels(&request["object"]), labels(&request["oldObject"]));
        let kind = &self.context.kind;
        let namespace = if kind.group.is_empty() && kind.plural == "namespaces" {
            Some(if new.is_null() { &old } else { &new }.clone())
        } else if kind.namespaced {
            Some(self.namespace_labels(request["namespace"].as_str().unwrap_or("")))
        } else {
            None
        };
        hook.chooses(namespace.as_ref(), [&new, &old])
    }

    /// Whether its conditions are true.
    fn meets(&self, hook: &Hook, request: &Value) -> Result<bool, ApiError> {
        let of = Admission {
            object: &request["object"],
            old_object: &request["oldObject"],
            request,
        };
        match hook.conditions.hold(&of) {
            Ok(hold) => Ok(hold),
            Err(why) if hook.must_answer => {
                let name = request["name"].as_str().unwrap_or("");
                Err(ApiError::forbidden(&self.context.kind, name, &why))
            }
            Err(why) => {
                let (name, configuration) = (&hook.name, &hook.configuration);
                tracing::warn!(name, configuration, why, "a webhook's conditions failed");
                Ok(false)
            }
        }
    }

    fn namespace_labels(&self, namespace: &str) -> Value {
        let entry = self.context.server.store.get(&NAMESPACE.key("", namespace));
        let labels = entry.map(|entry| {
            let labels = entry.attributes.labels();
            let labels = labels.map(|(name, value)| (name.to_owned(), value.into()));
            labels.collect::<Map<String, Value>>()
        });
        labels.unwrap_or_default().into()
    }

    fn request(
        &self,
        form: &KindRef,
        uid: &str,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Value {
        let (kind, target) = (&self.context.kind, &self.context.target);
        let shown = |object: Option<&Value>| {
            let shown = object.map(|object| self.shown.object(kind, form, object));
            shown.unwrap_or(Value::Null)
        };
        let of = |kind: &KindRef| {
            let [group, version, kind] = self.shown.kind(kind);
            json!({ "group": group, "version": version, "kind": kind })
        };
        let resource = |kind: &KindRef| json!({ "group": kind.group, "version": kind.version, "resource": kind.plural });
        let any = new.or(old).unwrap_or(&Value::Null);
        let options = match self.operation {
            Operation::Create => json!({ "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" }),
            Operation::Update => json!({ "kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1" }),
            Operation::Delete => json!({ "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1" }),
            Operation::Connect => Value::Null,
        };
        // What is posted to a part of an object need not say which.
        let or = |said: &str, asked: &str| if said.is_empty() { asked } else { said }.to_owned();
        let mut request = json!({
            "uid": uid, "kind": of(form), "resource": resource(form),
            "requestKind": of(kind), "requestResource": resource(kind),
            "name": or(object::name(any), &target.name), "operation": self.operation.name(),
            "userInfo": review::user_info(&self.context.user),
            "object": shown(new), "oldObject": shown(old), "dryRun": self.dry_run,
            "options": options,
        });
        if kind.namespaced {
            request["namespace"] = or(object::namespace(any), &target.namespace).into();
        }
        if !target.subresource.is_empty() {
            request["subResource"] = target.subresource.as_str().into();
            request["requestSubResource"] = target.subresource.as_str().into();
        }
        request
    }
}

fn failed(hook: &Hook, cause: &str) -> ApiError {
    ApiError::internal(format!("failed calling webhook {:?}: {cause}", hook.name))
}

/// The version in which a webhook wants to see the object; none if it does not. The one that is
/// asked for, or another one of the same objects.
fn form(context: &Context, operation: Operation, hook: &Hook) -> Option<KindRef> {
    let wants = |kind: &KindRef| {
        hook.wants(&Subject {
            group: kind.group,
            version: kind.version,
            resource: kind.plural,
            subresource: &context.target.subresource,
            namespaced: kind.namespaced,
            operation: operation.name(),
        })
    };
    if wants(&context.kind) {
        return Some(context.kind.clone());
    }
    if !hook.equivalent {
        return None;
    }
    let bucket = context.kind.bucket();
    let served = context.server.kinds.now();
    served
        .iter()
        .find(|kind| kind.bucket() == bucket && wants(kind))
}
