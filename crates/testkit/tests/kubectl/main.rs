//! What kubectl prints, compared word by word, with two generations of it.
//!
//! `scripts/NN-topic.txt` are stories of commands and their outputs (format: [`script`]). Each is run
//! with the newest kubectl that is there and with an older one, each against a cluster of its own, in a
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

use std::fs;
use std::path::{Path, PathBuf};

use script::{Script, Seen};
use stage::Stage;

use sealane_testkit::kubectl::{self, Generation};
use sealane_testkit::{Cluster, UpOptions};

/// The fewest commands that the scripts hold together.
const AT_LEAST: usize = 80;

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
    // A cluster for each, side by side: most of the time is spent in waiting.
    let seen: Vec<Vec<Seen>> = std::thread::scope(|scope| {
        let running: Vec<_> = generations
            .iter()
            .map(|generation| {
                // One after the other, so that none takes a port which another has just found free.
                let cluster = Cluster::up(UpOptions::default());
                scope.spawn(|| play(&scripts, generation, cluster))
            })
            .collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended
            .map(|seen| seen.unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
            .collect()
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

/// Runs all scripts with one generation in a cluster: what each command did, in order.
fn play(scripts: &[(PathBuf, Script)], generation: &Generation, cluster: Cluster) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (path, script) in scripts {
        let stage = Stage::set(&cluster, generation, &script::topic(path));
        seen.extend(
            script
                .steps
                .iter()
                .map(|step| stage.run(step, generation.minor)),
        );
        stage.strike(&cluster);
    }
    cluster.down();
    seen
}
