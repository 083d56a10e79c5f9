//! `log`: which queries are written down, and as what line.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sealane_message::{Name, Question, Rcode};

use crate::config::longest;

/// Which queries are written down; the first rule for a name counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// For names of these zones.
    pub zones: Vec<Name>,
    /// As what line.
    pub format: Format,
    /// `class`: those that ended so; all, if nothing is said.
    pub classes: Option<Classes>,
    /// `minDuration`: and those that took longer.
    pub min_duration: Option<Duration>,
}

/// How queries end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// With records.
    pub success: bool,
    /// There is no such name, or no such record.
    pub denial: bool,
    /// In any other way.
    pub error: bool,
}

impl LogRule {
    /// Whether it is for a name.
    #[must_use]
    pub fn is_for(&self, name: &Name) -> bool {
        longest(&self.zones, name).is_some()
    }

    /// Whether a query that ended so is written down.
    #[must_use]
    pub fn wants(&self, rcode: Rcode, has_records: bool, took: Duration) -> bool {
        let Some(classes) = self.classes else {
            return true;
        };
        let of_class = match rcode {
            Rcode::NOERROR if has_records => classes.success,
            Rcode::NOERROR | Rcode::NXDOMAIN => classes.denial,
            _ => classes.error,
        };
        of_class || self.min_duration.is_some_and(|least| took >= least)
    }
}

/// A query that was answered.
#[derive(Clone, Debug)]
pub struct LogLine<'a> {
    /// What was asked, as the client asked it.
    pub question: &'a Question,
    /// The query's id.
    pub id: u16,
    /// The query's opcode.
    pub opcode: u8,
    /// Who asked.
    pub client: SocketAddr,
    /// Namespace and name of the pod that did, if it is known.
    pub pod: Option<(&'a str, &'a str)>,
    /// The address that was asked.
    pub server: Option<IpAddr>,
    /// By TCP.
    pub tcp: bool,
    /// Length of the query.
    pub request_bytes: usize,
    /// EDNS: the client's size; 512 without it.
    pub udp_bytes: u16,
    /// EDNS: DO.
    pub dnssec_ok: bool,
    /// The header of the reply: its third and fourth byte.
    pub flags: [u8; 2],
    /// How it ended, with the bits of EDNS.
    pub rcode: Rcode,
    /// Length of the reply.
    pub reply_bytes: usize,
    /// Until it was sent.
    pub took: Duration,
}

/// A line with places that are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Kind,
    Name,
    Class,
    Protocol,
    Remote,
    Local,
    Size,
    Port,
    Duration,
    Rcode,
    ReplySize,
    Flags,
    UdpBytes,
    DnssecOk,
    Id,
    Opcode,
    PodNamespace,
    PodName,
    /// ` NAMESPACE/NAME`, or nothing.
    Pod,
    Unknown,
}

const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}{pod}";
const COMBINED: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration} \"{>opcode}\"{pod}";

const PLACES: &[(&str, Place)] = &[
    ("type", Place::Kind),
    ("name", Place::Name),
    ("class", Place::Class),
    ("proto", Place::Protocol),
    ("remote", Place::Remote),
    ("local", Place::Local),
    ("size", Place::Size),
    ("port", Place::Port),
    ("duration", Place::Duration),
    ("rcode", Place::Rcode),
    ("rsize", Place::ReplySize),
    (">rflags", Place::Flags),
    (">bufsize", Place::UdpBytes),
    (">do", Place::DnssecOk),
    (">id", Place::Id),
    (">opcode", Place::Opcode),
    ("/kubernetes/client-namespace", Place::PodNamespace),
    ("/kubernetes/client-pod-name", Place::PodName),
    ("pod", Place::Pod),
];

impl Format {
    /// The line that `CoreDNS` writes, and behind it the pod, if it is known.
    #[must_use]
    pub fn common() -> Self {
        Self::parse("{common}").0
    }

    /// Reads a line; also the places in it that nobody knows.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let text = text
            .replace("{common}", COMMON)
            .replace("{combined}", COMBINED);
        let mut parts = Vec::new();
        let mut unknown = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, inside)) = rest.split_once('{') {
            let Some((name, after)) = inside.split_once('}') else {
                break;
            };
            let place = PLACES.iter().find(|(known, _)| *known == name);
            if place.is_none() {
                unknown.push(name.to_owned());
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Place(
                place.map_or(Place::Unknown, |(_, place)| *place),
            ));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        (Self(parts), unknown)
    }

    /// Appends the line for a query, without a line break.
    pub fn render(&self, line: &LogLine<'_>, out: &mut String) {
        for part in &self.0 {
            let _infallible = match part {
                Part::Text(text) => out.write_str(text),
                Part::Place(place) => place.render(line, out),
            };
        }
    }
}

impl Place {
    fn render(self, line: &LogLine<'_>, out: &mut String) -> std::fmt::Result {
        let namespace = line.pod.map_or("-", |(namespace, _)| namespace);
        match self {
            Self::Kind => write!(out, "{}", line.question.kind),
            Self::Name => write!(out, "{}", line.question.name),
            Self::Class => write!(out, "{}", line.question.class),
            Self::Protocol => out.write_str(if line.tcp { "tcp" } else { "udp" }),
            Self::Remote => address(Some(line.client.ip()), out),
            Self::Local => address(line.server, out),
            Self::Size => write!(out, "{}", line.request_bytes),
            Self::Port => write!(out, "{}", line.client.port()),
            Self::Duration => seconds(line.took, out),
            Self::Rcode => write!(out, "{}", line.rcode),
            Self::ReplySize => write!(out, "{}", line.reply_bytes),
            Self::Flags => flags(line.flags, out),
            Self::UdpBytes => write!(out, "{}", line.udp_bytes),
            Self::DnssecOk => write!(out, "{}", line.dnssec_ok),
            Self::Id => write!(out, "{}", line.id),
            Self::Opcode => write!(out, "{}", line.opcode),
            Self::PodNamespace => out.write_str(namespace),
            Self::PodName => out.write_str(line.pod.map_or("-", |(_, name)| name)),
            Self::Pod => match line.pod {
                Some((namespace, name)) => write!(out, " {namespace}/{name}"),
                None => Ok(()),
            },
            Self::Unknown => out.write_str("-"),
        }
    }
}

fn address(address: Option<IpAddr>, out: &mut String) -> std::fmt::Result {
    match address {
        Some(IpAddr::V6(address)) => write!(out, "[{address}]"),
        Some(address) => write!(out, "{address}"),
        None => out.write_str("-"),
    }
}

/// As Go writes a number of seconds: no more digits than there are.
fn seconds(took: Duration, out: &mut String) -> std::fmt::Result {
    let digits = format!("{:09}", took.subsec_nanos());
    let digits = digits.trim_end_matches('0');
    let dot = if digits.is_empty() { "" } else { "." };
    write!(out, "{}{dot}{digits}s", took.as_secs())
}

fn flags(header: [u8; 2], out: &mut String) -> std::fmt::Result {
    let bits = u16::from_be_bytes(header);
    let names = [
        (15, "qr"),
        (10, "aa"),
        (9, "tc"),
        (8, "rd"),
        (7, "ra"),
        (5, "ad"),
        (4, "cd"),
    ];
    let mut separator = "";
    for (bit, name) in names {
        if bits >> bit & 1 == 1 {
            write!(out, "{separator}{name}")?;
            separator = ",";
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealane_message::Kind;

    fn shown(format: &str, pod: Option<(&str, &str)>) -> String {
        let question = Question::new("example.org".parse().unwrap(), Kind::A);
        let line = LogLine {
            question: &question,
            id: 29008,
            opcode: 0,
            client: "[::1]:50759".parse().unwrap(),
            pod,
            server: Some("10.96.0.10".parse().unwrap()),
            tcp: false,
            request_bytes: 41,
            udp_bytes: 4096,
            dnssec_ok: false,
            flags: [0x81, 0xA0],
            rcode: Rcode::NOERROR,
            reply_bytes: 68,
            took: Duration::from_nanos(37_990_251),
        };
        let mut out = String::new();
        Format::parse(format).0.render(&line, &mut out);
        out
    }

    #[test]
    fn lines_are_those_of_coredns_with_the_pod_behind() {
        let common = r#"[::1]:50759 - 29008 "A IN example.org. udp 41 false 4096" NOERROR qr,rd,ra,ad 68 0.037990251s"#;
        assert_eq!(shown("{common}", None), common);
        let with_pod = shown("{common}", Some(("default", "web")));
        assert_eq!(with_pod, format!("{common} default/web"));
        assert_eq!(shown("{combined}", None), format!("{common} \"0\""));
        assert_eq!(
            shown(
                "{local} {/kubernetes/client-namespace} {/other/label} {name}{",
                Some(("default", "web"))
            ),
            "10.96.0.10 default - example.org.{"
        );
    }

    #[test]
    fn classes_and_durations_choose() {
        let rule = |classes, min_duration| LogRule {
            zones: vec![Name::ROOT],
            format: Format::common(),
            classes,
            min_duration,
        };
        let error = Classes {
            error: true,
            ..Classes::default()
        };
        let denial = Classes {
            denial: true,
            ..Classes::default()
        };
        let slow = Some(Duration::from_secs(1));
        for (rule, rcode, records, took, expected) in [
            (rule(None, None), Rcode::NOERROR, true, 0, true),
            (rule(Some(error), None), Rcode::NOERROR, true, 0, false),
            (rule(Some(error), None), Rcode::SERVFAIL, false, 0, true),
            (rule(Some(error), slow), Rcode::NOERROR, true, 1, true),
            (rule(Some(denial), None), Rcode::NXDOMAIN, false, 0, true),
            (rule(Some(denial), None), Rcode::NOERROR, false, 0, true),
            (rule(Some(denial), None), Rcode::NOERROR, true, 0, false),
        ] {
            let took = Duration::from_secs(took);
            assert_eq!(
                rule.wants(rcode, records, took),
                expected,
                "{rule:?} {rcode}"
            );
        }
    }
}
