//! What `nft -j list ruleset` prints, with the rules' text from `nft -a list ruleset`.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use sealane_net::Family;
use serde_json::Value;

use super::model::{
    Base, Chain, Condition, Hook, Match, Rule, Source, State, Table, TableFamily, Verdict,
    addresses, protocol,
};

/// The tables of a listing; `text` is the same listing for people, with handles.
///
/// # Errors
/// When the listing is not what nft prints.
pub fn parse(json: &str, text: &str) -> Result<Vec<Table>, serde_json::Error> {
    let listing: Value = serde_json::from_str(json)?;
    let objects = listing["nftables"].as_array().cloned().unwrap_or_default();
    let reader = Reader {
        texts: texts(text),
        sets: sets(&objects),
    };
    let mut tables: Vec<Table> = Vec::new();
    for object in &objects {
        if let Some(table) = object.get("table") {
            tables.push(Table {
                source: Source::Nft,
                family: family(word(table, "family")),
                name: word(table, "name").to_owned(),
                chains: Vec::new(),
            });
        } else if let Some(chain) = object.get("chain") {
            if let Some(table) = table_of(&mut tables, chain) {
                table.chains.push(self::chain(chain));
            }
        } else if let Some(rule) = object.get("rule") {
            let name = word(rule, "chain");
            let table = table_of(&mut tables, rule);
            let chain = table.and_then(|t| t.chains.iter_mut().find(|c| c.name == name));
            if let Some(chain) = chain {
                chain.rules.extend(reader.rules(rule));
            }
        }
    }
    Ok(tables)
}

fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

fn family(word: &str) -> TableFamily {
    match word {
        "ip" => TableFamily::Ip,
        "ip6" => TableFamily::Ip6,
        "inet" => TableFamily::Inet,
        "netdev" => TableFamily::Netdev,
        _ => TableFamily::Other,
    }
}

fn table_of<'t>(tables: &'t mut [Table], object: &Value) -> Option<&'t mut Table> {
    let (family, name) = (family(word(object, "family")), word(object, "table"));
    tables
        .iter_mut()
        .find(|table| table.family == family && table.name == name)
}

fn chain(chain: &Value) -> Chain {
    // Chains of type nat and route decide no packet's end by their policy in practice, yet they could.
    let hook = chain["hook"].as_str().and_then(Hook::named);
    Chain {
        name: word(chain, "name").to_owned(),
        base: hook.map(|hook| Base {
            hook,
            drops: word(chain, "policy") == "drop",
            device: chain["dev"].as_str().map(str::to_owned),
        }),
        rules: Vec::new(),
    }
}

/// Family, table and handle of a rule, which find its text.
type Place = (String, String, u64);

fn texts(listing: &str) -> HashMap<Place, String> {
    let mut texts = HashMap::new();
    let mut table = (String::new(), String::new());
    for line in listing.lines() {
        let Some((text, handle)) = line.trim().rsplit_once(" # handle ") else {
            continue;
        };
        if let Some(header) = text.strip_prefix("table ") {
            let mut words = header.split(' ');
            let mut next = || words.next().unwrap_or_default().to_owned();
            table = (next(), next());
        } else if let Ok(handle) = handle.parse() {
            let (family, name) = table.clone();
            texts.insert((family, name, handle), text.to_owned());
        }
    }
    texts
}

/// Elements of named sets and maps, by family, table and name.
fn sets(objects: &[Value]) -> HashMap<(String, String, String), Value> {
    let named = objects
        .iter()
        .filter_map(|object| object.get("set").or_else(|| object.get("map")));
    named
        .map(|set| {
            let key = ["family", "table", "name"].map(|key| word(set, key).to_owned());
            (key.into(), set["elem"].clone())
        })
        .collect()
}

struct Reader {
    texts: HashMap<Place, String>,
    sets: HashMap<(String, String, String), Value>,
}

impl Reader {
    /// A rule, or one for each entry of a verdict map.
    fn rules(&self, rule: &Value) -> Vec<Rule> {
        let (family, table) = (word(rule, "family"), word(rule, "table"));
        let place = (
            family.to_owned(),
            table.to_owned(),
            rule["handle"].as_u64().unwrap_or_default(),
        );
        let resolve = |name: &str| {
            let key = (family.to_owned(), table.to_owned(), name.to_owned());
            self.sets.get(&key).cloned().unwrap_or_default()
        };
        let text = self.texts.get(&place).cloned().unwrap_or_default();
        let mut matches = Vec::new();
        let mut rules = Vec::new();
        for expression in rule["expr"].as_array().into_iter().flatten() {
            if let Some(test) = expression.get("match") {
                matches.extend(implied(&test["left"]));
                matches.push(read_match(test, &resolve));
            } else if let Some(map) = expression.get("vmap") {
                for (key, verdict) in entries(&map["data"], &resolve) {
                    let condition = condition(&map["key"], vec![key]);
                    let mut matches = matches.clone();
                    matches.extend(implied(&map["key"]));
                    matches.push(Match {
                        condition,
                        negated: false,
                    });
                    rules.push(Rule {
                        text: text.clone(),
                        matches,
                        verdict: self::verdict(&verdict),
                    });
                }
                return rules;
            } else if let Some(verdict) = verdict(expression) {
                rules.push(Rule {
                    text,
                    matches,
                    verdict: Some(verdict),
                });
                return rules;
            } else if is_a_limit(expression) {
                matches.push(Match {
                    condition: Condition::Unknown,
                    negated: false,
                });
            }
        }
        rules
    }
}

fn is_a_limit(expression: &Value) -> bool {
    ["limit", "quota", "ct count", "xt", "connlimit"]
        .iter()
        .any(|key| expression.get(key).is_some())
        && expression["xt"]["type"] != "target"
}

fn verdict(expression: &Value) -> Option<Verdict> {
    let (key, value) = expression.as_object()?.iter().next()?;
    let target = || value["target"].as_str().map(str::to_owned);
    match key.as_str() {
        "accept" => Some(Verdict::Accept),
        "drop" | "reject" => Some(Verdict::Drop),
        "return" => Some(Verdict::Return),
        "jump" => target().map(Verdict::Jump),
        "goto" => target().map(Verdict::Goto),
        "xt" if ["REJECT", "DROP"].contains(&word(value, "name")) => Some(Verdict::Drop),
        _ => None,
    }
}

/// Keys and verdicts of a map, which may be named.
fn entries(data: &Value, resolve: &dyn Fn(&str) -> Value) -> Vec<(Value, Value)> {
    let named = data.as_str().and_then(|name| name.strip_prefix('@'));
    let list = match named {
        Some(name) => resolve(name),
        None => data["set"].clone(),
    };
    let pair = |entry: &Value| Some((entry.get(0)?.clone(), entry.get(1)?.clone()));
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().filter_map(pair).collect()
}

/// What has to hold for a field to be there at all: `tcp dport != 22` is about TCP only.
fn implied(left: &Value) -> Option<Match> {
    let condition = match left["payload"]["protocol"].as_str()? {
        "ip" => Condition::Family(Family::V4),
        "ip6" => Condition::Family(Family::V6),
        "th" => return None,
        name => protocol(name).map_or(Condition::Unknown, |number| {
            Condition::Protocol(vec![number])
        }),
    };
    Some(Match {
        condition,
        negated: false,
    })
}

fn read_match(test: &Value, resolve: &dyn Fn(&str) -> Value) -> Match {
    let right = &test["right"];
    let named = right.as_str().and_then(|name| name.strip_prefix('@'));
    let values = match named {
        Some(name) => resolve(name),
        None if right.get("set").is_some() => right["set"].clone(),
        None => right.clone(),
    };
    let values = match values {
        Value::Array(list) => list,
        Value::Null => vec![],
        one => vec![one],
    };
    let compares = ["==", "!=", "in"].contains(&word(test, "op"));
    let condition = if compares {
        condition(&test["left"], values)
    } else {
        Condition::Unknown
    };
    Match {
        condition,
        negated: test["op"] == "!=",
    }
}

fn condition(left: &Value, values: Vec<Value>) -> Condition {
    known_condition(left, &values).unwrap_or(Condition::Unknown)
}

fn known_condition(left: &Value, values: &[Value]) -> Option<Condition> {
    if let Some(meta) = left["meta"]["key"].as_str() {
        return match meta {
            "iifname" | "iif" => Some(Condition::In(words(values)?)),
            "oifname" | "oif" => Some(Condition::Out(words(values)?)),
            "l4proto" => protocols(values),
            "nfproto" => family_of(values),
            "protocol" => family_of(values),
            "mark" => Some(Condition::Mark(
                values.first()?.as_u64()?.try_into().ok()?,
                u32::MAX,
            )),
            _ => None,
        };
    }
    if left["&"][0]["meta"]["key"] == "mark" {
        let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
        return Some(Condition::Mark(
            number(values.first()?)?,
            number(&left["&"][1])?,
        ));
    }
    if left["ct"]["key"] == "state" {
        let states = words(values)?;
        return Some(Condition::State(
            states.iter().map(|s| State::named(s)).collect(),
        ));
    }
    if left["fib"]["result"] == "type" && left["fib"]["flags"][0] == "daddr" {
        return (words(values)? == ["local"]).then_some(Condition::ToThisNode);
    }
    let payload = left.get("payload")?;
    let addresses = || values.iter().map(address_range).collect::<Option<Vec<_>>>();
    let ports = || values.iter().map(port_range).collect::<Option<Vec<_>>>();
    match (word(payload, "protocol"), word(payload, "field")) {
        ("ip" | "ip6", "saddr") => Some(Condition::From(addresses()?)),
        ("ip" | "ip6", "daddr") => Some(Condition::To(addresses()?)),
        ("ip", "protocol") | ("ip6", "nexthdr") => protocols(values),
        ("tcp" | "udp" | "th", "sport") => Some(Condition::SourcePort(ports()?)),
        ("tcp" | "udp" | "th", "dport") => Some(Condition::DestinationPort(ports()?)),
        _ => None,
    }
}

fn words(values: &[Value]) -> Option<Vec<String>> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    values.iter().map(word).collect()
}

fn protocols(values: &[Value]) -> Option<Condition> {
    let number = |value: &Value| match value {
        Value::String(word) => protocol(word),
        number => number.as_u64()?.try_into().ok(),
    };
    let numbers: Option<Vec<u8>> = values.iter().map(number).collect();
    numbers.map(Condition::Protocol)
}

fn family_of(values: &[Value]) -> Option<Condition> {
    match values.first()?.as_str()? {
        "ipv4" | "ip" => Some(Condition::Family(Family::V4)),
        "ipv6" | "ip6" => Some(Condition::Family(Family::V6)),
        _ => None,
    }
}

fn address_range(value: &Value) -> Option<RangeInclusive<std::net::IpAddr>> {
    if let Some(prefix) = value.get("prefix") {
        return addresses(&format!("{}/{}", word(prefix, "addr"), prefix["len"]));
    }
    if let Some(range) = value.get("range") {
        return addresses(&format!("{}-{}", range[0].as_str()?, range[1].as_str()?));
    }
    addresses(
        value
            .get("elem")
            .map_or(value, |elem| &elem["val"])
            .as_str()?,
    )
}

fn port_range(value: &Value) -> Option<RangeInclusive<u16>> {
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    if let Some(range) = value.get("range") {
        return Some(port(&range[0])?..=port(&range[1])?);
    }
    Some(port(value)?..=port(value)?)
}
