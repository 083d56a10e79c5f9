//! The request that the options ask for.

use super::options::Options;
use super::url::Url;

/// Head and body, as they go over the wire.
pub(super) fn request(url: &Url, options: &Options) -> Vec<u8> {
    let default_method = match (options.head, &options.data) {
        (true, _) => "HEAD",
        (false, Some(_)) => "POST",
        (false, None) => "GET",
    };
    let method = options.method.as_deref().unwrap_or(default_method);
    let agent = concat!("curl/8.0 sealane/", env!("CARGO_PKG_VERSION"));
    let mut headers = vec![
        ("Host".to_owned(), url.authority.clone()),
        ("User-Agent".to_owned(), agent.to_owned()),
        ("Accept".to_owned(), "*/*".to_owned()),
    ];
    if let Some(data) = &options.data {
        headers.push(("Content-Length".into(), data.len().to_string()));
        headers.push((
            "Content-Type".into(),
            "application/x-www-form-urlencoded".into(),
        ));
    }
    for header in &options.headers {
        apply(&mut headers, header);
    }
    let mut request = format!("{method} {} HTTP/1.1\r\n", url.target);
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(options.data.as_deref().unwrap_or_default());
    request
}

/// `Name: value` replaces or adds, `Name:` removes, `Name;` sends it empty.
fn apply(headers: &mut Vec<(String, String)>, header: &str) {
    if let Some((name, value)) = header.split_once(':') {
        let (name, value) = (name.trim(), value.trim());
        // Our own headers come first; the user may repeat theirs.
        headers.retain(|(known, _)| !is_replaced(known, name));
        if !value.is_empty() {
            headers.push((name.into(), value.into()));
        }
    } else if let Some(name) = header.strip_suffix(';') {
        headers.push((name.trim().into(), String::new()));
    }
}

fn is_replaced(known: &str, name: &str) -> bool {
    const OURS: [&str; 5] = [
        "host",
        "user-agent",
        "accept",
        "content-length",
        "content-type",
    ];
    known.eq_ignore_ascii_case(name) && OURS.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(options: &Options) -> String {
        let url = super::super::url::parse("http://a:81/x").unwrap();
        let request = String::from_utf8(request(&url, options)).unwrap();
        request
            .replace(env!("CARGO_PKG_VERSION"), "V")
            .replace('\r', "")
    }

    #[test]
    fn requests_look_like_curls() {
        assert_eq!(
            sent(&Options::default()),
            "GET /x HTTP/1.1\nHost: a:81\nUser-Agent: curl/8.0 sealane/V\nAccept: */*\n\n"
        );
        let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let post = Options {
            data: Some(b"a=1".to_vec()),
            headers: strings(&[
                "Content-Type: text/plain",
                "accept:",
                "X: 1",
                "X: 2",
                "Empty;",
            ]),
            ..Options::default()
        };
        assert_eq!(
            sent(&post),
            "POST /x HTTP/1.1\nHost: a:81\nUser-Agent: curl/8.0 sealane/V\nContent-Length: 3\n\
             Content-Type: text/plain\nX: 1\nX: 2\nEmpty: \n\na=1"
        );
        let head = Options {
            head: true,
            ..Options::default()
        };
        assert!(sent(&head).starts_with("HEAD /x "));
    }
}
