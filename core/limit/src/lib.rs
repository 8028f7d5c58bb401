//! Token buckets: pure arithmetic over clocks the caller passes in, and the bounded tables they are kept in.
#![warn(missing_docs)]

mod address;
mod bucket;
mod limits;
mod lists;
mod table;
mod verdict;

pub use address::{Address, Network, client_text, network_text, read_client};
pub use bucket::{Bucket, Rate};
pub use limits::{Limits, Pool};
pub use lists::{FOR_EVER, List};
pub use table::{Key, Now, Place, Table};
pub use verdict::{Client, Cost, Counts, Custom, Kind, Left, Refusal, Scope, Verdict};
