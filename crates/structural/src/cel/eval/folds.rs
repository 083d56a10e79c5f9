//! Macros that visit the members of a list or map.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Machine, truth};
use crate::cel::code::{Code, Fold, Makes};
use crate::cel::equality::compare;
use crate::cel::value::{Fault, Key, Outcome, Val};

/// What has been made of the members so far.
struct Making<'a> {
    found: usize,
    items: Vec<Val<'a>>,
    map: BTreeMap<Key<'a>, Val<'a>>,
    fault: Option<Fault>,
}

impl<'a> Machine<'a> {
    pub(super) fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let mut making = Making {
            found: 0,
            items: Vec::new(),
            map: BTreeMap::new(),
            fault: None,
        };
        let base = self.slots.len();
        let visited = self.visit(fold, &range, &mut making);
        self.slots.truncate(base);
        if let Some(decided) = visited? {
            return Ok(decided);
        }
        if let Some(fault) = making.fault {
            return Err(fault);
        }
        Ok(match fold.makes {
            Makes::All => Val::Bool(true),
            Makes::Exists => Val::Bool(false),
            Makes::ExistsOne => Val::Bool(making.found == 1),
            Makes::Mapped | Makes::Filtered => Val::list(making.items),
            Makes::MappedValues | Makes::Entries => Val::Map(Arc::new(making.map)),
        })
    }

    /// Visits the members until one decides.
    fn visit(
        &mut self,
        fold: &'a Fold,
        range: &Val<'a>,
        making: &mut Making<'a>,
    ) -> Result<Option<Val<'a>>, Fault> {
        let base = self.slots.len();
        let keys = range.keys();
        let count = range
            .size()
            .filter(|_| keys.is_some() || range.is_list())
            .ok_or(Fault::NoOverload)?;
        for at in 0..count {
            self.cost.charge(1)?;
            let key = match &keys {
                Some(keys) => keys[at].clone(),
                None => Val::Int(i64::try_from(at).unwrap_or(i64::MAX)),
            };
            let value = || match &keys {
                Some(_) => range
                    .member(&Key::of(&key)?)
                    .unwrap_or(Err(Fault::NoOverload)),
                None => range.item(at).unwrap_or(Err(Fault::NoOverload)),
            };
            self.slots.truncate(base);
            match (fold.pairs, &keys) {
                (true, _) => {
                    let value = value()?;
                    self.slots.extend([key.clone(), value]);
                }
                (false, Some(_)) => self.slots.push(key.clone()),
                (false, None) => {
                    let value = value()?;
                    self.slots.push(value);
                }
            }
            let passes = match &fold.filter {
                Some(filter) => truth(self.eval(filter)?)?,
                None => true,
            };
            if passes && let Some(decided) = self.visit_one(fold, key, making)? {
                return Ok(Some(decided));
            }
        }
        Ok(None)
    }

    fn visit_one(
        &mut self,
        fold: &'a Fold,
        key: Val<'a>,
        making: &mut Making<'a>,
    ) -> Result<Option<Val<'a>>, Fault> {
        let value = match (fold.makes, self.eval(&fold.body)) {
            (_, Ok(value)) => value,
            (_, Err(Fault::TooCostly)) => return Err(Fault::TooCostly),
            // Another member may decide.
            (Makes::All | Makes::Exists, Err(fault)) => {
                making.fault.get_or_insert(fault);
                return Ok(None);
            }
            (_, Err(fault)) => return Err(fault),
        };
        match fold.makes {
            Makes::All | Makes::Exists => match truth(value) {
                Ok(true) if fold.makes == Makes::Exists => return Ok(Some(Val::Bool(true))),
                Ok(false) if fold.makes == Makes::All => return Ok(Some(Val::Bool(false))),
                Ok(_) => {}
                Err(fault) => drop(making.fault.get_or_insert(fault)),
            },
            Makes::ExistsOne => making.found += usize::from(truth(value)?),
            Makes::Mapped => {
                self.cost.charge(1)?;
                making.items.push(value);
            }
            Makes::Filtered => {
                if truth(value)? {
                    self.cost.charge(1)?;
                    making.items.extend(self.slots.last().cloned());
                }
            }
            Makes::MappedValues => drop(making.map.insert(Key::of(&key)?, value)),
            Makes::Entries => {
                for key in value.keys().ok_or(Fault::NoOverload)? {
                    let key = Key::of(&key)?;
                    let member = value.member(&key).unwrap_or(Err(Fault::NoOverload))?;
                    if making.map.insert(key, member).is_some() {
                        return Err(Fault::error("insert failed: key already exists"));
                    }
                }
            }
        }
        Ok(None)
    }

    pub(super) fn map_optional(&mut self, parts: &'a [Code; 2], flat: bool) -> Outcome<'a> {
        let inner = match self.eval(&parts[0])? {
            Val::Optional(None) => return Ok(Val::NONE),
            Val::Optional(Some(inner)) => inner.as_ref().clone(),
            _ => return Err(Fault::NoOverload),
        };
        self.slots.push(inner);
        let value = self.eval(&parts[1]);
        self.slots.pop();
        let value = value?;
        Ok(if flat { value } else { Val::some(value) })
    }

    pub(super) fn sort_by(&mut self, parts: &'a [Code; 2]) -> Outcome<'a> {
        let items = self.eval(&parts[0])?.items()?;
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            self.slots.push(item.clone());
            let key = self.eval(&parts[1]);
            self.slots.pop();
            keyed.push((key?, item));
        }
        self.cost
            .charge(keyed.len() as u64 * u64::from(keyed.len().max(1).ilog2()))?;
        for pair in keyed.windows(2) {
            compare(&pair[0].0, &pair[1].0).ok_or(Fault::NoOverload)?;
        }
        keyed.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
        Ok(Val::list(keyed.into_iter().map(|(_, item)| item).collect()))
    }
}
