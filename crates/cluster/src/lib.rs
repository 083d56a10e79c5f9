//! Task: the single-machine cluster: plan, topology, certificates and supervisor.
