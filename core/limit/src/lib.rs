//! Token buckets: pure arithmetic over a clock the caller passes in.
#![warn(missing_docs)]

mod bucket;

pub use bucket::{Bucket, Rate};
