use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

fn wanted(line: &str) -> Result<Wanted, String> {
    read(&words(line), None)
}

fn sockets(wanted: Result<Wanted, String>) -> String {
    let Ok(Wanted::Serve(settings)) = wanted else {
        return format!("{wanted:?}");
    };
    let text = |socket: &Socket| match (socket.tcp, socket.udp) {
        (true, true) => socket.port.to_string(),
        (true, false) => format!("{}/tcp", socket.port),
        _ => format!("{}/udp", socket.port),
    };
    let all: Vec<String> = settings.sockets.iter().map(text).collect();
    all.join(" ")
}

#[test]
fn ports_come_from_arguments_then_variable_then_default() {
    for (line, variable, expected) in [
        ("", None, "8080"),
        ("", Some("80,81"), "80 81"),
        ("--port 80 --port=81", Some("1"), "80 81"),
        ("-p 80,80", None, "80"),
        ("--port 0", None, "0"),
    ] {
        assert_eq!(sockets(read(&words(line), variable)), expected, "{line}");
    }
}

#[test]
fn other_programs_lines_are_understood() {
    for (line, expected) in [
        ("netexec", "8080/tcp 8081/udp"),
        ("agnhost netexec --http-port=8083 --udp-port -1", "8083/tcp"),
        ("/agnhost netexec --http-port 80 --udp-port 80", "80"),
        ("serve-hostname", "9376/tcp"),
        ("serve-hostname --http=false --tcp --udp --port 99", "99"),
        ("-text=hi", "5678/tcp"),
        ("http-echo -listen=:80 -text hi", "80/tcp"),
        ("--port 8080 --name=a", "8080/tcp"),
        ("/whoami --name a", "80/tcp"),
        ("nginx -g daemon_off;", "80"),
        ("/docker-entrypoint.sh nginx -g x", "80"),
        ("httpd -f -v -p 8081", "8081"),
        ("python3 -m http.server 8080", "8080"),
        ("python -u -m http.server --bind 0.0.0.0", "8000"),
        ("nc -l -p 99", "99/tcp"),
        ("nc -lkp 99", "99/tcp"),
        ("ncat -lu 0.0.0.0 53", "53/udp"),
        ("socat TCP-LISTEN:80,fork,reuseaddr EXEC:cat", "80/tcp"),
        ("socat -v udp-recvfrom:53,fork PIPE", "53/udp"),
    ] {
        assert_eq!(sockets(wanted(line)), expected, "{line}");
    }
    for line in ["pause", "agnhost", "agnhost pause", "sleep infinity"] {
        assert_eq!(wanted(line), Ok(Wanted::Wait(None)), "{line}");
    }
    let time = Duration::from_millis(90_500);
    assert_eq!(wanted("sleep 1m 30.5"), Ok(Wanted::Wait(Some(time))));
    assert_eq!(wanted("--help"), Ok(Wanted::Help));
    assert_eq!(
        wanted("/bin/curl -s x"),
        Ok(Wanted::Program(words("curl -s x")))
    );
}

#[test]
fn mistakes_are_named() {
    for (line, expected) in [
        ("--port x", "port \"x\" is not a number from 0 to 65535"),
        ("--port", "--port needs a value"),
        (
            "--prot 80",
            "unknown argument \"--prot\"\nthis image understands: --port PORT",
        ),
        (
            "serve",
            "unknown argument \"serve\"\nthis image understands: --port PORT",
        ),
        (
            "/bin/sh -c x",
            "unknown argument \"/bin/sh\"\nthis image understands:",
        ),
        (
            "netexec --sctp-port 9",
            "netexec: --sctp-port 9: SCTP is not served by this image",
        ),
        (
            "agnhost fake-gitserver",
            "agnhost: fake-gitserver is not taken",
        ),
        ("nc host 80", "nc: only listening (-l) is taken"),
        ("python3 app.py", "python3: only -m http.server is taken"),
        ("http-echo", "http-echo: -text is missing"),
        ("sleep soon", "sleep: \"soon\" is not a time"),
    ] {
        let error = wanted(line).unwrap_err();
        assert!(error.starts_with(expected), "{line}: {error}");
    }
}

#[test]
fn behind_an_alias_the_declared_ports_are_served_unless_words_say_otherwise() {
    for (image, declared, line, expected) in [
        ("contoso/mybackend", "8080/TCP", "", "8080/tcp"),
        ("contoso/mybackend", "80/TCP,53/UDP,53/TCP", "", "80/tcp 53"),
        ("contoso/myfrontend", "", "", "8080"),
        ("nginx:1.25", "", "", "80"),
        ("nginx", "8081/TCP", "nginx -g x", "8081/tcp"),
        ("hashicorp/http-echo", "", "-text=hi", "5678/tcp"),
        (
            "hashicorp/http-echo",
            "80/TCP",
            "-text=hi -listen=:81",
            "81/tcp",
        ),
        ("agnhost:2.5", "1/TCP", "netexec --udp-port=-1", "8080/tcp"),
        (
            "redis:7",
            "6379/TCP",
            "redis-server --appendonly yes",
            "6379/tcp",
        ),
        ("busybox", "", "sh -c x", "8080"),
        ("a", "7/SCTP", "", "8080"),
    ] {
        let mut args = words(&format!("--in-place-of {image} --declared"));
        args.push(declared.to_owned());
        args.extend(words(&format!("-- {line}")));
        assert_eq!(sockets(read(&args, None)), expected, "{image} {line}");
    }
}

#[test]
fn what_is_ignored_behind_an_alias_is_said() {
    let args = words("--in-place-of redis --declared 6379/TCP,7/SCTP -- redis-server --x");
    let Ok(Wanted::Serve(settings)) = read(&args, None) else {
        panic!("not served");
    };
    assert_eq!(
        settings.notes,
        [
            "runs in place of redis, by an alias",
            "port 7 is not served: SCTP is not",
            "`redis-server --x` is for another program and is ignored; the declared ports are served",
        ]
    );
}
