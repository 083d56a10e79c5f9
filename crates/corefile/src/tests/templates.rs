//! Questions in, answers made from them out.

use sealane_message::Data;

use super::*;

fn found(plugins: &str, of: &str, kind: Kind) -> String {
    let (server, _) = server(plugins);
    let client = "192.0.2.9".parse().unwrap();
    match server.templates.find(&question(of, kind), client) {
        TemplateFound::Pass => "pass".into(),
        TemplateFound::Fail(reason) => format!("fail: {reason}"),
        TemplateFound::Answer(answer) => {
            let mut text = vec![answer.rcode.to_string()];
            let sections = [
                ("", &answer.answer),
                ("ns ", &answer.authority),
                ("more ", &answer.additional),
            ];
            for (prefix, records) in sections {
                for record in records {
                    let value = match record.data() {
                        Data::A(address) => address.to_string(),
                        Data::Ptr(name) | Data::Cname(name) | Data::Ns(name) => name.to_string(),
                        Data::Mx { exchange, .. } => exchange.to_string(),
                        Data::Soa(soa) => format!("{} {}", soa.primary, soa.serial),
                        Data::Other(_, wire) => String::from_utf8_lossy(wire).into_owned(),
                        other => format!("{other:?}"),
                    };
                    text.push(format!("{prefix}{} {} {value}", record.owner, record.ttl));
                }
            }
            text.join(", ")
        }
    }
}

const ADDRESSES: &str = r#"
template IN A example {
  match "(^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$"
  answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
  fallthrough
}
template IN MX example {
  match ^ip-10-(?P<b>[0-9]*)[.]example[.]$
  answer "{{ .Name }} 60 IN MX 10 {{ .Name }}"
  additional "{{ .Name }} 60 IN A 10.0.0.{{ .Group.b }}"
  authority "example. 60 IN NS ns0.example."
}
template IN PTR in-addr.arpa {
  match ^(?P<d>[0-9]*)[.](?P<c>[0-9]*)[.](?P<b>[0-9]*)[.](?P<a>[0-9]*)[.]in-addr[.]arpa[.]$
  answer "{{ .Name }} 60 IN PTR ip-{{ .Group.a }}-{{ .Group.b }}-{{ .Group.c }}-{{ .Group.d }}.example."
}"#;

#[test]
fn answers_are_made_from_names() {
    for (plugins, of, kind, expected) in [
        (
            "template ANY ANY invalid {\n rcode NXDOMAIN\n authority \"{{ .Zone }} 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)\"\n }",
            "x.invalid",
            Kind::A,
            "NXDOMAIN, ns invalid. 60 ns.invalid. 1",
        ),
        (
            ADDRESSES,
            "ip-192-0-2-1.example",
            Kind::A,
            "NOERROR, ip-192-0-2-1.example. 60 192.0.2.1",
        ),
        (ADDRESSES, "web.example", Kind::A, "pass"),
        (
            ADDRESSES,
            "ip-10-7.example",
            Kind::MX,
            "NOERROR, ip-10-7.example. 60 ip-10-7.example., ns example. 60 ns0.example., more ip-10-7.example. 60 10.0.0.7",
        ),
        (
            ADDRESSES,
            "web.example",
            Kind::MX,
            "fail: no pattern of its template matches web.example., which has no fallthrough",
        ),
        (
            ADDRESSES,
            "1.2.0.192.in-addr.arpa",
            Kind::PTR,
            "NOERROR, 1.2.0.192.in-addr.arpa. 60 ip-192-0-2-1.example.",
        ),
        (ADDRESSES, "web.example", Kind::TXT, "pass"),
        (
            ADDRESSES,
            "ip-192-0-2-256.example",
            Kind::A,
            "fail: record \"ip-192-0-2-256.example. 60 IN A 192.0.2.256\": A: \"192.0.2.256\" does not fit",
        ),
        (
            "template IN A {\n match ^ip0a([a-f0-9]{2})[.]x[.]$\n answer \"{{.Name}} 60 IN A 10.0.0.{{ parseInt (index .Match 1) 16 8 }}\"\n }",
            "ip0aff.x",
            Kind::A,
            "NOERROR, ip0aff.x. 60 10.0.0.255",
        ),
        (
            "template IN TXT {\n answer `{{.Name}}`\n }",
            "x",
            Kind::TXT,
            "fail: record \"`x.`\": has no type: expected NAME TTL IN TYPE DATA",
        ),
        (
            "template IN TXT {\n answer \"{{- /* who asks */ -}} {{ .Question.Name }} 5 {{ .Class }} {{ .Type }} {{ .Remote }}\"\n }",
            "x",
            Kind::TXT,
            "NOERROR, x. 5 \t192.0.2.9",
        ),
    ] {
        assert_eq!(found(plugins, of, kind), expected, "{plugins}\n{of}");
    }
}

#[test]
fn what_go_has_and_we_have_not_is_a_fault() {
    for (text, expected) in [
        ("{{ if .Name }}", "if is not supported; known are .Name"),
        ("{{ .Message }}", ".Message is not supported"),
        ("{{ .Name | printf }}", "\"|\" is not supported here"),
        ("{{ .Name", "{{ is never closed"),
        ("{{ index .Match a }}", "a is not supported"),
        (
            "{{ index .Name 1 }}",
            "index .Name: expected `index .Match NUMBER`",
        ),
        ("{{ parseInt .Name 16 }}", "something is missing"),
        ("{{ (.Name }}", "( is never closed"),
        ("{{ }}", "something is missing"),
        ("{{ \\\"a }}", "\" is never closed"),
    ] {
        let found = faults(&format!(
            ". {{\n template IN A {{\n answer \"{text}\"\n }}\n}}\n"
        ));
        assert!(found[0].contains(expected), "{text}: {found:?}");
    }
}

#[test]
fn a_group_that_no_pattern_has_is_named() {
    let (_, notices) =
        server("template IN A {\n match (?P<a>.)\n answer \"x 5 A 192.0.2.{{ .Group.b }}\"\n }");
    assert_eq!(
        notices,
        ["Corefile:2: template: group \"b\" is in none of its patterns, and read as nothing"]
    );
}
