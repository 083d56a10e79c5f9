//! Jobs, CronJobs, disruption budgets and priority classes, with kubectl. No controller runs here; what it
//! would write, these tests do.

use crate::harness::Server;

const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: 'sealane.io/echo:1'}]
";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: node-1
  containers: [{name: main, image: 'sealane.io/echo:1'}]
";

const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: keep}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";

/// What is shown, a space between words, without ages.
fn table(server: &Server, what: &str) -> String {
    let shown = server.ok(&format!("get {what}"));
    let is_age =
        |word: &str| word.len() < 4 && word.ends_with('s') && word.as_bytes()[0].is_ascii_digit();
    let line = |line: &str| {
        let words = line.split_whitespace().filter(|word| !is_age(word));
        words.collect::<Vec<_>>().join(" ")
    };
    shown.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn patch_status(server: &Server, what: &str, status: &str) {
    let patch = format!("-p={{\"status\":{status}}}");
    let mut words = vec!["patch"];
    words.extend(what.split(' '));
    words.extend(["--subresource=status", "--type=merge", &patch]);
    let said = server.kubectl_with(&words, "");
    assert!(said.ok, "{said:?}");
}

#[test]
fn jobs_and_cron_jobs_are_created_shown_and_judged() {
    let server = Server::start();
    assert_eq!(server.apply(JOB), "job.batch/work created\n");
    assert!(server.apply(JOB).ends_with("unchanged\n"));
    assert_eq!(
        table(&server, "jobs"),
        "NAME STATUS COMPLETIONS DURATION AGE\nwork Running 0/1"
    );
    let uid = server.ok("get job work -o jsonpath={.metadata.uid}");
    let selector = server.ok("get job work -o jsonpath={.spec.selector.matchLabels}");
    assert_eq!(
        selector,
        format!("{{\"batch.kubernetes.io/controller-uid\":\"{uid}\"}}")
    );
    let labels = server.ok("get job work -o jsonpath={.metadata.labels.job-name}");
    assert_eq!(labels, "work");

    let words = [
        "create",
        "cronjob",
        "tock",
        "--image=sealane.io/echo:1",
        "--schedule=0 6 * * 1-5",
    ];
    assert!(server.kubectl_with(&words, "").ok);
    assert_eq!(
        table(&server, "cronjobs"),
        "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE\n\
         tock 0 6 * * 1-5 <none> False 0 <none>"
    );
    assert_eq!(
        server.ok("create job once --from=cronjob/tock"),
        "job.batch/once created\n"
    );
    let owner = server.ok("get job once -o jsonpath={.metadata.ownerReferences[0].kind}");
    assert_eq!(owner, "CronJob");

    let generated = JOB.replace("{name: work}", "{generateName: many-}");
    let said = server.kubectl_with(&["create", "-f", "-"], &generated);
    assert!(
        said.ok && said.out.starts_with("job.batch/many-"),
        "{said:?}"
    );

    for (manifest, expected) in [
        (
            JOB.replace("restartPolicy: Never", "restartPolicy: Always")
                .replace("name: work", "name: new"),
            "The Job \"new\" is invalid: spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (
            JOB.replace("echo:1", "echo:2"),
            "spec.template: Invalid value",
        ),
        (
            JOB.replace("  template:", "  completions: 3\n  template:"),
            "spec.completions: Invalid value: 3: field is immutable",
        ),
        (
            BUDGET.replace("minAvailable: 1", "minAvailable: 1, maxUnavailable: 1"),
            "minAvailable and maxUnavailable cannot be both set",
        ),
    ] {
        let refused = server.refused(&["apply", "-f", "-"], &manifest);
        assert!(refused.contains(expected), "{refused}");
    }
    let words = [
        "create",
        "cronjob",
        "bad",
        "--image=x",
        "--schedule=* * * *",
    ];
    let refused = server.refused(&words, "");
    assert!(
        refused.contains(
            "spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4"
        ),
        "{refused}"
    );
}

#[test]
fn an_eviction_spends_the_budget_and_is_refused_without() {
    let server = Server::start();
    server.apply(POD);
    server.apply(&POD.replace("name: web", "name: other"));
    server.apply(BUDGET);
    assert_eq!(
        table(&server, "pdb"),
        "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE\nkeep 1 N/A 0"
    );
    for pod in ["web", "other"] {
        let ready =
            "{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}";
        patch_status(&server, &format!("pod {pod}"), ready);
    }
    let evict = |pod: &str| {
        let body = format!(
            "{{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{{\"name\":\"{pod}\"}}}}"
        );
        let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
        server.kubectl_with(&["create", "--raw", &path, "-f", "-"], &body)
    };
    patch_status(
        &server,
        "pdb keep",
        "{\"observedGeneration\":1,\"disruptionsAllowed\":1,\"currentHealthy\":2,\"desiredHealthy\":1,\"expectedPods\":2}",
    );
    let said = evict("web");
    assert!(said.ok, "{said:?}");
    let left =
        "get pdb keep -o jsonpath={.status.disruptionsAllowed}{.status.conditions[0].reason}";
    assert_eq!(server.ok(left), "0InsufficientPods");
    assert!(
        server
            .ok("get pdb keep -o jsonpath={.status.disruptedPods}")
            .contains("\"web\"")
    );
    let target =
        "get pod web -o jsonpath={.metadata.deletionTimestamp}{.status.conditions[1].type}";
    assert!(
        server.ok(target).ends_with("ZDisruptionTarget"),
        "{}",
        server.ok(target)
    );
    let refused = evict("other");
    assert!(!refused.ok);
    assert!(
        refused
            .err
            .contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{refused:?}"
    );
    // A second budget makes it unclear which is meant.
    server.apply(&BUDGET.replace("name: keep", "name: also"));
    let refused = evict("other");
    assert!(
        refused.err.contains("more than one PodDisruptionBudget"),
        "{refused:?}"
    );
    assert!(evict("nobody").err.contains("not found"));
    // What has ended goes in any case.
    patch_status(&server, "pod other", "{\"phase\":\"Succeeded\"}");
    assert!(evict("other").ok);
}

#[test]
fn pods_have_the_priority_of_their_class() {
    let server = Server::start();
    assert_eq!(
        table(&server, "priorityclasses --sort-by=.value"),
        "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY\n\
         system-cluster-critical 2000000000 false PreemptLowerPriority\n\
         system-node-critical 2000001000 false PreemptLowerPriority"
    );
    server.ok("create priorityclass high --value=1000 --preemption-policy=Never");
    server.ok("create priorityclass usual --value=7 --global-default=true");
    let of_class = |name: &str, class: &str| {
        POD.replace("name: web", &format!("name: {name}"))
            .replace("nodeName: node-1", class)
    };
    server.apply(&of_class("a", "priorityClassName: high"));
    server.apply(&of_class("b", "nodeName: node-1"));
    for (pod, expected) in [
        ("a", "high 1000 Never"),
        ("b", "usual 7 PreemptLowerPriority"),
    ] {
        let words = ["priorityClassName", "priority", "preemptionPolicy"];
        let words =
            words.map(|field| server.ok(&format!("get pod {pod} -o jsonpath={{.spec.{field}}}")));
        assert_eq!(words.join(" "), expected);
    }
    for (manifest, expected) in [
        (
            of_class("c", "priorityClassName: none"),
            "pods \"c\" is forbidden: no PriorityClass with name none was found",
        ),
        (
            of_class("c", "priority: 9"),
            "the integer value of priority (9) must not be provided in pod spec; priority admission controller computed 7",
        ),
    ] {
        let refused = server.refused(&["apply", "-f", "-"], &manifest);
        assert!(refused.contains(expected), "{refused}");
    }
    let words = [
        "create",
        "priorityclass",
        "too",
        "--value=1",
        "--global-default=true",
    ];
    let refused = server.refused(&words, "");
    assert!(
        refused.contains("PriorityClass usual is already marked as default"),
        "{refused}"
    );
    let words = ["create", "priorityclass", "system-mine", "--value=1"];
    let refused = server.refused(&words, "");
    assert!(
        refused.contains("reserved for system use only"),
        "{refused}"
    );
}
