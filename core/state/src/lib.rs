//! Konsul state.
