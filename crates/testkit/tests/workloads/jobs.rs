//! Work that ends: Jobs and CronJobs, by kubectl.

use serde_json::{Value, json};

use sealane_testkit::pod::HOST;
use sealane_testkit::{LATER, Shared, eventually};

use crate::{PATIENCE, count_is, get, items, kubectl, names};

fn job(name: &str, script: &str, spec: Value) -> String {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": HOST, "command": ["sh", "-c", script]}],
        }}},
    });
    let more = spec.as_object().unwrap().clone();
    job["spec"].as_object_mut().unwrap().extend(more);
    job.to_string()
}

#[test]
fn a_job_is_complete_when_its_pod_has_succeeded() {
    let cluster = Shared::cluster();
    let mut create = cluster.kubectl_command();
    create.args([
        "create",
        "job",
        "hello",
        "--image",
        HOST,
        "--",
        "echo",
        "well done",
    ]);
    assert!(create.status().unwrap().success());
    kubectl(
        &cluster,
        &format!("wait --for=condition=complete job/hello {PATIENCE}"),
    );
    assert_eq!(kubectl(&cluster, "logs job/hello"), "well done\n");
    let line = kubectl(&cluster, "get job hello --no-headers");
    let shown: Vec<&str> = line.split_whitespace().take(3).collect();
    assert_eq!(shown, ["hello", "Complete", "1/1"]);
    let described = kubectl(&cluster, "describe job hello");
    assert!(described.contains("Job completed"), "{described}");
    kubectl(&cluster, "delete job hello");
    count_is(&cluster, "pods -l job-name=hello", 0);
}

#[test]
fn a_job_fails_when_its_pods_fail_too_often() {
    let cluster = Shared::cluster();
    let failing = job("fails", "exit 3", json!({"backoffLimit": 0}));
    cluster.apply(&failing).succeeds();
    kubectl(
        &cluster,
        &format!("wait --for=condition=failed job/fails {PATIENCE}"),
    );
    let status = &get(&cluster, "job/fails")["status"];
    assert_eq!(status["failed"], 1, "{status}");
    let conditions = status["conditions"].as_array().unwrap();
    let reasons: Vec<_> = conditions.iter().map(|one| &one["reason"]).collect();
    assert_eq!(reasons, ["BackoffLimitExceeded", "BackoffLimitExceeded"]);
    let pods = items(&cluster, "pods -l job-name=fails");
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["status"]["phase"], "Failed");
    assert!(pods[0]["metadata"]["finalizers"].is_null());
    kubectl(&cluster, "delete job fails");
    count_is(&cluster, "pods -l job-name=fails", 0);
}

#[test]
fn each_pod_of_an_indexed_job_knows_its_index() {
    let cluster = Shared::cluster();
    let spec = json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed"});
    let indexed = job(
        "parts",
        "echo $JOB_COMPLETION_INDEX on $(cat /etc/hostname)",
        spec,
    );
    cluster.apply(&indexed).succeeds();
    kubectl(
        &cluster,
        &format!("wait --for=condition=complete job/parts {PATIENCE}"),
    );
    assert_eq!(
        get(&cluster, "job/parts")["status"]["completedIndexes"],
        "0-2"
    );
    for index in 0..3 {
        let label = format!("job-name=parts,batch.kubernetes.io/job-completion-index={index}");
        let said = kubectl(&cluster, &format!("logs -l {label}"));
        assert_eq!(said, format!("{index} on parts-{index}\n"));
    }
    kubectl(&cluster, "delete job parts");
    count_is(&cluster, "pods -l job-name=parts", 0);
}

#[test]
fn a_cron_job_makes_jobs_by_the_clock_and_by_hand() {
    let cluster = Shared::cluster();
    let mut create = cluster.kubectl_command();
    // Nothing in cron's own words comes sooner than in a minute.
    create.args([
        "create",
        "cronjob",
        "tick",
        "--image",
        HOST,
        "--schedule",
        "@every 1s",
    ]);
    create.args(["--", "echo", "tock"]);
    assert!(create.status().unwrap().success());
    eventually(LATER, "a Job of the CronJob has succeeded", || {
        let status = get(&cluster, "cronjob/tick")["status"].clone();
        match status["lastSuccessfulTime"].is_string() {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    });
    let made = items(&cluster, "jobs");
    let of_tick = |job: &&Value| job["metadata"]["ownerReferences"][0]["name"] == "tick";
    let made: Vec<Value> = made.iter().filter(of_tick).cloned().collect();
    assert!(names(&made)[0].starts_with("tick-"), "{made:?}");
    kubectl(&cluster, "create job by-hand --from=cronjob/tick");
    kubectl(
        &cluster,
        &format!("wait --for=condition=complete job/by-hand {PATIENCE}"),
    );
    assert_eq!(kubectl(&cluster, "logs job/by-hand"), "tock\n");
    kubectl(&cluster, "delete cronjob tick");
    eventually(LATER, "its Jobs go with it", || {
        let left = items(&cluster, "jobs");
        match left.iter().filter(of_tick).count() {
            0 => Ok(()),
            _ => Err(names(&left).join(", ")),
        }
    });
}
