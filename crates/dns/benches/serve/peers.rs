//! unbound and knot, with the names that ours has.

use std::{
    fmt::Write,
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{SERVICES, Server, service};

/// A port that nobody has now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until somebody listens at a port.
pub fn wait_for(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nobody listens at port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The address of a Service.
pub fn address(number: usize) -> String {
    format!("10.96.{}.{}", number / 250, number % 250 + 1)
}

fn spawn(command: &mut Command) -> Option<Child> {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

/// Serves the cluster's zone and `outside.test`.
pub fn knot(folder: &Path) -> Option<Server> {
    let port = free_port();
    let soa = "@ 30 IN SOA ns.dns hostmaster 1 7200 1800 86400 30\n@ 30 IN NS ns.dns\nns.dns 30 IN A 10.96.0.10\n";
    let mut cluster = format!("$ORIGIN cluster.local.\n{soa}");
    let mut outside = format!("$ORIGIN outside.test.\n{soa}");
    for number in 0..SERVICES {
        let (name, address) = (service(number), address(number));
        writeln!(cluster, "{name}. 30 IN A {address}").unwrap();
        writeln!(outside, "host-{number} 3600 IN A {address}").unwrap();
    }
    let write = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
    write("cluster.zone", cluster);
    write("outside.zone", outside);
    let at = folder.display();
    write(
        "knot.conf",
        format!(
            "server:\n    rundir: {at}\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n    pidfile: {at}/knot.pid\ndatabase:\n    storage: {at}\ntemplate:\n  - id: default\n    storage: {at}\nzone:\n  - domain: cluster.local\n    file: cluster.zone\n  - domain: outside.test\n    file: outside.zone\n"
        ),
    );
    let process = spawn(
        Command::new("knotd")
            .arg("-c")
            .arg(folder.join("knot.conf")),
    )?;
    wait_for(port);
    Some(Server {
        name: "knot",
        process,
        port,
        resolves: false,
    })
}

/// Serves the cluster's zone, and asks `upstream` for other names.
pub fn unbound(folder: &Path, upstream: u16) -> Option<Server> {
    let port = free_port();
    let at = folder.display();
    let mut text = format!(
        "server:\n  directory: \"{at}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"{at}/unbound.log\"\n  interface: 127.0.0.1\n  port: {port}\n  num-threads: 1\n  do-daemonize: no\n  do-not-query-localhost: no\n  module-config: \"iterator\"\n  incoming-num-tcp: 100\n  local-zone: \"cluster.local.\" static\n  local-data: \"cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30\"\n"
    );
    for number in 0..SERVICES {
        let (name, address) = (service(number), address(number));
        writeln!(text, "  local-data: \"{name}. 30 IN A {address}\"").unwrap();
    }
    writeln!(
        text,
        "remote-control:\n  control-enable: no\nforward-zone:\n  name: \"outside.test.\"\n  forward-addr: 127.0.0.1@{upstream}"
    )
    .unwrap();
    let file = folder.join("unbound.conf");
    fs::write(&file, text).unwrap();
    let process = spawn(Command::new("unbound").arg("-d").arg("-c").arg(file))?;
    wait_for(port);
    Some(Server {
        name: "unbound",
        process,
        port,
        resolves: true,
    })
}
