//! Waiting for a condition, never for a time.
//!
//! A test that sleeps is slow when all is well and wrong when the machine is busy. These helpers
//! ask again until the condition holds, and fail with the last reason why it did not.

use std::time::{Duration, Instant};

/// For what takes milliseconds on an idle machine: a packet, a socket, a restarted process.
pub const SOON: Duration = Duration::from_secs(20);

/// For what takes a second or several: pods that start, images that back off, clusters.
pub const LATER: Duration = Duration::from_secs(90);

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// What a look at a condition can return: `bool`, `Option<T>` or `Result<T, reason>`.
pub trait Look {
    /// What is handed on once the condition holds.
    type Value;

    /// The value, or why it is not there yet.
    ///
    /// # Errors
    /// The reason, which is printed if the deadline passes.
    fn seen(self) -> Result<Self::Value, String>;
}

impl Look for bool {
    type Value = ();

    fn seen(self) -> Result<(), String> {
        self.then_some(())
            .ok_or_else(|| "it does not hold".to_owned())
    }
}

impl<T> Look for Option<T> {
    type Value = T;

    fn seen(self) -> Result<T, String> {
        self.ok_or_else(|| "there is none".to_owned())
    }
}

impl<T, E: std::fmt::Display> Look for Result<T, E> {
    type Value = T;

    fn seen(self) -> Result<T, String> {
        self.map_err(|reason| reason.to_string())
    }
}

/// Looks until the condition holds, and returns what it found.
///
/// # Panics
/// When `deadline` has passed, with `what` and the reason of the last look.
#[track_caller]
pub fn eventually<L: Look>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> L,
) -> L::Value {
    let begun = Instant::now();
    loop {
        match look().seen() {
            Ok(value) => return value,
            Err(reason) if begun.elapsed() > deadline => {
                panic!("waited {deadline:?} until {what}, but {reason}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_was_found_as_soon_as_it_is_there() {
        let mut looks = 0;
        let found = eventually(SOON, "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    fn tells_the_last_reason_when_the_deadline_passes() {
        let failure = std::panic::catch_unwind(|| {
            eventually(Duration::from_millis(1), "a pod runs", || {
                Err::<(), _>("its image is unknown")
            })
        })
        .unwrap_err();
        let text = failure.downcast_ref::<String>().unwrap();
        assert_eq!(
            text,
            "waited 1ms until a pod runs, but its image is unknown"
        );
    }
}
