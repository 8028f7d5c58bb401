//! What is shown of clients and their buckets.

use konsul_limit::{Key, Place, Table};

/// `(kind, id, tokens, burst, millionths of a token per second, last and first request in Unix ms, allowed,
/// denied, Unix ms until which the rate is its own or 0)`.
pub(crate) type Row = (u8, String, f64, u32, u64, u64, u64, u64, u64, u64);
/// Tokens as a number with its fraction.
pub(crate) fn tokens(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// One client.
pub(crate) fn row<K>(place: &mut Place<K>, kind: u8, id: String, now_ms: u64) -> Row {
    let rate = place.bucket.rate();
    (
        kind,
        id,
        tokens(place.bucket.level_nanos(now_ms)),
        rate.burst,
        rate.micros_per_second,
        place.last_seen_ms,
        place.first_seen_ms,
        place.allowed,
        place.denied,
        place.custom_until_ms,
    )
}

/// Up to `count` clients, by name.
pub(crate) fn listed<K: Key>(
    table: &mut Table<K>,
    kind: u8,
    count: usize,
    now_ms: u64,
    text: impl Fn(&K) -> String,
) -> Vec<Row> {
    let places = table.sorted(count);
    places
        .map(|place| {
            let id = text(&place.key);
            row(place, kind, id, now_ms)
        })
        .collect()
}

/// The `count` clients with the most refusals or requests.
pub(crate) fn most<K: Ord>(
    places: &mut [Place<K>],
    kind: u8,
    by_denied: bool,
    count: usize,
    now_ms: u64,
    text: impl Fn(&K) -> String,
) -> Vec<Row> {
    let weight = |place: &Place<K>| if by_denied { place.denied } else { place.allowed + place.denied };
    let mut order: Vec<&mut Place<K>> = places.iter_mut().filter(|place| weight(place) > 0).collect();
    order.sort_by(|one, other| weight(other).cmp(&weight(one)).then_with(|| one.key.cmp(&other.key)));
    let first = order.into_iter().take(count);
    first
        .map(|place| {
            let id = text(&place.key);
            row(place, kind, id, now_ms)
        })
        .collect()
}
