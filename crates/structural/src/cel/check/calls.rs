//! Calls of functions.

use super::{Checker, Typed, no_member_overload, no_overload, undeclared};
use crate::cel::code::Code;
use crate::cel::library::{self, Overload};
use crate::cel::syntax::{Expr, Fault, Kind, Literal};
use crate::cel::types::Ty;
use crate::time::{Moment, parse_go_duration};

/// Functions whose last argument is a regular expression.
const WITH_PATTERN: [&str; 3] = ["matches", "find", "findAll"];

impl Checker {
    pub(super) fn call(
        &mut self,
        target: Option<&Expr>,
        function: &str,
        args: &[Expr],
        at: usize,
    ) -> Typed {
        if let Some(target) = target {
            // A function of a space, `sets.contains(…)`, unless that is a variable.
            if let Some(name) = self.qualified(target, function)
                && !library::overloads(&name).is_empty()
            {
                return self.function(&name, None, args, at);
            }
        }
        if let Some(typed) = self.macro_call(target, function, args, at) {
            return typed;
        }
        self.function(function, target, args, at)
    }

    fn function(&mut self, name: &str, target: Option<&Expr>, args: &[Expr], at: usize) -> Typed {
        let mut codes = Vec::with_capacity(args.len() + 1);
        let mut types = Vec::with_capacity(args.len() + 1);
        for expr in target.into_iter().chain(args) {
            let (code, ty) = match (&expr.kind, name) {
                // What is written into a text may be of any type.
                (Kind::List(entries), "format") => self.mixed_list(entries)?,
                _ => self.check(expr)?,
            };
            codes.push(code);
            types.push(ty);
        }
        let all = library::overloads(name);
        if all.is_empty() {
            return Err(undeclared(name, at));
        }
        let mut result: Option<Ty> = None;
        let mut candidates: Vec<&'static Overload> = Vec::new();
        for overload in all.iter().filter(|one| one.member == target.is_some()) {
            let Some(ty) = taken(overload, &types) else {
                continue;
            };
            result = Some(match result {
                None => ty,
                Some(known) if known == ty => ty,
                Some(_) => Ty::Dyn,
            });
            candidates.push(overload);
        }
        let result = result.ok_or_else(|| match (target, types.as_slice()) {
            (Some(_), [target, args @ ..]) => no_member_overload(name, target, args, at),
            _ => no_overload(name, &types, at),
        })?;
        if WITH_PATTERN.contains(&name) {
            let pattern = args.get(1 - usize::from(target.is_some()));
            if let Some(place) = codes.get_mut(1) {
                compile_pattern(pattern, place)?;
            }
        }
        check_literal(name, args)?;
        Ok((Code::Call(candidates, codes), result))
    }
}

/// What a form of a function gives for arguments of these types, if it takes them.
pub(in crate::cel) fn taken(overload: &Overload, types: &[Ty]) -> Option<Ty> {
    if overload.params.len() != types.len() {
        return None;
    }
    let mut letters = [None, None];
    let mut params = overload.params.iter().zip(types);
    let taken = params.all(|(param, ty)| param.takes(ty, &mut letters));
    taken.then(|| overload.result.filled(&letters))
}

/// A pattern that is written out is read once, and refused if it is none.
fn compile_pattern(pattern: Option<&Expr>, place: &mut Code) -> Result<(), Fault> {
    if let Some(Expr {
        kind: Kind::Literal(Literal::Text(source)),
        at,
        ..
    }) = pattern
    {
        let program = library::regex_literal(source);
        let program =
            program.map_err(|why| Fault::new(*at, format!("invalid matches argument: {why}")))?;
        *place = Code::Const(program);
    }
    Ok(())
}

/// Moments and spans that are written out are right.
fn check_literal(name: &str, args: &[Expr]) -> Result<(), Fault> {
    let [
        Expr {
            kind: Kind::Literal(literal),
            at,
            ..
        },
    ] = args
    else {
        return Ok(());
    };
    let wrong = match (name, literal) {
        ("timestamp", Literal::Text(text)) => Moment::parse(text).is_none(),
        ("timestamp", Literal::Int(seconds)) => Moment::new(*seconds, 0).is_none(),
        ("duration", Literal::Text(text)) => parse_go_duration(text).is_none(),
        _ => false,
    };
    match wrong {
        true => Err(Fault::new(*at, format!("invalid {name} argument"))),
        false => Ok(()),
    }
}
