//! What differs from run to run, replaced by words.

use regex_lite::Regex;

/// What to look for, and what stands for it. In this order.
const RULES: &[(&str, &str)] = &[
    (r"\bX509SHA256=[0-9a-f]+", "X509SHA256=<HASH>"),
    (
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        "<UID>",
    ),
    (
        r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)",
        "<TIME>",
    ),
    // describe's form of the same
    (
        r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000",
        "<TIME>",
    ),
    (r#"(resourceVersion"?: )"\d+""#, r#"$1"<VERSION>""#),
    (r"\bv1\.\d+\.\d+[-+.0-9a-z]*", "v1.<VERSION>"),
    (r"(Kustomize Version: ).*", "$1<VERSION>"),
    (
        r"\beyJ[-_A-Za-z0-9]+\.[-_A-Za-z0-9]+\.[-_A-Za-z0-9]+",
        "<TOKEN>",
    ),
    // Ages and durations
    (
        r"(^|[\s(/=])<?\d+(\.\d+)?(ms|s|m|h|d)(\d+(s|m|h))?($|[\s),])",
        "$1<AGE>$6",
    ),
    (
        r"(^|[\s(/=])<?\d+(\.\d+)?(ms|s|m|h|d)(\d+(s|m|h))?($|[\s),])",
        "$1<AGE>$6",
    ),
    (r"<invalid>", "<AGE>"),
    // Addresses of pods, nodes and Services; the fixed ones of every cluster stay.
    (r"\b10\.96\.0\.1\b", "{kubernetes}"),
    (r"\b(10|172)\.\d+\.\d+\.\d+\b", "<IP>"),
    (r"\{kubernetes\}", "10.96.0.1"),
    (r"(https://(<IP>|127\.0\.0\.1)):\d+", "$1:<PORT>"),
    // Names made from a pod template, and at random
    (
        r"-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b",
        "-<HASH>-<ID>",
    ),
    (r"-[bcdfghjklmnpqrstvwxz2456789]{8,10}\b", "-<HASH>"),
    (
        r"(pod-template-hash|controller-revision-hash)([=:] ?)\S*",
        "$1$2<HASH>",
    ),
    (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-<ID>"),
];

/// The words that stand for what differs from cluster to cluster.
pub struct Placeholders {
    rules: Vec<(Regex, &'static str)>,
    literals: Vec<(String, &'static str)>,
}

impl Placeholders {
    /// Those of one run: `literals` are replaced before all else.
    pub fn new(literals: Vec<(String, &'static str)>) -> Self {
        let rules = RULES
            .iter()
            .map(|(pattern, word)| (Regex::new(pattern).unwrap(), *word))
            .collect();
        Self { rules, literals }
    }

    /// The text without what differs, line by line; columns are three spaces apart, whatever their width.
    pub fn put(&self, text: &str) -> String {
        text.lines().map(|line| self.line(line) + "\n").collect()
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (what, word) in &self.literals {
            line = line.replace(what, word);
        }
        for (pattern, word) in &self.rules {
            line = pattern.replace_all(&line, *word).into_owned();
        }
        narrow(&line)
    }
}

/// With three spaces wherever two or more stand behind the first word.
fn narrow(line: &str) -> String {
    let line = line.trim_end();
    let words = line.trim_start();
    let indent = &line[..line.len() - words.len()];
    let mut text = indent.to_owned();
    let mut spaces = 0;
    for letter in words.chars() {
        if letter == ' ' {
            spaces += 1;
            continue;
        }
        let kept = if spaces > 1 { 3 } else { spaces };
        text.extend(std::iter::repeat_n(' ', kept));
        spaces = 0;
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_replaced_and_what_matters_stays() {
        let placeholders = Placeholders::new(vec![("/tmp/x".into(), "<HOME>")]);
        for (line, wanted) in [
            (
                "web    1/1   Running   0     2m3s",
                "web   1/1   Running   0   <AGE>",
            ),
            (
                "web  0 (5s ago)  3s   10.244.1.7",
                "web   0 (<AGE> ago)   <AGE>   <IP>",
            ),
            (
                "kubernetes 10.96.0.1 443/TCP 3h",
                "kubernetes 10.96.0.1 443/TCP <AGE>",
            ),
            (
                "  resourceVersion: \"17\"",
                "  resourceVersion: \"<VERSION>\"",
            ),
            ("web-7d9f8c6b5d-x2x9z x", "web-<HASH>-<ID> x"),
            ("pod/web-front created", "pod/web-front created"),
            ("see /tmp/x/y", "see <HOME>/y"),
            ("  a:  b", "  a:   b"),
            ("at 2026-01-02T03:04:05Z", "at <TIME>"),
            ("cpu: 100m", "cpu: <AGE>"),
        ] {
            assert_eq!(placeholders.put(line).trim_end_matches('\n'), wanted);
        }
    }
}
