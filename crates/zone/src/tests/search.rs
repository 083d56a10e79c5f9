//! When a search is walked for a client, and along which names.

use sealane_message::{Kind, Question};
use serde_json::{Value, json};

use super::{name, object, pod, service, settings};
use crate::{Client, NoSearch, SearchSettings, Zone};

fn client(mut spec: Value, node_searches: &[&str]) -> Client {
    spec["addresses"] = json!(["10.244.1.2"]);
    let settings = SearchSettings {
        domain: "cluster.local".into(),
        node_searches: node_searches.iter().map(|&s| s.to_owned()).collect(),
        node_ndots: None,
    };
    Client::new(&object("shop/web-1"), &pod(spec), &settings)
}

fn zone() -> Zone {
    let mut zone = Zone::new();
    for name in ["shop/cart", "db/main"] {
        service(
            &mut zone,
            name,
            json!({"target": {"addresses": ["10.96.0.1"]}}),
        );
    }
    zone
}

fn rest(client: &Client, asked: &str, kind: Kind) -> Result<Vec<String>, NoSearch> {
    let question = Question::new(name(asked), kind);
    let rest = client.rest(&zone(), &settings(), &question)?;
    Ok(rest.iter().map(ToString::to_string).collect())
}

#[test]
fn the_names_of_the_list_in_order_and_then_the_name_as_it_is() {
    let client = client(
        json!({"config": {"searches": ["extra.example"]}}),
        &["corp.example"],
    );
    assert_eq!(
        rest(&client, "www.example.com.shop.svc.cluster.local", Kind::A).unwrap(),
        [
            "www.example.com.svc.cluster.local.",
            "www.example.com.cluster.local.",
            "www.example.com.corp.example.",
            "www.example.com.extra.example.",
            "www.example.com.",
        ]
    );
}

#[test]
fn only_names_that_come_out_of_the_list_for_certain() {
    let plain = client(json!({}), &["corp.example"]);
    let few = client(json!({"config": {"ndots": 2}}), &[]);
    let none = client(json!({"policy": "None"}), &[]);
    let node = client(json!({"policy": "Default"}), &["corp.example"]);
    let other = json!({"policy": "None", "config": {"ndots": 5, "searches": ["corp.example", "cluster.local"]}});
    let other = client(other, &[]);
    let own =
        json!({"policy": "None", "config": {"ndots": 5, "searches": ["shop.svc.cluster.local"]}});
    let own = client(own, &[]);
    let many = client(
        json!({}),
        &["a.example", "b.example", "c.example", "d.example"],
    );
    let long = "l".repeat(60);
    let long = client(json!({}), &[&format!("{long}.{long}.{long}.{long}")]);
    let wrong = client(json!({}), &["a..example"]);
    let ok = Ok(());
    for (client, asked, expected) in [
        (&plain, "main.db.shop.svc.cluster.local", ok),
        (&plain, "a.b.c.d.e.shop.svc.cluster.local", ok),
        (
            &plain,
            "a.b.c.d.e.f.shop.svc.cluster.local",
            Err(NoSearch::Dots),
        ),
        (&plain, "shop.svc.cluster.local", Err(NoSearch::NotFirst)),
        (
            &plain,
            "cart.shop.svc.cluster.local",
            Err(NoSearch::Service),
        ),
        (
            &plain,
            "gone.shop.svc.cluster.local",
            Err(NoSearch::Service),
        ),
        (
            &plain,
            "a.cart.shop.svc.cluster.local",
            Err(NoSearch::Endpoint),
        ),
        (
            &plain,
            "web-0.gone.shop.svc.cluster.local",
            Err(NoSearch::Endpoint),
        ),
        (
            &plain,
            "10-244-1-2.gone.shop.svc.cluster.local",
            Err(NoSearch::Endpoint),
        ),
        (
            &plain,
            "_a._tcp.gone.shop.svc.cluster.local",
            Err(NoSearch::Endpoint),
        ),
        (&plain, "main.db.svc.cluster.local", Err(NoSearch::NotFirst)),
        (&plain, "www.example.com", Err(NoSearch::NotFirst)),
        (
            &plain,
            "a.b.other.svc.cluster.local",
            Err(NoSearch::NotFirst),
        ),
        (&few, "main.db.shop.svc.cluster.local", ok),
        (
            &few,
            "www.example.com.shop.svc.cluster.local",
            Err(NoSearch::Dots),
        ),
        (&none, "main.db.shop.svc.cluster.local", Err(NoSearch::List)),
        (&node, "main.db.corp.example", Err(NoSearch::List)),
        (&other, "main.db.corp.example", Err(NoSearch::List)),
        (&own, "main.db.shop.svc.cluster.local", ok),
        (&many, "main.db.shop.svc.cluster.local", Err(NoSearch::List)),
        (&long, "main.db.shop.svc.cluster.local", Err(NoSearch::List)),
        (
            &wrong,
            "main.db.shop.svc.cluster.local",
            Err(NoSearch::List),
        ),
    ] {
        assert_eq!(
            rest(client, asked, Kind::A).map(|_| ()),
            expected,
            "{asked}"
        );
    }
    let asked = "main.db.shop.svc.cluster.local";
    assert!(rest(&plain, asked, Kind::AAAA).is_ok());
    assert_eq!(rest(&plain, asked, Kind::TXT), Err(NoSearch::Kind));
}

#[test]
fn a_later_name_of_a_search_in_vain_is_not_taken_for_the_first_of_another() {
    let looks_for_both = client(json!({}), &[]);
    let longer = "example.com.shop.shop.svc.cluster.local";
    let first = "example.com.shop.svc.cluster.local";
    let later = rest(&looks_for_both, longer, Kind::A).unwrap();
    assert_eq!(later[0], format!("{first}."));
    for kind in [Kind::A, Kind::AAAA] {
        assert_eq!(rest(&looks_for_both, first, kind), Err(NoSearch::Later));
    }
    // Who has not looked for the longer one has meant the shorter one.
    assert!(rest(&client(json!({}), &[]), first, Kind::A).is_ok());
}

#[test]
fn an_address_that_two_pods_have_is_nobodys() {
    let mut clients = crate::Clients::new(SearchSettings::default());
    let one = pod(json!({"addresses": ["10.244.1.2", "fd00::2"]}));
    let address = "10.244.1.2".parse().unwrap();
    clients.set_pod(&object("shop/a"), Some(one.clone()));
    assert_eq!(clients.get(address).unwrap().pod(), &object("shop/a"));
    assert!(clients.get("fd00::2".parse().unwrap()).is_some());
    clients.set_pod(&object("other/b"), Some(one.clone()));
    assert!(clients.get(address).is_none());
    clients.set_pod(&object("shop/a"), None);
    assert_eq!(clients.get(address).unwrap().pod(), &object("other/b"));
    // It has ended: the address is free, and the pod may be there for long.
    clients.set_pod(&object("other/b"), Some(pod(json!({}))));
    assert!(clients.get(address).is_none() && clients.is_empty());
    clients.replace_pods([(object("shop/c"), one)]);
    assert_eq!(
        (clients.len(), clients.get(address).unwrap().pod()),
        (1, &object("shop/c"))
    );
}
