//! Corefiles in, what they say out.

mod answers;
mod rewrites;
mod templates;

use std::time::Duration;

use sealane_message::{Kind, Name, Question};

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn question(name_of: &str, kind: Kind) -> Question {
    Question::new(name(name_of), kind)
}

fn config(text: &str) -> Config {
    parse(text, &Given::default()).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// The one block of a Corefile that says this, and its notices.
fn server(plugins: &str) -> (Server, Vec<String>) {
    let config = config(&format!(". {{\n{plugins}\n}}\n"));
    let notices = config.notices.iter().map(ToString::to_string).collect();
    let [server] = <[Server; 1]>::try_from(config.servers).unwrap();
    (server, notices)
}

fn faults(text: &str) -> Vec<String> {
    let faults = parse(text, &Given::default()).unwrap_err();
    faults.0.iter().map(ToString::to_string).collect()
}

/// What the fuzz target began with, and what it once broke.
#[test]
fn corpus_and_half_of_it_harms_nothing() {
    let folders = ["seeds", "found"].map(|kind| format!("../../fuzz/{kind}/corefile"));
    let files = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten();
    let mut count = 0;
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for end in (0..=bytes.len()).rev().step_by(7) {
            fuzzing::corefile(&bytes[..end]);
        }
        count += 1;
    }
    assert!(count > 0, "fuzz/seeds/corefile is there");
}

/// Fenced as `corefile`, the default one as `corefile default`.
#[test]
fn examples_of_the_documents_are_sound_and_wholly_supported() {
    let text = std::fs::read_to_string("../../docs/dns.md").unwrap();
    let mut count = 0;
    for example in text.split("```corefile").skip(1) {
        let (kind, rest) = example.split_once('\n').unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        assert_eq!(config(example).notices, [], "{example}");
        if kind == " default" {
            assert_eq!(example, DEFAULT);
        }
        count += 1;
    }
    assert!(count > 3, "{count} examples");
}

#[test]
fn the_default_is_the_usual_cluster() {
    let config = config(DEFAULT);
    assert_eq!(config.notices, []);
    let [server] = config.servers.as_slice() else {
        panic!("{config:?}");
    };
    let kubernetes = server.kubernetes.as_ref().unwrap();
    assert_eq!(
        kubernetes.zones,
        [
            name("cluster.local"),
            name("in-addr.arpa"),
            name("ip6.arpa")
        ]
    );
    assert_eq!((kubernetes.pods, kubernetes.ttl), (PodNames::Insecure, 30));
    assert!(kubernetes.fallthrough.lets(&name("1.0.0.10.in-addr.arpa")));
    assert!(!kubernetes.fallthrough.lets(&name("a.cluster.local")));
    let [forward] = server.forwards.as_slice() else {
        panic!("{server:?}");
    };
    assert_eq!(forward.to, [To::ResolvConf("/etc/resolv.conf".into())]);
    assert_eq!(forward.max_concurrent, 1000);
    let cache = server.cache.as_ref().unwrap();
    assert_eq!((cache.success.max_ttl, cache.denial.max_ttl), (30, 30));
    let health = server.health.as_ref().unwrap();
    assert_eq!(health.lameduck, Duration::from_secs(5));
    assert!(server.errors && server.finds_loops && server.shuffles && server.reload.is_some());
}

#[test]
fn the_block_with_the_longest_zone_answers() {
    let config = config(
        "cluster.local:53 dns://10.0.0.0/8 {\n}\na.cluster.local. {\n}\n. {\n}\nb.org:5353 {\n}\n",
    );
    let line = |port, of: &str| config.server(port, &name(of)).map(|server| server.at.line);
    for (port, of, expected) in [
        (53, "x.cluster.local", Some(1)),
        (53, "a.cluster.local", Some(3)),
        (53, "x.a.cluster.local", Some(3)),
        (53, "xa.cluster.local", Some(1)),
        (53, "1.0.0.10.in-addr.arpa", Some(1)),
        (53, "b.org", Some(5)),
        (5353, "x.b.org", Some(7)),
        (5353, "c.org", None),
    ] {
        assert_eq!(line(port, of), expected, "{of} at {port}");
    }
    assert_eq!(config.ports(), [53, 5353]);
}

#[test]
fn options_are_what_was_written() {
    let (server, notices) = server(
        "kubernetes {
           pods verified
           endpoint_pod_names
           ttl 10
           namespaces a b
           namespaces c
           noendpoints
           ignore empty_service
           fallthrough
         }
         forward example.org 192.0.2.1 192.0.2.2:5353 dns://[2001:db8::1]:54 2001:db8::2 {
           except a.example.org 10.0.0.0/8
           force_tcp
           max_fails 3
           expire 20s
           policy sequential
           health_check 1s no_rec domain example.com
           max_concurrent 100
           failover SERVFAIL 5
           failfast_all_unhealthy_upstreams
         }
         forward . /etc/resolv.conf
         cache 60 example.org {
           success 100 50 10
           denial 200 40
           prefetch 10 2m 20%
           serve_stale 2h verify
           servfail 10s
         }
         reload 10s 2s",
    );
    assert_eq!(notices, [] as [&str; 0]);
    let kubernetes = server.kubernetes.unwrap();
    assert_eq!(
        kubernetes,
        Kubernetes {
            zones: vec![Name::ROOT],
            pods: PodNames::Verified,
            endpoint_pod_names: true,
            ttl: 10,
            namespaces: vec!["a".into(), "b".into(), "c".into()],
            labels: None,
            namespace_labels: None,
            no_endpoints: true,
            ignore_empty: true,
            fallthrough: Fallthrough::Always,
        }
    );
    let [forward, rest] = <[Forward; 2]>::try_from(server.forwards).unwrap();
    let address = |text: &str| To::Address(text.parse().unwrap());
    assert_eq!(
        forward.to,
        [
            address("192.0.2.1:53"),
            address("192.0.2.2:5353"),
            address("[2001:db8::1]:54"),
            address("[2001:db8::2]:53"),
        ]
    );
    assert!(forward.force_tcp && forward.fail_fast);
    assert_eq!((forward.max_fails, forward.max_concurrent), (3, 100));
    assert_eq!(forward.expire, Duration::from_secs(20));
    assert_eq!(forward.policy, Policy::Sequential);
    assert_eq!(
        forward.health_check,
        HealthCheck {
            interval: Duration::from_secs(1),
            recursion: false,
            domain: name("example.com"),
        }
    );
    assert_eq!(forward.failover.len(), 2);
    for (of, taken) in [
        ("example.org", true),
        ("b.example.org", true),
        ("x.a.example.org", false),
        ("example.com", false),
    ] {
        assert_eq!(forward.takes(&name(of)), taken, "{of}");
    }
    assert!(rest.takes(&name("example.com")));
    let cache = server.cache.unwrap();
    let share = |capacity, max_ttl, min_ttl| Share {
        capacity,
        max_ttl,
        min_ttl,
    };
    assert_eq!(
        cache,
        Cache {
            zones: vec![name("example.org")],
            success: share(100, 50, 10),
            denial: share(200, 40, 5),
            prefetch: Some(Prefetch {
                amount: 10,
                gap: Duration::from_secs(120),
                percentage: 20,
            }),
            serve_stale: Some(ServeStale {
                limit: Duration::from_secs(7200),
                verify: true,
            }),
            servfail: Duration::from_secs(10),
        }
    );
    assert_eq!(server.reload.unwrap().interval, Duration::from_secs(10));
}

#[test]
fn all_faults_are_told_at_once_with_plugin_option_and_line() {
    let text = ". {
  errors
  forwrad . 192.0.2.1
  cache no-zone..
  kubernetes {
    pods maybe
  }
  forward . upstream.example
  health {
    lameduck soon
  }
  reload 1s
  log {
    class some
  }
  hosts {
    192.0.2.1
  }
  rewrite name regex ( b
  rewrite name regex a(b) {2}
  rewrite what a b
  template IN A {
    answer \"a 60 IN A 192.0.2.300\"
  }
  template IN WHAT
  acl {
    block net 10.0.0.0/33
  }
}
a.org. :0 {
  loop twice
}
";
    let expected = [
        "Corefile:3: forwrad: there is no such plugin",
        "Corefile:4: cache: name \"no-zone..\" has an empty label",
        "Corefile:6: kubernetes pods: expected disabled, insecure or verified, not \"maybe\"",
        "Corefile:8: forward: expected an address, ADDRESS:PORT or the path of a file",
        "Corefile:10: health lameduck: expected a duration, such as 5s or 1m30s, not \"soon\"",
        "Corefile:12: reload: expected an interval of at least 2s",
        "Corefile:14: log class: expected success, denial, error or all, not \"some\"",
        "Corefile:17: hosts 192.0.2.1: expected names behind the address, not nothing",
        "Corefile:19: rewrite: \"(\" is no regular expression that is understood",
        "Corefile:20: rewrite: \"{2}\" uses {2}, but the pattern has 1 groups",
        "Corefile:21: rewrite: expected name, type, class, ttl or rcode, not \"what\"",
        "Corefile:23: template answer: record \"a 60 IN A 192.0.2.300\": A: \"192.0.2.300\" does not fit",
        "Corefile:25: template: \"WHAT\" is none of DNS",
        "Corefile:27: acl block: expected a range of addresses, not \"10.0.0.0/33\"",
        "Corefile:30: \":0\": expected a zone and a port from 1 to 65535",
        "Corefile:31: loop: expected no arguments, not \"twice\"",
    ];
    let found = faults(text);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nexpected {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_would_be_served_twice_or_not_at_all_is_a_fault() {
    assert_eq!(
        faults(". {\n}\na.org .:53 {\n}\n"),
        ["Corefile:3: zone . at port 53 is served by a block above already"]
    );
    assert_eq!(
        faults("# nothing\n"),
        ["Corefile:1: there is no server block: expected one such as `. { … }`"]
    );
}

#[test]
fn what_is_not_supported_is_named_and_the_rest_is_in_force() {
    let (server, notices) = server(
        "errors {
           consolidate 5m \".* i/o timeout$\" warning
         }
         dnstap /tmp/dnstap.sock
         etcd example.org
         forward . tls://9.9.9.9 {
           tls_servername dns.quad9.net
           next NXDOMAIN
         }
         cache {
           keepttl
         }
         rewrite edns0 nsid set
         autopath @kubernetes
         kubernetes cluster.local {
           endpoint https://192.0.2.1
           labels tier=front
         }
         prometheus :9153",
    );
    assert!(server.kubernetes.is_some() && server.prometheus.is_some());
    assert!(server.rewrites.is_empty());
    assert_eq!(server.forwards[0].to, []);
    let expected = [
        "Corefile:3: errors consolidate: is left out",
        "Corefile:5: dnstap: is not supported and left out",
        "Corefile:6: etcd: is not supported: its names are looked for in the next plugin",
        "Corefile:7: forward: tls://9.9.9.9 is left out, since tls is not supported",
        "Corefile:8: forward tls_servername: is left out",
        "Corefile:9: forward next: is not supported",
        "Corefile:12: cache keepttl: is not supported",
        "Corefile:14: rewrite: edns0 is not supported: this rule is left out",
        "Corefile:15: autopath: needs not be said",
        "Corefile:17: kubernetes endpoint: is left out: give `--kubeconfig`",
        "Corefile:18: kubernetes labels: is not supported",
    ];
    for (found, expected) in notices.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nexpected {expected}");
    }
    assert_eq!(notices.len(), expected.len(), "{notices:#?}");
}

#[test]
fn blocks_for_other_transports_and_views_are_left_out() {
    let config = config(
        "tls://. {\n forward . 192.0.2.1\n}\n. https://a.org {\n}\nb.org {\n view v {\n expr true\n }\n forward . 192.0.2.2\n}\n",
    );
    assert_eq!(config.servers.len(), 1);
    assert_eq!(config.servers[0].keys.len(), 1);
    let about: Vec<&str> = config
        .notices
        .iter()
        .map(|notice| notice.about.as_str())
        .collect();
    assert_eq!(about, ["tls://.", "https://a.org", "view"]);
}

#[test]
fn variables_files_and_snippets_come_from_outside() {
    let mut source = Given::default();
    source
        .variables
        .insert("UPSTREAM".into(), "192.0.2.1".into());
    let files = [
        (
            "/etc/coredns/custom/a.server",
            "a.org {\n  import usual\n}\n",
        ),
        ("/etc/coredns/custom/b.override", "whoami\n"),
        (
            "/etc/coredns/NodeHosts",
            "192.0.2.7 node-1 # first\nbad node\n\n2001:db8::7 node-1 n..1\n",
        ),
    ];
    for (path, text) in files {
        source.files.insert(path.into(), text.into());
    }
    let text = "(usual) {\n  forward . {$UPSTREAM}\n}\n. {\n  hosts /etc/coredns/NodeHosts {\n    ttl 60\n    reload 15s\n    fallthrough\n  }\n  import usual\n  import /etc/coredns/custom/*.override\n}\nimport /etc/coredns/custom/*.server\n";
    let config = parse(text, &source).unwrap();
    let zones: Vec<Name> = config.servers.iter().flat_map(Server::zones).collect();
    assert_eq!(zones, [Name::ROOT, name("a.org")]);
    let upstream = [To::Address("192.0.2.1:53".parse().unwrap())];
    assert!(
        config
            .servers
            .iter()
            .all(|server| server.forwards[0].to == upstream)
    );
    assert!(config.servers[0].whoami && !config.servers[1].whoami);
    let notices: Vec<String> = config.notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        notices,
        [
            "/etc/coredns/NodeHosts:2: hosts: left out: \"bad\" is no address",
            "/etc/coredns/NodeHosts:4: hosts: left out: name \"n..1\" has an empty label",
        ]
    );
    let hosts = config.servers[0].hosts.as_ref().unwrap();
    let found = hosts.find(&question("node-1", Kind::AAAA));
    assert_eq!(
        found,
        HostsFound::Addresses(vec!["2001:db8::7".parse().unwrap()])
    );
}

#[test]
fn a_fault_in_an_imported_file_names_that_file() {
    let mut source = Given::default();
    source
        .files
        .insert("custom/a.server".into(), "a.org {\n  nothing\n}\n".into());
    let faults = parse("import custom/*.server\n", &source).unwrap_err();
    assert!(
        faults
            .to_string()
            .starts_with("custom/a.server:2: nothing: there is no such plugin"),
        "{faults}"
    );
}
