//! The language, expression by expression: types, operators, macros, libraries.

use sealane_structural::Schema;
use serde_json::{Value, json};

use crate::shown;

fn schema(rule: &str) -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "int": { "type": "integer" },
            "double": { "type": "number" },
            "text": text(),
            "flag": { "type": "boolean" },
            "either": { "x-kubernetes-int-or-string": true },
            "bytes": { "type": "string", "format": "byte" },
            "span": { "type": "string", "format": "duration" },
            "at": { "type": "string", "format": "date-time" },
            "day": { "type": "string", "format": "date" },
            "list": { "type": "array", "maxItems": 8, "items": { "type": "integer" } },
            "set": { "type": "array", "x-kubernetes-list-type": "set", "maxItems": 8, "items": text() },
            "map": { "type": "object", "maxProperties": 8, "additionalProperties": { "type": "integer" } },
            "objects": {
                "type": "array", "maxItems": 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": { "type": "object", "required": ["id"], "properties": { "id": text(), "n": { "type": "integer" } } },
            },
            "namespace": text(),
            "a-b/c.d__e": text(),
            "maybe": { "type": "string", "nullable": true },
            "absent": text(),
            "free": { "x-kubernetes-preserve-unknown-fields": true },
        },
        "x-kubernetes-validations": [{ "rule": rule }],
    })
}

fn object() -> Value {
    json!({
        "int": 7, "double": 1.5, "text": "Grüße", "flag": true, "either": "50%",
        "bytes": "aGk=", "span": "1h30m", "at": "2024-02-29T12:30:45.5Z", "day": "2024-02-29",
        "list": [3, 1, 2], "set": ["a", "b"], "map": { "x": 1, "y": 2 },
        "objects": [{ "id": "a", "n": 1 }, { "id": "b", "n": 2 }],
        "namespace": "ns", "a-b/c.d__e": "escaped", "maybe": null, "free": { "a": 1 },
    })
}

fn judged(rule: &str) -> Vec<String> {
    shown(&Schema::load(&schema(rule)).validate(&object(), None))
}

#[test]
fn these_are_true() {
    for rule in [
        // numbers
        "self.int + 1 == 8 && self.int - 10 == -3 && self.int * 2 == 14 && self.int / 2 == 3 && self.int % 4 == 3",
        "-self.int == -7 && --self.int == 7",
        "self.double * 2.0 == 3.0 && self.double < 2 && 2 > self.double && 1u < 2",
        "int('12') == 12 && int(3.9) == 3 && uint('3') == 3u && double('1.5') == 1.5 && string(12) == '12'",
        "0x10 == 16 && 1e3 == 1000.0 && int(self.either.replace('%', '')) == 50",
        // texts
        "self.text.size() == 5 && size(self.text) == 5",
        "self.text.startsWith('Gr') && self.text.endsWith('ße') && self.text.contains('üß')",
        "self.text.charAt(2) == 'ü' && self.text.charAt(5) == '' && self.text.indexOf('ß') == 3 && self.text.lastIndexOf('e') == 4",
        "self.text.substring(2) == 'üße' && self.text.substring(0, 2) == 'Gr' && self.text.upperAscii() == 'GRüßE'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && ['a', 'b'].join('-') == 'a-b'",
        "' x '.trim() == 'x' && 'aaa'.replace('a', 'b', 2) == 'bba' && 'A' + 'b' == 'Ab'",
        "'a' < 'b' && 'abc'.matches('^a.c$') && matches('abc', 'b') && !'abc'.matches('^b')",
        "'ab12cd'.find('[0-9]+') == '12' && 'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'a1b22'.findAll('[0-9]', 2) == ['1', '2']",
        r"'%s %d %.2f %x %b %s'.format(['a', 1, 1.5, 255, 5, [1, 2]]) == 'a 1 1.50 ff 101 [1, 2]'",
        r"'\u00fc\n' == 'ü\n' && r'\n' == '\\n' && '''a'b''' == 'a\'b'",
        // other types
        "self.flag && !(!self.flag) && (self.flag ? 1 : 2) == 1",
        "self.bytes == b'hi' && size(self.bytes) == 2 && string(self.bytes) == 'hi'",
        "type(self.either) == string && type(self.int) == int && type(self.list) == list && type(type(1)) == type",
        "self.span == duration('90m') && self.span.getMinutes() == 90 && self.span > duration('1h') && string(self.span) == '5400s'",
        "self.at.getFullYear() == 2024 && self.at.getMonth() == 1 && self.at.getDate() == 29 && self.at.getDayOfWeek() == 4 && self.at.getHours('+02:00') == 14",
        "self.at - self.span == timestamp('2024-02-29T11:00:45.5Z') && self.at > self.day && self.at - self.day > duration('12h')",
        // lists and maps
        "self.list[0] == 3 && 2 in self.list && !(9 in self.list) && self.list + [4] == [3, 1, 2, 4]",
        "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.exists_one(x, x > 2) && self.list.map(x, x * 2) == [6, 2, 4]",
        "self.list.filter(x, x > 1) == [3, 2] && self.list.map(x, x > 1, x * 2) == [6, 4]",
        "self.list.sum() == 6 && self.list.min() == 1 && self.list.max() == 3 && !self.list.isSorted() && self.list.indexOf(1) == 1",
        "self.list.sort() == [1, 2, 3] && self.list.reverse() == [2, 1, 3] && [1, 1, 2].distinct() == [1, 2] && self.list.slice(1, 3) == [1, 2]",
        "[[1], [2, 3]].flatten() == [1, 2, 3] && lists.range(3) == [0, 1, 2] && self.list.first().value() == 3 && self.objects.sortBy(o, -o.n)[0].id == 'b'",
        "self.set == ['b', 'a'] && sets.contains(self.set, ['a']) && sets.intersects(self.set, ['b', 'c']) && sets.equivalent([1, 1], [1])",
        "self.map['x'] == 1 && self.map.x == 1 && 'y' in self.map && self.map.all(k, self.map[k] > 0) && self.map.size() == 2",
        "self.map.exists(k, v, k == 'y' && v == 2) && self.list.all(i, v, i < 3) && self.map.transformList(k, v, v).sum() == 3",
        "self.map.transformMap(k, v, v + 1) == {'x': 2, 'y': 3} && self.map.transformMapEntry(k, v, {string(v): k})['1'] == 'x'",
        "self.objects == [self.objects[1], self.objects[0]] && (self.objects + self.objects).size() == 2",
        // presence
        "has(self.int) && !has(self.absent) && !has(self.maybe) && has(self.map.x) && !has(self.map.z)",
        "self.namespace == 'ns' && self.a__dash__b__slash__c__dot__d__underscores__e == 'escaped'",
        "!self.?absent.hasValue() && self.?text.value() == 'Grüße' && self.?absent.orValue('x') == 'x' && self.map[?'z'].orValue(9) == 9",
        "optional.of(1).optMap(x, x + 1) == optional.of(2) && optional.none().orValue(3) == 3 && [?self.?absent, ?optional.of('a')] == ['a']",
        "!(self.list[9] == 1 && false) && (self.list[9] == 1 || true) && self.list.exists(x, 6 / (x - 1) == 6)",
        // libraries
        "url('https://a.example:8080/b%20c?d=e').getHost() == 'a.example:8080' && url('https://a.example:8080').getPort() == '8080' && isURL('/a') && !isURL('a')",
        "url('http://a/b?x=1&x=2').getQuery() == {'x': ['1', '2']} && url('http://[::1]/').getHostname() == '::1'",
        "ip('10.0.0.1').family() == 4 && ip('::1').isLoopback() && isIP('1.2.3.4') && !isIP('1.2.3') && ip.isCanonical('::1') && !ip.isCanonical('0:0::1')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.0.0/8').masked() == cidr('10.0.0.0/8') && cidr('fd00::/64').prefixLength() == 64",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1.5').add(quantity('500m')) == quantity('2') && quantity('2k').asInteger() == 2000 && !isQuantity('a')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1') == semver('1.0.0-rc.1') && isSemver('v1.2', true) && semver('1.2.3').minor() == 2",
        "!format.dns1123Label().validate('a-b').hasValue() && format.dns1123Label().validate('A').hasValue() && format.named('uuid').hasValue()",
    ] {
        assert_eq!(judged(rule), Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn these_do_not_compile() {
    for (rule, expected) in [
        ("self.nothing", "1:5: undefined field 'nothing'"),
        ("self.free == 1", "1:5: undefined field 'free'"),
        (
            "other",
            "1:1: undeclared reference to 'other' (in container '')",
        ),
        (
            "self.text.unknown()",
            "1:18: undeclared reference to 'unknown' (in container '')",
        ),
        (
            "self.int + 'a' == 1",
            "1:10: found no matching overload for '_+_' applied to '(int, string)'",
        ),
        (
            "self.int == self.double",
            "1:10: found no matching overload for '_==_' applied to '(int, double)'",
        ),
        (
            "self.text == null",
            "1:11: found no matching overload for '_==_' applied to '(string, null)'",
        ),
        (
            "self.text.startsWith(1)",
            "1:21: found no matching overload for 'startsWith' applied to 'string.(int)'",
        ),
        (
            "size(self.int) == 1",
            "1:5: found no matching overload for 'size' applied to '(int)'",
        ),
        (
            "self.int.all(x, true)",
            "1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        (
            "[1, 'a'] == []",
            "1:5: expected type 'int' but found 'string'",
        ),
        (
            "(self.flag ? 1 : 'a') == 1",
            "1:12: found no matching overload for '_?_:_' applied to '(bool, int, string)'",
        ),
        (
            "self.text.matches('(')",
            "1:19: invalid matches argument: error parsing regexp: unclosed group: `(`",
        ),
        (
            "timestamp('yesterday') == self.at",
            "1:11: invalid timestamp argument",
        ),
        ("has(self)", "1:5: invalid argument to has() macro"),
        (
            "self.text ==",
            "1:13: Syntax error: mismatched input '<EOF>'",
        ),
        (
            "!self.int",
            "1:1: found no matching overload for '!_' applied to '(int)'",
        ),
        (
            "self.list['a'] == 1",
            "1:10: found no matching overload for '_[_]' applied to '(list(int), string)'",
        ),
        (
            "sets.contains(self.list, ['a'])",
            "1:14: found no matching overload for 'sets.contains' applied to '(list(int), list(string))'",
        ),
    ] {
        let found = judged(rule);
        let expected = format!(
            "rule compile error: compilation failed: ERROR: <input>:{expected}\n | {rule}\n"
        );
        assert!(
            found.len() == 1 && found[0].contains(&expected),
            "{rule}: {found:?}"
        );
    }
}

#[test]
fn these_fail_when_they_are_evaluated() {
    for (rule, expected) in [
        ("self.absent == 'a'", "no such key: absent"),
        ("self.map['z'] == 1", "no such key: z"),
        ("self.list[3] == 1", "index out of bounds: 3"),
        ("9223372036854775807 + self.int > 0", "integer overflow"),
        (
            "self.either > 5",
            "'no such overload': call arguments did not match a supported operator, function or macro signature",
        ),
        ("int(self.text) == 1", "type conversion error"),
        (
            "url('a').getHost() == ''",
            "URL parse error during conversion from string",
        ),
        ("self.?absent.value() == 'a'", "optional.none() dereference"),
        ("[].max() == 1", "max called on empty list"),
        (
            "self.list.exists(x, self.list[x] == 9)",
            "index out of bounds: 3",
        ),
        (
            "self.at.getHours('Europe/Berlin') == 1",
            "unknown time zone Europe/Berlin",
        ),
    ] {
        let found = judged(rule);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{rule}: {found:?}"
        );
    }
}
