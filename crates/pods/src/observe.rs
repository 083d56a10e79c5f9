//! What the shim tells, entered into the record.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use sealane_runtime::{ContainerState, ExitRecord, ShimState, exit_path};

use crate::record::{Container, Exit, Record, State};

/// Brings the record up to date with a shim that ran on while nobody listened.
pub fn adopt(record: &mut Record, state: &ShimState, now: Timestamp) {
    for (name, container) in &mut record.containers {
        if !container.may_run() {
            continue;
        }
        let attempt = container.attempt;
        let known = state
            .containers
            .iter()
            .find(|known| known.name == *name && known.attempt == attempt);
        match known {
            Some(known) => enter(container, known),
            // The start did not reach the shim before we were killed.
            None if container.state == State::Starting => container.not_begun(),
            None => container.lose(now),
        }
    }
}

/// A container ended; news of an older attempt are ignored.
pub fn exited(record: &mut Record, name: &str, attempt: u32, exit: &sealane_runtime::Exit) {
    let Some(container) = record.containers.get_mut(name) else {
        return;
    };
    if container.attempt == attempt && container.may_run() {
        let started_at = match container.state {
            State::Running(since) => Some(since),
            _ => None,
        };
        container.state = State::Exited(convert(exit, started_at));
    }
}

/// Reads exit codes that a shim wrote down before it died itself.
pub fn read_exits(record: &mut Record, dir: &Path) {
    for (name, container) in &mut record.containers {
        if !container.may_run() {
            continue;
        }
        let Ok(text) = fs::read(exit_path(dir, name, container.attempt)) else {
            continue;
        };
        match serde_json::from_slice::<ExitRecord>(&text) {
            Ok(known) => enter(container, &known),
            Err(error) => tracing::warn!("read exit record of container {name}: {error}"),
        }
    }
}

fn enter(container: &mut Container, known: &ContainerState) {
    let started_at = timestamp(known.started_at);
    container.state = match &known.exit {
        Some(exit) => State::Exited(convert(exit, Some(started_at))),
        None => State::Running(started_at),
    };
}

fn convert(exit: &sealane_runtime::Exit, started_at: Option<Timestamp>) -> Exit {
    let reason = match exit {
        exit if exit.oom => "OOMKilled",
        exit if exit.code == 0 => "Completed",
        _ => "Error",
    };
    Exit {
        code: exit.code,
        reason: reason.to_owned(),
        message: None,
        started_at,
        finished_at: timestamp(exit.finished_at),
    }
}

/// The same moment; one outside of 10,000 years is now.
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_else(|_| Timestamp::now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn known(name: &str, attempt: u32, code: Option<i32>) -> ContainerState {
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let exit = code.map(|code| sealane_runtime::Exit {
            code,
            signal: None,
            oom: code == 137,
            finished_at: after(20),
        });
        ContainerState {
            name: name.into(),
            attempt,
            pid: 1,
            started_at: after(10),
            exit,
        }
    }

    fn record(states: &[(&str, u32, State)]) -> Record {
        let mut record = Record::new(at(0));
        for (name, attempt, state) in states {
            let container = record.container_mut(name);
            container.attempt = *attempt;
            container.state = state.clone();
        }
        record
    }

    #[test]
    fn whatever_happened_meanwhile_is_learnt() {
        let mut record = record(&[
            ("runs", 1, State::Running(at(1))),
            ("ended", 0, State::Running(at(1))),
            ("started", 2, State::Starting),
            ("unheard", 2, State::Starting),
            ("lost", 0, State::Running(at(1))),
            ("new", 0, State::New),
        ]);
        let state = ShimState {
            pid: 7,
            containers: vec![
                known("runs", 0, Some(1)),
                known("runs", 1, None),
                known("ended", 0, Some(3)),
                known("started", 2, None),
                known("unheard", 1, Some(0)),
            ],
        };
        adopt(&mut record, &state, at(30));
        assert_eq!(record.container("runs").state, State::Running(at(10)));
        assert_eq!(record.container("started").state, State::Running(at(10)));
        assert_eq!(record.container("unheard").state, State::New);
        assert_eq!(record.container("new").state, State::New);
        let exit = record.container("ended").exit().unwrap();
        assert_eq!(
            (exit.code, exit.reason.as_str(), exit.finished_at),
            (3, "Error", at(20))
        );
        assert_eq!(
            record.container("lost").exit().unwrap().reason,
            "ContainerStatusUnknown"
        );
    }

    #[test]
    fn exits_count_once_and_for_their_own_attempt() {
        let mut record = record(&[("a", 1, State::Running(at(1)))]);
        let exit = |code| known("a", 0, Some(code)).exit.unwrap();
        exited(&mut record, "a", 0, &exit(5));
        assert_eq!(record.container("a").state, State::Running(at(1)));
        exited(&mut record, "a", 1, &exit(137));
        assert_eq!(record.container("a").exit().unwrap().reason, "OOMKilled");
        exited(&mut record, "a", 1, &exit(0));
        assert_eq!(record.container("a").exit().unwrap().code, 137);
        exited(&mut record, "unknown", 0, &exit(0));
        assert_eq!(record.containers.len(), 1);
    }

    #[test]
    fn exit_records_outlive_the_shim() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = record(&[
            ("a", 4, State::Running(at(1))),
            ("b", 0, State::Running(at(1))),
        ]);
        let path = exit_path(dir.path(), "a", 4);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_vec(&known("a", 4, Some(0))).unwrap()).unwrap();
        read_exits(&mut record, dir.path());
        assert_eq!(record.container("a").exit().unwrap().reason, "Completed");
        assert_eq!(record.container("b").state, State::Running(at(1)));
    }
}
