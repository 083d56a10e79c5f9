//! Our program, as the agent runs it.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use sealane_net::Family;
use sealane_netlink::{Netlink, netns};
use sealane_objects::TrafficPolicy;
use sealane_ruleset::services::{Image, Map, ServiceProgram, static_table};
use sealane_service::ServiceTable;

use crate::gauge::{Kernel, Took, memory_mb, milliseconds, quantile_us, tell};
use crate::world;

const FAMILY: Family = Family::V4;
const CHANGES: usize = 4_000;
/// Clients that are held to an endpoint when the agent starts again.
const PINS: usize = 1_000;

/// A namespace that goes away with this value.
pub struct Place {
    name: String,
    netns: OwnedFd,
}

impl Place {
    pub fn new() -> Self {
        Self::named(format!("sl-bench-{}", std::process::id()))
    }

    /// Another one, which goes by itself.
    pub fn beside(&self, word: &str) -> Self {
        Self::named(format!("{}-{word}", self.name))
    }

    fn named(name: String) -> Self {
        let netns = netns::create_named(&name).unwrap();
        Self { name, netns }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn netns(&self) -> &OwnedFd {
        &self.netns
    }

    /// Runs a tool in it, with input; what it took all in all.
    pub fn run(&self, line: &str) -> Took {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        let (took, status) = Took::of(|| {
            let child = netns::spawn_in(&self.netns, None, &mut command);
            child.unwrap().wait().unwrap()
        });
        assert!(status.success(), "{line}: {status}");
        took
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = netns::delete_named(&self.name);
    }
}

pub fn measure(services: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let _inside = runtime.enter();
    let place = Place::new();
    let kernel = Netlink::in_netns(&place.netns).unwrap();
    let held = Kernel::new();
    let before = memory_mb("VmRSS:");
    let objects = world::Objects::new(services);
    let (decided, mut table) = Took::of(|| objects.table());
    tell("decide which endpoints, ms", milliseconds(decided.wall));
    tell(
        "decide: of it the processor, ms",
        milliseconds(decided.processor),
    );
    let mut program = load(&kernel, &table, decided);
    held.tell("kernel memory, MB");
    tell("memory of the process, MB", memory_mb("VmRSS:") - before);
    tell(
        "memory of the process at most, MB",
        memory_mb("VmHWM:") - before,
    );
    changes(&kernel, &mut table, &mut program, services);
    let (compared, ()) = Took::of(|| compare(&kernel, &program));
    tell("compare with the kernel, ms", milliseconds(compared.wall));
    tell(
        "compare: of it the processor, ms",
        milliseconds(compared.processor),
    );
    tell("memory after that, MB", memory_mb("VmRSS:") - before);
    crate::connect::measure(&place);
    pin(&place, &kernel, &program);
    drop(program);
    restart(&kernel, &table);
    tell(
        "memory after a restart, at most, MB",
        memory_mb("VmHWM:") - before,
    );
    let (deleted, _) = Took::of(|| kernel.replace_services(&static_table(FAMILY), &[]).unwrap());
    tell("delete all, ms", milliseconds(deleted.wall));
}

fn load(kernel: &Netlink, table: &ServiceTable, decided: Took) -> ServiceProgram {
    let (mut longest, mut in_kernel, mut transactions) = (Duration::ZERO, Took::default(), 0);
    let (took, program) = Took::of(|| {
        kernel.replace_services(&static_table(FAMILY), &[]).unwrap();
        let empty = Image::default();
        let program = ServiceProgram::adopt(FAMILY, &empty, &world::pods(), table.iter());
        let Ok(()) = program.bring_along::<Infallible>(empty, &mut |transaction| {
            let (took, done) = Took::of(|| kernel.change_services(FAMILY, transaction));
            done.unwrap();
            longest = longest.max(took.processor);
            in_kernel.add(took);
            transactions += 1;
            Ok(())
        });
        kernel.open_services(&static_table(FAMILY)).unwrap();
        program
    });
    tell("all Services, ms", milliseconds(took.wall + decided.wall));
    tell(
        "of it the processor, ms",
        milliseconds(took.processor + decided.processor),
    );
    tell(
        "of it in the kernel, processor, ms",
        milliseconds(in_kernel.processor),
    );
    tell("transactions", f64::from(transactions));
    tell("longest of them, processor, ms", milliseconds(longest));
    program
}

/// An endpoint comes and goes again.
fn changes(
    kernel: &Netlink,
    table: &mut ServiceTable,
    program: &mut ServiceProgram,
    services: usize,
) {
    let (mut all, mut in_kernel, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for n in world::scattered(services, CHANGES / 2) {
        for endpoints in [world::ENDPOINTS + 1, world::ENDPOINTS] {
            let slice = world::slice(n, endpoints);
            let name = world::slice_name(n);
            let mut kernels = Took::default();
            let (took, ()) = Took::of(|| {
                let changes = table.set_slice(&name, Some(slice));
                for transaction in program.update(&changes) {
                    let (took, done) = Took::of(|| kernel.change_services(FAMILY, &transaction));
                    done.unwrap();
                    kernels.add(took);
                }
            });
            all.push(took.wall);
            in_kernel.push(kernels.wall);
            spent.push(kernels.processor);
        }
    }
    tell("one change, p50, us", quantile_us(&all, 0.5));
    tell("one change, p99, us", quantile_us(&all, 0.99));
    tell("in the kernel, p50, us", quantile_us(&in_kernel, 0.5));
    tell("in the kernel, p99, us", quantile_us(&in_kernel, 0.99));
    tell(
        "in the kernel, processor, p99, us",
        quantile_us(&spent, 0.99),
    );
}

fn compare(kernel: &Netlink, program: &ServiceProgram) {
    let mut expected = program.fingerprints();
    let whole = kernel.each_of_services(FAMILY, |element| expected.see(&element));
    assert!(
        whole.unwrap() && expected.agree(),
        "the kernel has followed"
    );
}

/// Clients are held to endpoints, as packets would have done it.
fn pin(place: &Place, kernel: &Netlink, program: &ServiceProgram) {
    let image = kernel.services(FAMILY).unwrap();
    let key = world::port_key(0);
    let id = program.id_of(&key, TrafficPolicy::Cluster).unwrap();
    // The first numbers are those of its endpoints.
    let numbers = image.of_map(Map::Endpoints);
    let numbers = numbers.map(|(number, _)| number.mark_at(0).unwrap());
    let number = numbers.min().unwrap();
    let pins: Vec<_> = (0..PINS)
        .map(|n| {
            format!(
                "10.1.{}.{} . {id} timeout 3h : {number}",
                n / 250,
                n % 250 + 1
            )
        })
        .collect();
    let file = std::env::temp_dir().join(format!("sl-bench-pins-{}", std::process::id()));
    let text = format!(
        "add element ip sealane-services affinity {{ {} }}",
        pins.join(", ")
    );
    std::fs::write(&file, text).unwrap();
    place.run(&format!("nft -f {}", file.display()));
    std::fs::remove_file(&file).unwrap();
}

/// Nothing is known but the table.
fn restart(kernel: &Netlink, table: &ServiceTable) {
    let mut transactions = 0;
    let (read, image) = Took::of(|| kernel.services(FAMILY).unwrap());
    let (compared, ()) = Took::of(|| {
        let program = ServiceProgram::adopt(FAMILY, &image, &world::pods(), table.iter());
        let Ok(()) = program.bring_along::<Infallible>(image, &mut |_| {
            transactions += 1;
            Ok(())
        });
    });
    let mut took = read;
    took.add(compared);
    tell("restart: in step again, ms", milliseconds(took.wall));
    tell(
        "restart: of it the processor, ms",
        milliseconds(took.processor),
    );
    tell(
        "restart: of that the kernel read, ms",
        milliseconds(read.processor),
    );
    tell("restart: transactions", f64::from(transactions));
    let image = kernel.services(FAMILY).unwrap();
    let pins = image.of_map(Map::Affinity).count();
    tell("restart: clients that stay, of 1,000", pins as f64);
}
