//! The same cases put to our plugin and to the reference plugins `bridge` and `host-local`.
//!
//! What a case comes to is a phrase. Where the two phrases differ, the case is a row of the table
//! in `docs/cni.md`, and there are no other rows: one that vanishes or comes anew fails the test.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sealane_testkit::{Namespace, Topology};
use serde_json::{Value, json};

use crate::stage::{
    Agent, Stage,
    calls::{conf, environment, execute},
};

/// Nodes that share the cases: the kernel takes its time for each link and namespace that goes.
const SHARES: usize = 4;
/// Our subnet and theirs.
const ROOMY: [&str; 2] = ["10.244.1.0/24", "10.99.0.0/24"];
/// With one address for pods.
const NARROW: [&str; 2] = ["10.244.1.0/30", "10.99.0.0/30"];
const PLUGIN: &str = "/usr/lib/cni/bridge";
/// The first address of its subnets.
const GATEWAY: &str = "10.99.0.1";
/// The heading of the table, in the document.
const TABLE: &str = "| case | sealane | bridge + host-local |";

#[test]
fn differs_from_the_reference_plugins_in_what_the_document_lists_alone() {
    assert!(
        Path::new(PLUGIN).exists(),
        "install the package containernetworking-plugins"
    );
    let share = CASES.len().div_ceil(SHARES);
    let parts = CASES.chunks(share).map(|cases| (ROOMY, cases));
    let parts: Vec<_> = parts.chain([(NARROW, FULL)]).collect();
    let found: BTreeMap<_, _> = std::thread::scope(|scope| {
        let running: Vec<_> = parts
            .into_iter()
            .map(|(subnets, cases)| scope.spawn(move || differences(subnets, cases)))
            .collect();
        let ended = running.into_iter().map(|part| part.join());
        ended
            .flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    assert_eq!(
        found,
        listed(),
        "left: found, right: {TABLE} in docs/cni.md"
    );
}

/// What each case comes to where it is not the same in both, on a node of their own.
fn differences(subnets: [&str; 2], cases: &[Case]) -> Vec<(String, (String, String))> {
    let stage = Stage::new();
    let agent = stage.start_ready(&subnets[..1]);
    let contenders = [ours(&stage, &agent), theirs(&stage, subnets[1])];
    let compared = cases.iter().map(|(case, run)| {
        let phrases = contenders.each_ref().map(|contender| {
            let phrase = run(contender);
            contender.clean();
            phrase
        });
        ((*case).to_owned(), phrases.into())
    });
    let differ = |(_, (ours, theirs)): &(String, (String, String))| ours != theirs;
    compared.filter(differ).collect()
}

/// The rows of the document.
fn listed() -> BTreeMap<String, (String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cni.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().skip_while(|line| *line != TABLE).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<String> = row
                .trim_matches('|')
                .split('|')
                .map(|c| c.trim().to_owned())
                .collect();
            (cells[0].clone(), (cells[1].clone(), cells[2].clone()))
        })
        .collect()
}

/// A plugin, where it runs, and two pods that have no network.
struct Contender<'a> {
    stage: &'a Stage,
    program: PathBuf,
    within: Namespace,
    conf: Value,
    leased: Box<dyn Fn() -> usize + 'a>,
    a: Namespace,
    b: Namespace,
    _pods: Topology,
}

fn ours<'a>(stage: &'a Stage, agent: &'a Agent) -> Contender<'a> {
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    Contender {
        stage,
        program: stage.path("bin/sealane"),
        within: Namespace::own(),
        conf: conf(stage, "1.0.0"),
        leased: Box::new(|| agent.leases()),
        a,
        b,
        _pods,
    }
}

fn theirs<'a>(stage: &'a Stage, subnet: &str) -> Contender<'a> {
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    let store = stage.path("host-local");
    Contender {
        stage,
        program: PLUGIN.into(),
        within: stage.node.clone(),
        conf: json!({
            "cniVersion": "1.0.0", "name": "reference", "type": "bridge", "bridge": "br-ref",
            "isGateway": true, "capabilities": {"ips": true},
            "ipam": {"type": "host-local", "subnet": subnet, "dataDir": store,
                     "routes": [{"dst": "0.0.0.0/0", "gw": GATEWAY}]},
        }),
        leased: Box::new(move || {
            let entries = fs::read_dir(store.join("reference")).into_iter().flatten();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names
                .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
                .count()
        }),
        a,
        b,
        _pods,
    }
}

impl Contender<'_> {
    /// A call with changes of the environment and of the configuration.
    fn call(
        &self,
        command: &str,
        netns: &Namespace,
        variables: &[(&str, &str)],
        keys: Value,
    ) -> Result<Value, Value> {
        let mut environment = environment(self.stage, netns, command);
        for (name, value) in variables {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        let mut conf = self.conf.clone();
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        let text = conf.to_string();
        execute(&self.within, &self.program, &environment, &text)
    }

    fn plain(&self, command: &str, netns: &Namespace) -> Result<Value, Value> {
        self.call(command, netns, &[], json!({}))
    }

    /// The runtime remembers the result of ADD for CHECK.
    fn check(&self, netns: &Namespace, result: Value) -> Result<Value, Value> {
        self.call("CHECK", netns, &[], json!({"prevResult": result}))
    }

    /// What a refused ADD comes to: its code, and whether anything was leased or made.
    fn refused(&self, variables: &[(&str, &str)], keys: Value) -> String {
        let before = (self.leased)();
        let answer = self.call("ADD", &self.a, variables, keys);
        let phrase = said(&answer);
        match (self.leased)().cmp(&before) {
            Ordering::Equal => phrase,
            Ordering::Greater if answer.is_ok() => phrase,
            Ordering::Greater => format!("{phrase}, an address stays leased"),
            Ordering::Less => format!("{phrase}, the lease of before is gone"),
        }
    }

    fn clean(&self) {
        for netns in [&self.a, &self.b] {
            self.plain("DEL", netns).unwrap();
        }
        assert_eq!(
            (self.leased)(),
            0,
            "{} leaves a lease",
            self.program.display()
        );
    }
}

fn said(answer: &Result<Value, Value>) -> String {
    match answer {
        Ok(_) => "done".into(),
        Err(error) => format!("code {}", error["code"]),
    }
}

fn address(answer: &Result<Value, Value>) -> String {
    match answer {
        Ok(result) => result["ips"][0]["address"].as_str().unwrap().to_owned(),
        Err(_) => said(answer),
    }
}

/// The last byte of an address, since subnets differ.
fn last_byte(answer: &Result<Value, Value>) -> String {
    let address = address(answer);
    let ip = address.split('/').next().unwrap();
    ip.rsplit_once('.')
        .map_or(ip.to_owned(), |(_, last)| last.to_owned())
}

type Case = (&'static str, fn(&Contender<'_>) -> String);

const CASES: &[Case] = &[
    ("ADD, then CHECK", |c| {
        let result = c.plain("ADD", &c.a).unwrap();
        said(&c.check(&c.a, result))
    }),
    ("two pods", |c| {
        let one = c.plain("ADD", &c.a).unwrap();
        let two = c.plain("ADD", &c.b).unwrap();
        assert_ne!(one["ips"], two["ips"]);
        let target = two["ips"][0]["address"].as_str().unwrap();
        let ip = target.split('/').next().unwrap().parse().unwrap();
        crate::stage::reach(&c.a, ip);
        "reach each other".into()
    }),
    ("a second ADD of the same interface", |c| {
        c.plain("ADD", &c.a).unwrap();
        c.refused(&[], json!({}))
    }),
    ("DEL, twice", |c| {
        c.plain("ADD", &c.a).unwrap();
        c.plain("DEL", &c.a).unwrap();
        said(&c.plain("DEL", &c.a))
    }),
    ("DEL of what never was", |c| said(&c.plain("DEL", &c.a))),
    ("DEL without CNI_NETNS", |c| {
        c.plain("ADD", &c.a).unwrap();
        let answer = c.call("DEL", &c.a, &[("CNI_NETNS", "")], json!({}));
        let shown = c.a.run("ip", ["-o", "link"]).succeeds();
        let left = if shown.contains("eth0") {
            ", the link stays"
        } else {
            ""
        };
        format!("{}{left}", said(&answer))
    }),
    ("CHECK of what was never added", |c| {
        let result = json!({"cniVersion": "1.0.0", "ips": [], "interfaces": []});
        said(&c.check(&c.a, result))
    }),
    ("CHECK after the pod's address has gone", |c| {
        let result = c.plain("ADD", &c.a).unwrap();
        c.a.run("ip", ["address", "flush", "dev", "eth0"])
            .succeeds();
        said(&c.check(&c.a, result))
    }),
    ("CHECK after the near end has gone", |c| {
        let result = c.plain("ADD", &c.a).unwrap();
        let near = result["interfaces"][1]["name"].as_str().unwrap();
        let delete = ["link", "delete", near];
        c.stage.node.run("ip", delete).succeeds();
        said(&c.check(&c.a, result))
    }),
    ("the pod has an interface of that name", |c| {
        let dummy = [
            "link", "add", "eth0", "type", "veth", "peer", "name", "other",
        ];
        c.a.run("ip", dummy).succeeds();
        let phrase = c.refused(&[], json!({}));
        c.a.run("ip", ["link", "delete", "other"]);
        phrase
    }),
    ("a namespace that is not there", |c| {
        c.refused(&[("CNI_NETNS", "/run/netns/absent")], json!({}))
    }),
    ("what is no network namespace", |c| {
        c.refused(&[("CNI_NETNS", "/proc/self/ns/uts")], json!({}))
    }),
    ("a container id with a path", |c| {
        c.refused(&[("CNI_CONTAINERID", "../a")], json!({}))
    }),
    ("an interface name with a path", |c| {
        c.refused(&[("CNI_IFNAME", "../eth0")], json!({}))
    }),
    ("an interface name of 16 bytes", |c| {
        c.refused(&[("CNI_IFNAME", "abcdefghijklmnop")], json!({}))
    }),
    ("no container id", |c| {
        c.refused(&[("CNI_CONTAINERID", "")], json!({}))
    }),
    ("CNI_ARGS that are none", |c| {
        c.refused(&[("CNI_ARGS", "nonsense")], json!({}))
    }),
    ("an unknown command", |c| said(&c.plain("NOTHING", &c.a))),
    ("no configuration at all", |c| {
        let environment = environment(c.stage, &c.a, "ADD");
        said(&execute(&c.within, &c.program, &environment, ""))
    }),
    ("a version that nobody has", |c| {
        c.refused(&[], json!({"cniVersion": "7.0.0"}))
    }),
    ("version 1.1.0", |c| {
        c.refused(&[], json!({"cniVersion": "1.1.0"}))
    }),
    ("version 0.2.0", |c| {
        c.refused(&[], json!({"cniVersion": "0.2.0"}))
    }),
    ("a network's name with a path", |c| {
        c.refused(&[], json!({"name": "../x"}))
    }),
    ("STATUS", |c| {
        said(&c.call("STATUS", &c.a, &[], json!({"cniVersion": "1.1.0"})))
    }),
    ("GC", |c| {
        let keys = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
        said(&c.call("GC", &c.a, &[], keys))
    }),
    ("an address that is asked for", |c| {
        let beside = address(&c.plain("ADD", &c.b));
        let (subnet, _) = beside.rsplit_once('.').unwrap();
        let wanted = format!("IgnoreUnknown=1;IP={subnet}.77");
        let answer = c.call("ADD", &c.a, &[("CNI_ARGS", &wanted)], json!({}));
        last_byte(&answer)
    }),
    ("an address that is asked for twice", |c| {
        let taken = address(&c.plain("ADD", &c.b));
        let taken = format!("IgnoreUnknown=1;IP={}", taken.split('/').next().unwrap());
        c.refused(&[("CNI_ARGS", &taken)], json!({}))
    }),
    ("an address of another network", |c| {
        c.refused(&[("CNI_ARGS", "IgnoreUnknown=1;IP=192.0.2.7")], json!({}))
    }),
    ("the pod's loopback, which was down", |c| {
        c.a.run("ip", ["link", "set", "lo", "down"]).succeeds();
        c.plain("ADD", &c.a).unwrap();
        let shown = c.a.run("ip", ["-o", "link", "show", "lo"]).succeeds();
        let phrase = if shown.contains(",UP") { "up" } else { "down" };
        phrase.into()
    }),
    (
        "the MTU of the pod's interface, the node's being 1450",
        |c| {
            c.plain("ADD", &c.a).unwrap();
            let shown = c.a.run("ip", ["-o", "link", "show", "eth0"]).succeeds();
            let mut words = shown.split_whitespace().skip_while(|word| *word != "mtu");
            words.nth(1).unwrap().to_owned()
        },
    ),
];

const FULL: &[Case] = &[("no free address", |c| {
    c.plain("ADD", &c.b).unwrap();
    c.refused(&[], json!({}))
})];
