//! Konsul node.
