//! Regular expressions: `matches`, `find`, `findAll`.

use std::sync::Arc;

use regex::Regex;

use super::{Cost, Fault, Row};
use crate::cel::value::{Outcome, Val};
use crate::pattern;

pub(super) const ROWS: &[Row] = &[
    ("string.matches(string): bool", matches),
    ("matches(string, string): bool", matches),
    ("string.find(string): string", find),
    ("string.findAll(string): list<string>", find_all),
    ("string.findAll(string, int): list<string>", find_all),
];

/// An expression that is written out in a rule: made into a program once.
pub(in super::super) fn literal(source: &str) -> Result<Val<'static>, String> {
    Ok(Val::Pattern(Arc::new(pattern::compile(source)?)))
}

fn prepared<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Result<(Val<'a>, Arc<Regex>), Fault> {
    let Val::Text(text) = &args[0] else {
        return Err(Fault::NoOverload);
    };
    let program = match &args[1] {
        Val::Pattern(program) => Arc::clone(program),
        Val::Text(source) => Arc::new(pattern::compile(source).map_err(Fault::error)?),
        _ => return Err(Fault::NoOverload),
    };
    let letters = (text.len() as u64 + 1).div_ceil(10);
    cost.charge(letters * (program.as_str().len() as u64).div_ceil(4))?;
    Ok((args[0].clone(), program))
}

fn matches<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    match prepared(cost, args)? {
        (Val::Text(text), program) => Ok(Val::Bool(program.is_match(&text))),
        _ => Err(Fault::NoOverload),
    }
}

fn find<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    match prepared(cost, args)? {
        (Val::Text(text), program) => Ok(Val::text(
            program.find(&text).map_or("", |found| found.as_str()),
        )),
        _ => Err(Fault::NoOverload),
    }
}

fn find_all<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    let most = match args.get(2) {
        Some(Val::Int(most)) => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    match prepared(cost, args)? {
        (Val::Text(text), program) => {
            let found = program.find_iter(&text).take(most);
            Ok(Val::list(
                found.map(|found| Val::text(found.as_str())).collect(),
            ))
        }
        _ => Err(Fault::NoOverload),
    }
}
