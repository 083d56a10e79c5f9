//! A request, from its first line to the answer, against a whole server.

#![no_main]

use std::cell::RefCell;

use sealane_fuzz::Place;

/// Inputs after which a new server takes over, so that what they made does not pile up.
const INPUTS: usize = 5000;

thread_local! {
    static PLACE: RefCell<Option<(usize, Place)>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    PLACE.with_borrow_mut(|slot| {
        let (used, place) = slot.get_or_insert_with(|| (0, Place::new()));
        place.exchange.send(bytes);
        *used += 1;
        if *used == INPUTS {
            *slot = None;
        }
    });
});
