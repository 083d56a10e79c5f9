//! Rules in CEL: they compile, and cost no more than may be.

use std::sync::Arc;

use serde_json::Value;

use crate::cel::{self, Cardinality, LARGEST_REQUEST, Rule};
use crate::node::{Additional, List, Node, Type};
use crate::path::Path;
use crate::problem::Problem;

/// What one rule may cost on all places that it applies to.
const COST_OF_RULE: u64 = 10_000_000;
/// What all rules of a schema may cost.
const COST_OF_SCHEMA: u64 = 100_000_000;
const KEYWORD: &str = "x-kubernetes-validations";

/// `dear` says whether rules may cost what they like: those of a schema that was taken before, by whichever version.
pub(super) fn check(
    root: &Arc<Node>,
    raw: &Value,
    dear: bool,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut audit = Audit {
        problems,
        dear,
        total: 0,
    };
    audit.visit(root, raw, Some(1), None, at);
    if audit.total > COST_OF_SCHEMA && !dear {
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = too_costly(what, audit.total, COST_OF_SCHEMA);
        problems.push(Problem::forbidden(at, detail));
    }
}

struct Audit<'a> {
    problems: &'a mut Vec<Problem>,
    dear: bool,
    total: u64,
}

impl Audit<'_> {
    /// `often` is how often the place may be in one object. `apart` is the first place above whose
    /// old value cannot be known.
    fn visit(
        &mut self,
        node: &Arc<Node>,
        raw: &Value,
        often: Cardinality,
        apart: Option<&str>,
        at: &Path<'_>,
    ) {
        if !node.below.rules {
            return;
        }
        let list = at.field(KEYWORD);
        for (index, rule) in node.rules.iter().enumerate() {
            self.rule(
                rule,
                node,
                &raw[KEYWORD][index],
                often,
                apart,
                &list.index(index),
            );
        }
        let below = often
            .zip(most(node))
            .map(|(often, most)| often.saturating_mul(most));
        let properties = at.field("properties");
        for (name, property) in &node.properties {
            let raw = &raw["properties"][name.as_ref()];
            self.visit(property, raw, below, apart, &properties.key(name));
        }
        if let Some(Additional::Schema(member)) = &node.additional {
            let keyword = "additionalProperties";
            self.visit(member, &raw[keyword], below, apart, &at.field(keyword));
        }
        if let Some(items) = &node.items {
            let here = at.to_string();
            let correlated = matches!(node.list, List::Map(_));
            let apart = apart.or((!correlated).then_some(here.as_str()));
            self.visit(items, &raw["items"], below, apart, &at.field("items"));
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        node: &Arc<Node>,
        raw: &Value,
        often: Cardinality,
        apart: Option<&str>,
        at: &Path<'_>,
    ) {
        let expression_at = at.field("rule");
        match rule.program(node) {
            Ok(program) => {
                // Without limits above, as many as fit into a request.
                let often = often.unwrap_or_else(|| LARGEST_REQUEST / (cel::smallest(node) + 1));
                let cost = program.estimate(node).saturating_mul(often);
                self.cost(cost, "estimated rule cost", &expression_at);
                if let Some(apart) = apart.filter(|_| program.uses_old) {
                    let detail = format!(
                        "oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}"
                    );
                    self.problems
                        .push(Problem::invalid(expression_at, &*rule.text, detail));
                }
                if !program.uses_old && !raw["optionalOldSelf"].is_null() {
                    let detail = "may not be set if oldSelf is not used in rule";
                    let place = at.field("optionalOldSelf");
                    self.problems
                        .push(Problem::invalid(place, rule.optional_old, detail));
                }
            }
            Err(why) => self
                .problems
                .push(Problem::invalid(expression_at, raw.clone(), why)),
        }
        let message_at = at.field("messageExpression");
        match rule.message_program(node) {
            None => {}
            // One is made of all that a rule refuses.
            Some(Ok(program)) => self.cost(
                program.estimate(node),
                "estimated messageExpression cost",
                &message_at,
            ),
            Some(Err(why)) => self
                .problems
                .push(Problem::invalid(message_at, raw.clone(), why)),
        }
    }

    fn cost(&mut self, cost: u64, what: &str, at: &Path<'_>) {
        self.total = self.total.saturating_add(cost);
        if cost > COST_OF_RULE && !self.dear {
            self.problems
                .push(Problem::forbidden(at, too_costly(what, cost, COST_OF_RULE)));
        }
    }
}

/// How many members a place has at most; `None` without a limit.
fn most(node: &Node) -> Option<u64> {
    let limits = node.limits.as_deref();
    let given = |limit: Option<i64>| limit.map(|limit| u64::try_from(limit).unwrap_or_default());
    match (node.kind, &node.additional) {
        (Some(Type::Array), _) => given(limits?.max_items),
        (Some(Type::Object), Some(_)) => given(limits?.max_properties),
        _ => Some(1),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a factor that is shown to people"
)]
fn too_costly(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let shown = match factor {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, \
         maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
