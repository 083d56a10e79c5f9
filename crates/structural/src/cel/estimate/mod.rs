//! The most that a rule may cost, from the largest values that its schema lets pass.
//!
//! Definitions are written for Kubernetes, and were tried there: a rule that is taken there is to be taken here, and
//! one that is refused there should not come to be relied on. So this counts step for step what Kubernetes 1.34 and later
//! count, also where that is odd: a key of a map costs nothing to compare, a member of a list that was made
//! is as large as `self`, and what an optional holds is as large as can be.
//!
//! Limits on lists, maps and texts (`maxItems`, `maxProperties`, `maxLength`) make a rule cheap;
//! without them a value is as large as a request can be.

mod calls;
mod folds;
mod operators;
mod size;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::code::Code;
use super::types::{self, Ty};
use super::value::Val;
use crate::node::Node;
pub(crate) use size::{LARGEST_REQUEST, smallest};
use size::{Place, Size, scaled};

/// How often a place may be in one object; `None` if only the size of the request limits it.
pub(crate) type Cardinality = Option<u64>;

/// To go through a text, for each letter.
const TRAVERSAL: f64 = 0.1;
/// What a pattern costs for each of its letters: an expression in it has some four.
const PATTERN: f64 = 0.25;
const LIST: u64 = 10;
const MAP: u64 = 30;

/// What is known of a value before there is one.
#[derive(Clone)]
struct Guess {
    cost: u64,
    ty: Ty,
    place: Place,
    size: Option<Size>,
    /// Of members of what was made.
    members: Option<Members>,
}

/// How large keys (of a map) and members are.
#[derive(Clone, Copy)]
struct Members {
    key: Size,
    value: Size,
}

impl Members {
    fn of_list(value: Size) -> Self {
        Self {
            key: Size::exactly(1),
            value,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            key: self.key.or(other.key),
            value: self.value.or(other.value),
        }
    }
}

impl Guess {
    /// What was made, and how large it is, if that can be known.
    fn made(ty: Ty, cost: u64, size: Option<Size>) -> Self {
        let size = size.or_else(|| is_scalar(&ty).then_some(Size::exactly(1)));
        Self {
            cost,
            ty,
            place: Place::Nowhere,
            size,
            members: None,
        }
    }

    /// What stands somewhere.
    fn at(ty: Ty, cost: u64, place: Place) -> Self {
        let size = place.size();
        Self {
            place,
            ..Self::made(ty, cost, size)
        }
    }

    fn with(self, members: Option<Members>) -> Self {
        Self { members, ..self }
    }

    fn size(&self) -> Size {
        self.size.unwrap_or(Size::UNKNOWN)
    }

    /// What it costs to go through it once as a text.
    fn traversal(&self) -> u64 {
        scaled(self.size().max, TRAVERSAL)
    }
}

fn is_scalar(ty: &Ty) -> bool {
    match ty {
        Ty::Bool | Ty::Int | Ty::Uint | Ty::Double | Ty::Timestamp | Ty::Duration => true,
        Ty::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}

fn is_text(ty: &Ty) -> bool {
    matches!(ty, Ty::Text | Ty::Bytes)
}

/// The most that an expression costs for a value of a node.
pub(super) fn estimate(code: &Code, node: &Arc<Node>, old_is_optional: bool) -> u64 {
    let ty = Ty::of(node).unwrap_or(Ty::Dyn);
    let this = Guess::at(ty.clone(), 1, Place::At(Arc::clone(node)));
    let old = Guess {
        ty: if old_is_optional {
            Ty::optional(ty)
        } else {
            ty
        },
        ..this.clone()
    };
    let mut estimator = Estimator {
        root: node,
        scope: vec![this, old],
    };
    estimator.guess(code).cost
}

struct Estimator<'a> {
    root: &'a Arc<Node>,
    /// Variables, as they are when they are named.
    scope: Vec<Guess>,
}

impl Estimator<'_> {
    fn guess(&mut self, code: &Code) -> Guess {
        match code {
            Code::Const(value) => self.constant(value),
            Code::Slot(at) => self.scope[*at].clone(),
            Code::Field(operand, name) => self.field(operand, name),
            Code::MaybeField(operand, name) => {
                let operand = self.guess(operand);
                let ty = Ty::optional(field_type(&operand.ty, name));
                Guess::made(ty, operand.cost.saturating_add(1), None)
            }
            Code::Has(operand, _) => Guess::made(Ty::Bool, self.guess(operand).cost, None),
            Code::Index(parts) => self.index(parts),
            Code::MaybeIndex(parts) => {
                let found = self.index(parts);
                Guess::made(Ty::optional(found.ty), found.cost, None)
            }
            Code::And(all) | Code::Or(all) => {
                let cost = all.iter().fold(0, |sum: u64, code| {
                    sum.saturating_add(self.guess(code).cost)
                });
                Guess::made(Ty::Bool, cost, None)
            }
            Code::Not(operand) | Code::Negate(operand) => {
                let operand = self.guess(operand);
                Guess::made(operand.ty, operand.cost.saturating_add(1), None)
            }
            Code::Conditional(parts) => self.conditional(parts),
            Code::Binary(operator, parts) => self.binary(*operator, parts),
            Code::Call(candidates, args) => self.call(candidates, args),
            Code::List(entries) => self.list(entries),
            Code::Map(entries) => self.map(entries),
            Code::Fold(fold) => self.fold(fold),
            Code::MapOptional(parts, flat) => self.map_optional(parts, *flat),
            Code::SortBy(parts) => self.sort_by(parts),
        }
    }

    fn constant(&self, value: &Val<'_>) -> Guess {
        let letters = |text: &str| Some(Size::exactly(text.chars().count() as u64));
        let (ty, size) = match value {
            // The name of a type is looked up as a variable.
            Val::Type(_) => return Guess::at(Ty::Type, 1, Place::At(Arc::clone(self.root))),
            Val::Text(text) => (Ty::Text, letters(text)),
            Val::Pattern(pattern) => (Ty::Text, letters(pattern.as_str())),
            Val::Bytes(bytes) => (Ty::Bytes, Some(Size::exactly(bytes.len() as u64))),
            Val::Null => (Ty::Null, Some(Size::exactly(1))),
            Val::Bool(_) => (Ty::Bool, None),
            Val::Int(_) => (Ty::Int, None),
            Val::Uint(_) => (Ty::Uint, None),
            Val::Double(_) => (Ty::Double, None),
            _ => (Ty::Dyn, None),
        };
        Guess::made(ty, 0, size)
    }

    fn field(&mut self, operand: &Code, name: &str) -> Guess {
        let operand = self.guess(operand);
        let is_structure = matches!(operand.ty, Ty::Map(..) | Ty::Node(_));
        let cost = operand.cost.saturating_add(u64::from(is_structure));
        let place = operand.place.field(name, self.root);
        Guess::at(field_type(&operand.ty, name), cost, place)
    }

    fn index(&mut self, parts: &[Code; 2]) -> Guess {
        let (operand, index) = (self.guess(&parts[0]), self.guess(&parts[1]));
        let ty = match &operand.ty {
            Ty::List(item) | Ty::Map(_, item) => item.as_ref().clone(),
            _ => Ty::Dyn,
        };
        let cost = operand.cost.saturating_add(index.cost).saturating_add(1);
        let found = Guess::at(ty, cost, operand.place.member(self.root));
        let known = operand.members.map(|members| members.value);
        Guess {
            size: known.or(found.size),
            ..found
        }
    }

    fn conditional(&mut self, parts: &[Code; 3]) -> Guess {
        let [condition, then, otherwise] = [0, 1, 2].map(|at| self.guess(&parts[at]));
        let cost = then.cost.max(otherwise.cost).saturating_add(condition.cost);
        let size = then.size().or(otherwise.size());
        let members = then.members.zip(otherwise.members);
        let ty = then.ty.joined(&otherwise.ty).unwrap_or(Ty::Dyn);
        Guess::made(ty, cost, Some(size)).with(members.map(|(then, otherwise)| then.or(otherwise)))
    }

    fn list(&mut self, entries: &[(bool, Code)]) -> Guess {
        let guesses: Vec<Guess> = entries.iter().map(|(_, code)| self.guess(code)).collect();
        let cost = guesses
            .iter()
            .fold(LIST, |sum, one| sum.saturating_add(one.cost));
        let sizes = guesses.iter().map(Guess::size).reduce(Size::or);
        let members = Members::of_list(sizes.unwrap_or(Size::exactly(0)));
        let size = Size::exactly(entries.len() as u64);
        Guess::made(Ty::list(joined(guesses)), cost, Some(size)).with(Some(members))
    }

    fn map(&mut self, entries: &[(bool, Code, Code)]) -> Guess {
        let keys: Vec<Guess> = entries.iter().map(|(_, key, _)| self.guess(key)).collect();
        let values: Vec<Guess> = entries
            .iter()
            .map(|(_, _, value)| self.guess(value))
            .collect();
        let costs = keys.iter().chain(&values).map(|one| one.cost);
        let cost = costs.fold(MAP, u64::saturating_add);
        let sizes = |all: &[Guess]| {
            let sizes = all.iter().map(Guess::size).reduce(Size::or);
            sizes.unwrap_or(Size::exactly(0))
        };
        let members = Members {
            key: sizes(&keys),
            value: sizes(&values),
        };
        let size = Size::exactly(entries.len() as u64);
        let ty = Ty::Map(Arc::new(joined(keys)), Arc::new(joined(values)));
        Guess::made(ty, cost, Some(size)).with(Some(members))
    }
}

/// The type of members of these.
fn joined(guesses: Vec<Guess>) -> Ty {
    let mut types = guesses.into_iter().map(|one| one.ty);
    let first = types.next().unwrap_or(Ty::Dyn);
    types.fold(first, |known, ty| known.joined(&ty).unwrap_or(Ty::Dyn))
}

fn field_type(ty: &Ty, name: &str) -> Ty {
    match ty {
        Ty::Node(node) => types::field(node, name).and_then(Ty::of).unwrap_or(Ty::Dyn),
        Ty::Map(_, value) => value.as_ref().clone(),
        Ty::Optional(inner) => field_type(inner, name),
        _ => Ty::Dyn,
    }
}
