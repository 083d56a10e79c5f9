//! Questions in, other questions out; answers back.

use sealane_message::{Age, Answer, Class, Data, Rcode, Records, Request, Section, Writer};

use super::*;

fn asked(rules: &str, of: &str) -> String {
    let (server, _) = server(rules);
    match server.rewrites.apply(&question(of, Kind::A)) {
        Rewritten::Unchanged => "unchanged".into(),
        Rewritten::To(back) => back.asked().name.to_string(),
        Rewritten::Invalid(error) => error,
    }
}

#[test]
fn names_are_rewritten_in_each_way() {
    for (rules, of, expected) in [
        ("rewrite name a.org b.org", "a.org", "b.org."),
        ("rewrite name exact a.org b.org", "A.ORG", "b.org."),
        ("rewrite name a.org b.org", "x.a.org", "unchanged"),
        ("rewrite name prefix old- new-", "old-a.org", "new-a.org."),
        (
            "rewrite name suffix .a.org .b.org.",
            "x.y.a.org",
            "x.y.b.org.",
        ),
        ("rewrite name suffix .a.org. .b.org", "a.org", "unchanged"),
        (
            "rewrite name substring service.us-west-1.example.org service.us-west-1.consul",
            "ftp.service.us-west-1.example.org",
            "ftp.service.us-west-1.consul.",
        ),
        (
            r"rewrite name regex (.*)-(us-west-1)\.example\.org {1}.service.{2}.consul",
            "ftp-us-west-1.example.org",
            "ftp.service.us-west-1.consul.",
        ),
        (
            r"rewrite name regex ^(.*)\.a\.org\.$ {1}.{0}",
            "x.a.org",
            "x.x.a.org.",
        ),
        (
            "rewrite name suffix .a.org .svc.cluster.local answer auto",
            "web.default.a.org",
            "web.default.svc.cluster.local.",
        ),
        (
            "rewrite stop {\n name regex (.*)\\.a\\.org {1}.b.org\n answer name (.*)\\.b\\.org {1}.a.org\n }",
            "x.a.org",
            "x.b.org.",
        ),
        // The first that matches ends it, unless it says that others follow.
        (
            "rewrite name a.org b.org\nrewrite name b.org c.org",
            "a.org",
            "b.org.",
        ),
        (
            "rewrite continue name a.org b.org\nrewrite name b.org c.org",
            "a.org",
            "c.org.",
        ),
        (
            "rewrite name x.org b.org\nrewrite name a.org c.org",
            "a.org",
            "c.org.",
        ),
        (
            "rewrite name suffix a.org ..org",
            "x.a.org",
            "rewrite x.a.org.: name \"x...org.\" has an empty label",
        ),
    ] {
        assert_eq!(asked(rules, of), expected, "{rules}");
    }
}

#[test]
fn types_and_classes_are_rewritten() {
    let (server, _) = server("rewrite continue type ANY A\nrewrite class CH IN");
    let mut original = question("a.org", Kind::ANY);
    original.class = Class::CHAOS;
    let Rewritten::To(back) = server.rewrites.apply(&original) else {
        panic!("not rewritten");
    };
    let asked = back.asked();
    assert_eq!((asked.kind, asked.class), (Kind::A, Class::IN));
    assert!(back.keeps_records());
    assert_eq!(*back.original(), original);
}

/// The records that the client sees of an answer, as text.
fn seen(rules: &str, of: &str, write: impl FnOnce(&mut Writer<'_>)) -> String {
    let (server, _) = server(rules);
    let original = question(of, Kind::A);
    let Rewritten::To(back) = server.rewrites.apply(&original) else {
        panic!("not rewritten");
    };
    let answer = Answer::make(back.asked(), |writer| {
        write(writer);
        Ok(())
    });
    let mut bytes = Vec::new();
    let request = Request::new(7, original);
    let mut writer = Writer::reply(&mut bytes, &request, 512);
    back.write(&answer.unwrap(), Age::Seconds(10), &mut writer)
        .unwrap();
    let rcode = writer.rcode();
    writer.finish();
    let mut text = vec![rcode.to_string()];
    for record in Records::of(&bytes).unwrap() {
        let record = record.unwrap();
        let value = match record.data {
            Data::Cname(name) | Data::Ptr(name) => name.to_string(),
            Data::A(address) => address.to_string(),
            other => format!("{other:?}"),
        };
        text.push(format!("{} {} {value}", record.owner, record.ttl));
    }
    text.join(", ")
}

#[test]
fn answers_look_as_if_nothing_had_been_rewritten() {
    let records = |writer: &mut Writer<'_>| {
        let alias = Data::Cname(name("x.pool.b.org"));
        let address = Data::A([192, 0, 2, 1].into());
        writer
            .push(Section::Answer, &name("x.b.org"), 60, &alias)
            .unwrap();
        writer
            .push(Section::Answer, &name("x.pool.b.org"), 60, &address)
            .unwrap();
    };
    let suffix = "rewrite name suffix .a.org .b.org answer auto";
    for (rules, expected) in [
        (
            suffix.to_owned(),
            "NOERROR, x.a.org. 50 x.pool.b.org., x.pool.b.org. 50 192.0.2.1",
        ),
        (
            format!(
                r"{suffix} answer name (.*)\.b\.org {{1}}.a.org answer value (.*)\.b\.org {{1}}.a.org"
            ),
            "NOERROR, x.a.org. 50 x.pool.a.org., x.pool.a.org. 50 192.0.2.1",
        ),
        (
            format!("rewrite continue ttl regex .* 20-30\n{suffix}"),
            "NOERROR, x.a.org. 30 x.pool.b.org., x.pool.b.org. 30 192.0.2.1",
        ),
        (
            format!("rewrite continue ttl suffix a.org 5\n{suffix}"),
            "NOERROR, x.a.org. 5 x.pool.b.org., x.pool.b.org. 5 192.0.2.1",
        ),
    ] {
        assert_eq!(seen(&rules, "x.a.org", records), expected, "{rules}");
    }
}

#[test]
fn rcodes_are_rewritten_back() {
    let failed = |writer: &mut Writer<'_>| writer.set_rcode(Rcode::SERVFAIL);
    assert_eq!(
        seen(
            "rewrite rcode suffix a.org SERVFAIL NXDOMAIN",
            "x.a.org",
            failed
        ),
        "NXDOMAIN"
    );
}
