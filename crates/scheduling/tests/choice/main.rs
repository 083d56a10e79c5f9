//! The choice of a node, from outside: tables for each rule and wish, and a naive judge of random clusters.

mod hard;
mod preempt;
mod rules;
mod world;
