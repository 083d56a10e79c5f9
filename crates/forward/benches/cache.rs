//! The cache: `cargo bench -p sealane-forward`.
//!
//! 10,000 names with two addresses each. Times are the
//! processor's for this one thread (`/proc/thread-self/schedstat`), the best of several rounds; bytes are what the allocator was asked for, beside what the cache itself counts.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on should panic"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use sealane_forward::{CacheSettings, Query, fuzzing::Shelf};
use sealane_message::{Answer, Data, Kind, Question, Request, SAFE_UDP_BYTES, Section, Writer};

const NAMES: usize = 10_000;
const ROUNDS: usize = 21;
/// What an `Arc` adds.
const ARC: usize = 2 * size_of::<usize>();

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps to what `alloc` asks of him.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps to what `dealloc` asks of him.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let queries: Vec<_> = (0..2 * NAMES).map(query).collect();
    let (kept, unknown) = queries.split_at(NAMES);
    let now = Instant::now();
    let fill = |shelf: &Shelf, queries: &[Query], answers: &[Arc<Answer>]| {
        for (query, answer) in queries.iter().zip(answers) {
            shelf.put(query, Arc::clone(answer), 300, now);
        }
    };

    let before = BYTES.load(Relaxed);
    let shelf = Shelf::new(roomy());
    let answers: Vec<_> = queries.iter().map(answer).collect();
    fill(&shelf, kept, &answers);
    let (count, counted) = shelf.size();
    // The list of answers is not the cache's, nor are those that it does not hold.
    let others = answers[NAMES..].iter().map(|one| one.memory_bytes() + ARC);
    let list = answers.capacity() * size_of::<Arc<Answer>>();
    let held = BYTES.load(Relaxed) - before - list - others.sum::<usize>();
    assert_eq!(count, NAMES);
    println!(
        "bytes for each of {count} answers of 2 addresses: {} allocated, {} by its own account",
        held / count,
        counted / count
    );

    let hit = best(|| {
        for query in kept {
            black_box(shelf.get(black_box(query), now)).unwrap();
        }
    });
    println!("hit: {hit:.0} ns");
    let mut reply = Vec::with_capacity(SAFE_UDP_BYTES);
    let written = best(|| {
        for query in kept {
            let found = shelf.get(black_box(query), now).unwrap();
            reply.clear();
            let request = Request::new(1, query.question);
            let mut writer = Writer::reply(&mut reply, &request, SAFE_UDP_BYTES);
            found.answer.write(&mut writer, found.age).unwrap();
            black_box(writer.finish());
        }
    });
    println!("hit, written as a reply: {written:.0} ns");
    let miss = best(|| {
        for query in unknown {
            assert!(black_box(shelf.get(black_box(query), now)).is_none());
        }
    });
    println!("miss: {miss:.0} ns");

    let put = best(|| fill(&shelf, kept, &answers));
    println!("insert over an old one: {put:.0} ns");
    let mut full = roomy();
    full.success.bytes = NAMES / 2 * CacheSettings::BYTES_PER_ANSWER;
    let full = Shelf::new(full);
    let evict = best(|| fill(&full, &queries, &answers)) / 2.0;
    println!("insert into a full one: {evict:.0} ns");
}

fn roomy() -> CacheSettings {
    let mut settings = CacheSettings::default();
    settings.success.bytes = 64 << 20;
    settings
}

fn query(number: usize) -> Query {
    let name = format!("host-{number}.department-{}.example.org", number % 40);
    Query::from(Question::new(name.parse().unwrap(), Kind::A))
}

fn answer(query: &Query) -> Arc<Answer> {
    let name = &query.question.name;
    let answer = Answer::make(&query.question, |writer| {
        for last in [1, 2] {
            let address = Data::A(Ipv4Addr::new(192, 0, 2, last));
            writer.push(Section::Answer, name, 300, &address)?;
        }
        Ok(())
    });
    Arc::new(answer.unwrap())
}

/// Nanoseconds for each of [`NAMES`], in the best round.
fn best(mut work: impl FnMut()) -> f64 {
    let round = |_| {
        let begun = processor_nanos();
        work();
        processor_nanos() - begun
    };
    let best = (0..ROUNDS).map(round).min().unwrap_or_default();
    best as f64 / NAMES as f64
}

/// What this thread has had of the processor.
fn processor_nanos() -> u64 {
    // To be scheduled anew brings the number up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}
