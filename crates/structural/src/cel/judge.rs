//! What the rules say of an object.

use std::sync::Arc;

use serde_json::Value;

use super::eval::Machine;
use super::value::{Fault, Val};
use super::{COST_OF_ALL, COST_OF_ONE, Program, Rule};
use crate::correlate::old_item;
use crate::node::{Additional, Node, Type};
use crate::path::Path;
use crate::problem::{Problem, ProblemKind};

/// Longest message that an expression may make.
const LONGEST_MESSAGE_BYTES: usize = 5 * 1024;

/// What the rules at and below a node say of a value; `old` is what it replaces.
pub(crate) fn judge(
    node: &Arc<Node>,
    value: &Value,
    old: Option<&Value>,
    at: &Path<'_>,
) -> Vec<Problem> {
    let mut court = Court {
        problems: Vec::new(),
        left: COST_OF_ALL,
        over: false,
    };
    court.visit(node, value, old, Change::default(), at);
    court.problems
}

/// The nearest place whose old value is known, new and old.
#[derive(Clone, Copy, Default)]
struct Change<'a>(Option<(&'a Value, &'a Value)>);

impl Change<'_> {
    /// Looked at only when a rule failed: comparing costs as much as judging.
    fn is_none(self) -> bool {
        self.0.is_some_and(|(new, old)| new == old)
    }
}

struct Court {
    problems: Vec<Problem>,
    /// What may still be spent.
    left: u64,
    /// Whether nothing more is judged.
    over: bool,
}

impl Court {
    fn visit<'a>(
        &mut self,
        node: &'a Arc<Node>,
        value: &'a Value,
        old: Option<&'a Value>,
        change: Change<'a>,
        at: &Path<'_>,
    ) {
        if self.over || value.is_null() || !node.below.rules {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        let change = old.map_or(change, |old| Change(Some((value, old))));
        if !node.rules.is_empty() {
            self.judge_here(node, value, old, change, at);
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let (below, place) =
                        match (node.properties.get(name.as_str()), &node.additional) {
                            (Some(property), _) => (property, at.field(name)),
                            (None, Some(Additional::Schema(member))) => (member, at.key(name)),
                            _ => continue,
                        };
                    let old = old.and_then(|old| old.get(name));
                    self.visit(below, value, old, change, &place);
                }
            }
            Value::Array(items) => {
                let Some(member) = &node.items else { return };
                for (index, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| old_item(&node.list, old, item));
                    self.visit(member, item, old, change, &at.index(index));
                }
            }
            _ => {}
        }
    }

    fn judge_here<'a>(
        &mut self,
        node: &'a Arc<Node>,
        value: &'a Value,
        old: Option<&'a Value>,
        change: Change<'a>,
        at: &Path<'_>,
    ) {
        for rule in &node.rules {
            if self.over {
                return;
            }
            if rule.text.trim().is_empty() {
                continue;
            }
            match rule.program(node) {
                Ok(program) => {
                    if program.uses_old && old.is_none() && !rule.optional_old {
                        continue;
                    }
                    let case = Case {
                        rule,
                        node,
                        value,
                        old,
                        change,
                    };
                    self.judge_one(&case, program, at);
                }
                Err(why) => self.say_kind(node, at, format!("rule compile error: {why}")),
            }
        }
    }

    fn judge_one<'a>(&mut self, case: &Case<'a>, program: &'a Program, at: &Path<'_>) {
        if self.left == 0 {
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.say_kind(case.node, at, detail.into());
            self.over = true;
            return;
        }
        let shown = case.rule.shown();
        match self.run(case, program) {
            Ok(Val::Bool(true)) => {}
            Ok(_) => self.failed(case, program, at),
            Err(Fault::TooCostly) => {
                let detail = format!(
                    "'operation cancelled: actual cost limit exceeded': no further validation rules \
                     will be run due to call cost exceeds limit for rule: {shown}"
                );
                self.say_kind(case.node, at, detail);
                self.over = true;
            }
            Err(Fault::NoOverload) => {
                let detail = format!(
                    "'no such overload': call arguments did not match a supported operator, \
                     function or macro signature for rule: {shown}"
                );
                self.say_kind(case.node, at, detail);
            }
            Err(Fault::Error(why)) => {
                self.say_kind(case.node, at, format!("{why} evaluating rule: {shown}"));
            }
        }
    }

    /// Evaluates an expression and pays for it.
    fn run<'a>(&mut self, case: &Case<'a>, program: &'a Program) -> Result<Val<'a>, Fault> {
        let this = Val::given(case.value, case.node)?;
        let old = match (case.rule.optional_old, case.old) {
            _ if !program.uses_old => Val::Null,
            (true, None) => Val::NONE,
            (true, Some(old)) => Val::some(Val::given(old, case.node)?),
            (false, Some(old)) => Val::given(old, case.node)?,
            (false, None) => Val::Null,
        };
        let mut machine = Machine::new(vec![this, old], COST_OF_ONE.min(self.left));
        let result = machine.eval(&program.code);
        self.left = self.left.saturating_sub(machine.cost.spent);
        result
    }

    fn failed<'a>(&mut self, case: &Case<'a>, program: &'a Program, at: &Path<'_>) {
        if !program.uses_old && case.change.is_none() {
            return;
        }
        let rule = case.rule;
        let detail = match self.message(case) {
            Some(message) => message,
            None => match rule.message.trim() {
                "" => format!("failed rule: {}", rule.shown()),
                message => message.to_owned(),
            },
        };
        let found = crate::field_path::find(case.node, &rule.field_path, true);
        let field = found.map(|found| found.path).unwrap_or_default();
        let place = match field.as_str() {
            "" => *at,
            field if field.starts_with('[') => {
                let text = format!("{at}{field}");
                return self.push(rule, case, Path::Root(&text), detail);
            }
            field => {
                let below = at.field(field);
                return self.push(rule, case, below, detail);
            }
        };
        self.push(rule, case, place, detail);
    }

    fn push(&mut self, rule: &Rule, case: &Case<'_>, place: Path<'_>, detail: String) {
        let whole = matches!(case.node.kind, Some(Type::Object | Type::Array));
        let value = (!whole).then(|| case.value.clone());
        self.problems.push(match &*rule.reason {
            "FieldValueForbidden" => Problem::forbidden(place, detail),
            "FieldValueRequired" => Problem::required(place, detail),
            "FieldValueDuplicate" => Problem::new(place, ProblemKind::Duplicate, value, ""),
            _ => Problem::new(place, ProblemKind::Invalid, value, detail),
        });
    }

    /// What the rule's own expression says; `None` if there is none or it says nothing that can
    /// be shown.
    fn message(&mut self, case: &Case<'_>) -> Option<String> {
        let program = case.rule.message_program(case.node)?.ok()?;
        let Ok(Val::Text(text)) = self.run(case, program) else {
            return None;
        };
        let text = text.trim();
        let right = !text.is_empty() && text.len() <= LONGEST_MESSAGE_BYTES && !text.contains('\n');
        right.then(|| text.to_owned())
    }

    /// Says something of a rule instead of a value: the type stands for that.
    fn say_kind(&mut self, node: &Node, at: &Path<'_>, detail: String) {
        let kind = node.kind.map_or("", Type::name);
        self.problems.push(Problem::invalid(at, kind, detail));
    }
}

/// A rule and what it is applied to.
struct Case<'a> {
    rule: &'a Rule,
    node: &'a Arc<Node>,
    value: &'a Value,
    old: Option<&'a Value>,
    change: Change<'a>,
}
