//! Decisions: which address a pod gets, which subnet a node gets.
