//! Macros: what they are made of in Kubernetes' engine, where each is a loop with a value that is handed on.

use std::sync::Arc;

use super::size::Size;
use super::{Estimator, Guess, LIST, MAP, Members};
use crate::cel::code::{Code, Fold, Makes};
use crate::cel::types::Ty;

/// To name the value that is handed on.
const NAMED: u64 = 1;
const CALL: u64 = 1;

/// What a loop costs: before it, and for each member.
struct Costs {
    once: u64,
    each: u64,
}

impl Costs {
    fn of(makes: Makes, filter: Option<u64>, body: u64) -> Self {
        let plus = |cost: u64| body.saturating_add(cost);
        // What is not taken leaves the value as it is.
        let filtered = |cost: u64| match filter {
            Some(filter) => filter.saturating_add(cost.max(NAMED)),
            None => cost,
        };
        let (once, each) = match makes {
            // While it is not false: the value and what is said of the member.
            Makes::All => (NAMED, plus(NAMED + CALL + NAMED)),
            // While it is not true.
            Makes::Exists => (NAMED, plus(NAMED + CALL + CALL + NAMED)),
            // Counts, and compares in the end.
            Makes::ExistsOne => (NAMED + CALL, plus(NAMED + CALL)),
            Makes::Mapped => (LIST + NAMED, filtered(plus(LIST + NAMED + CALL))),
            Makes::Filtered => (LIST + NAMED, plus(LIST + NAMED + NAMED + CALL)),
            Makes::MappedValues => (MAP + NAMED, filtered(plus(NAMED + NAMED + CALL))),
            Makes::Entries => (MAP + NAMED, filtered(plus(NAMED + CALL))),
        };
        Self { once, each }
    }
}

impl Estimator<'_> {
    pub(super) fn fold(&mut self, fold: &Fold) -> Guess {
        let range = self.guess(&fold.range);
        let (key, item) = self.variables(&range);
        let is_list = matches!(range.ty, Ty::List(_));
        let before = self.scope.len();
        let visited = match (fold.pairs, is_list) {
            (true, _) => {
                self.scope.push(key.clone());
                item
            }
            (false, true) => item,
            (false, false) => key.clone(),
        };
        self.scope.push(visited.clone());
        let filter = fold.filter.as_ref().map(|filter| self.guess(filter).cost);
        let body = self.guess(&fold.body);
        self.scope.truncate(before);

        let size = range.size();
        let Costs { once, each } = Costs::of(fold.makes, filter, body.cost);
        let cost = size.max.saturating_mul(each).saturating_add(once);
        let cost = cost.saturating_add(range.cost);
        let list = |ty: Ty, member: Size| {
            let members = Members::of_list(Size::up_to(member.max));
            Guess::made(Ty::list(ty), cost, Some(size)).with(Some(members))
        };
        match fold.makes {
            Makes::All | Makes::Exists | Makes::ExistsOne => Guess::made(Ty::Bool, cost, None),
            Makes::Mapped => list(body.ty.clone(), body.size()),
            Makes::Filtered => list(visited.ty.clone(), visited.size()),
            Makes::MappedValues => {
                let ty = Ty::Map(Arc::new(key.ty), Arc::new(body.ty));
                Guess::made(ty, cost, Some(size))
            }
            Makes::Entries => Guess::made(body.ty, cost, Some(size)),
        }
    }

    /// A key or number, and a member.
    fn variables(&self, range: &Guess) -> (Guess, Guess) {
        let (key, value) = match &range.ty {
            Ty::List(item) => (Ty::Int, item.as_ref().clone()),
            Ty::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone()),
            _ => (Ty::Dyn, Ty::Dyn),
        };
        let key_place = match &range.ty {
            Ty::List(_) => range.place.index(self.root),
            _ => range.place.key(self.root),
        };
        let known = |guess: Guess, size: Option<Size>| Guess {
            size: guess.size.or(size),
            ..guess
        };
        let members = range.members;
        let key = Guess::at(key, NAMED, key_place);
        let item = Guess::at(value, NAMED, range.place.member(self.root));
        (
            known(key, members.map(|members| members.key)),
            known(item, members.map(|members| members.value)),
        )
    }

    /// `has value ? (of) bind value in body : none`: the optional is looked at twice.
    pub(super) fn map_optional(&mut self, parts: &[Code; 2], flat: bool) -> Guess {
        let optional = self.guess(&parts[0]);
        let inner = match &optional.ty {
            Ty::Optional(inner) => inner.as_ref().clone(),
            _ => Ty::Dyn,
        };
        self.scope.push(Guess::made(inner, NAMED, None));
        let body = self.guess(&parts[1]);
        self.scope.pop();
        let bound = LIST + CALL + CALL + if flat { 0 } else { CALL };
        let cost = optional.cost.saturating_mul(2).saturating_add(bound);
        let ty = if flat { body.ty } else { Ty::optional(body.ty) };
        Guess::made(ty, cost.saturating_add(body.cost), None)
    }

    /// Binds the list, makes one of the keys, and sorts by that.
    pub(super) fn sort_by(&mut self, parts: &[Code; 2]) -> Guess {
        let list = self.guess(&parts[0]);
        let (_, item) = self.variables(&list);
        self.scope.push(item);
        let key = self.guess(&parts[1]);
        self.scope.pop();
        let keys = Costs::of(Makes::Mapped, None, key.cost);
        let made = list
            .size()
            .max
            .saturating_mul(keys.each)
            .saturating_add(keys.once);
        let sorted = super::calls::sorted(&key.ty, list.size());
        let cost = list.cost.saturating_add(LIST + NAMED + NAMED);
        let cost = cost.saturating_add(made).saturating_add(sorted.cost);
        Guess::made(list.ty, cost, Some(sorted.size))
    }
}
