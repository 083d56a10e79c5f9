//! Names of what is proxied to: `NAME`, `NAME:PORT`, `SCHEME:NAME:PORT`.

/// A pod or Service, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// A number or a name; empty if none is given.
    pub port: String,
    /// TLS is spoken.
    pub https: bool,
}

impl Reference {
    /// Reads a name in a path.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let https = match scheme {
            "" | "http" => false,
            "https" => true,
            _ => return None,
        };
        (!name.is_empty()).then(|| Self {
            name: name.into(),
            port: port.into(),
            https,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_a_port_and_a_scheme() {
        let read = |text: &str| {
            let found = Reference::parse(text)?;
            Some((found.name, found.port, found.https))
        };
        let found = |name: &str, port: &str, https| Some((name.into(), port.into(), https));
        assert_eq!(read("p"), found("p", "", false));
        assert_eq!(read("p:80"), found("p", "80", false));
        assert_eq!(read("http:p:web"), found("p", "web", false));
        assert_eq!(read("https:p:"), found("p", "", true));
        assert_eq!(read(":p:80"), found("p", "80", false));
        for wrong in ["", ":80", "ftp:p:80", "https:p:80:x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
