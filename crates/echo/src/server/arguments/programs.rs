//! Command lines of other programs, and what they mean here.

use std::time::Duration;

use super::flags::{self, Known, Word};
use super::{Settings, Socket, Wanted, port, ports};
use crate::server::persona::Persona;

/// What a command line means.
#[derive(Debug)]
pub(super) enum Meaning {
    Serve(Served),
    Other(Wanted),
}

/// To serve so.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// Named by the arguments.
    pub(super) sockets: Vec<Socket>,
    /// The program's own default.
    pub(super) habit: Option<Vec<Socket>>,
    pub(super) persona: Persona,
    pub(super) linger: Duration,
}

impl Served {
    fn by(persona: Persona, habit: Socket) -> Self {
        Self {
            persona,
            habit: Some(vec![habit]),
            ..Self::default()
        }
    }

    /// The arguments' ports, the program's, or these.
    pub(super) fn settle(self, default: Vec<Socket>, notes: Vec<String>) -> Settings {
        let sockets = match self.sockets {
            sockets if sockets.is_empty() => self.habit.unwrap_or(default),
            sockets => sockets,
        };
        Settings {
            sockets,
            persona: self.persona,
            linger: self.linger,
            notes,
        }
    }
}

/// Programs that are known by their name, as first word or as an applet.
pub(crate) const NAMES: &[&str] = crate::APPLETS.split_at(crate::OWN).1;

/// First words that only start the program after them.
const STARTERS: [&str; 4] = ["docker-entrypoint.sh", "tini", "dumb-init", "--"];

/// Programs of this image that are not servers.
const CLIENTS: [&str; 2] = ["curl", "echo-client"];

/// The port that an image of this name serves when nothing says otherwise.
pub(super) fn habit(image: &str) -> Option<Socket> {
    match program_of(image) {
        "nginx" | "nginx-unprivileged" | "httpd" | "whoami" | "hello" | "apache" | "caddy" => {
            Some(Socket::both(80))
        }
        "http-echo" => Some(Socket::both(5678)),
        _ => None,
    }
}

/// The last part of an image's name.
fn program_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}

/// What these words mean, as arguments of `image` where that is known; `None`
/// when they are for a program that is not known.
pub(super) fn understand(words: &[String], image: Option<&str>) -> Result<Option<Meaning>, String> {
    let Some(first) = words.first() else {
        return Ok(Some(Meaning::Serve(Served::default())));
    };
    let name = first.rsplit('/').next().unwrap_or_default();
    let rest = &words[1..];
    if STARTERS.contains(&name) {
        return understand(rest, image);
    }
    if CLIENTS.contains(&name) {
        let words = std::iter::once(name.to_owned()).chain(rest.iter().cloned());
        return Ok(Some(Meaning::Other(Wanted::Program(words.collect()))));
    }
    if name == "echo-server" {
        return understand(rest, None);
    }
    if NAMES.contains(&name) {
        return program(name, rest).map(Some);
    }
    if !first.starts_with('-') {
        return Ok(None);
    }
    let has = |flags: &[&str]| {
        words.iter().any(|word| {
            let word = word.split('=').next().unwrap_or_default();
            flags.contains(&word.trim_start_matches('-'))
        })
    };
    match image.map(program_of) {
        Some(program @ ("http-echo" | "whoami" | "nginx")) => {
            return self::program(program, words).map(Some);
        }
        _ if has(&["text", "listen"]) => return program("http-echo", words).map(Some),
        _ if has(&["name"]) => return program("whoami", words).map(Some),
        _ if has(&["g"]) => return program("nginx", words).map(Some),
        _ => {}
    }
    own(words).map(Some)
}

fn program(name: &str, words: &[String]) -> Result<Meaning, String> {
    if words.iter().any(|word| word == "--help") {
        return Ok(Meaning::Other(Wanted::Help));
    }
    let served = match name {
        "agnhost" => return agnhost(words),
        "pause" => return Ok(Meaning::Other(Wanted::Wait(None))),
        "sleep" => return sleep(words),
        "connect" => {
            let words = std::iter::once(name.to_owned()).chain(words.iter().cloned());
            return Ok(Meaning::Other(Wanted::Program(words.collect())));
        }
        "netexec" => netexec(words),
        "serve-hostname" => serve_hostname(words),
        "http-echo" => http_echo(words),
        "whoami" => whoami(words),
        "nginx" | "nginx-debug" => nginx(words),
        "httpd" | "httpd-foreground" => httpd(words),
        "python" | "python3" => python(words),
        "socat" => socat(words),
        _ => netcat(words),
    };
    served
        .map(Meaning::Serve)
        .map_err(|error| format!("{name}: {error}"))
}

/// The server's own flags.
fn own(words: &[String]) -> Result<Meaning, String> {
    let known = [
        Known::Value("port"),
        Known::Value("p"),
        Known::Switch("help"),
        Known::Switch("h"),
    ];
    let mut served = Served::default();
    let unknown = |error: String| match error.starts_with("unknown") {
        true => format!("{error}\n{}", super::UNDERSTOOD),
        false => error,
    };
    for word in flags::read(words, &known).map_err(unknown)? {
        match word {
            Word::Flag("help" | "h", _) => return Ok(Meaning::Other(Wanted::Help)),
            Word::Flag(_, value) => {
                for socket in ports(value)? {
                    if !served.sockets.contains(&socket) {
                        served.sockets.push(socket);
                    }
                }
            }
            Word::Plain(word) => return Err(unknown(format!("unknown argument {word:?}"))),
        }
    }
    Ok(Meaning::Serve(served))
}

fn agnhost(words: &[String]) -> Result<Meaning, String> {
    match words.first().map(String::as_str) {
        None => Ok(Meaning::Other(Wanted::Wait(None))),
        Some(name @ ("netexec" | "serve-hostname" | "connect" | "pause")) => {
            program(name, &words[1..])
        }
        Some(other) => Err(format!(
            "agnhost: {other} is not taken; netexec, serve-hostname, connect and pause are"
        )),
    }
}

fn netexec(words: &[String]) -> Result<Served, String> {
    let known = [
        "http-port",
        "udp-port",
        "sctp-port",
        "http-override",
        "delay-shutdown",
        "udp-listen-addresses",
        "tls-cert-file",
        "tls-private-key-file",
    ]
    .map(Known::Value);
    let (mut http, mut udp) = (Some(8080), Some(8081));
    let mut served = Served::default();
    let mut instead = None;
    for word in flags::read(words, &known)? {
        match word {
            Word::Flag("http-port", value) => http = Some(port(value)?),
            Word::Flag("udp-port", value) => udp = port_or_off(value)?,
            Word::Flag("sctp-port", value) => {
                if port_or_off(value)?.is_some() {
                    return Err(format!(
                        "--sctp-port {value}: SCTP is not served by this image"
                    ));
                }
            }
            Word::Flag("http-override", path) => instead = Some(path.to_owned()),
            Word::Flag("delay-shutdown", value) => {
                let seconds = value
                    .parse()
                    .map_err(|_| format!("--delay-shutdown {value}: is not a number of seconds"))?;
                served.linger = Duration::from_secs(seconds);
            }
            Word::Flag(flag, value) => {
                return Err(format!("--{flag} {value}: is not served by this image"));
            }
            Word::Plain(word) => return Err(format!("unknown argument {word:?}")),
        }
    }
    served.persona = Persona::Netexec { instead };
    served.sockets = http.map(Socket::tcp).into_iter().collect();
    match served.sockets.first_mut() {
        Some(socket) if udp == Some(socket.port) => socket.udp = true,
        _ => served.sockets.extend(udp.map(Socket::udp)),
    }
    Ok(served)
}

fn port_or_off(text: &str) -> Result<Option<u16>, String> {
    if text == "-1" {
        Ok(None)
    } else {
        port(text).map(Some)
    }
}

fn serve_hostname(words: &[String]) -> Result<Served, String> {
    let known = [
        Known::Switch("http"),
        Known::Switch("tcp"),
        Known::Switch("udp"),
        Known::Switch("close"),
        Known::Value("port"),
    ];
    let (mut http, mut tcp, mut udp, mut close) = (true, false, false, false);
    let mut number = 9376;
    for word in flags::read(words, &known)? {
        match word {
            Word::Flag("http", on) => http = on != "false",
            Word::Flag("tcp", on) => tcp = on != "false",
            Word::Flag("udp", on) => udp = on != "false",
            Word::Flag("close", on) => close = on != "false",
            Word::Flag(_, value) => number = port(value)?,
            Word::Plain(word) => return Err(format!("unknown argument {word:?}")),
        }
    }
    // As the original: of HTTP and TCP on one port, TCP counts.
    let socket = Socket {
        port: number,
        tcp: http || tcp,
        udp,
    };
    Ok(Served {
        sockets: vec![socket],
        persona: Persona::Hostname { tcp, close },
        ..Served::default()
    })
}

fn http_echo(words: &[String]) -> Result<Served, String> {
    let known = ["text", "listen", "status-code"].map(Known::Value);
    let (mut text, mut status) = (None, 200);
    let mut sockets = Vec::new();
    for word in flags::read(words, &known)? {
        match word {
            Word::Flag("text", value) => text = Some(value.to_owned()),
            Word::Flag("listen", value) => {
                let number = value.rsplit(':').next().unwrap_or_default();
                sockets.push(Socket::tcp(port(number)?));
            }
            Word::Flag(flag, value) => {
                let code = value.parse().ok().filter(|code| (100..600).contains(code));
                status = code.ok_or_else(|| format!("-{flag} {value}: is no status"))?;
            }
            Word::Plain(word) => return Err(format!("unknown argument {word:?}")),
        }
    }
    // The original takes the text from the environment, too.
    let text = text.or_else(|| std::env::var("ECHO_TEXT").ok());
    let text = text.ok_or("-text is missing")?;
    Ok(Served {
        sockets,
        ..Served::by(Persona::Text { text, status }, Socket::tcp(5678))
    })
}

fn whoami(words: &[String]) -> Result<Served, String> {
    let known = [
        Known::Value("port"),
        Known::Value("name"),
        Known::Switch("verbose"),
    ];
    let mut name = std::env::var("WHOAMI_NAME").unwrap_or_default();
    let mut sockets = Vec::new();
    for word in flags::read(words, &known)? {
        match word {
            Word::Flag("port", value) => sockets.push(Socket::tcp(port(value)?)),
            Word::Flag("name", value) => value.clone_into(&mut name),
            Word::Flag(..) => {}
            Word::Plain(word) => return Err(format!("unknown argument {word:?}")),
        }
    }
    Ok(Served {
        sockets,
        ..Served::by(Persona::Whoami { name }, Socket::tcp(80))
    })
}

fn nginx(words: &[String]) -> Result<Served, String> {
    let known = ["g", "c", "p"].map(Known::Value);
    if let Some(Word::Plain(word)) = flags::read(words, &known)?
        .into_iter()
        .find(|word| matches!(word, Word::Plain(_)))
    {
        return Err(format!("unknown argument {word:?}"));
    }
    Ok(Served::by(Persona::default(), Socket::both(80)))
}

fn httpd(words: &[String]) -> Result<Served, String> {
    let known = [
        Known::Value("p"),
        Known::Value("h"),
        Known::Switch("f"),
        Known::Switch("v"),
    ];
    let mut sockets = Vec::new();
    for word in flags::read(words, &known)? {
        match word {
            Word::Flag("p", value) => {
                let number = value.rsplit(':').next().unwrap_or_default();
                sockets.push(Socket::both(port(number)?));
            }
            Word::Flag(..) => {}
            Word::Plain(word) => return Err(format!("unknown argument {word:?}")),
        }
    }
    Ok(Served {
        sockets,
        ..Served::by(Persona::default(), Socket::both(80))
    })
}

fn python(words: &[String]) -> Result<Served, String> {
    let words = match words {
        [unbuffered, rest @ ..] if unbuffered == "-u" => rest,
        words => words,
    };
    let [flag, module, rest @ ..] = words else {
        return Err("only -m http.server is taken".into());
    };
    if flag != "-m" || !["http.server", "SimpleHTTPServer"].contains(&module.as_str()) {
        return Err("only -m http.server is taken".into());
    }
    let known = ["bind", "b", "directory", "d", "protocol"].map(Known::Value);
    let mut sockets = Vec::new();
    for word in flags::read(rest, &known)? {
        if let Word::Plain(number) = word {
            sockets.push(Socket::both(port(number)?));
        }
    }
    Ok(Served {
        sockets,
        ..Served::by(Persona::default(), Socket::both(8000))
    })
}

/// `nc -lkp 80`, `nc -l -p 80`, `nc -l 80`, `nc -lu 0.0.0.0 53`.
fn netcat(words: &[String]) -> Result<Served, String> {
    let (mut listens, mut udp) = (false, false);
    let mut number = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            // Of an address and a port, the port comes last.
            number = Some(word.as_str());
            continue;
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                'l' => listens = true,
                'u' => udp = true,
                'k' | 'v' | 'n' | '4' | '6' | 'd' => {}
                'p' => {
                    let rest = &letters[at + 1..];
                    let value = Some(rest).filter(|rest| !rest.is_empty());
                    number = value.or_else(|| words.next().map(String::as_str));
                    break;
                }
                _ => return Err(format!("unknown argument {word:?}")),
            }
        }
    }
    if !listens {
        return Err("only listening (-l) is taken; echo-client connects".into());
    }
    let number = port(number.ok_or("a port is missing")?)?;
    let socket = if udp {
        Socket::udp(number)
    } else {
        Socket::tcp(number)
    };
    Ok(Served {
        sockets: vec![socket],
        persona: Persona::Bytes,
        ..Served::default()
    })
}

fn socat(words: &[String]) -> Result<Served, String> {
    let mut sockets = Vec::new();
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        let (kind, rest) = word.split_once(':').unwrap_or((word, ""));
        let number = rest.split(',').next().unwrap_or_default();
        match kind.to_ascii_uppercase().as_str() {
            "TCP-LISTEN" | "TCP4-LISTEN" | "TCP6-LISTEN" | "TCP-L" => {
                sockets.push(Socket::tcp(port(number)?));
            }
            "UDP-LISTEN" | "UDP4-LISTEN" | "UDP6-LISTEN" | "UDP-L" | "UDP-RECVFROM"
            | "UDP4-RECVFROM" | "UDP6-RECVFROM" => sockets.push(Socket::udp(port(number)?)),
            _ => {}
        }
    }
    if sockets.is_empty() {
        return Err("only TCP-LISTEN:PORT and UDP-LISTEN:PORT are taken".into());
    }
    Ok(Served {
        sockets,
        persona: Persona::Bytes,
        ..Served::default()
    })
}

fn sleep(words: &[String]) -> Result<Meaning, String> {
    let mut seconds = 0.0;
    for word in words {
        if ["infinity", "inf"].contains(&word.as_str()) {
            return Ok(Meaning::Other(Wanted::Wait(None)));
        }
        let (number, unit) = match word.strip_suffix(['s', 'm', 'h', 'd']) {
            Some(number) => (number, &word[number.len()..]),
            None => (word.as_str(), "s"),
        };
        let factor = match unit {
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => 1.0,
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("sleep: {word:?} is not a time"))?;
        seconds += number * factor;
    }
    let time = Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("sleep: {:?} is not a time", words.join(" ")))?;
    if words.is_empty() {
        return Err("sleep: a number of seconds is missing".into());
    }
    Ok(Meaning::Other(Wanted::Wait(Some(time))))
}
