//! The operations, and who is hit by them.

use sealane_testkit::binary::sealane;
use sealane_testkit::cluster::Role;
use sealane_testkit::process::Process;
use sealane_testkit::{Chance, Cluster, LATER, SOON, eventually};
use serde_json::{Value, json};

use crate::declared::{Declared, Workload, persist, pod_path, unless};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MOST_REPLICAS: u64 = 5;

type Operation = fn(&Cluster, &mut Declared, &mut Chance) -> Option<String>;

/// Each as often as it stands here.
const OPERATIONS: [Operation; 23] = [
    scale,
    scale,
    scale,
    scale,
    delete_pod,
    delete_pod,
    delete_pod,
    delete_pod,
    force_delete_pod,
    force_delete_pod,
    kill_container,
    kill_container,
    kill_shim,
    kill_shim,
    kill_process,
    kill_process,
    kill_node,
    roll,
    roll,
    undo,
    stray,
    cordon,
    recreate,
];

/// Does one, and tells which.
pub fn one(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> String {
    let act = chance.pick(&OPERATIONS).expect("there are operations");
    act(cluster, declared, chance).unwrap_or_else(|| "nobody is there for it".to_owned())
}

/// Ends what would hold up the end.
pub fn calm(cluster: &Cluster, declared: &mut Declared) {
    for node in std::mem::take(&mut declared.cordoned) {
        set_cordon(cluster, node, false);
    }
}

fn scale(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> Option<String> {
    let (workload, before) = pick_workload(declared, chance, |workload| workload != Workload::Log)?;
    let replicas = chance.below(MOST_REPLICAS + 1);
    let patch = json!({"spec": {"replicas": replicas}});
    change(cluster, workload, &patch);
    declared.set_replicas(workload, replicas);
    Some(format!(
        "scale {} from {before} to {replicas}",
        workload.name()
    ))
}

fn roll(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> Option<String> {
    let (workload, _) = pick_workload(declared, chance, |_| true)?;
    let mark = chance.below(1_000_000).to_string();
    let template = json!({"metadata": {"annotations": {"mark": mark}}});
    change(cluster, workload, &json!({"spec": {"template": template}}));
    Some(format!("roll {}", workload.name()))
}

fn undo(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> Option<String> {
    let (workload, _) = pick_workload(declared, chance, |_| true)?;
    let line = format!("rollout undo {}/{}", workload.kind(), workload.name());
    let done = cluster.kubectl(line.split(' '));
    // There may be nothing before, or no API at the moment: then nothing changes.
    let outcome = match done.status.success() {
        true => String::new(),
        false => format!(" ({})", done.stderr.lines().last().unwrap_or("refused")),
    };
    Some(format!("{line}{outcome}"))
}

fn recreate(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> Option<String> {
    let (workload, replicas) = pick_workload(declared, chance, |_| true)?;
    declared.delete(cluster, workload);
    declared.create(cluster, workload, replicas);
    Some(format!("delete and create {}", workload.name()))
}

fn delete_pod(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> Option<String> {
    remove_pod(cluster, declared, chance, &json!({}), "delete")
}

fn force_delete_pod(
    cluster: &Cluster,
    declared: &mut Declared,
    chance: &mut Chance,
) -> Option<String> {
    let options = json!({"gracePeriodSeconds": 0});
    remove_pod(cluster, declared, chance, &options, "delete --force")
}

fn remove_pod(
    cluster: &Cluster,
    declared: &mut Declared,
    chance: &mut Chance,
    options: &Value,
    words: &str,
) -> Option<String> {
    let pod = pick_pod(cluster, chance)?;
    let name = name(&pod);
    persist(&format!("{words} {name}"), || {
        let deleted = cluster.api().delete_with(&pod_path(&name), options);
        deleted.or_else(|error| unless("not found", error))
    });
    declared.strays.remove(&name);
    Some(format!("{words} pod {name}"))
}

/// Takes a pod out of its workload by another label; it lives on without an owner.
fn stray(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> Option<String> {
    let pod = pick_pod(cluster, chance)?;
    let (name, uid) = (name(&pod), &pod["metadata"]["uid"]);
    let leaves = pod["metadata"]["deletionTimestamp"].is_string();
    let app = pod["metadata"]["labels"]["app"].as_str()?;
    // A StatefulSet waits for the name of a pod that it has lost for as long as that lives.
    if leaves || !["web", "api", "log"].contains(&app) {
        return None;
    }
    let patch = json!({"metadata": {"uid": uid, "labels": {"app": "stray"}}});
    persist(&format!("relabel {name}"), || {
        let patched = cluster.api().merge(&pod_path(&name), &patch);
        patched
            .or_else(|error| unless("not found", error))
            .or_else(|error| unless("onflict", error))
    });
    let released = is_released(cluster, &name, uid);
    if released {
        declared.strays.insert(name.clone());
    }
    let outcome = if released { "" } else { " (too late)" };
    Some(format!("relabel pod {name}{outcome}"))
}

/// Waits until a pod has no owner any more: until then it may be deleted with it.
#[track_caller]
fn is_released(cluster: &Cluster, name: &str, uid: &Value) -> bool {
    eventually(LATER, &format!("pod {name} is released or gone"), || {
        let pod = cluster.api().get(&pod_path(name));
        let metadata = pod.or_else(|error| unless("not found", error))?["metadata"].clone();
        let leaves = metadata["uid"] != *uid || metadata["deletionTimestamp"].is_string();
        match metadata["ownerReferences"].is_null() {
            _ if leaves => Ok(false),
            true => Ok(true),
            false => Err(format!("it has an owner: {metadata:#}")),
        }
    })
}

fn kill_container(cluster: &Cluster, _: &mut Declared, chance: &mut Chance) -> Option<String> {
    let pod = pick_pod(cluster, chance)?;
    let shim = shim_of(&pod)?;
    let all = Process::all();
    let children = all.iter().filter(|child| child.parent() == Some(shim.pid));
    let children: Vec<_> = children.collect();
    let victim = chance.pick(&children)?;
    victim.kill9();
    Some(format!("kill -9 a container of {}", name(&pod)))
}

fn kill_shim(cluster: &Cluster, _: &mut Declared, chance: &mut Chance) -> Option<String> {
    let pod = pick_pod(cluster, chance)?;
    shim_of(&pod)?.kill9();
    Some(format!("kill -9 the shim of {}", name(&pod)))
}

/// Kills one of our own processes; nobody waits for its successor.
fn kill_process(cluster: &Cluster, _: &mut Declared, chance: &mut Chance) -> Option<String> {
    let nodes = 1..=cluster.nodes();
    let mut roles: Vec<Role> = nodes
        .flat_map(|node| [Role::Node(node), Role::Agent(node)])
        .collect();
    roles.extend([
        Role::ApiServer,
        Role::ApiServer,
        Role::Controllers,
        Role::Controllers,
        Role::Supervisor,
    ]);
    let role = *chance.pick(&roles)?;
    cluster.process(role).ok()?.kill9();
    if role == Role::Supervisor {
        sealane(cluster.options().arguments()).succeeds();
    }
    Some(format!("kill -9 {role:?}"))
}

/// Kills all that runs on a node, as if it had crashed.
fn kill_node(cluster: &Cluster, _: &mut Declared, chance: &mut Chance) -> Option<String> {
    let node = pick_node(cluster, chance)?;
    let victims = cluster.processes_on(node);
    victims.iter().for_each(Process::kill9);
    Some(format!(
        "kill -9 all {} processes of node-{node}",
        victims.len()
    ))
}

fn cordon(cluster: &Cluster, declared: &mut Declared, chance: &mut Chance) -> Option<String> {
    let node = pick_node(cluster, chance)?;
    let free = !declared.cordoned.remove(&node);
    if free {
        declared.cordoned.insert(node);
    }
    set_cordon(cluster, node, free);
    let word = if free { "cordon" } else { "uncordon" };
    Some(format!("{word} node-{node}"))
}

#[track_caller]
fn set_cordon(cluster: &Cluster, node: u32, on: bool) {
    let patch = json!({"spec": {"unschedulable": on}});
    persist(&format!("cordon node-{node}: {on}"), || {
        let path = format!("/api/v1/nodes/node-{node}");
        cluster.api().merge(&path, &patch)
    });
}

#[track_caller]
fn change(cluster: &Cluster, workload: Workload, patch: &Value) {
    persist(&format!("change {}", workload.name()), || {
        cluster.api().merge(&workload.path(), patch)
    });
}

fn pick_node(cluster: &Cluster, chance: &mut Chance) -> Option<u32> {
    let nodes: Vec<u32> = (1..=cluster.nodes()).collect();
    chance.pick(&nodes).copied()
}

fn pick_workload(
    declared: &Declared,
    chance: &mut Chance,
    fits: impl Fn(Workload) -> bool,
) -> Option<(Workload, u64)> {
    let all = declared.workloads().iter().copied();
    let fitting: Vec<_> = all.filter(|(workload, _)| fits(*workload)).collect();
    chance.pick(&fitting).copied()
}

fn pick_pod(cluster: &Cluster, chance: &mut Chance) -> Option<Value> {
    let list = eventually(SOON, "pods are listed", || cluster.api().get(PODS));
    chance.pick(list["items"].as_array()?).cloned()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn shim_of(pod: &Value) -> Option<Process> {
    let uid = pod["metadata"]["uid"].as_str()?;
    let is_shim =
        |process: &Process| process.command.contains(" shim ") && process.command.contains(uid);
    Process::all().into_iter().find(is_shim)
}
