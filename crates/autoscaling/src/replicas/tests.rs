use super::*;

const NOW: i64 = 10_000_000;

/// A pod that has long been ready, with one container that requests 1000.
fn pod(name: usize) -> Pod {
    let requests: BTreeMap<_, _> = [("cpu", 1000), ("memory", 1000)]
        .map(|(name, milli)| (name.to_owned(), milli))
        .into();
    Pod {
        name: format!("p{name}"),
        started_ms: Some(NOW - 3_600_000),
        ready: Some(Ready {
            is: true,
            since_ms: NOW - 3_590_000,
        }),
        containers: vec![Container {
            name: "c".into(),
            requests_milli: requests,
        }],
        ..Pod::default()
    }
}

fn pods(number: usize) -> Vec<Pod> {
    (0..number).map(pod).collect()
}

fn readings(taken: &[Option<i64>]) -> BTreeMap<String, Reading> {
    let known = taken
        .iter()
        .enumerate()
        .filter_map(|(name, taken)| Some((name, (*taken)?)));
    known
        .map(|(name, milli)| {
            let resources = ["cpu", "memory"].map(|resource| (resource.to_owned(), milli));
            let reading = Reading {
                at_ms: NOW - 1000,
                window_ms: 15_000,
                containers: [("c".to_owned(), resources.into())].into(),
            };
            (format!("p{name}"), reading)
        })
        .collect()
}

fn ask(
    resource: &str,
    container: Option<&str>,
    target: Target,
    current: i32,
    pods: &[Pod],
    taken: &[Option<i64>],
) -> Result<Proposal, String> {
    propose(&Question {
        current,
        resource,
        container,
        target,
        pods,
        readings: &readings(taken),
        tolerance: Tolerance::default(),
        now_ms: NOW,
    })
}

fn replicas(target: Target, pods: &[Pod], taken: &[Option<i64>]) -> Result<i32, String> {
    let current = i32::try_from(pods.len()).unwrap();
    ask("cpu", None, target, current, pods, taken).map(|proposal| proposal.replicas)
}

const HALF: Target = Target::Utilization(50);

#[test]
fn the_number_follows_the_ratio_unless_it_is_near_one() {
    let all = |milli: i64, number: usize| vec![Some(milli); number];
    for (what, target, taken, expected) in [
        ("twice the target", HALF, all(1000, 2), 4),
        ("half the target", HALF, all(250, 2), 1),
        ("rounded up", HALF, all(600, 3), 4),
        ("within the tolerance above", HALF, all(550, 3), 3),
        ("beyond it", HALF, all(560, 3), 4),
        ("within the tolerance below", HALF, all(450, 10), 10),
        ("beyond it, fewer", HALF, all(440, 10), 9),
        (
            "200m where 100m should be",
            Target::AverageMilli(100),
            all(200, 3),
            6,
        ),
        (
            "50m where 100m should be",
            Target::AverageMilli(100),
            all(50, 4),
            2,
        ),
        ("nothing", HALF, all(0, 3), 0),
    ] {
        assert_eq!(
            replicas(target, &pods(taken.len()), &taken),
            Ok(expected),
            "{what}"
        );
    }
    let proposal = ask("cpu", None, HALF, 2, &pods(2), &[Some(300), Some(500)]).unwrap();
    assert_eq!(
        (proposal.utilization, proposal.average_milli),
        (Some(40), 400)
    );
}

#[test]
fn pods_that_are_not_known_hold_back_a_change() {
    for (what, target, taken, expected) in [
        (
            "fewer: as if it took all",
            HALF,
            vec![Some(100), Some(100), None],
            3,
        ),
        (
            "fewer nevertheless",
            HALF,
            vec![Some(0), Some(0), Some(0), Some(0), Some(0), None],
            2,
        ),
        (
            "more: as if it took nothing",
            HALF,
            vec![Some(1000), Some(1000), None],
            4,
        ),
        (
            "more, but not with it",
            HALF,
            vec![Some(800), None, None],
            3,
        ),
        (
            "a target above 100 percent",
            Target::Utilization(200),
            vec![Some(500), None],
            2,
        ),
        (
            "an average",
            Target::AverageMilli(1000),
            vec![Some(100), Some(100), None],
            2,
        ),
    ] {
        let found = replicas(target, &pods(taken.len()), &taken);
        assert_eq!(found, Ok(expected), "{what}");
    }
}

#[test]
fn pods_that_begin_take_nothing_if_there_would_be_more() {
    let minutes = |minutes: i64| minutes * 60_000;
    let begun = |started: i64, is: bool, since: i64| {
        let mut pods = pods(3);
        pods[2].started_ms = Some(NOW - started);
        pods[2].ready = Some(Ready {
            is,
            since_ms: NOW - since,
        });
        pods
    };
    for (what, pods, expected) in [
        ("ready for long", begun(minutes(60), true, minutes(59)), 6),
        (
            "ready, begun lately",
            begun(minutes(2), true, minutes(1)),
            6,
        ),
        (
            "ready for less than the window",
            begun(minutes(2), true, 5_000),
            4,
        ),
        ("not ready yet", begun(minutes(2), false, minutes(2)), 4),
        ("never ready", begun(minutes(60), false, minutes(60)), 4),
        ("no longer ready", begun(minutes(60), false, minutes(30)), 6),
    ] {
        assert_eq!(
            replicas(HALF, &pods, &[Some(1000); 3]),
            Ok(expected),
            "{what}"
        );
    }
    let mut pending = pods(3);
    pending[2].phase = Phase::Pending;
    pending[2].ready = None;
    assert_eq!(
        replicas(HALF, &pending, &[Some(1000), Some(1000), None]),
        Ok(4)
    );
    let mut leaving = pods(3);
    leaving[1].deleting = true;
    leaving[2].phase = Phase::Failed;
    let found = ask("cpu", None, HALF, 1, &leaving, &[Some(1000); 3]);
    assert_eq!(
        found.map(|proposal| proposal.replicas),
        Ok(2),
        "those who leave do not count"
    );
    // Memory is not what a beginning takes most of.
    let young = begun(minutes(1), false, minutes(1));
    let found = ask("memory", None, HALF, 3, &young, &[Some(1000); 3]);
    assert_eq!(found.map(|proposal| proposal.replicas), Ok(6));
}

#[test]
fn what_cannot_be_told_is_said_in_known_words() {
    let ok = [Some(500), Some(500)];
    let mut bare = pods(2);
    bare[1].containers[0].requests_milli.clear();
    let mut waiting = pods(2);
    for pod in &mut waiting {
        pod.phase = Phase::Pending;
    }
    for (container, pods, taken, expected) in [
        (
            None,
            pods(2),
            &[None, None][..],
            "unable to get metrics for resource cpu: no metrics returned from resource metrics API",
        ),
        (
            None,
            vec![],
            &ok,
            "no pods returned by selector while calculating replica count",
        ),
        (
            None,
            waiting,
            &ok,
            "did not receive metrics for targeted pods (pods might be unready)",
        ),
        (
            None,
            bare,
            &ok,
            "missing request for cpu in container c of Pod p1",
        ),
        (
            Some("x"),
            pods(2),
            &ok,
            "unable to get metrics for resource cpu: container x not present in metrics for pod p0",
        ),
    ] {
        let found = ask("cpu", container, HALF, 2, &pods, taken).map(|one| one.replicas);
        assert_eq!(found, Err(expected.to_owned()));
    }
}

#[test]
fn one_container_counts_if_one_is_named() {
    let mut pods = pods(1);
    let mut sidecar = pods[0].containers[0].clone();
    sidecar.name = "side".into();
    sidecar.requests_milli.clear();
    pods[0].containers.push(sidecar);
    let found = ask("cpu", Some("c"), HALF, 1, &pods, &[Some(1000)]).unwrap();
    assert_eq!(found.replicas, 2);
    // What the pod as a whole requests goes before its containers'.
    pods[0].requests_milli = [("cpu".to_owned(), 4000)].into();
    let found = ask("cpu", None, HALF, 1, &pods, &[Some(1000)]).unwrap();
    assert_eq!((found.replicas, found.utilization), (1, Some(25)));
}
