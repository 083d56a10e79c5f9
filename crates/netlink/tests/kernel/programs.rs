use sealane_net::{Family, IpNet};
use sealane_ruleset::{
    Chain, ChainType, CmpOp, Hook, Interval, NodeEgress, PayloadField, Rule, Set, Table, Verdict,
    dns_table, guard_tables, machine_egress, node_egress, priority,
};

use crate::place::Place;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn egress() -> NodeEgress {
    NodeEgress {
        local_pods: vec![net("10.244.1.0/24"), net("fd00:10:244:1::/64")],
        cluster_pods: vec![net("10.244.0.0/16"), net("fd00:10:244::/56")],
        nodes: ["172.29.0.2", "172.29.0.3", "fd00:172:29::2"]
            .map(|address| address.parse().unwrap())
            .to_vec(),
        check_sources: true,
    }
}

fn table(family: Family) -> Table {
    node_egress(family, &egress()).unwrap()
}

fn dns() -> impl Iterator<Item = Table> {
    let addresses = ["10.96.0.10", "169.254.20.10", "fd94::53"].map(|a| a.parse().unwrap());
    Family::ALL
        .into_iter()
        .filter_map(move |family| dns_table(family, &addresses))
}

/// A table with everything that can be said, in both families.
fn everything(family: Family) -> Table {
    use PayloadField::{DestinationAddress, SourceAddress};
    let (odd, host, all, edge) = match family {
        Family::V4 => ("10.4.0.0/14", "10.0.0.1/32", "0.0.0.0/0", "240.0.0.0/4"),
        Family::V6 => ("fd00:4::/31", "fd00::1/128", "::/0", "ff00::/8"),
    };
    let set = |name: &str, networks: &[&str]| {
        let networks = networks.iter().map(|text| net(text));
        Set::of_networks(name, "what it is for", family, networks)
    };
    let rules = vec![
        Rule::new()
            .address(SourceAddress, CmpOp::Eq, net(odd))
            .counter(),
        Rule::new()
            .address(DestinationAddress, CmpOp::Ne, net(host))
            .verdict(Verdict::Jump("below".into())),
        Rule::new()
            .input_link(CmpOp::Eq, "eth0")
            .output_link(CmpOp::Ne, "sealane0")
            .verdict(Verdict::Accept),
        Rule::new()
            .mark_has(0x4000)
            .verdict(Verdict::Goto("below".into())),
        Rule::new()
            .address_in_list(
                DestinationAddress,
                Interval::of_networks(family, [net(host), net(odd)]),
                false,
            )
            .address_in_list(
                SourceAddress,
                Interval::of_networks(family, [net(edge)]),
                true,
            )
            .verdict(Verdict::Drop)
            .comment("two sets of its own"),
        Rule::new()
            .address_in(SourceAddress, "two")
            .address_not_in(DestinationAddress, "edge")
            .verdict(Verdict::Return),
    ];
    let chain =
        |name: &str, kind, hook, priority, rules| Chain::base(name, kind, hook, priority, rules);
    Table {
        sets: vec![
            set("two", &[odd, host]),
            set("edge", &[edge]),
            set("whole", &[all]),
            set("empty", &[]),
        ],
        chains: vec![
            chain(
                "forward",
                ChainType::Filter,
                Hook::Forward,
                priority::FILTER - 5,
                rules,
            ),
            Chain {
                name: "below".into(),
                base: None,
                rules: vec![Rule::new().counter()],
            },
            chain(
                "prerouting",
                ChainType::Filter,
                Hook::Prerouting,
                priority::RAW,
                vec![],
            ),
            chain("input", ChainType::Filter, Hook::Input, -110, vec![]),
            chain(
                "output",
                ChainType::Nat,
                Hook::Output,
                priority::DSTNAT,
                vec![],
            ),
            chain(
                "dstnat",
                ChainType::Nat,
                Hook::Prerouting,
                priority::DSTNAT,
                vec![],
            ),
            chain(
                "post",
                ChainType::Nat,
                Hook::Postrouting,
                priority::SRCNAT + 10,
                vec![Rule::new().masquerade()],
            ),
        ],
        ..Table::new(family, "sealane-everything")
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn nft_lists_what_display_says() {
    let place = Place::new().await;
    for table in [
        table(Family::V4),
        table(Family::V6),
        machine_egress("sealane", net("172.29.0.0/24")),
        machine_egress("test", net("fd00:172:29::/64")),
        everything(Family::V4),
        everything(Family::V6),
    ]
    .into_iter()
    .chain(guard_tables())
    .chain(dns())
    {
        place.netlink.load_table(&table).await.unwrap();
        let listed = place.run(&format!("nft -s list {}", table.title()));
        assert_eq!(words(&listed), words(&table.to_string()));
    }
}

#[tokio::test]
async fn nft_would_load_the_same_expressions_from_the_text() {
    let (ours, theirs) = (Place::new().await, Place::new().await);
    for table in Family::ALL.map(table).into_iter().chain(dns()) {
        ours.netlink.load_table(&table).await.unwrap();
        let file = std::env::temp_dir().join(format!("{}.nft", theirs.name));
        std::fs::write(&file, table.to_string()).unwrap();
        theirs.run(&format!("nft -f {}", file.display()));
        std::fs::remove_file(&file).unwrap();
    }
    let compiled = |place: &Place| without_handles(&place.run("nft --debug=netlink list ruleset"));
    assert_eq!(compiled(&ours), compiled(&theirs));
}

/// A rule is printed with its own handle and that of the rule before it, which count up.
fn without_handles(text: &str) -> String {
    let is_rule = |line: &&str| line.starts_with("ip") && !line.contains('@');
    text.lines()
        .map(|line| match is_rule(&line) {
            true => line.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' '),
            false => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn a_program_that_is_loaded_is_not_touched() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let both = [table(Family::V4), table(Family::V6)];
    assert!(netlink.sync_tables("sealane", &both).await.unwrap());
    let handles = place.run("nft -a list ruleset");
    assert!(!netlink.sync_tables("sealane", &both).await.unwrap());
    assert_eq!(place.run("nft -a list ruleset"), handles);

    let mut more = egress();
    more.nodes.push("172.29.0.4".parse().unwrap());
    let changed = node_egress(Family::V4, &more).unwrap();
    assert!(
        netlink
            .sync_tables("sealane", std::slice::from_ref(&changed))
            .await
            .unwrap()
    );
    assert_eq!(netlink.tables().await.unwrap(), [changed.as_loaded()]);
    assert!(netlink.sync_tables("sealane", &[]).await.unwrap());
    assert_eq!(netlink.tables().await.unwrap(), []);
}

#[tokio::test]
async fn a_table_is_intact_until_somebody_edits_it() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    let programs = [
        table(Family::V4),
        table(Family::V6),
        everything(Family::V4),
        everything(Family::V6),
    ];
    for program in programs.into_iter().chain(guard_tables()).chain(dns()) {
        assert!(!netlink.is_intact(&program).unwrap(), "it is not there");
        netlink.load_table(&program).await.unwrap();
        assert!(netlink.is_intact(&program).unwrap(), "{program}");
    }
    let program = table(Family::V4);
    for edit in [
        "add rule ip sealane postrouting accept",
        "insert rule ip sealane postrouting accept",
        "flush chain ip sealane postrouting",
        "add chain ip sealane postrouting { policy drop; }",
        "add chain ip sealane other",
        "add set ip sealane other { type ipv4_addr; }",
        "add element ip sealane no-masquerade { 198.51.100.0/24 }",
        "flush set ip sealane local-pods",
        "delete table ip sealane",
    ] {
        place.run(&format!("nft {edit}"));
        assert!(!netlink.is_intact(&program).unwrap(), "{edit}");
        netlink.load_table(&program).await.unwrap();
        assert!(netlink.is_intact(&program).unwrap(), "{edit}");
    }
}

#[tokio::test]
async fn tables_of_others_are_seen_and_left_alone() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    place.run("nft add table ip filter");
    place.run("nft add table inet sealane");
    place.run("nft add table ip sealane");
    let ours = table(Family::V4);
    netlink
        .sync_tables("sealane", std::slice::from_ref(&ours))
        .await
        .unwrap();
    let tables = netlink.tables().await.unwrap();
    assert_eq!(tables.len(), 2);
    assert!(tables.contains(&ours.as_loaded()));
    assert!(netlink.delete_table(Family::V4, "sealane").await.unwrap());
    assert!(!netlink.delete_table(Family::V4, "sealane").await.unwrap());
    assert!(!netlink.delete_table(Family::V6, "sealane").await.unwrap());
    assert_eq!(
        words(&place.run("nft list tables")),
        "table ip filter table inet sealane"
    );
}

#[tokio::test]
async fn a_transaction_with_one_bad_rule_changes_nothing_and_names_it() {
    let place = Place::new().await;
    let netlink = &place.netlink;
    netlink.load_table(&table(Family::V4)).await.unwrap();
    let before = place.run("nft -a list ruleset");
    let mut bad = table(Family::V4);
    bad.chains[0].rules.push(
        Rule::new()
            .address_in(PayloadField::SourceAddress, "missing")
            .verdict(Verdict::Drop),
    );
    let error = netlink
        .load_tables(&[table(Family::V6), bad])
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "add rule \"ip saddr @missing drop\" to chain postrouting of table ip sealane in netns /run/netns/{}: no such file or directory",
            place.name
        )
    );
    assert_eq!(place.run("nft -a list ruleset"), before);
    // The socket is fit for use after a failure.
    netlink.load_table(&table(Family::V4)).await.unwrap();
}

#[tokio::test]
async fn a_chain_of_the_wrong_kind_is_refused_with_its_name() {
    let place = Place::new().await;
    let mut bad = table(Family::V4);
    bad.chains.push(Chain::base(
        "nowhere",
        ChainType::Nat,
        Hook::Forward,
        0,
        vec![],
    ));
    let error = place
        .netlink
        .load_table(&bad)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("add chain nowhere to table ip sealane in netns "),
        "{error}"
    );
}

#[tokio::test]
async fn ten_thousand_elements_fit_into_one_transaction() {
    let place = Place::new().await;
    let networks = (0..10_000_u32).map(|n| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + n * 0x200);
        IpNet::new(address.into(), 24).unwrap()
    });
    let table = Table {
        sets: vec![Set::of_networks("many", "", Family::V4, networks)],
        ..Table::new(Family::V4, "sealane")
    };
    place.netlink.load_table(&table).await.unwrap();
    let listed = place.run("nft -s list ruleset");
    assert_eq!(words(&listed), words(&table.to_string()));
}
