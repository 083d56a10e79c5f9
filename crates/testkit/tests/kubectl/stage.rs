//! Where a script is run: one generation of kubectl, a namespace, a home of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use sealane_testkit::command::finish;
use sealane_testkit::kubectl::Generation;
use sealane_testkit::{Cluster, Folder, SOON, eventually};

use crate::placeholders::Placeholders;
use crate::script::{Seen, Step};

/// How long one command may take, in seconds.
const LIMIT: &str = "60";
/// How long a command is repeated.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two runs of a repeated command.
const PAUSE: Duration = Duration::from_millis(100);

/// A place to run commands in.
pub struct Stage {
    home: Folder,
    topic: String,
    placeholders: Placeholders,
}

impl Stage {
    /// A namespace of the topic's name, and a kubeconfig that has it as its default.
    pub fn set(cluster: &Cluster, generation: &Generation, topic: &str) -> Self {
        let home = Folder::new();
        fs::create_dir(home.join("bin")).unwrap();
        symlink(&generation.path, home.join("bin/kubectl")).unwrap();
        fs::copy(cluster.kubeconfig(), home.join("config")).unwrap();
        let placeholders = Placeholders::new(vec![
            (home.path().display().to_string(), "<HOME>"),
            (cluster.name().to_owned(), "<CLUSTER>"),
        ]);
        let stage = Self {
            home,
            topic: topic.to_owned(),
            placeholders,
        };
        stage.bash(&format!(
            "kubectl create namespace {topic} && kubectl config set-context --current --namespace={topic}"
        ))
        .succeeds();
        for given in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            eventually(SOON, "the namespace is furnished", || {
                cluster
                    .api()
                    .get(&format!("/api/v1/namespaces/{topic}/{given}"))
            });
        }
        stage
    }

    /// Runs a command; one that is repeated, until it does what it should.
    pub fn run(&self, step: &Step, minor: u32) -> Seen {
        let begun = Instant::now();
        loop {
            let done = self.bash(&step.command());
            let code = done.code().unwrap_or(-1);
            let (stdout, stderr) = (&done.stdout, &done.stderr);
            let (stdout, stderr) = (self.placeholders.put(stdout), self.placeholders.put(stderr));
            let seen = Seen::new(&stdout, &stderr, code);
            let again = step.repeated && step.check(minor, &seen).is_err();
            if !again || begun.elapsed() > PATIENCE {
                return seen;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn bash(&self, text: &str) -> sealane_testkit::Finished {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("timeout");
        command
            .args([LIMIT, "bash", "-c", &format!("set -o pipefail; {text}")])
            .current_dir(self.home.path())
            .env("PATH", format!("{}:{path}", self.home.join("bin")))
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.join("config"))
            .env("KUBECACHEDIR", self.home.join("cache"))
            .env("LC_ALL", "C.UTF-8")
            // The defaults since 1.31.
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true");
        finish(command)
    }

    /// Removes the namespace, and waits until it is gone.
    pub fn strike(self, cluster: &Cluster) {
        cluster
            .kubectl(["delete", "namespace", &self.topic, "--ignore-not-found"])
            .succeeds();
    }
}
