//! Konsul views.
