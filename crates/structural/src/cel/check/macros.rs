//! Macros: what looks like a call and has variables of its own.

use std::sync::Arc;

use super::{Checker, Typed, expect, member, no_overload};
use crate::cel::code::{Code, Fold, Makes};
use crate::cel::syntax::{Expr, Fault, Kind};
use crate::cel::types::Ty;

impl Checker {
    /// The call as a macro; `None` if it is none.
    pub(super) fn macro_call(
        &mut self,
        target: Option<&Expr>,
        name: &str,
        args: &[Expr],
        at: usize,
    ) -> Option<Typed> {
        let Some(target) = target else {
            return match (name, args) {
                ("has", [arg]) => Some(self.has(arg)),
                _ => None,
            };
        };
        let fold = |makes, pairs, filtered| Form {
            makes,
            pairs,
            filtered,
        };
        let form = match (name, args.len()) {
            ("all", 2) => fold(Makes::All, false, false),
            ("exists", 2) => fold(Makes::Exists, false, false),
            ("exists_one" | "existsOne", 2) => fold(Makes::ExistsOne, false, false),
            ("map", 2) => fold(Makes::Mapped, false, false),
            ("map", 3) => fold(Makes::Mapped, false, true),
            ("filter", 2) => fold(Makes::Filtered, false, false),
            ("all", 3) => fold(Makes::All, true, false),
            ("exists", 3) => fold(Makes::Exists, true, false),
            ("exists_one" | "existsOne", 3) => fold(Makes::ExistsOne, true, false),
            ("transformList", 3) => fold(Makes::Mapped, true, false),
            ("transformList", 4) => fold(Makes::Mapped, true, true),
            ("transformMap", 3) => fold(Makes::MappedValues, true, false),
            ("transformMap", 4) => fold(Makes::MappedValues, true, true),
            ("transformMapEntry", 3) => fold(Makes::Entries, true, false),
            ("transformMapEntry", 4) => fold(Makes::Entries, true, true),
            ("sortBy", 2) => return Some(self.sort_by(target, args, at)),
            ("optMap", 2) => return Some(self.map_optional(target, args, false, at)),
            ("optFlatMap", 2) => return Some(self.map_optional(target, args, true, at)),
            _ => return None,
        };
        Some(self.fold(form, target, args, at))
    }

    /// `has(a.b)`.
    fn has(&mut self, arg: &Expr) -> Typed {
        let Kind::Select { operand, field, .. } = &arg.kind else {
            return Err(Fault::new(arg.at, "invalid argument to has() macro"));
        };
        let (code, ty) = self.check(operand)?;
        let ty = match &ty {
            Ty::Optional(inner) => inner.as_ref().clone(),
            ty => ty.clone(),
        };
        let (name, _) = member(&ty, field, arg.at)?;
        Ok((Code::Has(Box::new(code), name), Ty::Bool))
    }

    fn fold(&mut self, form: Form, target: &Expr, args: &[Expr], at: usize) -> Typed {
        let (range, ty) = self.check(target)?;
        let (key, value) = match &ty {
            Ty::List(item) => (Ty::Int, item.as_ref().clone()),
            Ty::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone()),
            Ty::Dyn => (Ty::Dyn, Ty::Dyn),
            ty => {
                let message = format!(
                    "expression of type '{ty}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return Err(Fault::new(target.at, message));
            }
        };
        let is_map = matches!(ty, Ty::Map(..));
        let item = if is_map { key.clone() } else { value.clone() };
        let variables = match (form.pairs, args) {
            (true, [first, second, ..]) => {
                vec![(variable(first)?, key.clone()), (variable(second)?, value)]
            }
            (_, [first, ..]) => vec![(variable(first)?, item.clone())],
            _ => Vec::new(),
        };
        let bodies = &args[variables.len()..];
        let added = variables.len();
        self.scope.extend(variables);
        let bodies: Result<Vec<(Code, Ty)>, Fault> =
            bodies.iter().map(|body| self.check(body)).collect();
        self.scope.truncate(self.scope.len() - added);
        let mut bodies = bodies?.into_iter();
        let filter = match form.filtered.then(|| bodies.next()).flatten() {
            Some((code, ty)) => {
                expect(&Ty::Bool, &ty, "_?_:_", at)?;
                Some(code)
            }
            None => None,
        };
        let Some((body, body_ty)) = bodies.next() else {
            return Err(Fault::new(at, "a macro without a body"));
        };
        let ty = match form.makes {
            Makes::All | Makes::Exists | Makes::ExistsOne => {
                let operator = if form.makes == Makes::All {
                    "_&&_"
                } else {
                    "_||_"
                };
                expect(&Ty::Bool, &body_ty, operator, at)?;
                Ty::Bool
            }
            Makes::Filtered => {
                expect(&Ty::Bool, &body_ty, "_?_:_", at)?;
                Ty::list(item)
            }
            Makes::Mapped => Ty::list(body_ty),
            Makes::MappedValues => Ty::Map(Arc::new(key), Arc::new(body_ty)),
            Makes::Entries => match body_ty {
                ty @ (Ty::Map(..) | Ty::Dyn) => ty,
                ty => return Err(no_overload("transformMapEntry", &[ty], at)),
            },
        };
        let fold = Fold {
            range,
            makes: form.makes,
            pairs: form.pairs,
            filter,
            body,
        };
        Ok((Code::Fold(Box::new(fold)), ty))
    }

    fn sort_by(&mut self, target: &Expr, args: &[Expr], at: usize) -> Typed {
        let (list, ty) = self.check(target)?;
        let item = match &ty {
            Ty::List(item) => item.as_ref().clone(),
            Ty::Dyn => Ty::Dyn,
            ty => return Err(no_overload("sortBy", std::slice::from_ref(ty), at)),
        };
        let name = variable(&args[0])?;
        let (key, _) = self.with(&name, item, |checker| checker.check(&args[1]))?;
        Ok((Code::SortBy(Box::new([list, key])), ty))
    }

    fn map_optional(&mut self, target: &Expr, args: &[Expr], flat: bool, at: usize) -> Typed {
        let (optional, ty) = self.check(target)?;
        let inner = match &ty {
            Ty::Optional(inner) => inner.as_ref().clone(),
            Ty::Dyn => Ty::Dyn,
            ty => return Err(no_overload("optMap", std::slice::from_ref(ty), at)),
        };
        let name = variable(&args[0])?;
        let (body, body_ty) = self.with(&name, inner, |checker| checker.check(&args[1]))?;
        let ty = match (flat, body_ty) {
            (false, ty) => Ty::optional(ty),
            (true, ty @ (Ty::Optional(_) | Ty::Dyn)) => ty,
            (true, ty) => return Err(no_overload("optFlatMap", &[ty], at)),
        };
        Ok((Code::MapOptional(Box::new([optional, body]), flat), ty))
    }
}

/// What a macro does with the members that it visits.
#[derive(Clone, Copy)]
struct Form {
    makes: Makes,
    pairs: bool,
    filtered: bool,
}

/// The name of a macro's variable.
fn variable(expr: &Expr) -> Result<String, Fault> {
    match &expr.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(Fault::new(expr.at, "argument must be a simple name")),
    }
}
