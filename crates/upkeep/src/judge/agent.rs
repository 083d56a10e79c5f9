//! The agent itself, and whether its leases agree with the kernel.

use crate::finding::Finding;
use crate::snapshot::{Agent, Snapshot};

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    match &s.agent {
        Agent::Away { why } => vec![away(s, why)],
        Agent::Here {
            ready,
            troubles,
            problems,
            leases,
            duplicates,
            same_namespace,
        } => {
            let mut found = Vec::new();
            if *same_namespace == Some(false) {
                found.push(elsewhere(s));
            }
            found.extend(troubles.iter().map(|trouble| troubled(*ready, trouble)));
            found.extend(problems.iter().map(|problem| {
                Finding::error("node-not-served", problem)
                    .because("pods of this node do not reach the pods of that one")
                    .next("mend what the message names: the Node's addresses and podCIDRs, or --routing")
            }));
            found.extend(leases.iter().map(|fault| {
                Finding::warning("lease", fault)
                    .because("an address is lost to other pods, or a pod has one that nobody reserves")
                    .next("sealane ipam show, then sealane ipam release ADDRESS for a pod that is gone")
            }));
            found.extend(duplicates.iter().map(|duplicate| {
                Finding::error("address-in-use", duplicate)
                    .because("packets for the pod reach either of the two")
                    .next("take the address from the other one, or keep the cluster's ranges apart from that network; a pod that is made anew gets another address")
            }));
            found
        }
    }
}

fn away(s: &Snapshot, why: &str) -> Finding {
    let socket = s.settings.run_dir.join("agent.debug.sock");
    Finding::error(
        "agent-away",
        format!("no agent answers at {}: {why}", socket.display()),
    )
    .because("running pods keep their network, but none is wired or removed, and changes of other nodes are not followed")
    .next("start `sealane agent` in this network namespace; if it runs with another --run-dir, give that here too")
}

fn elsewhere(s: &Snapshot) -> Finding {
    Finding::error(
        "agent-elsewhere",
        format!(
            "the agent of {} runs in another network namespace",
            s.settings.run_dir.display()
        ),
    )
    .because("it makes links, routes and rules there, and none here")
    .next("run it in the node's own namespace (in a pod: hostNetwork: true), or this command in the agent's")
}

fn troubled(ready: bool, trouble: &str) -> Finding {
    if ready {
        return Finding::warning("agent-troubled", trouble)
            .because("the agent serves pods, but could not bring the node's network to what it should be")
            .next("the message names the object that was refused; the agent tries again by itself");
    }
    Finding::error("agent-not-ready", trouble)
        .because("no pod is wired until the agent is ready; ADD answers code 11, STATUS code 50")
        .next("mend what the message names; other findings of this list may be the cause")
}

#[cfg(test)]
mod tests {
    use super::super::stage::{after, well};
    use super::*;

    fn here(s: &mut Snapshot, change: impl FnOnce(&mut bool, &mut Vec<String>, &mut Vec<String>)) {
        if let Agent::Here {
            ready,
            troubles,
            problems,
            ..
        } = &mut s.agent
        {
            change(ready, troubles, problems);
        }
    }

    #[test]
    fn an_agent_that_is_away_or_unwell_is_named() {
        let away = |s: &mut Snapshot| s.agent = Agent::Away { why: "no".into() };
        assert_eq!(after(away), ["agent-away"]);
        let not_ready = |s: &mut Snapshot| {
            here(s, |ready, troubles, _| {
                *ready = false;
                troubles.push("no podCIDRs".into());
            });
        };
        assert_eq!(after(not_ready), ["agent-not-ready"]);
        let problem = |s: &mut Snapshot| here(s, |_, _, p| p.push("node-9 has no address".into()));
        assert_eq!(after(problem), ["node-not-served"]);
        let mut shared = well();
        if let Agent::Here { duplicates, .. } = &mut shared.agent {
            duplicates.push(
                "address 10.244.1.2 of pod default/a is also used by 02:00:00:00:00:01 on cbr0"
                    .into(),
            );
        }
        assert_eq!(judge(&shared)[0].check, "address-in-use");
        let mut elsewhere = well();
        if let Agent::Here { same_namespace, .. } = &mut elsewhere.agent {
            *same_namespace = Some(false);
        }
        assert_eq!(judge(&elsewhere)[0].check, "agent-elsewhere");
    }
}
