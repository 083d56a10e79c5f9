//! What `down` removes and what it leaves alone, on directories of a test.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::Path;

use sealane_cluster::down;
use sealane_cluster::layout::Layout;
use sealane_cluster::plan::{Asked, ClusterName, Observed, resolve};
use sealane_cluster::record::Record;

fn layout(dir: &Path, suffix: &str) -> Layout {
    let name: ClusterName = format!("cc{}-{suffix}", std::process::id())
        .parse()
        .unwrap();
    Layout {
        run: dir.join("run"),
        shared: dir.join("shared"),
        ..Layout::new(name, dir.join("state"))
    }
}

fn cluster_in(layout: &Layout) {
    let asked = Asked {
        name: layout.name.clone(),
        ..Asked::default()
    };
    fs::create_dir_all(layout.state.join("nodes/node-1/pods/some-pod")).unwrap();
    fs::create_dir_all(layout.run.join("node-1/pods")).unwrap();
    let plan = resolve(&asked, &Observed::default()).unwrap();
    Record::new(plan).write(&layout.cluster_file()).unwrap();
}

#[tokio::test]
async fn a_recorded_state_directory_goes_whole_or_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path(), "whole");
    cluster_in(&layout);
    down::remove(&layout, true).await.unwrap();
    assert!(layout.state.join("nodes/node-1/pods/some-pod").exists());
    assert!(!layout.run.exists());
    down::remove(&layout, false).await.unwrap();
    assert!(!layout.state.exists());
    down::remove(&layout, false).await.unwrap();
}

#[tokio::test]
async fn a_directory_without_a_record_is_somebody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path(), "foreign");
    fs::create_dir(&layout.state).unwrap();
    fs::write(layout.state.join("thesis.tex"), "years of work").unwrap();
    down::remove(&layout, false).await.unwrap();
    assert!(layout.state.join("thesis.tex").exists());
}
