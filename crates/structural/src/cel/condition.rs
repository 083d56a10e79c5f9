//! Conditions: expressions about something that is to be written (`matchConditions`).
//!
//! They know `object` and `oldObject`, which may be of any kind and are looked at as they are, and
//! `request`, whose fields are those of `AdmissionRequest` without the objects. `authorizer` is refused
//! when a condition is compiled.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::{
    COST_OF_ONE, check,
    code::Code,
    eval::Machine,
    syntax,
    types::Ty,
    value::{self, Val},
};
use crate::{node::Node, read};

/// A place where anything may stand.
static ANYTHING: LazyLock<Arc<Node>> = LazyLock::new(|| {
    Arc::new(Node {
        anything: true,
        ..Node::default()
    })
});

/// The fields of `request`.
static REQUEST: LazyLock<Arc<Node>> = LazyLock::new(|| {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": text() });
    let structure = |properties: Value| json!({ "type": "object", "properties": properties });
    let kind = || structure(json!({ "group": text(), "version": text(), "kind": text() }));
    let resource = || structure(json!({ "group": text(), "version": text(), "resource": text() }));
    let user = structure(json!({
        "username": text(), "uid": text(), "groups": texts(),
        "extra": { "type": "object", "additionalProperties": texts() },
    }));
    let mut request = read::read(&structure(json!({
        "kind": kind(), "resource": resource(), "subResource": text(),
        "requestKind": kind(), "requestResource": resource(), "requestSubResource": text(),
        "name": text(), "namespace": text(), "operation": text(), "userInfo": user,
        "dryRun": { "type": "boolean" },
    })));
    let options = Arc::clone(&ANYTHING);
    request.properties.insert("options".into(), options);
    Arc::new(request)
});

/// An expression about a write that says yes or no.
#[derive(Debug)]
pub struct Condition {
    text: Box<str>,
    code: Code,
}

/// What is to be written, and what is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The object as it would be; `null` when it is deleted.
    pub object: &'a Value,
    /// The object as it is; `null` when it is made.
    pub old_object: &'a Value,
    /// The `AdmissionRequest`; its `object` and `oldObject` are not looked at.
    pub request: &'a Value,
}

/// Why a condition says neither yes nor no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// Its evaluation failed.
    #[error("expression '{text}' resulted in error: {cause}")]
    Failed {
        /// The expression.
        text: Box<str>,
        /// In cel-go's words.
        cause: String,
    },
    /// All conditions together cost more than they may.
    #[error(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )]
    OverBudget,
}

impl Condition {
    /// What all conditions of one webhook may cost for one request, as in Kubernetes.
    pub const BUDGET: u64 = 2_500_000;

    /// Compiles an expression; space around it counts for nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in kube-apiserver's words.
    pub fn compile(text: &str) -> Result<Self, String> {
        const AUTHORIZER: &str = "undeclared reference to 'authorizer'";
        let text = text.trim();
        let failed = |fault: syntax::Fault| {
            let why = format!("compilation failed: {}", fault.shown(text));
            match fault.message.starts_with(AUTHORIZER) {
                true => format!(
                    "{why}\nauthorizer is not known to this API server: ask for request.userInfo"
                ),
                false => why,
            }
        };
        let tree = syntax::parse(text).map_err(failed)?;
        let scope = vec![
            ("object".into(), Ty::Dyn),
            ("oldObject".into(), Ty::Dyn),
            ("request".into(), Ty::Node(Arc::clone(&REQUEST))),
        ];
        let compiled = check::compile_with(&tree, scope).map_err(failed)?;
        match compiled.ty {
            Ty::Bool => Ok(Self {
                text: text.into(),
                code: compiled.code,
            }),
            ty => Err(format!("must evaluate to bool but got {ty}")),
        }
    }

    /// Whether it is true of this; what it costs is taken from `budget`.
    ///
    /// # Errors
    ///
    /// [`Undecided`].
    pub fn holds(&self, of: &Admission<'_>, budget: &mut u64) -> Result<bool, Undecided> {
        let failed = |fault: value::Fault| Undecided::Failed {
            text: self.text.clone(),
            cause: match fault {
                value::Fault::Error(why) => why,
                value::Fault::NoOverload => "no such overload".into(),
                value::Fault::TooCostly => "operation cancelled: actual cost limit exceeded".into(),
            },
        };
        let slots = [
            (of.object, &*ANYTHING),
            (of.old_object, &*ANYTHING),
            (of.request, &*REQUEST),
        ];
        let slots = slots.map(|(value, node)| Val::given(value, node));
        let slots: Result<Vec<_>, _> = slots.into_iter().collect();
        let mut machine = Machine::new(slots.map_err(failed)?, COST_OF_ONE);
        let result = machine.eval(&self.code);
        let spent = machine.cost.spent;
        *budget = budget.checked_sub(spent).ok_or(Undecided::OverBudget)?;
        match result.map_err(failed)? {
            Val::Bool(holds) => Ok(holds),
            _ => Err(failed(value::Fault::NoOverload)),
        }
    }
}
