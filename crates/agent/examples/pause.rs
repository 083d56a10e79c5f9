//! The one program of the sandbox image that tests make: it waits.

fn main() {
    loop {
        std::thread::park();
    }
}
