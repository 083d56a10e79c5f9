//! A disk that is full, and an end that is asked for.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::fd::{AsRawFd as _, RawFd},
    path::{Path, PathBuf},
    process::Stdio,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{PostParams, WatchEvent, WatchParams},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use serde_json::json;

use crate::harness::{Server, said, within};

/// The folder that the small disk is mounted on.
pub const SMALL_DISK: &str = "small";
const BYTES: &str = "size=6m,mode=0700";

/// A file system of six megabytes in a mount namespace of its own. It is gone when the last
/// process in there and this value are gone, whatever else happens.
pub struct SmallDisk {
    namespace: File,
    folder: File,
}

impl SmallDisk {
    pub fn mount_in(parent: &Path) -> Self {
        let target = parent.join(SMALL_DISK);
        fs::create_dir(&target).unwrap();
        // A thread of its own goes into a namespace of its own, and ends there.
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS).expect("this test needs root: unshare mounts");
            let none: Option<&str> = None;
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(none, "/", none, private, none).unwrap();
            let flags = MsFlags::empty();
            mount(Some("tmpfs"), &target, Some("tmpfs"), flags, Some(BYTES)).unwrap();
            Self {
                namespace: File::open("/proc/thread-self/ns/mnt").unwrap(),
                folder: File::open(&target).unwrap(),
            }
        });
        thread.join().unwrap()
    }

    pub fn namespace(&self) -> RawFd {
        self.namespace.as_raw_fd()
    }

    /// A file on it, as this process reaches it.
    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd())).join(name)
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut options = OpenOptions::new();
        let ballast = options.create(true).append(true);
        let mut ballast = ballast.open(self.file("ballast")).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.file("ballast")).unwrap();
    }
}

fn map(name: &str, bytes: usize) -> ConfigMap {
    let data = json!({"metadata": {"name": name}, "data": {"value": "x".repeat(bytes)}});
    serde_json::from_value(data).unwrap()
}

async fn create(maps: &Api<ConfigMap>, name: &str, bytes: usize) -> kube::Result<ConfigMap> {
    let (post, map) = (PostParams::default(), map(name, bytes));
    within("an answer", maps.create(&post, &map)).await
}

/// Makes the first object; its version.
async fn first(maps: &Api<ConfigMap>) -> String {
    let made = create(maps, "m-first", 10).await.unwrap();
    made.metadata.resource_version.unwrap()
}

async fn names(maps: &Api<ConfigMap>) -> Vec<String> {
    let params = Default::default();
    let list = within("the list", maps.list(&params)).await;
    let names = list.unwrap().into_iter();
    let names = names.filter_map(|map| map.metadata.name);
    names.filter(|name| name.starts_with("m-")).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let mut server = Server::prepare();
    server.mounts = Some(SmallDisk::mount_in(server.path()));
    server.launch();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let version = first(&maps).await;

    server.mounts.as_ref().unwrap().fill();
    let (mut acknowledged, mut refusal) = (vec!["m-first".to_owned()], None);
    for number in 0..200 {
        let name = format!("m-{number:03}");
        match create(&maps, &name, 50_000).await {
            Ok(_) => acknowledged.push(name),
            Err(cause) => {
                refusal = Some(cause);
                break;
            }
        }
    }
    let Some(kube::Error::Api(status)) = refusal else {
        panic!("a full disk took everything: {refusal:?}");
    };
    assert_eq!((status.code, &*status.reason), (500, "InternalError"));
    let file = server.store().display().to_string();
    for words in [
        "Internal error occurred: ",
        &file,
        "No space left on device",
    ] {
        assert!(status.message.contains(words), "{}", status.message);
    }
    acknowledged.sort();
    assert_eq!(names(&maps).await, acknowledged);

    // A start on a full disk brings the same, also to a watcher that resumes.
    server.kill_and_launch();
    assert_eq!(names(&maps).await, acknowledged);
    let params = WatchParams::default().timeout(20);
    let mut events = maps.watch(&params, &version).await.unwrap().boxed();
    server.mounts.as_ref().unwrap().make_room();
    create(&maps, "m-zz", 50_000).await.unwrap();
    acknowledged.push("m-zz".into());
    assert_eq!(names(&maps).await, acknowledged);
    let mut added = vec!["m-first".to_owned()];
    while added.last().unwrap() != "m-zz" {
        match within("an event", events.next()).await.unwrap().unwrap() {
            WatchEvent::Added(map) => added.push(map.metadata.name.unwrap()),
            WatchEvent::Bookmark(_) => {}
            other => panic!("{other:?}"),
        }
    }
    added.retain(|name| name.starts_with("m-"));
    added.sort();
    assert_eq!(added, acknowledged);
}

#[test]
fn a_start_that_fails_says_what_to_do() {
    let mut server = Server::prepare();
    server.mounts = Some(SmallDisk::mount_in(server.path()));
    server.mounts.as_ref().unwrap().fill();
    let full = refused_start(&server);
    for words in [
        "open store ",
        "No space left on device",
        "make room on the disk",
    ] {
        assert!(full.contains(words), "{full}");
    }

    server.mounts = None;
    for (content, words) in [
        (&b""[..], "it is empty"),
        (b"something else", "it does not begin as a store does"),
    ] {
        fs::write(server.store(), content).unwrap();
        let text = refused_start(&server);
        let file = server.store().display().to_string();
        for words in [words, &file, "restore it from a copy"] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(fs::read(server.store()).unwrap(), content);
    }
}

/// What a server says that does not start.
fn refused_start(server: &Server) -> String {
    let child = server.command().stderr(Stdio::piped()).spawn().unwrap();
    let said = said(child.wait_with_output().unwrap());
    assert!(!said.ok, "it started and ended well");
    said.err
}

#[tokio::test]
async fn asked_to_end_it_answers_what_it_has_begun() {
    let mut server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let version = first(&maps).await;
    let params = WatchParams::default();
    let mut events = maps.watch(&params, &version).await.unwrap().boxed();
    let writes = (0..64).map(|number| {
        let (maps, name) = (maps.clone(), format!("m-{number:02}"));
        tokio::spawn(async move { create(&maps, &name, 10).await.map(|_| name) })
    });
    let writes: Vec<_> = writes.collect();
    // The first event: some are done, others under way.
    within("an event", events.next()).await.unwrap().unwrap();
    let ended = tokio::task::spawn_blocking(move || (server.stop(), server));
    // The watch ends as one that has lasted long enough, in the middle of nothing.
    while let Some(event) = within("the end of the watch", events.next()).await {
        assert!(matches!(event.unwrap(), WatchEvent::Added(_)));
    }
    let (status, mut server) = ended.await.unwrap();
    assert!(status.success(), "{status}");
    let mut acknowledged = vec!["m-first".to_owned()];
    server.launch();
    for write in writes {
        match within("an answer", write).await.unwrap() {
            Ok(name) => acknowledged.push(name),
            // It was asked after the end, or told that there is an end.
            Err(kube::Error::Api(status)) => assert_eq!(status.code, 503, "{status:?}"),
            Err(_) => {}
        }
    }
    assert!(acknowledged.len() > 1);
    let found = names(&maps).await;
    for name in &acknowledged {
        assert!(found.contains(name), "{name} was acknowledged and is gone");
    }
}
