//! What it costs to know who owns what: one pod, its makers and its node.
//!
//! `cargo bench -p sealane-ownership`: time of one thread for each write, beside that of reading and
//! writing the object as JSON, which every write does anyway; and how many bytes the entries are.

use std::time::Instant;

use sealane_ownership::{
    Form, Listing, Managers, Member, Of, Scalar, Shape, Writer, apply, update,
};
use serde_json::{Value, json};

const ROUNDS: u32 = 2_000;

fn main() {
    let config = pod();
    let made = apply(
        POD,
        &json!({}),
        &config,
        Managers::default(),
        &writer("user"),
        false,
    );
    let made = made.expect("a new object has no other owners");
    let ready = ready(&made.object);
    let managers = update(
        POD,
        Some(&made.object),
        &ready,
        made.managers,
        &writer("node"),
    );
    let entries = managers.to_value();
    let mut stored = ready.clone();
    stored["metadata"]["managedFields"] = entries.clone();
    let (with, without) = (stored.to_string(), ready.to_string());
    println!(
        "bytes of a pod: {} with entries, {} without",
        with.len(),
        without.len()
    );

    measure("JSON read and written, without entries", || {
        let read: Value = serde_json::from_str(&without).expect("it is JSON");
        read.to_string().len()
    });
    measure("JSON read and written, with entries", || {
        let read: Value = serde_json::from_str(&with).expect("it is JSON");
        read.to_string().len()
    });
    measure("entries read", || parsed(&entries).iter().count());
    measure("entries written", || {
        managers.to_value().as_array().map_or(0, Vec::len)
    });
    let other = conditions(&ready, "False");
    measure("a changed condition: read, tracked, written", || {
        let managers = update(POD, Some(&ready), &other, parsed(&entries), &writer("node"));
        managers.to_value().as_array().map_or(0, Vec::len)
    });
    measure("applied again, nothing changed", || {
        let managers = parsed(&entries);
        let applied = apply(POD, &ready, &config, managers, &writer("user"), false);
        applied.map_or(0, |applied| applied.managers.iter().count())
    });
    let mut changed = config.clone();
    changed["metadata"]["labels"]["more"] = json!("x");
    changed["spec"]["containers"][0]["image"] = json!("sealane.io/echo:2");
    measure("applied with two changes", || {
        let managers = parsed(&entries);
        let applied = apply(POD, &ready, &changed, managers, &writer("user"), false);
        applied.map_or(0, |applied| {
            applied.managers.to_value().as_array().map_or(0, Vec::len)
        })
    });
}

fn parsed(entries: &Value) -> Managers {
    Managers::parse(entries).expect("they were written so")
}

fn measure(what: &str, mut work: impl FnMut() -> usize) {
    let begin = Instant::now();
    let mut done = 0;
    for _ in 0..ROUNDS {
        done += std::hint::black_box(work());
    }
    let each = begin.elapsed() / ROUNDS;
    assert!(done > 0, "it did something");
    println!("{what}: {:.1} us", each.as_secs_f64() * 1e6);
}

fn writer(name: &str) -> Writer<'_> {
    Writer {
        name,
        api_version: "v1",
        subresource: if name == "node" { "status" } else { "" },
        now: "2026-01-01T00:00:00Z",
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": [{
            "name": "main", "image": "sealane.io/echo", "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        }], "terminationGracePeriodSeconds": 30, "restartPolicy": "Always"},
    })
}

fn ready(pod: &Value) -> Value {
    let mut pod = conditions(pod, "True");
    pod["status"]["phase"] = json!("Running");
    pod["status"]["podIPs"] = json!([{"ip": "10.244.0.2"}]);
    pod["status"]["containerStatuses"] = json!([{
        "name": "main", "ready": true, "restartCount": 0, "image": "sealane.io/echo",
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }]);
    pod
}

fn conditions(pod: &Value, ready: &str) -> Value {
    let mut pod = pod.clone();
    let types = [
        "PodScheduled",
        "Initialized",
        "PodReadyToStartContainers",
        "ContainersReady",
        "Ready",
    ];
    let conditions = types.map(|of| {
        json!({
            "type": of, "status": if of == "Ready" { ready } else { "True" },
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    });
    pod["status"]["conditions"] = json!(conditions);
    pod
}

const POD: Of<Pod> = Of::Known(Pod::Fields);

/// As much of a pod's type as its lists need.
#[derive(Clone, Copy)]
enum Pod {
    Fields,
    By(&'static str),
    Text,
}

impl Shape<'static> for Pod {
    fn form(self) -> Form {
        match self {
            Self::Fields => Form::Map { whole: false },
            Self::By(_) => Form::List(Listing::Keys),
            Self::Text => Form::Scalar(Scalar::Any),
        }
    }

    fn member(self, name: &str) -> Option<Member<Self>> {
        let of = match name {
            "metadata" | "spec" | "status" | "labels" | "resources" | "limits"
            | "readinessProbe" | "httpGet" => Self::Fields,
            "containers" | "env" => Self::By("name"),
            "ports" => Self::By("containerPort"),
            "conditions" => Self::By("type"),
            "podIPs" => Self::By("ip"),
            "containerStatuses" => return Some(Member::entry(Of::Opaque)),
            _ => Self::Text,
        };
        Some(Member {
            of: Of::Known(of),
            declared: true,
            kept: matches!(name, "metadata" | "spec" | "status" | "containers"),
        })
    }

    fn element(self) -> Of<Self> {
        Of::Known(Self::Fields)
    }

    fn keys(self) -> Vec<&'static str> {
        match self {
            Self::By(key) => vec![key],
            _ => Vec::new(),
        }
    }

    fn default_of(self, _: &str) -> Option<Value> {
        None
    }
}
