//! Logs: to standard error, one readable line each, with a level that can be changed while the daemon runs.
//!
//! ```text
//! 2026-11-21T00:00:00.000000Z INFO  agent sync: added route 10.244.1.0/24 via 172.29.0.3
//! ```

use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What the level is and how to change it; one for each process.
static CONTROL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Crates whose own logs help only those who work on them, and the level at which they may speak
/// when a bare level is given. The client library logs every failed request as an error, although
/// we say so ourselves, once.
const QUIET: [(&str, &str); 7] = [
    ("kube_client", "off"),
    ("kube_runtime", "error"),
    ("hyper", "warn"),
    ("hyper_util", "warn"),
    ("rustls", "warn"),
    ("netlink_proto", "error"),
    ("tungstenite", "warn"),
];

/// Why logging could not be set as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a level, and not a list of `target=level` either.
    #[error(
        "use log level {given:?}: {reason}; expected error, warn, info, debug, trace, \
         or a list such as info,sealane_agent=debug"
    )]
    Level {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// [`init_logging`] was not called, or the subscriber is not ours.
    #[error("change the log level: logging was not set up by this process")]
    NotSetUp,
}

/// Sets logging up for this process: standard error, in colour only on a terminal and without `NO_COLOR`.
///
/// `level` is a level, or a list such as `info,sealane_agent=debug`. Called
/// again, it only changes the level.
///
/// # Errors
/// [`LogError::Level`] when `level` makes no sense.
pub fn init_logging(role: &str, level: &str) -> Result<(), LogError> {
    let filter = parse(level)?;
    if CONTROL.get().is_some() {
        return set_log_level(level);
    }
    let (filter, control) = reload::Layer::new(filter);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .event_format(Line {
            role: role.to_owned(),
        });
    let set = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    if set.is_ok() {
        // Nobody else can have set it: the global subscriber is set only once.
        let _first = CONTROL.set(control);
    }
    Ok(())
}

/// Changes the level while the process runs.
///
/// # Errors
/// [`LogError::Level`] when `level` makes no sense, [`LogError::NotSetUp`] before [`init_logging`].
pub fn set_log_level(level: &str) -> Result<(), LogError> {
    let filter = parse(level)?;
    let control = CONTROL.get().ok_or(LogError::NotSetUp)?;
    control.reload(filter).map_err(|_| LogError::NotSetUp)
}

/// The level in force, as a list; empty before [`init_logging`].
pub fn log_level() -> String {
    CONTROL
        .get()
        .and_then(|control| control.with_current(ToString::to_string).ok())
        .unwrap_or_default()
}

fn parse(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(directives(level))
        .map_err(|error| LogError::Level {
            given: level.to_owned(),
            reason: error.to_string(),
        })
}

/// A bare level keeps noisy crates quiet, but for `trace`, which means everything.
fn directives(level: &str) -> String {
    let level = level.trim();
    let bare = level.parse::<Level>().is_ok();
    if !bare || level.eq_ignore_ascii_case("trace") {
        return level.to_owned();
    }
    let quiet = QUIET.iter().map(|(target, at)| format!("{target}={at}"));
    std::iter::once(level.to_owned())
        .chain(quiet)
        .collect::<Vec<_>>()
        .join(",")
}

/// How one line looks.
struct Line {
    role: String,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        write_level(&mut writer, *event.metadata().level())?;
        write!(
            writer,
            " {} {}: ",
            self.role,
            part(event.metadata().target())
        )?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn write_level(writer: &mut Writer<'_>, level: Level) -> fmt::Result {
    let (name, colour) = match level {
        Level::ERROR => ("ERROR", 31),
        Level::WARN => ("WARN ", 33),
        Level::INFO => ("INFO ", 32),
        Level::DEBUG => ("DEBUG", 34),
        Level::TRACE => ("TRACE", 35),
    };
    if writer.has_ansi_escapes() {
        write!(writer, " \x1b[{colour}m{name}\x1b[0m")
    } else {
        write!(writer, " {name}")
    }
}

/// `sealane_agent::sync::routes` is shown as `sync::routes`: the role says the rest.
fn part(target: &str) -> &str {
    match target.strip_prefix("sealane_") {
        Some(ours) => ours.split_once("::").map_or(ours, |(_, part)| part),
        None => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_silences_noisy_crates_and_a_list_is_taken_as_it_is() {
        assert!(directives("info").starts_with("info,kube_client=off,"));
        assert!(directives(" DEBUG ").starts_with("DEBUG,"));
        assert_eq!(directives("trace"), "trace");
        assert_eq!(directives("info,hyper=debug"), "info,hyper=debug");
    }

    #[test]
    fn a_level_that_is_none_is_refused_with_what_was_expected() {
        let text = parse("sealane=loud").unwrap_err().to_string();
        assert!(text.contains("expected error, warn, info"), "{text}");
    }

    #[test]
    fn our_own_crates_are_shown_by_their_part() {
        assert_eq!(part("sealane_agent::sync::routes"), "sync::routes");
        assert_eq!(part("sealane_agent"), "agent");
        assert_eq!(part("kube_runtime::watcher"), "kube_runtime::watcher");
    }

    /// The only test that touches the global subscriber.
    #[test]
    fn the_level_changes_while_the_process_runs() {
        assert!(matches!(set_log_level("info"), Err(LogError::NotSetUp)));
        init_logging("test", "warn").unwrap();
        assert!(!tracing::enabled!(Level::INFO));
        set_log_level("debug").unwrap();
        assert!(tracing::enabled!(Level::DEBUG));
        assert!(log_level().contains("debug"));
        assert!(set_log_level("sealane=loud").is_err());
        assert!(
            tracing::enabled!(Level::DEBUG),
            "a refused level changes nothing"
        );
    }
}
