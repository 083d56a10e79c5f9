//! Edge: the durable, revisioned store of the embedded API server.
