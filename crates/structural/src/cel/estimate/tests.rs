//! What Kubernetes 1.34 says that rules cost.

use serde_json::{Value, json};

use crate::Schema;
use crate::cel::Rule;

fn cost(place: &Value, rule: &str) -> u64 {
    let raw = json!({ "type": "object", "properties": { "place": place } });
    let root = Schema::load(&raw);
    let node = &root.root().properties["place"];
    let rule = Rule::read(&json!({ "rule": rule }));
    rule.program(node)
        .unwrap_or_else(|why| panic!("{}: {why}", rule.text))
        .estimate(node)
}

fn holds(cases: &[(Value, &str, u64)]) {
    let others = cases.iter().filter_map(|(place, rule, expected)| {
        let found = cost(place, rule);
        let says = format!("{rule} of {place}: {found}, expected {expected}");
        (found != *expected).then_some(says)
    });
    assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn short(most: u64) -> Value {
    json!({ "type": "string", "maxLength": most })
}

fn list(item: &Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn map(member: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": member })
}

/// As many as fit into a request: the less one takes, the more of them.
#[test]
fn lists_and_maps_without_limits_are_as_long_as_a_request() {
    let int_or_string = json!({ "x-kubernetes-int-or-string": true });
    let needs = json!({ "type": "object", "properties": { "required": text(), "optional": text() }, "required": ["required"] });
    let of = |kind: &str| json!({ "type": kind });
    let form = |format: &str| json!({ "type": "string", "format": format });
    for (item, as_list, as_map) in [
        (of("number"), 4_718_591, 1_348_169),
        (of("string"), 3_145_727, 1_179_647),
        (of("boolean"), 1_887_437, 943_718),
        (list(&of("number")), 3_145_727, 1_179_647),
        (map(&of("number")), 3_145_727, 1_179_647),
        (needs, 555_128, 428_963),
        (int_or_string, 4_718_591, 1_348_169),
        (form("duration"), 2_359_295, 1_048_577),
        (form("date"), 725_936, 524_288),
        (form("date-time"), 428_963, 349_526),
    ] {
        assert_eq!(cost(&list(&item), "self.all(x, true)"), as_list, "{item}");
        assert_eq!(cost(&map(&item), "self.all(x, true)"), as_map, "{item}");
    }
    let mut limited = list(&of("number"));
    limited["maxItems"] = json!(10);
    holds(&[
        (limited.clone(), "self.all(x, true)", 32),
        (limited.clone(), "self.all(x, self.all(y, true))", 352),
        (limited, "self.all(x, self.all(y, self.all(z, true)))", 3552),
    ]);
}

#[test]
fn operators() {
    let numbers = list(&json!({ "type": "number" }));
    let texts = list(&text());
    let times = map(&json!({ "type": "string", "format": "date-time" }));
    let spans = list(&json!({ "type": "string", "format": "duration" }));
    let either = list(&json!({ "x-kubernetes-int-or-string": true }));
    holds(&[
        (numbers.clone(), "self[1] == 0.0", 2),
        (numbers.clone(), "self.all(x, x == 0.0)", 6_291_454),
        (numbers, "self[1] + self[0] > -1.0", 6),
        (texts.clone(), "self[1] == self[1]", 314_577),
        (texts.clone(), "'a' in self", 1_048_576),
        (texts, "self[0] in ['a', 'b']", 14),
        (times, "self['a'] == self['b']", 8),
        (spans, "self[0].getHours() == 2", 4),
        (either, "self[0] == 5", 3),
        (
            list(&list(&json!({ "type": "number" }))),
            "self[0][0] == -1.0",
            3,
        ),
        (map(&text()), "self.all(x, x.contains(self[x]))", 2_752_507),
        (text(), "size(self + 'hello') > size('hello')", 314_578),
        (text(), "self == 'x'", 2),
        (short(0), "self == 'x'", 1),
        (
            json!({ "type": "string", "format": "byte" }),
            "self == b'x'",
            2,
        ),
        (
            map(&json!({ "type": "integer" })),
            "oldSelf.size() == self.size()",
            5,
        ),
        (map(&json!({ "type": "integer" })), "has(self.x)", 1),
        (
            json!({ "type": "integer" }),
            "self > 1 ? self < 5 : !(self == 0)",
            4,
        ),
    ]);
}

#[test]
fn functions() {
    let either = json!({ "x-kubernetes-int-or-string": true });
    let words = json!({ "type": "string", "enum": ["A", "B", "LongValue"] });
    let parts = json!({ "type": "object", "properties": { "whole": text(), "old": short(2), "new": short(4) } });
    holds(&[
        (text(), "self.contains('test')", 314_574),
        (text(), "self.startsWith('test')", 2),
        (text(), "self.matches('x')", 314_574),
        (text(), "''.matches('(((((((((())))))))))[0-9]')", 7),
        (text(), "self.matches('')", 1),
        (text(), "self.find('[0-9]+') == ''", 629_147),
        (text(), "self.lowerAscii() == 'lower!'", 314_575),
        (list(&text()), "self.join(' ') == 'aa bb'", 329_853_068_905),
        (list(&text()), "self.isSorted() == true", 329_854_432_052),
        (
            parts.clone(),
            "self.whole.replace(self.old, self.new) == 'x'",
            629_153,
        ),
        (parts, "self.whole.split(self.new) == []", 629_160),
        (words, "self.contains('A')", 2),
        (either, "isQuantity(self)", 314_574),
        (short(10), "isURL(self) && url(self).getHost() == ''", 8),
        (
            short(10),
            "isCIDR(self) && cidr(self).containsIP('10.0.0.1')",
            15,
        ),
        (short(10), "isIP(self) && ip(self).family() == 4", 12),
        (short(10), "ip(self) == ip('10.0.0.1')", 7),
    ]);
}

/// Each of them is odd, and what people have found to work or not.
#[test]
fn what_is_not_known_is_as_large_as_can_be() {
    let structure =
        json!({ "type": "object", "properties": { "a": short(10), "i": { "type": "integer" } } });
    let mut named = list(&json!({ "type": "object", "properties": { "name": short(10) } }));
    named["maxItems"] = json!(4);
    let unknown = 1_844_674_407_370_955_264;
    holds(&[
        // What an optional holds has no place.
        (structure.clone(), "self.?a.orValue('') == 'x'", 4),
        (structure.clone(), "self.?a.orValue('').startsWith('x')", 4),
        (
            structure.clone(),
            "self.?a.orValue('').contains('x')",
            unknown + 3,
        ),
        (
            structure.clone(),
            "string(self.i).contains('1')",
            unknown + 3,
        ),
        // Types are variables, which are as large as `self`.
        (structure.clone(), "type(self.i) == int", 4),
        (structure, "self.a.split('.').all(x, x == '1')", 171),
        (
            named.clone(),
            "self.map(x, x.name).all(x, x.contains('a'))",
            89,
        ),
        (
            named,
            "self.map(x, x.name).max() == 'a'",
            7_378_697_629_483_821_129,
        ),
    ]);
}

#[test]
fn macros() {
    let mut numbers = list(&json!({ "type": "integer" }));
    numbers["maxItems"] = json!(10);
    let mut tags = map(&short(10));
    tags["maxProperties"] = json!(10);
    holds(&[
        (numbers.clone(), "self.exists(x, true)", 42),
        (numbers.clone(), "self.exists_one(x, true)", 23),
        (numbers.clone(), "self.map(x, x).size() == 10", 144),
        (numbers.clone(), "self.map(x, x > 1, x).size() == 10", 164),
        (numbers.clone(), "self.filter(x, x > 1).size() == 10", 164),
        (numbers.clone(), "self.all(i, x, i < x)", 62),
        (numbers.clone(), "self.sum() == 10", 12),
        (numbers.clone(), "self.sort() == [1]", 223),
        (tags.clone(), "self.all(k, k != 'a')", 42),
        (tags, "self.all(k, v, v != 'a')", 52),
        (
            json!({ "type": "object", "properties": { "a": short(10) } }),
            "self.?a.optMap(x, x == 'a').orValue(true)",
            20,
        ),
    ]);
}
