//! Konsul disk.
