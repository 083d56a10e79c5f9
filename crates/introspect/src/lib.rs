//! Task: health, metrics and debug state of a daemon.
