use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use time::OffsetDateTime;

use super::{ensure, requests};
use crate::layout::Layout;
use crate::plan::{Asked, ClusterName, Observed, Plan, resolve};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Fixture {
    _dir: tempfile::TempDir,
    layout: Layout,
    plan: Plan,
    now: OffsetDateTime,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(ClusterName::default(), dir.path().join("state"));
    let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
    Fixture {
        _dir: dir,
        layout,
        plan,
        now: OffsetDateTime::now_utc(),
    }
}

impl Fixture {
    fn ensure(&self) -> Vec<String> {
        ensure(&self.layout, &self.plan, self.now).unwrap()
    }
}

#[test]
fn every_identity_of_the_cluster_is_asked_for() {
    let fixture = fixture();
    let all: Vec<String> = requests(&fixture.plan)
        .iter()
        .map(|r| {
            format!(
                "{}: {} {}",
                r.file,
                r.common_name,
                r.organisation.unwrap_or("-")
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            "apiserver: kube-apiserver -",
            "apiserver-kubelet-client: kube-apiserver-kubelet-client system:masters",
            "admin: kubernetes-admin system:masters",
            "controllers: system:sealane:controllers system:sealane",
            "node-1: system:node:node-1 system:nodes",
            "node-1-client: system:node:node-1 system:nodes",
            "agent-node-1: system:sealane:agent:node-1 system:sealane:agents",
            "dns-node-1: system:sealane:dns:node-1 system:sealane:dns",
            "node-2: system:node:node-2 system:nodes",
            "node-2-client: system:node:node-2 system:nodes",
            "agent-node-2: system:sealane:agent:node-2 system:sealane:agents",
            "dns-node-2: system:sealane:dns:node-2 system:sealane:dns",
        ]
    );
    let server = &requests(&fixture.plan)[0];
    for address in ["10.96.0.1", "172.29.0.1", "127.0.0.1"] {
        assert!(
            server.addresses.contains(&address.parse().unwrap()),
            "{address}"
        );
    }
}

#[test]
fn a_second_run_makes_nothing() {
    let fixture = fixture();
    assert_eq!(fixture.ensure().len(), 14);
    let before = fs::read(fixture.layout.kubeconfig()).unwrap();
    assert!(fixture.ensure().is_empty());
    assert_eq!(fs::read(fixture.layout.kubeconfig()).unwrap(), before);
}

#[test]
fn only_what_no_longer_fits_is_made_anew() {
    let mut fixture = fixture();
    fixture.ensure();
    fixture.plan.service_cidr = "10.112.0.0/12".parse().unwrap();
    assert_eq!(fixture.ensure(), ["apiserver"]);
    fixture.plan.nodes = 3;
    assert_eq!(
        fixture.ensure(),
        ["node-3", "node-3-client", "agent-node-3", "dns-node-3"]
    );
    fs::remove_file(fixture.layout.key("admin")).unwrap();
    assert_eq!(fixture.ensure(), ["admin"]);
    let other = fs::read(fixture.layout.key("node-1")).unwrap();
    fs::write(fixture.layout.key("node-2"), other).unwrap();
    assert_eq!(fixture.ensure(), ["node-2"]);
    fs::write(fixture.layout.certificate("controllers"), "").unwrap();
    assert_eq!(fixture.ensure(), ["controllers"]);
}

#[test]
fn certificates_are_renewed_before_they_end() {
    let mut fixture = fixture();
    fixture.ensure();
    fixture.now += DAY * 330;
    assert!(fixture.ensure().is_empty());
    fixture.now += DAY * 6;
    assert_eq!(fixture.ensure().len(), 12);
    fixture.now += DAY * 3300;
    assert_eq!(fixture.ensure().len(), 13);
}

#[test]
fn the_key_of_tokens_stays_unless_it_cannot_be_read() {
    let fixture = fixture();
    fixture.ensure();
    let path = fixture.layout.key("sa");
    let first = fs::read_to_string(&path).unwrap();
    fs::write(fixture.layout.key("ca"), "").unwrap();
    fixture.ensure();
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    for lost in [Some("nonsense"), None] {
        match lost {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(fixture.ensure(), ["sa"]);
    }
}

#[test]
fn a_broken_authority_takes_everything_with_it() {
    let fixture = fixture();
    fixture.ensure();
    fs::write(fixture.layout.key("ca"), "").unwrap();
    assert_eq!(fixture.ensure().len(), 13);
    assert!(fixture.ensure().is_empty());
}

#[test]
fn keys_and_kubeconfigs_are_readable_by_their_process_alone() {
    let fixture = fixture();
    fixture.ensure();
    let layout = &fixture.layout;
    for (path, uid) in [
        (layout.key("ca"), 0),
        (layout.key("apiserver"), 60_443),
        (layout.key("sa"), 60_443),
        (layout.certificate("apiserver"), 60_443),
        (layout.key("apiserver-kubelet-client"), 60_443),
        (layout.kubeconfig(), 0),
        (layout.role_kubeconfig("controllers"), 60_444),
        (layout.role_kubeconfig("node-1"), 0),
        (layout.role_kubeconfig("agent-node-2"), 0),
        (layout.role_kubeconfig("dns-node-2"), 0),
    ] {
        let metadata = fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        assert_eq!((mode, metadata.uid()), (0o600, uid), "{}", path.display());
    }
    let mode = fs::metadata(layout.certificate("ca"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn kubeconfigs_point_to_where_their_reader_is() {
    let fixture = fixture();
    fixture.ensure();
    let read = |path| fs::read_to_string(path).unwrap();
    let admin = read(fixture.layout.kubeconfig());
    assert!(admin.contains("server: https://127.0.0.1:6443"), "{admin}");
    assert!(admin.contains("current-context: sealane"), "{admin}");
    assert!(admin.contains("client-key-data: "), "{admin}");
    let agent = read(fixture.layout.role_kubeconfig("agent-node-1"));
    assert!(agent.contains("server: https://172.29.0.1:6443"), "{agent}");
}
