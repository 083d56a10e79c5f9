//! Arguments of statements, as what they should be.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use sealane_message::Name;

use super::duration::duration;
use crate::config::Fallthrough;
use crate::fault::Fault;
use crate::tree::Statement;
use crate::zones::zones;

impl Statement {
    pub fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault {
            at: self.at.clone(),
            about: self.path.clone(),
            problem: problem.into(),
        }
    }

    /// That the option is none of this plugin.
    pub fn unknown(&self, known: &str) -> Fault {
        self.fault(format!("there is no such option; there are {known}"))
    }

    pub fn no_options(&self) -> Result<(), Fault> {
        match self.options.first() {
            None => Ok(()),
            Some(option) => Err(option.fault("expected no options")),
        }
    }

    /// As many arguments as this; `what` they are.
    pub fn counted(&self, number: RangeInclusive<usize>, what: &str) -> Result<(), Fault> {
        if number.contains(&self.args.len()) {
            return Ok(());
        }
        let found = match self.args.as_slice() {
            [] => "nothing".to_owned(),
            args => format!("{:?}", args.join(" ")),
        };
        Err(self.fault(format!("expected {what}, not {found}")))
    }

    pub fn none(&self) -> Result<(), Fault> {
        self.counted(0..=0, "no arguments")
    }

    pub fn one(&self, what: &str) -> Result<&str, Fault> {
        self.counted(1..=1, what)?;
        Ok(&self.args[0])
    }

    pub fn some(&self, what: &str) -> Result<&[String], Fault> {
        self.counted(1..=usize::MAX, what)?;
        Ok(&self.args)
    }

    pub fn number<T>(&self, text: &str, range: RangeInclusive<T>, what: &str) -> Result<T, Fault>
    where
        T: FromStr + PartialOrd + Display,
    {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.fault(format!(
                "expected {what} from {least} to {most}, not {text:?}"
            ))
        })
    }

    pub fn duration(&self, text: &str) -> Result<Duration, Fault> {
        duration(text).ok_or_else(|| {
            self.fault(format!(
                "expected a duration, such as 5s or 1m30s, not {text:?}"
            ))
        })
    }

    pub fn name(&self, text: &str) -> Result<Name, Fault> {
        text.parse().map_err(|error| self.fault(format!("{error}")))
    }

    pub fn zones(&self, texts: &[String]) -> Result<Vec<Name>, Fault> {
        let mut all = Vec::new();
        for text in texts {
            all.extend(zones(text).map_err(|problem| self.fault(problem))?);
        }
        Ok(all)
    }

    /// Its arguments as zones; if there are none, the block's.
    pub fn zones_or(&self, texts: &[String], block: &[Name]) -> Result<Vec<Name>, Fault> {
        match texts {
            [] => Ok(block.to_vec()),
            texts => self.zones(texts),
        }
    }

    pub fn fallthrough(&self) -> Result<Fallthrough, Fault> {
        match self.args.as_slice() {
            [] => Ok(Fallthrough::Always),
            texts => self.zones(texts).map(Fallthrough::Within),
        }
    }
}
