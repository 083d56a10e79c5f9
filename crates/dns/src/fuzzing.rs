//! What `make fuzz`, tests of broken files and the bench of the state on disk drive.
//!
//! Not part of the interface.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sealane_introspect::Introspect;
use sealane_message::{Kind, Name, PLAIN_UDP_BYTES, Question, Request, SAFE_UDP_BYTES, Writer};
use sealane_zone::{Clients, Found, Part, PodRecords, SearchSettings, Settings, Zone};

use crate::configure::{self, Source, Surroundings};
use crate::state::{self, Folder, Knowledge, Known};

/// Objects of a file that are asked for.
const MOST_ASKED: usize = 20;

/// A file with what a node knew: once as it is, and once with a last line that fits to it, so that all lines are read.
///
/// # Panics
/// When what was read is not what is written of it, or cannot be asked.
pub fn state(bytes: &[u8]) {
    for bytes in [bytes, &state::sealed(bytes)] {
        match state::read(bytes) {
            Ok(known) => holds(known),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn holds(known: Known) {
    ask(&known.zone);
    let lines = written(&known);
    let again = state::read(&lines.concat()).expect("what is written can be read");
    assert_eq!(again.written, known.written);
    let sorted = |lines: &[Vec<u8>]| lines.iter().cloned().collect::<BTreeSet<_>>();
    // The last line tells the order.
    let (body, same) = (&lines[..lines.len() - 1], &written(&again));
    assert_eq!(
        sorted(body),
        sorted(&same[..same.len() - 1]),
        "it says the same"
    );
    Clients::new(SearchSettings::default()).replace_pods(known.pods);
}

/// The lines of a file.
fn written(known: &Known) -> Vec<Vec<u8>> {
    let written = || -> io::Result<Vec<u8>> {
        let mut writer = state::Writer::begin(Vec::new(), known.written)?;
        if let Some(texts) = &known.texts {
            writer.texts(texts.clone())?;
        }
        for (name, pod) in &known.pods {
            writer.client(name.clone(), pod.clone())?;
        }
        for part in parts(&known.zone) {
            writer.part(part)?;
        }
        writer.end()
    };
    let written = written().expect("memory takes all");
    let lines = written.split_inclusive(|byte| *byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

fn parts(zone: &Zone) -> impl Iterator<Item = Part> {
    zone.parts().into_iter().filter_map(|key| zone.part(&key))
}

fn ask(zone: &Zone) {
    let settings = Settings {
        zones: ["cluster.local", "in-addr.arpa", "ip6.arpa"]
            .iter()
            .filter_map(|zone| zone.parse().ok())
            .collect(),
        pods: PodRecords::Verified,
        ..Settings::default()
    };
    for part in parts(zone).take(MOST_ASKED) {
        let asked = match &part {
            Part::Namespace(name) => format!("{name}.svc.cluster.local"),
            Part::Service(name, _) | Part::Slice(name, _) => {
                format!("{}.{}.svc.cluster.local", name.name, name.namespace)
            }
            Part::Pod(name, _) => format!("10-0-0-1.{}.pod.cluster.local", name.namespace),
        };
        let Ok(name) = asked.parse::<Name>() else {
            continue;
        };
        for kind in [Kind::A, Kind::AAAA, Kind::SRV, Kind::PTR] {
            let question = Question::new(name, kind);
            let Found::Inside(answer) = zone.find(&settings, &question) else {
                panic!("{name} is outside");
            };
            for limit in [PLAIN_UDP_BYTES, SAFE_UDP_BYTES] {
                let mut reply = Vec::new();
                let request = Request::new(1, question);
                let mut writer = Writer::reply(&mut reply, &request, limit);
                let _truncated = answer.write(&question, &mut writer);
                writer.finish();
                assert!(reply.len() <= limit, "it fits");
            }
            assert!(zone.explain(&settings, &question).len() < 1000);
        }
    }
}

/// Keeps a zone in a folder of this user's, as a worker does, until it is dropped.
///
/// # Errors
/// When the folder cannot be used.
pub async fn keep(folder: &Path, zone: Arc<RwLock<Zone>>) -> anyhow::Result<()> {
    let user = nix::unistd::Uid::effective().as_raw();
    let folder = Folder::taken(Folder::make(folder, user)?);
    let surroundings = Surroundings {
        introspect: Introspect::new("bench"),
        addresses: Vec::new(),
        port: 53,
        cluster_domain: "cluster.local".into(),
        resolv_conf: PathBuf::new(),
        first_serial: 1,
        node_name: "bench".into(),
        interval: Duration::from_secs(1),
    };
    let knowledge = Knowledge {
        zone,
        clients: Arc::default(),
        configuration: configure::start(Source::BuiltIn, surroundings),
    };
    state::keep(folder, &knowledge).await;
    Ok(())
}
