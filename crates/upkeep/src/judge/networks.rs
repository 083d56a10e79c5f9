//! What the container runtime reads: the first configuration in its folder wins.

use crate::finding::Finding;
use crate::snapshot::Snapshot;

const OURS: &str = "10-sealane.conflist";

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let folder = s.settings.cni_conf_dir.display();
    let mut found = Vec::new();
    if !s.networks.readable {
        found.push(
            Finding::error("cni-folder", format!("{folder} cannot be read"))
                .because(
                    "the container runtime finds no network there, and the node stays NotReady",
                )
                .next(format!(
                    "mkdir -p {folder}, and give the agent that path as --cni-conf-dir"
                )),
        );
        return found;
    }
    let ours = s.networks.files.iter().position(|file| file == OURS);
    match ours {
        None => found.push(
            Finding::error("cni-configuration", format!("{folder} has no {OURS}"))
                .because("the container runtime says \"cni plugin not initialized\" and starts no pod")
                .next("the agent writes it when it is ready: see why it is not, or whether its --cni-conf-dir is the runtime's"),
        ),
        Some(place) => found.extend(s.networks.files[..place].iter().map(|file| {
            Finding::error(
                "cni-configuration-of-others",
                format!("{folder}/{file} comes before {OURS}"),
            )
            .because("the container runtime takes the first by name, so new pods get that network instead")
            .next(format!("mv {folder}/{file} /root/, and end what would write it again"))
        })),
    }
    if !s.networks.plugin {
        let path = s.settings.cni_bin_dir.join("sealane");
        found.push(
            Finding::error("cni-plugin", format!("{} is missing", path.display()))
                .because("the container runtime cannot call it, for new pods or for ended ones")
                .next("start the agent, which puts it there; is its --cni-bin-dir the runtime's?"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stage::after;
    use crate::snapshot::ConfDir;

    #[test]
    fn the_first_configuration_must_be_ours_and_its_plugin_there() {
        for (files, plugin, expected) in [
            (
                vec!["10-sealane.conflist", "87-podman.conflist"],
                true,
                vec![],
            ),
            (
                vec!["05-cilium.conflist", "10-sealane.conflist"],
                true,
                vec!["cni-configuration-of-others"],
            ),
            (vec!["87-podman.conflist"], true, vec!["cni-configuration"]),
            (vec!["10-sealane.conflist"], false, vec!["cni-plugin"]),
        ] {
            let networks = ConfDir {
                files: files.iter().map(ToString::to_string).collect(),
                plugin,
                readable: true,
            };
            assert_eq!(after(|s| s.networks = networks), expected, "{files:?}");
        }
        assert_eq!(after(|s| s.networks = ConfDir::default()), ["cni-folder"]);
    }
}
