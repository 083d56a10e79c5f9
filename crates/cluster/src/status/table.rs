//! A status as people read it.

use super::{NodeStatus, PodStatus, ProcessStatus, Status};

/// Renders everything.
pub fn render(status: &Status) -> String {
    let health = if status.healthy {
        "healthy"
    } else {
        "NOT healthy"
    };
    let internet = if status.internet { "yes" } else { "no" };
    let mut text = format!("Cluster {} is {health}\n", status.name);
    for problem in &status.problems {
        text.push_str(&format!("  problem: {problem}\n"));
    }
    text.push('\n');
    let mut facts = vec![
        [
            "API".to_owned(),
            status.api.clone(),
            format!("(nodes use {})", status.node_api),
        ],
        [
            "kubeconfig".to_owned(),
            status.kubeconfig.display().to_string(),
            String::new(),
        ],
        [
            "nodes".to_owned(),
            status.node_cidr.to_string(),
            String::new(),
        ],
        [
            "pods".to_owned(),
            status.cluster_cidr.to_string(),
            format!(
                "(attachment {}, routing {})",
                status.attachment, status.routing
            ),
        ],
        [
            "Services".to_owned(),
            status.service_cidr.to_string(),
            format!("(proxy mode {})", status.proxy_mode),
        ],
        ["internet".to_owned(), internet.to_owned(), String::new()],
    ];
    facts.extend(status.image_aliases.iter().map(|alias| {
        let (pattern, image) = (alias.pattern(), alias.image());
        [
            "alias".to_owned(),
            format!("{pattern} = {image}"),
            String::new(),
        ]
    }));
    text.push_str(&align(facts.iter().map(|fact| fact.to_vec()).collect()));
    text.push('\n');
    text.push_str(&nodes(&status.nodes));
    text.push('\n');
    text.push_str(&pods(&status.pods));
    text.push('\n');
    text.push_str(&processes(&status.processes));
    text
}

fn nodes(nodes: &[NodeStatus]) -> String {
    let mut rows = vec![heading(&[
        "NODE",
        "READY",
        "ADDRESS",
        "POD SUBNET",
        "PODS",
        "NETWORK NAMESPACE",
    ])];
    rows.extend(nodes.iter().map(|node| {
        vec![
            node.name.clone(),
            if node.ready { "yes" } else { "no" }.to_owned(),
            list(&node.addresses),
            list(&node.pod_cidrs),
            node.pods.to_string(),
            node.netns.clone(),
        ]
    }));
    align(rows)
}

fn pods(pods: &[PodStatus]) -> String {
    if pods.is_empty() {
        return "No pods.\n".to_owned();
    }
    let mut rows = vec![heading(&["POD", "NODE", "PHASE", "ADDRESS", "RESTARTS"])];
    rows.extend(pods.iter().map(|pod| {
        vec![
            format!("{}/{}", pod.namespace, pod.name),
            or_dash(&pod.node),
            pod.phase.clone(),
            or_dash(pod.ip.as_deref().unwrap_or_default()),
            pod.restarts.to_string(),
        ]
    }));
    align(rows)
}

fn processes(processes: &[ProcessStatus]) -> String {
    let mut rows = vec![heading(&["PROCESS", "PID", "UPTIME", "RESTARTS", "MEMORY"])];
    rows.extend(processes.iter().map(|process| {
        vec![
            process.role.clone(),
            or_dash(&process.pid.map(|pid| pid.to_string()).unwrap_or_default()),
            or_dash(&process.uptime_seconds.map(duration).unwrap_or_default()),
            process.restarts.to_string(),
            or_dash(&process.rss_kib.map(mebibytes).unwrap_or_default()),
        ]
    }));
    align(rows)
}

fn heading(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn list(items: &[impl ToString]) -> String {
    or_dash(
        &items
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
    )
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

/// As kubectl writes ages: the two largest units at most.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m{}s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Pads every column but the last to its widest cell.
fn align(rows: Vec<Vec<String>>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_do_not_trail() {
        let rows = vec![
            heading(&["A", "B"]),
            heading(&["longer", "x"]),
            heading(&["s", ""]),
        ];
        assert_eq!(align(rows), "A        B\nlonger   x\ns\n");
    }

    #[test]
    fn ages_show_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (121, "2m1s"),
            (7_260, "2h1m"),
            (180_000, "2d2h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
