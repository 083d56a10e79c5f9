//! Each rule and wish, in small clusters.

use crate::world::*;
use sealane_objects::{
    Demand, Effect, HostPort, Placement, PodAffinity, Requirement, Resources, Taint, Term,
    Toleration,
};
use sealane_scheduling::{Attempt, Board, Happening, NodeFacts};

fn requiring(placement: Placement) -> Demand {
    Demand {
        placement,
        ..Demand::default()
    }
}

fn asking(requests: Resources) -> Demand {
    Demand {
        weight: requests.clone(),
        requests,
        ..Demand::default()
    }
}

fn in_zone(zone: &str) -> Term {
    Term {
        labels: vec![Requirement {
            key: ZONE.into(),
            operator: "In".into(),
            values: vec![zone.into()],
        }],
        names: Vec::new(),
    }
}

fn tainted(name: &str, effect: Effect) -> NodeFacts {
    let taint = Taint {
        key: "dedicated".into(),
        value: "db".into(),
        effect,
    };
    NodeFacts {
        taints: vec![taint],
        ..node(name, "a")
    }
}

#[test]
fn equal_pods_go_around() {
    let mut board = four_nodes();
    let class = pod(&mut board, "app=a", asking(cpu(100)));
    assert_eq!(place(&mut board, class, 5), ["1", "2", "3", "4", "1"]);
}

#[test]
fn requests_must_fit_into_what_is_free() {
    let mut board = four_nodes();
    let class = pod(&mut board, "app=a", asking(cpu(3000)));
    let placed = place(&mut board, class, 5);
    assert_eq!(placed[..4], ["1", "2", "3", "4"]);
    assert_eq!(placed[4], "0/4 nodes are available: 4 Insufficient cpu.");
    let gpu = Resources::of([("example.com/gpu", "1"), ("cpu", "2"), ("memory", "1Ki")]);
    let class = pod(&mut board, "app=b", asking(gpu));
    assert_eq!(
        place(&mut board, class, 1),
        [
            "0/4 nodes are available: 4 Insufficient cpu, 4 Insufficient example.com/gpu, 4 Insufficient memory."
        ]
    );
}

#[test]
fn a_pod_that_asks_for_nothing_fits_where_nothing_is_free_but_a_place() {
    let mut board = Board::default();
    let full = NodeFacts {
        max_pods: Some(2),
        allocatable: cpu(100),
        limited_by: Some("subnet 10.0.0.0/30 has addresses for".into()),
        ..node("node-1", "a")
    };
    board.set_node("node-1", Some(full));
    let big = pod(&mut board, "", asking(cpu(100)));
    let none = pod(&mut board, "", Demand::default());
    assert_eq!(place(&mut board, big, 1), ["1"]);
    assert_eq!(
        place(&mut board, none, 2),
        [
            "1",
            "0/1 nodes are available: 1 Too many pods. \
             node-1 has 2 pods, as many as subnet 10.0.0.0/30 has addresses for."
        ]
    );
}

#[test]
fn what_a_pod_gave_back_is_free_again() {
    let mut board = four_nodes();
    let class = pod(&mut board, "app=a", asking(cpu(4000)));
    place(&mut board, class, 4);
    assert!(board.choose(class, None).is_err());
    board.take(class, "node-3", false);
    assert_eq!(place(&mut board, class, 1), ["3"]);
    for number in 1..=4 {
        board.take(class, &format!("node-{number}"), false);
    }
    board.part(class);
    assert_eq!(board.used_on("node-1"), Resources::default());
}

#[test]
fn selector_and_affinity_choose_among_nodes() {
    let mut board = four_nodes();
    let selector = Placement {
        selector: labels(&format!("{ZONE}=b")),
        ..Placement::default()
    };
    let class = pod(&mut board, "", requiring(selector));
    assert_eq!(place(&mut board, class, 2), ["3", "4"]);
    let nowhere = Placement {
        terms: Some(vec![in_zone("c")]),
        ..Placement::default()
    };
    let class = pod(&mut board, "", requiring(nowhere));
    assert_eq!(
        place(&mut board, class, 1),
        ["0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."]
    );
    let preferring = Placement {
        preferred: vec![(10, in_zone("b")), (1, in_zone("a"))],
        ..Placement::default()
    };
    let class = pod(&mut board, "", requiring(preferring));
    assert_eq!(place(&mut board, class, 2), ["3", "4"]);
}

#[test]
fn a_pod_for_one_node_says_that_the_others_were_not_asked() {
    let mut board = four_nodes();
    let one = Term {
        names: vec![Requirement {
            key: "metadata.name".into(),
            operator: "In".into(),
            values: vec!["node-2".into()],
        }],
        labels: Vec::new(),
    };
    let demand = Demand {
        requests: cpu(5000),
        ..requiring(Placement {
            terms: Some(vec![one]),
            ..Placement::default()
        })
    };
    let class = pod(&mut board, "", demand);
    assert_eq!(
        place(&mut board, class, 1),
        [
            "0/4 nodes are available: 1 Insufficient cpu, 3 node(s) didn't satisfy plugin(s) [NodeAffinity]."
        ]
    );
}

#[test]
fn taints_keep_off_or_put_off() {
    let mut board = Board::default();
    board.set_node("node-1", Some(tainted("node-1", Effect::PreferNoSchedule)));
    board.set_node("node-2", Some(tainted("node-2", Effect::NoExecute)));
    board.set_node(
        "node-3",
        Some(NodeFacts {
            cordoned: true,
            ..node("node-3", "a")
        }),
    );
    board.set_node("node-4", Some(node("node-4", "a")));
    let plain = pod(&mut board, "", Demand::default());
    assert_eq!(place(&mut board, plain, 3), ["4", "4", "4"]);
    board.set_node("node-4", None);
    assert_eq!(place(&mut board, plain, 1), ["1"]);
    board.set_node("node-1", Some(tainted("node-1", Effect::NoSchedule)));
    assert_eq!(
        place(&mut board, plain, 1),
        ["0/3 nodes are available: 1 node(s) were unschedulable, \
          2 node(s) had untolerated taint {dedicated: db}."]
    );
    let everything = Toleration {
        exists: true,
        ..Toleration::default()
    };
    let bearing = Placement {
        tolerations: vec![everything],
        ..Placement::default()
    };
    let bearing = pod(&mut board, "", requiring(bearing));
    assert_eq!(place(&mut board, bearing, 2), ["2", "3"]);
}

#[test]
fn a_port_of_a_node_is_taken_once() {
    let mut board = four_nodes();
    let taking = |ip: Option<&str>, protocol: &str| Demand {
        ports: vec![HostPort {
            ip: ip.map(|ip| ip.parse().unwrap()),
            protocol: protocol.into(),
            port: 80,
        }],
        ..Demand::default()
    };
    let all = pod(&mut board, "", taking(None, "TCP"));
    let refused = "0/4 nodes are available: \
        4 node(s) didn't have free ports for the requested pod ports.";
    assert_eq!(place(&mut board, all, 5), ["1", "2", "3", "4", refused]);
    let one = pod(&mut board, "", taking(Some("10.0.0.1"), "TCP"));
    assert_eq!(place(&mut board, one, 1), [refused]);
    let other = pod(&mut board, "", taking(None, "UDP"));
    assert_eq!(place(&mut board, other, 1), ["1"]);
    board.take(all, "node-2", false);
    let two = pod(&mut board, "", taking(Some("10.0.0.2"), "TCP"));
    assert_eq!(place(&mut board, one, 1), ["2"]);
    assert_eq!(place(&mut board, two, 1), ["2"]);
}

#[test]
fn anti_affinity_counts_in_both_directions() {
    let mut board = four_nodes();
    let alone = Demand {
        away: required(term("app=web", HOST)),
        ..Demand::default()
    };
    let web = pod(&mut board, "app=web", alone.clone());
    let refused = "0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules.";
    assert_eq!(place(&mut board, web, 5), ["1", "2", "3", "4", refused]);
    // A pod that has nothing against them is not wanted by them.
    let plain = pod(&mut board, "app=web,tier=x", Demand::default());
    assert_eq!(
        place(&mut board, plain, 1),
        ["0/4 nodes are available: 4 node(s) didn't satisfy existing pods anti-affinity rules."]
    );
    let other = pod(&mut board, "app=other", Demand::default());
    assert_eq!(place(&mut board, other, 1), ["1"]);
    // By zone: one pod shuts out a whole zone.
    let zoned = Demand {
        away: required(term("app=zoned", ZONE)),
        ..Demand::default()
    };
    let zoned = pod(&mut board, "app=zoned", zoned);
    let placed = place(&mut board, zoned, 3);
    assert_eq!(placed[..2], ["2", "3"]);
    assert!(placed[2].contains("4 node(s) didn't match pod anti-affinity rules"));
}

#[test]
fn affinity_follows_and_the_first_of_its_kind_may_stand_anywhere() {
    let mut board = four_nodes();
    let near = |text: &str| Demand {
        near: required(term(text, ZONE)),
        ..Demand::default()
    };
    let lonely = pod(&mut board, "app=b", near("app=a"));
    let refused = "0/4 nodes are available: 4 node(s) didn't match pod affinity rules.";
    assert_eq!(place(&mut board, lonely, 1), [refused]);
    let own = pod(&mut board, "app=a", near("app=a"));
    let first = place(&mut board, own, 1);
    assert_eq!(first, ["1"]);
    assert_eq!(place(&mut board, own, 3), ["2", "1", "2"]);
    assert_eq!(place(&mut board, lonely, 2), ["1", "2"]);
    // Of another namespace: does not count.
    let foreign = pod_in(&mut board, "other", "app=b", near("app=nobody"));
    assert_eq!(place(&mut board, foreign, 1), [refused]);
}

#[test]
fn namespaces_are_chosen_by_their_labels() {
    let mut board = four_nodes();
    let there = pod_in(&mut board, "prod", "app=db", Demand::default());
    board.put(there, "node-3", false);
    let mut wanted = term("app=db", HOST);
    wanted.namespaces.clear();
    wanted.namespace_selector = Some(selecting("stage=prod"));
    let follower = pod(
        &mut board,
        "",
        Demand {
            near: required(wanted),
            ..Demand::default()
        },
    );
    assert!(board.choose(follower, None).is_err());
    board.set_namespace("prod", Some(labels("stage=prod")));
    assert_eq!(board.choose(follower, None), Ok("node-3"));
}

#[test]
fn preferences_draw_near_and_push_away() {
    let mut board = four_nodes();
    let db = pod(&mut board, "app=db", Demand::default());
    board.put(db, "node-3", false);
    let preferring = |near: bool| {
        let wish = PodAffinity {
            required: Vec::new(),
            preferred: vec![(100, term("app=db", ZONE))],
        };
        match near {
            true => Demand {
                near: wish,
                ..Demand::default()
            },
            false => Demand {
                away: wish,
                ..Demand::default()
            },
        }
    };
    let drawn = pod(&mut board, "app=x", preferring(true));
    assert_eq!(board.choose(drawn, None), Ok("node-4"));
    let pushed = pod(&mut board, "app=x", preferring(false));
    assert_eq!(board.choose(pushed, None), Ok("node-1"));
    // What standing pods prefer counts as well.
    let host = pod(&mut board, "app=host", preferring_of("app=guest"));
    board.put(host, "node-4", false);
    let guest = pod(&mut board, "app=guest", Demand::default());
    assert_eq!(board.choose(guest, None), Ok("node-4"));
}

/// A pod that likes pods with these labels on its node.
fn preferring_of(text: &str) -> Demand {
    Demand {
        near: PodAffinity {
            required: Vec::new(),
            preferred: vec![(100, term(text, HOST))],
        },
        ..Demand::default()
    }
}

#[test]
fn hard_spreading_keeps_domains_even() {
    let mut board = four_nodes();
    board.set_node("bare", Some(NodeFacts::default()));
    let demand = Demand {
        spread: vec![spread("app=a", ZONE, 1)],
        ..Demand::default()
    };
    let class = pod(&mut board, "app=a", demand);
    assert_eq!(place(&mut board, class, 4), ["1", "3", "2", "4"]);
    // Zone b is shut: zone a may be one ahead, and no further.
    for name in ["node-3", "node-4"] {
        let closed = NodeFacts {
            cordoned: true,
            ..node(name, "b")
        };
        board.set_node(name, Some(closed));
    }
    assert_eq!(
        place(&mut board, class, 2)[1],
        "0/5 nodes are available: 1 node(s) didn't match pod topology spread constraints \
         (missing required label), 2 node(s) didn't match pod topology spread constraints, \
         2 node(s) were unschedulable."
    );
}

#[test]
fn a_minimum_of_domains_counts_those_that_are_missing_as_empty() {
    let mut board = four_nodes();
    let mut constraint = spread("app=a", ZONE, 1);
    constraint.min_domains = 3;
    let demand = Demand {
        spread: vec![constraint],
        ..Demand::default()
    };
    let class = pod(&mut board, "app=a", demand);
    let placed = place(&mut board, class, 3);
    assert_eq!(placed[..2], ["1", "3"]);
    assert!(placed[2].contains("4 node(s) didn't match pod topology spread constraints"));
}

#[test]
fn policies_say_which_nodes_count() {
    let mut board = Board::default();
    board.set_node("node-1", Some(node("node-1", "a")));
    board.set_node(
        "node-2",
        Some(NodeFacts {
            labels: labels(&format!("{ZONE}=b")),
            ..tainted("node-2", Effect::NoSchedule)
        }),
    );
    let with = |honours_taints| Demand {
        spread: vec![sealane_objects::Spread {
            honours_taints,
            ..spread("app=a", ZONE, 1)
        }],
        ..Demand::default()
    };
    // A zone that the pod cannot go to holds it back, unless taints are honoured.
    let ignoring = pod(&mut board, "app=a", with(false));
    assert!(place(&mut board, ignoring, 2)[1].contains("1 node(s) didn't match pod topology"));
    let honouring = pod(&mut board, "app=a", with(true));
    assert_eq!(place(&mut board, honouring, 3), ["1", "1", "1"]);
}

#[test]
fn leaving_pods_no_longer_count_in_spreading() {
    let mut board = four_nodes();
    let demand = Demand {
        spread: vec![spread("app=a", HOST, 1)],
        ..Demand::default()
    };
    let class = pod(&mut board, "app=a", demand);
    place(&mut board, class, 4);
    board.take(class, "node-4", false);
    board.put(class, "node-4", true);
    assert_eq!(place(&mut board, class, 1), ["4"]);
}

#[test]
fn soft_and_default_spreading_prefer_empty_domains() {
    let mut board = four_nodes();
    let crowd = pod(&mut board, "app=crowd", asking(cpu(1)));
    for _ in 0..3 {
        board.put(crowd, "node-1", false);
        board.put(crowd, "node-2", false);
    }
    // Three pods of the service on each node of zone b, which is otherwise emptier.
    let class = pod(&mut board, "app=a", Demand::default());
    for name in ["node-3", "node-4", "node-3"] {
        board.put(class, name, false);
    }
    let like = selecting("app=a");
    assert_eq!(board.choose(class, Some(&like)), Ok("node-1"));
    let mut soft = spread("app=a", HOST, 1);
    soft.hard = false;
    let soft = Demand {
        spread: vec![soft],
        ..Demand::default()
    };
    let soft = pod(&mut board, "app=a", soft);
    assert_eq!(board.choose(soft, None), Ok("node-1"));
}

#[test]
fn refusals_say_what_preemption_would_bring_and_what_helps() {
    let mut board = four_nodes();
    let low = pod(
        &mut board,
        "",
        Demand {
            priority: -1,
            ..asking(cpu(4000))
        },
    );
    board.set_node(
        "node-4",
        Some(NodeFacts {
            cordoned: true,
            ..node("node-4", "b")
        }),
    );
    let equal = pod(&mut board, "", asking(cpu(4000)));
    place(&mut board, equal, 3);
    let tail = |board: &Board, class| {
        let refusal = board.choose(class, None).unwrap_err();
        let text = refusal.to_string();
        (
            refusal,
            text.split_once("preemption: ").unwrap().1.to_owned(),
        )
    };
    let (refusal, text) = tail(&board, equal);
    assert_eq!(
        text,
        "0/4 nodes are available: 1 Preemption is not helpful for scheduling, \
         3 No preemption victims found for incoming pod."
    );
    assert!(refusal.helped_by(Happening::PodLeft) && refusal.helped_by(Happening::Node));
    assert!(!refusal.helped_by(Happening::PodCame));
    let never = Demand {
        preempts: false,
        ..asking(cpu(4000))
    };
    let never = pod(&mut board, "", never);
    assert_eq!(
        tail(&board, never).1,
        "not eligible due to preemptionPolicy=Never."
    );
    board.take(equal, "node-1", false);
    board.put(low, "node-1", false);
    let (mut refusal, _) = tail(&board, equal);
    assert!(refusal.might_preempt());
    refusal.attempted(Attempt::Awaited);
    let text = refusal.to_string();
    assert!(
        text.ends_with("preemption: not eligible due to a terminating pod on the nominated node.")
    );
    refusal.attempted(Attempt::Vain([("Insufficient cpu".to_owned(), 1)].into()));
    let text = refusal.to_string();
    assert!(text.ends_with(
        "preemption: 0/4 nodes are available: 1 Insufficient cpu, 1 Preemption is not helpful for \
         scheduling, 2 No preemption victims found for incoming pod."
    ), "{text}");
    refusal.attempted(Attempt::Made);
    assert!(!refusal.to_string().contains("preemption"));
    let mut empty = Board::default();
    let class = pod(&mut empty, "", Demand::default());
    assert_eq!(
        empty.choose(class, None).unwrap_err().to_string(),
        "no nodes available to schedule pods"
    );
}
