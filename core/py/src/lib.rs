//! Konsul py.
