//! Rules in CEL (`x-kubernetes-validations`).
//!
//! ```text
//!  text ──syntax──> tree ──check──> code ──eval──> value, and what it cost
//!                     │ types of the schema            │
//!                     └──> refused when posted         └──> estimate: what it may cost
//! ```
//!
//! The engine is this crate's own. The crates that there are know no types, so that a wrong name
//! in a rule is found when an object fails by it instead of when the definition is posted; they
//! have no count of costs; and they copy the object into values of their own. Here a rule
//! is compiled once against the places of its schema and looks at the object where it stands.
//!
//! The same language says which writes a webhook wants to see: a [`Condition`] is about objects that
//! no schema describes, so its types are known only when it is evaluated.
//!
//! A rule compiles when it is first needed and is shared from then on.

mod check;
mod code;
mod condition;
mod equality;
mod estimate;
mod eval;
mod judge;
mod library;
mod names;
mod syntax;
mod types;
mod value;

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::node::Node;

pub use condition::{Admission, Condition, Undecided};
pub(crate) use estimate::{Cardinality, LARGEST_REQUEST, smallest};
pub(crate) use judge::judge;

/// What one rule may cost on one value, as in Kubernetes: about a tenth of a second there.
const COST_OF_ONE: u64 = 1_000_000;
/// What all rules of an object may cost.
const COST_OF_ALL: u64 = 10_000_000;

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub text: Box<str>,
    message: Box<str>,
    message_expression: Box<str>,
    reason: Box<str>,
    field_path: Box<str>,
    pub optional_old: bool,
    compiled: OnceLock<Result<Program, String>>,
    compiled_message: OnceLock<Result<Program, String>>,
}

/// An expression that was compiled.
#[derive(Debug)]
pub(crate) struct Program {
    code: code::Code,
    /// Whether it speaks of the value that was there before.
    pub uses_old: bool,
    old_is_optional: bool,
}

impl Rule {
    pub fn read(raw: &Value) -> Self {
        let text = |name: &str| raw[name].as_str().unwrap_or_default().into();
        Self {
            text: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old: raw["optionalOldSelf"] == true,
            compiled: OnceLock::new(),
            compiled_message: OnceLock::new(),
        }
    }

    /// The rule, compiled for values of a node.
    pub fn program(&self, node: &Arc<Node>) -> Result<&Program, &str> {
        let compiled = self.compiled.get_or_init(|| {
            let compiled = compile(&self.text, node, self.optional_old);
            let compiled = compiled.map_err(|why| format!("compilation failed: {why}"))?;
            match compiled.ty {
                types::Ty::Bool => Ok(Program::of(compiled, self.optional_old)),
                _ => Err("cel expression must evaluate to a bool".into()),
            }
        });
        compiled.as_ref().map_err(String::as_str)
    }

    /// What makes the message, if something does.
    pub fn message_program(&self, node: &Arc<Node>) -> Option<Result<&Program, &str>> {
        if self.message_expression.trim().is_empty() {
            return None;
        }
        let compiled = self.compiled_message.get_or_init(|| {
            let compiled = compile(&self.message_expression, node, self.optional_old);
            let compiled =
                compiled.map_err(|why| format!("messageExpression compilation failed: {why}"))?;
            match compiled.ty {
                types::Ty::Text => Ok(Program::of(compiled, self.optional_old)),
                _ => Err("messageExpression must evaluate to a string".into()),
            }
        });
        Some(compiled.as_ref().map_err(String::as_str))
    }

    /// What the rule is called in messages about it.
    fn shown(&self) -> &str {
        match self.message.trim() {
            "" => self.text.trim(),
            message => message,
        }
    }
}

impl Program {
    fn of(compiled: check::Compiled, old_is_optional: bool) -> Self {
        Self {
            code: compiled.code,
            uses_old: compiled.uses_old,
            old_is_optional,
        }
    }

    /// The most that it costs on a value of a node.
    pub fn estimate(&self, node: &Arc<Node>) -> u64 {
        estimate::estimate(&self.code, node, self.old_is_optional)
    }
}

fn compile(text: &str, node: &Arc<Node>, optional_old: bool) -> Result<check::Compiled, String> {
    let ty = types::Ty::of(node).ok_or("failed to convert to declType for CEL validation rules")?;
    let tree = syntax::parse(text).map_err(|fault| fault.shown(text).to_string())?;
    check::compile(&tree, &ty, optional_old).map_err(|fault| fault.shown(text).to_string())
}
