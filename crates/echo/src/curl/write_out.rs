//! `-w`: what happened, in a format of the user's.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// What is known about a transfer, however far it came.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) status: u16,
    pub(super) size: u64,
    pub(super) name_lookup: Duration,
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    pub(super) total: Duration,
    pub(super) remote: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) content_type: String,
}

/// Prints the format with its variables and escapes filled in.
pub(super) fn print(format: &str, url: &str, facts: &Facts) {
    let mut stdout = std::io::stdout().lock();
    // Nobody is there to be told that nobody reads.
    let _ = stdout.write_all(fill(format, url, facts).as_bytes());
    let _ = stdout.flush();
}

fn fill(format: &str, url: &str, facts: &Facts) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['%', '\\']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let (piece, length) = special(rest, url, facts);
        text.push_str(&piece);
        rest = &rest[length..];
    }
    text + rest
}

/// What stands at the front, and how long it is.
fn special(text: &str, url: &str, facts: &Facts) -> (String, usize) {
    if let Some(variable) = text.strip_prefix("%{")
        && let Some((name, _)) = variable.split_once('}')
    {
        return (value(name, url, facts), name.len() + 3);
    }
    let piece = match text.get(..2) {
        Some("%%") => "%",
        Some("\\n") => "\n",
        Some("\\t") => "\t",
        Some("\\r") => "\r",
        Some("\\\\") => "\\",
        _ => return (text[..1].to_owned(), 1),
    };
    (piece.to_owned(), 2)
}

fn value(name: &str, url: &str, facts: &Facts) -> String {
    let seconds = |time: Duration| format!("{:.6}", time.as_secs_f64());
    let ip = |address: Option<SocketAddr>| address.map(|a| a.ip().to_string());
    let port = |address: Option<SocketAddr>| address.map_or(0, |a| a.port()).to_string();
    match name {
        "http_code" | "response_code" => format!("{:03}", facts.status),
        "size_download" => facts.size.to_string(),
        "time_namelookup" => seconds(facts.name_lookup),
        "time_connect" => seconds(facts.connect),
        "time_starttransfer" => seconds(facts.first_byte),
        "time_total" => seconds(facts.total),
        "remote_ip" => ip(facts.remote).unwrap_or_default(),
        "remote_port" => port(facts.remote),
        "local_ip" => ip(facts.local).unwrap_or_default(),
        "local_port" => port(facts.local),
        "content_type" => facts.content_type.clone(),
        "url" | "url_effective" => url.to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_escapes_are_filled_in() {
        let facts = Facts {
            status: 200,
            total: Duration::from_millis(1500),
            remote: "10.0.0.1:80".parse().ok(),
            ..Facts::default()
        };
        let filled = |format| fill(format, "http://a", &facts);
        assert_eq!(filled("%{http_code}\\n"), "200\n");
        assert_eq!(
            filled("%{time_total}s %{remote_ip}:%{remote_port}"),
            "1.500000s 10.0.0.1:80"
        );
        assert_eq!(filled("100%% %{nonsense}%{open \\ %"), "100% %{open \\ %");
        assert_eq!(fill("%{http_code}", "", &Facts::default()), "000");
    }
}
