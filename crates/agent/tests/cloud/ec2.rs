//! EC2 on loopback: moto, from the environment that `make setup` makes for tests, one for all tests.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use sealane_testkit::kubectl;
use serde_json::{Value, json};

/// The server; it ends when this process does, however that ends.
pub struct Server {
    port: u16,
    /// Its standard input, whose end it waits for.
    _child: Child,
}

/// What one test has of it, so that tests beside it do not meet.
pub struct Region {
    pub name: &'static str,
    pub world: Value,
}

pub fn server() -> &'static Server {
    static SERVER: LazyLock<Server> = LazyLock::new(Server::start);
    &SERVER
}

impl Server {
    fn start() -> Self {
        let python = kubectl::tools().map(|tools| tools.join("moto/bin/python"));
        let python = python
            .filter(|python| python.exists())
            .expect("target/tools/moto is missing: `scripts/setup.sh target/tools tests` makes it");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cloud/server.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("moto did not start (see above): is it in target/tools/moto? `scripts/setup.sh target/tools tests` puts it there")
        });
        Self {
            port,
            _child: child,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    #[track_caller]
    fn ask(&self, path: &str, message: &Value) -> Value {
        let body = message.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{path} {message}: {answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Region {
    /// A VPC with `count` instances of a type in a subnet. The machine's metadata tell of the first when `first_of_all`.
    pub fn new(
        name: &'static str,
        subnet: &str,
        kind: &str,
        count: usize,
        first_of_all: bool,
    ) -> Self {
        let message = json!({
            "region": name, "subnet": subnet, "kind": kind, "count": count, "metadata_of_it": first_of_all,
        });
        Self {
            name,
            world: server().ask("/test/world", &message),
        }
    }

    fn ask(&self, path: &str, mut message: Value) -> Value {
        message["region"] = self.name.into();
        server().ask(path, &message)
    }

    /// All interfaces, whoever has them.
    pub fn interfaces(&self) -> Vec<Value> {
        let all = self.ask("/test/interfaces", json!({}));
        all.as_array().unwrap().clone()
    }

    /// The next requests of a kind are refused.
    pub fn refuse(&self, action: &str, code: &str, times: usize) {
        let message = json!({"action": action, "code": code, "times": times});
        self.ask("/test/fault", message);
    }

    /// What was asked so far, and changes something.
    pub fn changes_asked(&self) -> Vec<String> {
        let asked = self.ask("/test/asked", json!({}));
        let asked = asked.as_array().unwrap().iter();
        asked
            .map(|action| action.as_str().unwrap().to_owned())
            .filter(|action| !action.starts_with("Describe"))
            .collect()
    }

    /// Somebody takes an address from its interface.
    pub fn take(&self, address: &str) {
        self.ask("/test/take", json!({"address": address}));
    }

    pub fn instance(&self, number: usize) -> String {
        let instance = &self.world["instances"][number - 1]["id"];
        instance.as_str().unwrap().to_owned()
    }
}
