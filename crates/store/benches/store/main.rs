//! Durable writes a second beside etcd's on the same disk in the same run, and the start with ten
//! thousand objects: `cargo bench -p sealane-store --bench store`, or only the start with `-- start`.
//!
//! etcd (Debian's `etcd-server`) is asked by gRPC over one connection, as kube-apiserver does; the
//! store is a part of the process, so its writes cross no socket. Both answer when the write is
//! on the disk.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on should panic"
)]

mod etcd;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use etcd::Etcd;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sealane_store::{Attributes, Bounds, Bucket, Expect, Key, OpenError, Options, Store, Template};

/// About the size of a pod.
const OBJECT_BYTES: usize = 4096;
const OBJECTS: usize = 10_000;
const ROUNDS: usize = 3;
const STARTS: usize = 5;
const LASTS: Duration = Duration::from_secs(2);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    // Beside the build, which is on a disk; /tmp may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("in {}", folder.path().display());
    if std::env::args().all(|argument| argument != "start") {
        writes(folder.path()).await;
    }
    start(folder.path()).await;
}

/// Writes of one client, and of many.
async fn writes(folder: &Path) {
    let store = Store::open(options(folder.join("writes"))).unwrap();
    let etcd = Etcd::start(&folder.join("etcd")).await;
    if etcd.is_none() {
        println!("etcd is not installed (apt-get install etcd-server): no comparison");
    }
    for clients in [1, 64] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            ours.push(
                rate(clients, |name| {
                    put(store.clone(), format!("{clients}-{round}-{name}"))
                })
                .await,
            );
            if let Some(etcd) = &etcd {
                theirs.push(
                    rate(clients, |name| {
                        etcd.put(format!("{clients}-{round}-{name}"))
                    })
                    .await,
                );
            }
        }
        let ours = middle(ours);
        print!("{clients} clients, 4 KB each: {ours:.0} durable writes a second");
        match middle(theirs) {
            0.0 => println!(),
            theirs => println!("; etcd {theirs:.0}; ratio {:.2}", ours / theirs),
        }
    }
}

/// The start of a store that was closed, and of one that was killed.
async fn start(folder: &Path) {
    let path = folder.join("start");
    let store = Store::open(options(path.clone())).unwrap();
    let puts = (0..OBJECTS).map(|number| tokio::spawn(put(store.clone(), format!("pod-{number}"))));
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap();
    }
    // What a kill would leave.
    let killed = folder.join("killed");
    fs::copy(&path, &killed).unwrap();
    drop(store);
    let bytes = fs::metadata(&killed).unwrap().len();
    println!(
        "file with {OBJECTS} objects and their events: {} MB",
        bytes >> 20
    );
    // Its writer thread is about to close it.
    while matches!(
        Store::open(options(path.clone())),
        Err(OpenError::InUse { .. })
    ) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let starts = [
        ("killed", &killed, false),
        ("closed", &path, false),
        ("closed and is not in memory", &path, true),
    ];
    for (what, path, cold) in starts {
        let (mut took, mut computed) = (Vec::new(), Vec::new());
        for start in 0..STARTS {
            let copy = folder.join(format!("start-{start}"));
            fs::copy(path, &copy).unwrap();
            // Else the first sync of the store would have to write the whole copy.
            let file = fs::File::open(&copy).unwrap();
            file.sync_all().unwrap();
            if cold {
                posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
            }
            drop(file);
            let begin = (Instant::now(), processor_ms());
            let store = Store::open(options(copy.clone())).unwrap();
            took.push(begin.0.elapsed().as_secs_f64() * 1000.0);
            computed.push(processor_ms() - begin.1);
            drop(store);
            fs::remove_file(copy).unwrap();
        }
        println!(
            "start after it was {what}: {:.0} ms, of them {:.0} ms on a processor",
            middle(took),
            middle(computed)
        );
    }
}

/// What this thread has had of a processor: beside other work it says more than the clock.
fn processor_ms() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = stat.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e6
}

fn options(path: PathBuf) -> Options {
    Options {
        path,
        bounds: Bounds::default(),
        describe: Arc::new(|_, _| Attributes::default()),
    }
}

async fn put(store: Store, name: String) {
    let template = Template {
        head: vec![b'x'; OBJECT_BYTES],
        tail: Vec::new(),
    };
    let key = Key::new(&Bucket::new("", "pods"), "default", &name);
    let put = store.put(key, Expect::Absent, template, Attributes::default());
    put.await.unwrap();
}

/// Writes a second of so many clients, each writing one after the other.
async fn rate<F>(clients: usize, write: impl Fn(String) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let begin = Instant::now();
    let all = (0..clients).map(|client| {
        let write = &write;
        async move {
            let mut count = 0;
            while begin.elapsed() < LASTS {
                write(format!("{client}-{count}")).await;
                count += 1;
            }
            count
        }
    });
    let counts = futures::future::join_all(all).await;
    counts.into_iter().sum::<usize>() as f64 / begin.elapsed().as_secs_f64()
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
