//! Operators of two operands.

use super::size::scaled;
use super::{Estimator, Guess, TRAVERSAL, calls, is_text};
use crate::cel::check;
use crate::cel::code::Code;
use crate::cel::syntax::Binary;
use crate::cel::types::Ty;

impl Estimator<'_> {
    pub(super) fn binary(&mut self, operator: Binary, parts: &[Code; 2]) -> Guess {
        let (left, right) = (self.guess(&parts[0]), self.guess(&parts[1]));
        let both = left.size().plus(right.size());
        let own = match operator {
            Binary::Equal | Binary::Unequal => equality(operator, &left, &right),
            Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
                walked(&left.ty, &right.ty, shorter(&left, &right))
            }
            Binary::Add => walked(&left.ty, &right.ty, scaled(both.max, TRAVERSAL)),
            Binary::In => match &right.ty {
                Ty::List(_) => right.size().max,
                Ty::Dyn => right.size().max.max(1),
                _ => 1,
            },
            Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => 1,
        };
        let cost = left.cost.saturating_add(right.cost).saturating_add(own);
        let ty = check::result(operator, &left.ty, &right.ty).unwrap_or(Ty::Dyn);
        let joins =
            operator == Binary::Add && (is_text(&ty) || matches!(ty, Ty::List(_) | Ty::Dyn));
        let members = left.members.zip(right.members).filter(|_| joins);
        Guess::made(ty, cost, joins.then_some(both))
            .with(members.map(|(left, right)| left.or(right)))
    }
}

/// To compare texts: up to the end of the shorter one.
fn shorter(left: &Guess, right: &Guess) -> u64 {
    scaled(left.size().max.min(right.size().max), TRAVERSAL)
}

fn equality(operator: Binary, left: &Guess, right: &Guess) -> u64 {
    if operator == Binary::Equal && left.ty == right.ty {
        match &left.ty {
            Ty::Ip | Ty::Cidr | Ty::Quantity | Ty::Semver => return 1,
            Ty::Format => return scaled(calls::LONGEST_FORMAT, TRAVERSAL),
            Ty::Url => return scaled(right.size.map_or(1, |size| size.max), TRAVERSAL),
            _ => {}
        }
    }
    shorter(left, right)
}

/// What is done to texts costs as much as they are long, and 1 to all else; what may be either, the larger.
fn walked(left: &Ty, right: &Ty, as_texts: u64) -> u64 {
    let may_be_texts = [left, right]
        .iter()
        .all(|ty| is_text(ty) || **ty == Ty::Dyn);
    let may_be_others = ![left, right].iter().any(|ty| is_text(ty));
    match (may_be_texts, may_be_others) {
        (true, false) => as_texts,
        (true, true) => as_texts.max(1),
        (false, _) => 1,
    }
}
