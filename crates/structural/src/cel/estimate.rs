//! The most that a rule may cost, from the largest values that its schema lets pass.
//!
//! As Kubernetes estimates it, but simpler: one number for each step instead of a range, and
//! what a function makes is taken to be as large as what it was given. Limits on lists, maps and
//! texts (`maxItems`, `maxProperties`, `maxLength`) make a rule cheap; without them a value is
//! as large as a request can be.

use std::sync::Arc;

use serde_json::Value;

use super::code::{Code, Makes};
use super::syntax::Binary;
use super::types::{field, text_form};
use super::value::Val;
use crate::node::{Additional, Node, Type};

/// Largest request in bytes.
pub(crate) const LARGEST_REQUEST: u64 = 3 * 1024 * 1024;

/// How often a place may be in one object; `None` if only the size of the request limits it.
pub(crate) type Cardinality = Option<u64>;

/// What is known of a value before there is one.
#[derive(Clone)]
struct Guess {
    cost: u64,
    /// Letters of a text, members of a list or map.
    size: u64,
    place: Option<Arc<Node>>,
    /// Of what a list is made of, if it is at no place.
    item_size: u64,
}

impl Guess {
    fn plain(cost: u64) -> Self {
        Self {
            cost,
            size: 1,
            place: None,
            item_size: 1,
        }
    }

    fn at(place: Arc<Node>, cost: u64) -> Self {
        Self {
            cost,
            size: largest(&place),
            place: Some(place),
            item_size: 1,
        }
    }
}

pub(super) fn estimate(code: &Code, node: &Arc<Node>) -> u64 {
    let this = Guess::at(Arc::clone(node), 0);
    guess(code, &mut vec![this.clone(), this]).cost
}

/// How many members or letters a value of a place may have.
fn largest(node: &Node) -> u64 {
    let limits = node.limits.as_deref();
    let given = |limit: Option<i64>| limit.map(|limit| u64::try_from(limit).unwrap_or_default());
    let text = || {
        let named = limits.map_or(&[][..], |limits| limits.one_of_these.as_slice());
        let longest = named
            .iter()
            .filter_map(Value::as_str)
            .map(|text| text.len() as u64)
            .max();
        let given = given(limits.and_then(|limits| limits.max_length)).map(|letters| letters * 4);
        match text_form(node) {
            "duration" | "date" | "date-time" => 32,
            _ => given.or(longest).unwrap_or(LARGEST_REQUEST - 2),
        }
    };
    match node.kind {
        _ if node.int_or_string => text(),
        Some(Type::String) => text(),
        Some(Type::Array) => {
            given(limits.and_then(|limits| limits.max_items)).unwrap_or_else(|| {
                let item = node.items.as_ref().map_or(1, |item| smallest(item));
                (LARGEST_REQUEST - 2) / (item + 1)
            })
        }
        Some(Type::Object) => match &node.additional {
            Some(Additional::Schema(member)) => {
                let given = given(limits.and_then(|limits| limits.max_properties));
                given.unwrap_or_else(|| (LARGEST_REQUEST - 2) / (smallest(member) + 6))
            }
            _ => node.properties.len() as u64,
        },
        _ => 1,
    }
}

/// The fewest bytes that a value of a place takes.
pub(crate) fn smallest(node: &Node) -> u64 {
    match node.kind {
        _ if node.int_or_string => 1,
        Some(Type::String) => match text_form(node) {
            "date" => 12,
            "date-time" => 22,
            "duration" => 4,
            _ => 2,
        },
        Some(Type::Boolean) => 4,
        Some(Type::Array) => 2,
        Some(Type::Object) => {
            let required = node.limits.iter().flat_map(|limits| &limits.required);
            let fields = required.filter_map(|name| Some((name, node.properties.get(name)?)));
            let given = fields.filter(|(_, field)| field.default.is_none());
            2 + given
                .map(|(name, field)| name.len() as u64 + smallest(field) + 4)
                .sum::<u64>()
        }
        _ => 1,
    }
}

fn guess(code: &Code, scope: &mut Vec<Guess>) -> Guess {
    match code {
        Code::Const(value) => Guess {
            size: match value {
                Val::Pattern(program) => program.as_str().len() as u64,
                value => value.weight(),
            },
            ..Guess::plain(0)
        },
        Code::Slot(at) => Guess {
            cost: 1,
            ..scope[*at].clone()
        },
        Code::Field(operand, name) | Code::MaybeField(operand, name) => {
            let operand = guess(operand, scope);
            member(&operand, Some(name))
        }
        Code::Has(operand, _) => Guess::plain(guess(operand, scope).cost),
        Code::Index(parts) | Code::MaybeIndex(parts) => {
            let operand = guess(&parts[0], scope);
            let index = guess(&parts[1], scope).cost;
            let found = member(&operand, None);
            Guess {
                cost: found.cost.saturating_add(index),
                ..found
            }
        }
        Code::And(all) | Code::Or(all) => Guess::plain(sum(all, scope)),
        Code::Not(operand) | Code::Negate(operand) => {
            Guess::plain(guess(operand, scope).cost.saturating_add(1))
        }
        Code::Conditional(parts) => {
            let condition = guess(&parts[0], scope).cost;
            let (then, otherwise) = (guess(&parts[1], scope), guess(&parts[2], scope));
            let cost = condition.saturating_add(then.cost.max(otherwise.cost));
            let larger = if then.size >= otherwise.size {
                then
            } else {
                otherwise
            };
            Guess { cost, ..larger }
        }
        Code::Binary(operator, parts) => {
            let (left, right) = (guess(&parts[0], scope), guess(&parts[1], scope));
            let walked = match operator {
                Binary::In => right.size,
                Binary::Add => left.size.saturating_add(right.size) / 10,
                _ => left.size.min(right.size) / 10,
            };
            let walked = walked.saturating_add(1);
            let cost = left.cost.saturating_add(right.cost).saturating_add(walked);
            Guess {
                cost,
                size: left.size.saturating_add(right.size),
                ..left
            }
        }
        Code::Call(candidates, args) => {
            call(candidates.first().map_or("", |one| &one.name), args, scope)
        }
        Code::List(entries) => {
            let guesses: Vec<Guess> = entries.iter().map(|(_, code)| guess(code, scope)).collect();
            Guess {
                cost: guesses
                    .iter()
                    .fold(10, |sum, one| sum.saturating_add(one.cost)),
                size: entries.len() as u64,
                place: None,
                item_size: guesses.iter().map(|one| one.size).max().unwrap_or(1),
            }
        }
        Code::Map(entries) => {
            let cost = |(_, key, value): &(bool, Code, Code), scope: &mut Vec<Guess>| {
                guess(key, scope)
                    .cost
                    .saturating_add(guess(value, scope).cost)
            };
            let total = entries
                .iter()
                .fold(30, |sum: u64, entry| sum.saturating_add(cost(entry, scope)));
            Guess {
                size: entries.len() as u64,
                ..Guess::plain(total)
            }
        }
        Code::Fold(fold) => {
            let range = guess(&fold.range, scope);
            let is_map = range
                .place
                .as_ref()
                .is_some_and(|place| place.kind == Some(Type::Object));
            let item = Guess {
                cost: 0,
                ..member(&range, None)
            };
            let length = scope.len();
            // Kubernetes takes keys for nothing, and there are rules that count on it.
            let key = Guess {
                size: 0,
                ..Guess::plain(0)
            };
            match (fold.pairs, is_map) {
                (true, _) => scope.extend([key, item.clone()]),
                (false, true) => scope.push(key),
                (false, false) => scope.push(item.clone()),
            }
            let filter = fold
                .filter
                .as_ref()
                .map_or(0, |filter| guess(filter, scope).cost);
            let body = guess(&fold.body, scope);
            scope.truncate(length);
            let each = body.cost.saturating_add(filter).saturating_add(2);
            let cost = range.cost.saturating_add(range.size.saturating_mul(each));
            match fold.makes {
                Makes::All | Makes::Exists | Makes::ExistsOne => Guess::plain(cost),
                Makes::Filtered => Guess { cost, ..range },
                _ => Guess {
                    cost,
                    size: range.size,
                    place: None,
                    item_size: body.size,
                },
            }
        }
        Code::MapOptional(parts, _) => {
            let optional = guess(&parts[0], scope);
            scope.push(Guess {
                cost: 0,
                ..optional.clone()
            });
            let body = guess(&parts[1], scope);
            scope.pop();
            Guess {
                cost: optional.cost.saturating_add(body.cost),
                ..body
            }
        }
        Code::SortBy(parts) => {
            let list = guess(&parts[0], scope);
            scope.push(Guess {
                cost: 0,
                ..member(&list, None)
            });
            let key = guess(&parts[1], scope);
            scope.pop();
            Guess {
                cost: list
                    .cost
                    .saturating_add(list.size.saturating_mul(key.cost + 1)),
                ..list
            }
        }
    }
}

fn sum(all: &[Code], scope: &mut Vec<Guess>) -> u64 {
    all.iter().fold(0, |sum: u64, code| {
        sum.saturating_add(guess(code, scope).cost)
    })
}

/// The field of a structure, or any member of a list or map.
fn member(operand: &Guess, name: Option<&str>) -> Guess {
    let cost = operand.cost.saturating_add(1);
    let below = operand.place.as_ref().and_then(|place| {
        let declared = name.and_then(|name| field(place, name));
        declared
            .or(place.items.as_ref())
            .or(match &place.additional {
                Some(Additional::Schema(member)) => Some(member),
                _ => None,
            })
    });
    match below {
        Some(below) => Guess::at(Arc::clone(below), cost),
        None => Guess {
            size: operand.item_size,
            ..Guess::plain(cost)
        },
    }
}

/// What it costs to look at a whole value once.
fn walk(guess: &Guess) -> u64 {
    let is_list = guess
        .place
        .as_ref()
        .is_some_and(|place| place.kind == Some(Type::Array));
    if is_list { guess.size } else { guess.size / 10 }
}

fn call(name: &str, args: &[Code], scope: &mut Vec<Guess>) -> Guess {
    let guesses: Vec<Guess> = args.iter().map(|arg| guess(arg, scope)).collect();
    let total = guesses
        .iter()
        .fold(0, |sum: u64, one| sum.saturating_add(one.cost));
    let size = guesses.iter().map(|one| one.size).max().unwrap_or(1);
    let own = match (name, guesses.as_slice()) {
        (
            "size" | "type" | "dyn" | "hasValue" | "value" | "orValue" | "or" | "int" | "uint"
            | "double" | "bool" | "timestamp" | "duration",
            _,
        ) => 0,
        ("startsWith" | "endsWith", [_, part]) => part.size / 10,
        ("matches" | "find" | "findAll", [text, pattern, ..]) => {
            (text.size / 10 + 1).saturating_mul(pattern.size / 4 + 1)
        }
        ("sets.contains" | "sets.equivalent" | "sets.intersects", [one, other]) => {
            one.size.saturating_mul(other.size)
        }
        (_, all) => all
            .iter()
            .fold(0, |sum: u64, one| sum.saturating_add(walk(one))),
    };
    Guess {
        cost: total.saturating_add(own.max(1)),
        size,
        place: None,
        item_size: size,
    }
}
