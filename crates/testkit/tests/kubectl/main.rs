//! What kubectl prints, compared word by word, with two generations of it.
//!
//! `scripts/NN-topic.txt` are stories of commands and their outputs (format: [`script`]). Each is run
//! with the newest kubectl that is there and with an older one, each against clusters of its own, in a
//! namespace of the topic's name, which is its default namespace and goes with it. What differs from run to run (ages,
//! uids, addresses) is replaced before comparing (list: [`placeholders`]).
//!
//! `UPDATE_GOLDEN=1 cargo test -p sealane-testkit --test kubectl` writes what was printed into the scripts.
//! Read the difference before you commit it: these files say what users get.
//! `SCRIPTS=apply` runs only those with that word in their name.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod placeholders;
mod script;
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, Scope, ScopedJoinHandle};

use script::{Script, Seen};
use stage::Stage;

use sealane_testkit::kubectl::{self, Generation};
use sealane_testkit::{Cluster, UpOptions};

/// The fewest commands that the scripts hold together.
const AT_LEAST: usize = 80;
/// Clusters of each generation, which share the scripts among them: most of the time is spent in waiting.
const CLUSTERS: usize = 2;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl/scripts");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn commands_print_what_the_scripts_say_with_two_generations() {
    let chosen = std::env::var("SCRIPTS").unwrap_or_default();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let generations = kubectl::generations();
    let names: Vec<String> = generations.iter().map(Generation::to_string).collect();
    eprintln!("generations of kubectl: {}", names.join(", "));

    let mut scripts: Vec<(PathBuf, Script)> = scripts()
        .into_iter()
        .filter(|path| script::topic(path).contains(&chosen))
        .map(|path| (path.clone(), Script::read(&path)))
        .collect();
    let seen: Vec<Vec<Seen>> = thread::scope(|scope| {
        let generations = generations.iter();
        let running: Vec<_> = generations.map(|g| start(scope, &scripts, g)).collect();
        running.into_iter().map(end).collect()
    });

    let mut wrong = Vec::new();
    let mut commands = 0;
    for (generation, seen) in generations.iter().zip(seen) {
        let mut seen = seen.into_iter();
        commands = seen.len();
        for (path, script) in &mut scripts {
            let topic = script::topic(path);
            for (step, seen) in script.steps.iter_mut().zip(seen.by_ref()) {
                if update {
                    step.record(generation.minor, seen);
                } else if let Err(difference) = step.check(generation.minor, &seen) {
                    wrong.push(format!("{topic} with kubectl {generation}: {difference}"));
                }
            }
        }
    }
    if update {
        scripts.iter().for_each(|(path, script)| script.write(path));
    }
    eprintln!("{commands} commands with {} generations", names.len());
    assert!(
        wrong.is_empty(),
        "{}\n{} differ",
        wrong.join("\n"),
        wrong.len()
    );
    assert!(
        commands >= AT_LEAST || !chosen.is_empty(),
        "only {commands} commands are left"
    );
}

/// What the commands of each script did, by its number.
type Played = Vec<(usize, Vec<Seen>)>;

/// Starts all scripts with one generation.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    scripts: &'scope [(PathBuf, Script)],
    generation: &'scope Generation,
) -> Vec<ScopedJoinHandle<'scope, Played>> {
    let shares = (0..CLUSTERS.min(scripts.len())).map(|first| {
        // One after the other, so that none takes a port which another has just found free.
        let cluster = Cluster::up(UpOptions::default());
        let share = scripts.iter().enumerate().skip(first).step_by(CLUSTERS);
        scope.spawn(move || play(share, generation, cluster))
    });
    shares.collect()
}

/// What each command did, in the order of the scripts.
fn end(running: Vec<ScopedJoinHandle<'_, Played>>) -> Vec<Seen> {
    let ended = running.into_iter().flat_map(|thread| {
        let played = thread.join();
        played.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    });
    let by_number: BTreeMap<usize, Vec<Seen>> = ended.collect();
    by_number.into_values().flatten().collect()
}

/// Runs scripts one after the other in a cluster.
fn play<'a>(
    scripts: impl Iterator<Item = (usize, &'a (PathBuf, Script))>,
    generation: &Generation,
    cluster: Cluster,
) -> Played {
    let played = scripts.map(|(number, (path, script))| {
        let stage = Stage::set(&cluster, generation, &script::topic(path));
        let steps = script.steps.iter();
        let seen = steps.map(|step| stage.run(step, generation.minor));
        let seen = seen.collect();
        stage.strike(&cluster);
        (number, seen)
    });
    let played = played.collect();
    cluster.down();
    played
}
