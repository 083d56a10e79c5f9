//! Evaluation, with a count of what it costs.
//!
//! Costs are cel-go's in their order of magnitude: one for each step, a tenth of the length for a
//! text that is walked, the number of members for a list that is. Errors in `&&`, `||` and the
//! macros count only if nothing else decides.

mod folds;
mod operators;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::code::Code;
use super::library::{Cost, Overload};
use super::value::{Fault, Key, Outcome, Text, Val};

/// What a list costs to be made.
const LIST_COST: u64 = 10;
/// What a map costs to be made.
const MAP_COST: u64 = 30;

/// Variables and what was spent.
pub(super) struct Machine<'a> {
    pub slots: Vec<Val<'a>>,
    pub cost: Cost,
}

impl<'a> Machine<'a> {
    pub fn new(slots: Vec<Val<'a>>, limit: u64) -> Self {
        Self {
            slots,
            cost: Cost { spent: 0, limit },
        }
    }

    pub fn eval(&mut self, code: &'a Code) -> Outcome<'a> {
        match code {
            Code::Const(value) => Ok(value.clone()),
            Code::Slot(at) => {
                self.cost.charge(1)?;
                self.slots.get(*at).cloned().ok_or(Fault::NoOverload)
            }
            Code::Field(operand, name) => self.field(operand, name),
            Code::Has(operand, name) => {
                let operand = self.eval(operand)?;
                Ok(Val::Bool(
                    maybe_member(&operand, &Val::Text(Text::Given(name)))?.is_some(),
                ))
            }
            Code::MaybeField(operand, name) => {
                let operand = self.eval(operand)?;
                self.cost.charge(1)?;
                Ok(wrapped(maybe_member(
                    &operand,
                    &Val::Text(Text::Given(name)),
                )?))
            }
            Code::Index(parts) => self.index(parts),
            Code::MaybeIndex(parts) => {
                let operand = self.eval(&parts[0])?;
                let index = self.eval(&parts[1])?;
                self.cost.charge(1)?;
                Ok(wrapped(maybe_member(&operand, &index)?))
            }
            Code::And(all) => self.all_of(all),
            Code::Or(all) => self.any_of(all),
            Code::Not(operand) => {
                self.cost.charge(1)?;
                Ok(Val::Bool(!truth(self.eval(operand)?)?))
            }
            Code::Negate(operand) => {
                self.cost.charge(1)?;
                operators::negate(self.eval(operand)?)
            }
            Code::Conditional(parts) => {
                self.cost.charge(1)?;
                let chosen = if truth(self.eval(&parts[0])?)? {
                    &parts[1]
                } else {
                    &parts[2]
                };
                self.eval(chosen)
            }
            Code::Binary(operator, parts) => {
                let left = self.eval(&parts[0])?;
                let right = self.eval(&parts[1])?;
                operators::apply(*operator, &left, &right, &mut self.cost)
            }
            Code::Call(candidates, args) => self.call(candidates, args),
            Code::List(entries) => self.list(entries),
            Code::Map(entries) => self.map(entries),
            Code::Fold(fold) => self.fold(fold),
            Code::MapOptional(parts, flat) => self.map_optional(parts, *flat),
            Code::SortBy(parts) => self.sort_by(parts),
        }
    }

    fn field(&mut self, operand: &'a Code, name: &'a str) -> Outcome<'a> {
        let operand = self.eval(operand)?;
        self.cost.charge(1)?;
        if !operand.is_map() {
            return Err(Fault::NoOverload);
        }
        let key = Key::Text(Text::Given(name));
        operand
            .member(&key)
            .unwrap_or_else(|| Err(Fault::no_key(name)))
    }

    fn index(&mut self, parts: &'a [Code; 2]) -> Outcome<'a> {
        let operand = self.eval(&parts[0])?;
        let index = self.eval(&parts[1])?;
        self.cost.charge(1)?;
        let missing = || match (&operand, &index) {
            (operand, Val::Int(at)) if operand.is_list() => {
                Fault::error(format!("index out of bounds: {at}"))
            }
            (_, Val::Text(text)) => Fault::no_key(text),
            (_, other) => Fault::no_key(&format!("{other:?}")),
        };
        maybe_member(&operand, &index)?.ok_or_else(missing)
    }

    fn all_of(&mut self, all: &'a [Code]) -> Outcome<'a> {
        let mut fault = None;
        for code in all {
            match self.eval(code).and_then(truth) {
                Ok(true) => {}
                Ok(false) => return Ok(Val::Bool(false)),
                Err(Fault::TooCostly) => return Err(Fault::TooCostly),
                Err(other) => fault = fault.or(Some(other)),
            }
        }
        fault.map_or(Ok(Val::Bool(true)), Err)
    }

    fn any_of(&mut self, all: &'a [Code]) -> Outcome<'a> {
        let mut fault = None;
        for code in all {
            match self.eval(code).and_then(truth) {
                Ok(false) => {}
                Ok(true) => return Ok(Val::Bool(true)),
                Err(Fault::TooCostly) => return Err(Fault::TooCostly),
                Err(other) => fault = fault.or(Some(other)),
            }
        }
        fault.map_or(Ok(Val::Bool(false)), Err)
    }

    fn call(&mut self, candidates: &'a [&'static Overload], args: &'a [Code]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.eval(arg)?);
        }
        let fits = |one: &&&'static Overload| {
            one.params
                .iter()
                .zip(&values)
                .all(|(param, value)| param.fits(value))
        };
        let overload = match candidates {
            [one] => one,
            many => many.iter().find(fits).ok_or(Fault::NoOverload)?,
        };
        let weight = |value: &Val<'_>| match value {
            Val::Text(text) => (text.len() as u64).div_ceil(10),
            value if overload.traverses => value.weight(),
            _ => 0,
        };
        self.cost
            .charge(1 + values.iter().map(weight).sum::<u64>())?;
        (overload.run)(&mut self.cost, &values)
    }

    fn list(&mut self, entries: &'a [(bool, Code)]) -> Outcome<'a> {
        self.cost.charge(LIST_COST)?;
        let mut items = Vec::with_capacity(entries.len());
        for (optional, code) in entries {
            let value = self.eval(code)?;
            items.extend(given(value, *optional)?);
        }
        Ok(Val::list(items))
    }

    fn map(&mut self, entries: &'a [(bool, Code, Code)]) -> Outcome<'a> {
        self.cost.charge(MAP_COST)?;
        let mut map = BTreeMap::new();
        for (optional, key, code) in entries {
            let key = Key::of(&self.eval(key)?)?;
            let value = self.eval(code)?;
            let Some(value) = given(value, *optional)? else {
                continue;
            };
            if map.insert(key, value).is_some() {
                return Err(Fault::error("Failed with repeated key"));
            }
        }
        Ok(Val::Map(Arc::new(map)))
    }
}

/// What an optional member adds to a literal.
fn given<'a>(value: Val<'a>, optional: bool) -> Result<Option<Val<'a>>, Fault> {
    match (optional, value) {
        (false, value) => Ok(Some(value)),
        (true, Val::Optional(inner)) => Ok(inner.map(|inner| inner.as_ref().clone())),
        (true, _) => Err(Fault::NoOverload),
    }
}

fn wrapped(found: Option<Val<'_>>) -> Val<'_> {
    match found {
        None => Val::NONE,
        Some(value @ Val::Optional(_)) => value,
        Some(value) => Val::some(value),
    }
}

/// The member of a list or map, also of an optional one, if it is there.
fn maybe_member<'a>(operand: &Val<'a>, index: &Val<'_>) -> Result<Option<Val<'a>>, Fault> {
    match operand {
        Val::Optional(None) => Ok(None),
        Val::Optional(Some(inner)) => maybe_member(inner, index),
        operand if operand.is_list() => {
            let at = match index {
                Val::Int(at) => usize::try_from(*at).ok(),
                Val::Uint(at) => usize::try_from(*at).ok(),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole and not negative"
                )]
                Val::Double(at) if at.fract() == 0.0 && *at >= 0.0 => Some(*at as usize),
                _ => return Err(Fault::NoOverload),
            };
            at.and_then(|at| operand.item(at)).transpose()
        }
        operand if operand.is_map() => operand.member(&Key::of(index)?).transpose(),
        _ => Err(Fault::NoOverload),
    }
}

pub(super) fn truth(value: Val<'_>) -> Result<bool, Fault> {
    match value {
        Val::Bool(value) => Ok(value),
        _ => Err(Fault::NoOverload),
    }
}
