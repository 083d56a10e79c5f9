//! Task: the controllers and the scheduler of the single-machine cluster.
