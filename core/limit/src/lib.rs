//! Konsul limit.
