//! Clusters and bare topologies for tests and benches, always cleaned up.
