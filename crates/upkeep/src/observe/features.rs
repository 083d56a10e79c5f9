//! What this kernel can make, tried in a network namespace that is gone a moment later.
//!
//! Lists of modules say too little: a feature may be built in, or its module
//! be there and be refused. The namespace is one that no name leads to, so
//! nobody else sees it, and it ends with the thread.

use std::thread;

use nix::sched::{CloneFlags, unshare};
use sealane_net::{Family, Mac, Mtu};
use sealane_netlink::{Bridge, Netlink, Tunnel, Veth, VethPeer, Vxlan};
use sealane_ruleset::{NodeEgress, node_egress};
use tokio::runtime::Builder;

use crate::snapshot::{Feature, Snapshot};

pub(super) fn look(snapshot: &mut Snapshot) {
    let families = snapshot.families();
    let tried = thread::spawn(move || -> anyhow::Result<Vec<(Feature, String)>> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(missing(&families))
    });
    match tried.join() {
        Ok(Ok(missing)) => snapshot.missing_features = missing,
        Ok(Err(error)) => snapshot.skip(
            "features of the kernel",
            format!("make a network namespace to try them in: {error:#} (needs root)"),
        ),
        Err(_) => snapshot.skip("features of the kernel", "trying them failed"),
    }
}

async fn missing(families: &[Family]) -> anyhow::Result<Vec<(Feature, String)>> {
    let kernel = Netlink::in_current()?;
    let mut missing = Vec::new();
    let mut note = |feature, outcome: sealane_netlink::Result<()>| {
        if let Err(error) = outcome {
            missing.push((feature, error.to_string()));
        }
    };
    let bridge = Bridge {
        name: "bridge",
        ..Bridge::default()
    };
    note(Feature::Bridge, kernel.add_bridge(&bridge).await.map(drop));
    let veth = Veth {
        name: "near",
        peer: VethPeer {
            name: "far",
            ..VethPeer::default()
        },
        ..Veth::default()
    };
    note(Feature::Veth, kernel.add_veth(&veth).await.map(drop));
    let vxlan = Vxlan {
        name: "vxlan",
        tunnel: Tunnel {
            vni: 1,
            port: 4789,
            local: [127, 0, 0, 1].into(),
        },
        mac: Mac([2, 0, 0, 0, 0, 1]),
        mtu: Mtu::default(),
    };
    note(Feature::Vxlan, kernel.add_vxlan(&vxlan).await.map(drop));
    for family in families {
        let table = node_egress(*family, &sample());
        let tables: Vec<_> = table.into_iter().collect();
        note(Feature::Nft(*family), kernel.load_tables(&tables).await);
    }
    Ok(missing)
}

/// As an agent would load it.
fn sample() -> NodeEgress {
    let nets = |texts: [&str; 2]| texts.iter().filter_map(|text| text.parse().ok()).collect();
    NodeEgress {
        local_pods: nets(["10.244.1.0/24", "fd00:10:244:1::/64"]),
        cluster_pods: nets(["10.244.0.0/16", "fd00:10:244::/56"]),
        nodes: vec![[172, 29, 0, 2].into()],
        ..NodeEgress::default()
    }
}
