use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use sealane_netlink::{Netlink, netns};

use crate::place::{Guard, Place, unique_name};

#[test]
fn named_ones_are_those_of_ip_netns() {
    let name = unique_name();
    let _guard = Guard(name.clone());
    netns::create_named(&name).unwrap();
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.lines().any(|line| line.starts_with(&name)),
        "{listed}"
    );
    assert!(netns::list_named().unwrap().contains(&name));

    let inside = Command::new("ip")
        .args(["netns", "exec", &name, "readlink", "/proc/self/ns/net"])
        .output()
        .unwrap();
    let fd = netns::open_named(&name).unwrap();
    let ours = netns::run_in(&fd, || {
        std::fs::read_link("/proc/thread-self/ns/net").unwrap()
    })
    .unwrap();
    assert_eq!(
        String::from_utf8(inside.stdout).unwrap().trim(),
        ours.display().to_string()
    );

    let again = netns::create_named(&name).unwrap_err();
    assert!(again.is_present(), "{again}");
    netns::delete_named(&name).unwrap();
    netns::delete_named(&name).unwrap();
    assert!(!netns::path_of(&name).exists());
    let gone = netns::open_named(&name).unwrap_err();
    assert!(gone.is_absent());
    assert_eq!(
        gone.to_string(),
        format!("open netns {name}: no such file or directory")
    );
}

#[test]
fn one_made_by_ip_is_opened_and_deleted_by_us_and_the_other_way_round() {
    let name = unique_name();
    let _guard = Guard(name.clone());
    let ip = |verb: &str| {
        let status = Command::new("ip").args(["netns", verb, &name]).status();
        assert!(status.unwrap().success(), "ip netns {verb} {name}");
    };
    ip("add");
    netns::open_named(&name).unwrap();
    netns::delete_named(&name).unwrap();
    netns::create_named(&name).unwrap();
    ip("delete");
    assert!(!netns::path_of(&name).exists());
}

#[test]
fn the_leftover_of_a_creation_that_was_cut_off_is_named_and_removed() {
    let name = unique_name();
    let _guard = Guard(name.clone());
    netns::create_named(&name).unwrap();
    netns::delete_named(&name).unwrap();
    std::fs::write(netns::path_of(&name), "").unwrap();
    let error = netns::open_named(&name).unwrap_err().to_string();
    assert!(
        error.contains("not a namespace, but a plain file"),
        "{error}"
    );
    netns::delete_named(&name).unwrap();
    netns::create_named(&name).unwrap();
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["", ".", "..", "a/b", "../x", "nul\0"] {
        for result in [
            netns::create_named(name).map(drop),
            netns::open_named(name).map(drop),
            netns::delete_named(name),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("expected a name without slashes"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_program_starts_inside_with_its_own_host_name_and_nobody_else_is_touched() {
    let place = Place::new().await;
    let before = std::fs::read_link("/proc/self/ns/net").unwrap();
    let hostname = nix::unistd::gethostname().unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "uname -n; readlink /proc/self/ns/net /proc/self/ns/uts",
        ])
        .stdout(Stdio::piped());
    let child = netns::spawn_in(&place.netns, Some("node-1"), &mut command).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let own_uts = std::fs::read_link("/proc/self/ns/uts").unwrap();
    assert_eq!(lines[0], "node-1");
    assert_eq!(lines[1], inode_of(&place));
    assert_ne!(lines[2], own_uts.display().to_string());
    assert_eq!(std::fs::read_link("/proc/self/ns/net").unwrap(), before);
    assert_eq!(
        std::fs::read_link("/proc/thread-self/ns/net").unwrap(),
        before
    );
    assert_eq!(nix::unistd::gethostname().unwrap(), hostname);
}

#[tokio::test]
async fn a_program_that_cannot_start_is_named() {
    let place = Place::new().await;
    let mut command = Command::new("/no/such/program");
    let error = netns::spawn_in(&place.netns, None, &mut command).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "start /no/such/program in netns /run/netns/{}: no such file or directory",
            place.name
        )
    );
}

#[tokio::test]
async fn sockets_and_processes_of_the_runtime_can_be_opened_inside() {
    let place = Place::new().await;
    let socket = netns::run_in(&place.netns, || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        tokio::net::UdpSocket::from_std(socket).unwrap()
    })
    .unwrap();
    let address = socket.local_addr().unwrap();
    socket.send_to(b"to myself", address).await.unwrap();
    let mut buffer = [0; 16];
    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..length], from), (&b"to myself"[..], address));

    let child = netns::run_in(&place.netns, || {
        tokio::process::Command::new("readlink")
            .arg("/proc/self/ns/net")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    })
    .unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        inode_of(&place)
    );
}

#[tokio::test]
async fn a_panic_inside_goes_on_outside() {
    let place = Place::new().await;
    let caught = std::panic::catch_unwind(|| netns::run_in(&place.netns, || panic!("inside")));
    let payload = caught.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"inside"));
}

#[tokio::test]
async fn one_without_a_name_is_opened_by_the_path_of_a_process() {
    let place = Place::new().await;
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = netns::spawn_in(&place.netns, None, &mut command).unwrap();
    let path = format!("/proc/{}/ns/net", child.id());
    let fd = netns::open(path.as_ref()).unwrap();
    let netlink = Netlink::in_netns(&fd).unwrap();
    let links = netlink.links().await.unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].name, "lo");
    assert_eq!(netns::describe(fd.as_fd()), inode_of(&place));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(netns::open("/proc/self/ns".as_ref()).is_err());
}

/// A pod's namespace must not be kept alive by the agent that has wired it.
#[tokio::test]
async fn dropping_the_last_handle_closes_its_sockets() {
    let place = Place::new().await;
    let sockets = || place.run("cat /proc/net/netlink").lines().count();
    let before = sockets();
    let handles: Vec<Netlink> = (0..10)
        .map(|_| Netlink::in_netns(&place.netns).unwrap())
        .collect();
    for handle in &handles {
        handle.clone().links().await.unwrap();
    }
    assert_eq!(sockets(), before + 20, "one of rtnetlink, one of nftables");
    drop(handles);
    let closed = async {
        while sockets() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), closed)
        .await
        .expect("sockets stay open");
}

fn inode_of(place: &Place) -> String {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(netns::path_of(&place.name))
        .unwrap()
        .ino();
    format!("net:[{inode}]")
}
