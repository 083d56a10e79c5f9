//! Functions: those of the language, and the libraries that Kubernetes 1.36 adds to it.
//!
//! A function is a row: what it takes and gives, as text, and what it does. The text is read
//! once; the checker goes by it, and where types are known only at run time, so does the
//! evaluator.

mod conversions;
mod format;
mod lists;
mod named_formats;
mod net;
mod optionals;
mod quantities;
mod regex;
mod semver;
mod sets;
mod signature;
mod strings;
mod times;

use std::collections::HashMap;
use std::sync::OnceLock;

pub(super) use named_formats::NamedFormat;
pub(super) use regex::literal as regex_literal;
pub(super) use semver::Semver;
pub(super) use signature::Overload;

use super::value::{Fault, Outcome, Val};

/// What was spent, and what may be.
#[derive(Debug)]
pub(super) struct Cost {
    pub spent: u64,
    pub limit: u64,
}

impl Cost {
    pub fn charge(&mut self, cost: u64) -> Result<(), Fault> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit {
            return Err(Fault::TooCostly);
        }
        Ok(())
    }
}

/// What a function does with its arguments; a member function has its target first.
pub(super) type Run = for<'a> fn(&mut Cost, &[Val<'a>]) -> Outcome<'a>;

/// A function: what it takes and gives, and what it does.
pub(super) type Row = (&'static str, Run);

/// A function of arguments of these kinds.
macro_rules! run {
    ($($kind:ident($name:pat)),* => $body:expr) => {
        |_, args| match args {
            [$(Val::$kind($name)),*] => $body,
            _ => Err(Fault::NoOverload),
        }
    };
}
pub(super) use run;

const LIBRARIES: [&[Row]; 12] = [
    conversions::ROWS,
    format::ROWS,
    lists::ROWS,
    named_formats::ROWS,
    net::ROWS,
    optionals::ROWS,
    quantities::ROWS,
    regex::ROWS,
    semver::ROWS,
    sets::ROWS,
    strings::ROWS,
    times::ROWS,
];

/// All functions of that name.
pub(super) fn overloads(name: &str) -> &'static [Overload] {
    static ALL: OnceLock<HashMap<String, Vec<Overload>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all: HashMap<String, Vec<Overload>> = HashMap::new();
        for (signature, run) in LIBRARIES.into_iter().flatten() {
            let overload = Overload::read(signature, *run);
            all.entry(overload.name.clone()).or_default().push(overload);
        }
        all
    });
    all.get(name).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_can_be_read() {
        for (signature, _) in LIBRARIES.into_iter().flatten() {
            let name = signature.split('(').next().unwrap();
            let short = name.rsplit('.').next().unwrap();
            assert!(
                !overloads(name).is_empty() || !overloads(short).is_empty(),
                "{signature}"
            );
        }
    }
}
