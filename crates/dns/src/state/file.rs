//! The file's form: lines of JSON between a first line that tells the form, and a last one that tells whether all of
//! it is there.
//!
//! ```text
//! {"sealane-dns":1,"written":1763759640}
//! {"corefile":{"coredns":{"Corefile":"…"},"custom":{}}}
//! {"service":["default","web",{"target":{"addresses":["10.96.0.7"]},"ports":[…]}]}
//! {"slice":["default","web-x1",{"service":"web","ports":[…],"endpoints":[["10.244.1.2"],["10.244.1.3","web-1"]]}]}
//! …
//! {"sha256":"…"}
//! ```

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256};
use sealane_objects::{EndpointDns, ObjectName, PodDns, PortDns, ServiceDns, SliceDns};
use sealane_zone::{Part, Zone};
use serde::{Deserialize, Serialize};

use crate::configure::Texts;

const FORM: u32 = 1;

/// All that a worker needs to know.
#[derive(Debug)]
pub struct Known {
    /// When it was written.
    pub written: SystemTime,
    /// The cluster's names.
    pub zone: Zone,
    /// The pods of this node.
    pub pods: Vec<(ObjectName, PodDns)>,
    /// The Corefile of the cluster, if it was looked for there.
    pub texts: Option<Texts>,
}

/// Why a file tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// Something is missing, or was changed.
    #[error("it is not whole")]
    Torn,
    /// It is of another version.
    #[error("it has another form than this version's")]
    OtherForm,
    /// A line that is whole says something that is not known.
    #[error("line {number}: {source}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct First {
    #[serde(rename = "sealane-dns")]
    form: u32,
    /// Seconds since 1970.
    written: u64,
}

#[derive(Serialize, Deserialize)]
struct Last {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Corefile(Texts),
    Namespace(String),
    Service(String, String, ServiceDns),
    Slice(String, String, Slice),
    /// One of this node.
    Client(String, String, PodDns),
    Pod(String, String, Vec<IpAddr>),
}

/// Shorter than [`SliceDns`], since it is what most of the file consists of.
#[derive(Serialize, Deserialize)]
struct Slice {
    service: String,
    ports: Vec<PortDns>,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Endpoint {
    Named(IpAddr, String),
    Nameless([IpAddr; 1]),
}

/// Writes the lines of a file, and what they are checked by.
pub struct Writer<W> {
    to: W,
    digest: Context,
}

impl<W: Write> Writer<W> {
    /// Writes the first line.
    pub fn begin(to: W, now: SystemTime) -> io::Result<Self> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut writer = Self {
            to,
            digest: Context::new(&SHA256),
        };
        writer.line(&First {
            form: FORM,
            written: since.as_secs(),
        })?;
        Ok(writer)
    }

    /// The Corefile.
    pub fn texts(&mut self, texts: Texts) -> io::Result<()> {
        self.line(&Line::Corefile(texts))
    }

    /// A pod of this node.
    pub fn client(&mut self, name: ObjectName, pod: PodDns) -> io::Result<()> {
        self.line(&Line::Client(name.namespace, name.name, pod))
    }

    /// A part of the zone.
    pub fn part(&mut self, part: Part) -> io::Result<()> {
        self.line(&match part {
            Part::Namespace(name) => Line::Namespace(name),
            Part::Service(name, service) => Line::Service(name.namespace, name.name, service),
            Part::Slice(name, slice) => Line::Slice(name.namespace, name.name, shorter(slice)),
            Part::Pod(name, addresses) => Line::Pod(name.namespace, name.name, addresses),
        })
    }

    /// Writes the last line.
    pub fn end(mut self) -> io::Result<W> {
        let sha256 = hex(self.digest.clone());
        self.line(&Last { sha256 })?;
        Ok(self.to)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.digest.update(&bytes);
        self.to.write_all(&bytes)
    }
}

/// What a file tells.
///
/// # Errors
/// When it is torn or of another form: then it tells nothing.
pub fn read(bytes: &[u8]) -> Result<Known, Damaged> {
    let lines = whole(bytes).ok_or(Damaged::Torn)?;
    let mut lines = lines.split_inclusive(|byte| *byte == b'\n').zip(1..);
    let (first, _) = lines.next().ok_or(Damaged::Torn)?;
    let first: First = serde_json::from_slice(first).map_err(|_| Damaged::OtherForm)?;
    if first.form != FORM {
        return Err(Damaged::OtherForm);
    }
    let mut known = Known {
        written: at(first.written),
        zone: Zone::new(),
        pods: Vec::new(),
        texts: None,
    };
    for (line, number) in lines {
        let line = serde_json::from_slice(line);
        known.take(line.map_err(|source| Damaged::Line { number, source })?);
    }
    Ok(known)
}

fn at(seconds: u64) -> SystemTime {
    let since = Duration::from_secs(seconds);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// All lines but the last, if that one fits to them.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let all = bytes.strip_suffix(b"\n")?;
    let start = all.iter().rposition(|byte| *byte == b'\n')? + 1;
    let last: Last = serde_json::from_slice(&all[start..]).ok()?;
    let mut digest = Context::new(&SHA256);
    digest.update(&bytes[..start]);
    (hex(digest) == last.sha256).then_some(&bytes[..start])
}

/// Lines with a last one that fits to them, as if they had been written so.
pub fn sealed(lines: &[u8]) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    digest.update(lines);
    let last = format!("{{\"sha256\":\"{}\"}}\n", hex(digest));
    [lines, last.as_bytes()].concat()
}

fn hex(digest: Context) -> String {
    let digest = digest.finish();
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

impl Known {
    fn take(&mut self, line: Line) {
        match line {
            Line::Corefile(texts) => self.texts = Some(texts),
            Line::Namespace(name) => self.zone.put(Part::Namespace(name)),
            Line::Service(namespace, name, service) => {
                let name = ObjectName { namespace, name };
                self.zone.put(Part::Service(name, service));
            }
            Line::Slice(namespace, name, slice) => {
                let name = ObjectName { namespace, name };
                self.zone.put(Part::Slice(name, longer(slice)));
            }
            Line::Pod(namespace, name, addresses) => {
                let name = ObjectName { namespace, name };
                self.zone.put(Part::Pod(name, addresses));
            }
            Line::Client(namespace, name, pod) => {
                self.pods.push((ObjectName { namespace, name }, pod));
            }
        }
    }
}

fn shorter(slice: SliceDns) -> Slice {
    let endpoints = slice.endpoints.into_iter();
    Slice {
        service: slice.service.to_string(),
        ports: slice.ports,
        endpoints: endpoints
            .map(|endpoint| match endpoint.hostname {
                Some(name) => Endpoint::Named(endpoint.address, name.to_string()),
                None => Endpoint::Nameless([endpoint.address]),
            })
            .collect(),
    }
}

fn longer(slice: Slice) -> SliceDns {
    let endpoints = slice.endpoints.into_iter().map(|endpoint| {
        let (address, hostname) = match endpoint {
            Endpoint::Named(address, name) => (address, Some(name.into())),
            Endpoint::Nameless([address]) => (address, None),
        };
        EndpointDns {
            address,
            ready: true,
            hostname,
            pod: None,
        }
    });
    SliceDns {
        service: slice.service.into(),
        ports: slice.ports,
        endpoints: endpoints.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn example() -> Vec<u8> {
        let now = UNIX_EPOCH + Duration::from_secs(1_763_759_640);
        let mut writer = Writer::begin(Vec::new(), now).unwrap();
        let keys = [("Corefile".to_owned(), ". {\n}\n".to_owned())];
        let coredns = keys.into_iter().collect();
        let texts = Texts {
            coredns,
            ..Texts::default()
        };
        writer.texts(texts).unwrap();
        let name = |name: &str| ObjectName::new("shop", name);
        writer.part(Part::Namespace("shop".into())).unwrap();
        let service: Value = json!({"target": "endpoints", "ports": []});
        let service = serde_json::from_value(service).unwrap();
        writer.part(Part::Service(name("db"), service)).unwrap();
        let port = json!({"name": "sql", "protocol": "TCP", "port": 5432});
        let endpoint = |address: &str, hostname: Option<&str>| json!({"address": address, "ready": true, "hostname": hostname, "pod": null});
        let slice = json!({"service": "db", "ports": [port], "endpoints":
            [endpoint("10.0.0.1", Some("db-0")), endpoint("fd00::1", None)]});
        let slice = serde_json::from_value(slice).unwrap();
        writer.part(Part::Slice(name("db-x"), slice)).unwrap();
        let pod = PodDns {
            addresses: vec!["10.0.0.9".parse().unwrap()],
            ..PodDns::default()
        };
        writer.client(name("web"), pod).unwrap();
        writer.end().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = example();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(
            text.contains(r#""endpoints":[["10.0.0.1","db-0"],["fd00::1"]]"#),
            "{text}"
        );
        let known = read(&bytes).unwrap();
        let written = known.written.duration_since(UNIX_EPOCH);
        assert_eq!(written.unwrap().as_secs(), 1_763_759_640);
        assert_eq!(known.zone.size(), (1, 2));
        assert_eq!(known.zone.parts().len(), 3);
        assert_eq!(known.pods[0].0, ObjectName::new("shop", "web"));
        assert_eq!(known.texts.unwrap().coredns["Corefile"], ". {\n}\n");
    }

    #[test]
    fn a_part_of_a_file_and_a_file_with_a_wrong_letter_tell_nothing() {
        let bytes = example();
        for end in 0..bytes.len() {
            let error = read(&bytes[..end]).unwrap_err();
            assert!(matches!(error, Damaged::Torn), "{end}: {error}");
        }
        for at in 0..bytes.len() - 80 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(read(&wrong).is_err(), "{at}");
        }
    }

    #[test]
    fn a_file_of_another_version_and_one_that_makes_no_sense_are_refused_by_name() {
        let first = "{\"sealane-dns\":1,\"written\":0}\n";
        for (lines, why) in [
            (
                "{\"sealane-dns\":2,\"written\":0}\n".to_owned(),
                "another form",
            ),
            ("[]\n".to_owned(), "another form"),
            (String::new(), "not whole"),
            (
                format!("{first}{{\"gateway\":[]}}\n"),
                "line 2: unknown variant `gateway`",
            ),
            (
                format!("{first}{{\"namespace\":7}}\n"),
                "line 2: invalid type",
            ),
        ] {
            let error = read(&sealed(lines.as_bytes())).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(read(&sealed(first.as_bytes())).unwrap().zone.is_empty());
    }
}
