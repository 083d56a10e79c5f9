//! Decisions: the routes from one node to the pods of the others.
