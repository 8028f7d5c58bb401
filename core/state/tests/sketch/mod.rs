//! Schemas, entries and a replica in few words, for tests, benches and fuzz targets.
#![allow(dead_code)]

mod replica;

use konsul_state::msgpack::*;

pub use replica::Replica;

#[derive(Debug, Clone, PartialEq)]
pub enum V {
    Nil,
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<String>),
    Map(Vec<(String, String)>),
    Index,
    Now(i64),
    Keep,
    Myself,
    Parent(u8, bool),
}

impl From<&str> for V {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for V {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&[&str]> for V {
    fn from(items: &[&str]) -> Self {
        Self::List(items.iter().map(|item| (*item).into()).collect())
    }
}

fn ext(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.extend_from_slice(&[0xc7, payload.len() as u8, kind]);
    out.extend_from_slice(payload);
}

pub fn value(out: &mut Vec<u8>, value: &V) {
    match value {
        V::Nil => write_nil(out),
        V::Bool(flag) => write_bool(out, *flag),
        V::Int(number) => write_signed(out, *number),
        V::Text(text) => write_text(out, text.as_bytes()),
        V::Bytes(bytes) => write_bytes(out, bytes),
        V::List(items) => {
            write_array(out, items.len());
            items.iter().for_each(|item| write_text(out, item.as_bytes()));
        }
        V::Map(pairs) => {
            write_map(out, pairs.len());
            for (name, value) in pairs {
                write_text(out, name.as_bytes());
                write_text(out, value.as_bytes());
            }
        }
        V::Index => ext(out, 1, &[]),
        V::Now(plus_ms) => ext(out, 2, &plus_ms.to_be_bytes()),
        V::Keep => ext(out, 3, &[]),
        V::Myself => ext(out, 4, &[]),
        V::Parent(column, plus_now) => ext(out, 5, &[*column, u8::from(*plus_now)]),
    }
}

pub fn row_cells(cells: &[V]) -> Vec<u8> {
    let mut out = Vec::new();
    write_array(&mut out, cells.len());
    cells.iter().for_each(|cell| value(&mut out, cell));
    out
}

fn step(number: u64, table: u16, key: impl Into<V>, members: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write_array(&mut out, members);
    write_unsigned(&mut out, number);
    write_unsigned(&mut out, u64::from(table));
    value(&mut out, &key.into());
    out
}

fn compared(number: u64, table: u16, key: impl Into<V>, column: u64, with: impl Into<V>) -> Vec<u8> {
    let mut out = step(number, table, key, 5);
    write_unsigned(&mut out, column);
    value(&mut out, &with.into());
    out
}

pub fn exists(table: u16, key: impl Into<V>) -> Vec<u8> {
    step(0, table, key, 3)
}

pub fn absent(table: u16, key: impl Into<V>) -> Vec<u8> {
    step(1, table, key, 3)
}

pub fn at(table: u16, key: impl Into<V>, index: u64) -> Vec<u8> {
    let mut out = step(2, table, key, 4);
    write_unsigned(&mut out, index);
    out
}

pub fn is(table: u16, key: impl Into<V>, column: u64, with: impl Into<V>) -> Vec<u8> {
    compared(3, table, key, column, with)
}

pub fn is_not(table: u16, key: impl Into<V>, column: u64, with: impl Into<V>) -> Vec<u8> {
    compared(4, table, key, column, with)
}

pub fn le(table: u16, key: impl Into<V>, column: u64, with: impl Into<V>) -> Vec<u8> {
    compared(5, table, key, column, with)
}

pub fn put(table: u16, key: impl Into<V>, cells: &[V]) -> Vec<u8> {
    let mut out = step(0, table, key, 4);
    out.extend_from_slice(&row_cells(cells));
    out
}

pub fn patch(table: u16, key: impl Into<V>, cells: &[(u64, V)]) -> Vec<u8> {
    let mut out = step(1, table, key, 4);
    write_array(&mut out, cells.len());
    for (column, cell) in cells {
        write_array(&mut out, 2);
        write_unsigned(&mut out, *column);
        value(&mut out, cell);
    }
    out
}

pub fn add(table: u16, key: impl Into<V>, column: u64, delta: i64, ceiling: Option<i64>) -> Vec<u8> {
    let mut out = step(2, table, key, 6);
    write_unsigned(&mut out, column);
    write_signed(&mut out, delta);
    value(&mut out, &ceiling.map_or(V::Nil, V::Int));
    out
}

pub fn delete(table: u16, key: impl Into<V>) -> Vec<u8> {
    step(3, table, key, 3)
}

pub fn delete_prefix(table: u16, key: impl Into<V>) -> Vec<u8> {
    step(4, table, key, 3)
}

pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_array(&mut out, items.len());
    items.iter().for_each(|item| out.extend_from_slice(item));
    out
}

pub type Case = (Vec<Vec<u8>>, Vec<Vec<u8>>);

pub fn cases(cases: &[Case]) -> Vec<u8> {
    let cases: Vec<_> = cases.iter().map(|(guards, ops)| array(&[array(guards), array(ops)])).collect();
    array(&cases)
}

pub fn always(ops: &[Vec<u8>]) -> Vec<u8> {
    cases(&[(vec![], ops.to_vec())])
}

/// A schema under construction: the last table added is the one that the other calls are about.
#[derive(Debug, Clone, Default)]
pub struct Tab {
    id: u64,
    name: String,
    columns: Vec<Vec<u8>>,
    expires: Option<i64>,
    lease: Option<i64>,
    keep: Option<i64>,
    refs: Vec<Vec<u8>>,
}

fn members(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    write_map(&mut out, pairs.len());
    for (name, bytes) in pairs {
        write_text(&mut out, name.as_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

pub fn one(cell: impl Into<V>) -> Vec<u8> {
    let mut out = Vec::new();
    value(&mut out, &cell.into());
    out
}

impl Tab {
    pub fn new(id: u16, name: &str) -> Self {
        Self { id: u64::from(id), name: name.into(), ..Self::default() }
    }

    pub fn column(self, name: &str, kind: &str) -> Self {
        self.with(name, kind, "none", V::Nil)
    }

    pub fn indexed(self, name: &str, kind: &str, index: &str) -> Self {
        self.with(name, kind, index, V::Nil)
    }

    pub fn with(mut self, name: &str, kind: &str, index: &str, default: V) -> Self {
        let pairs =
            [("name", one(name)), ("kind", one(kind)), ("index", one(index)), ("default", one(default))];
        self.columns.push(members(&pairs));
        self
    }

    pub fn expires(mut self, column: i64) -> Self {
        self.expires = Some(column);
        self
    }

    pub fn lease(mut self, column: i64) -> Self {
        self.lease = Some(column);
        self
    }

    pub fn keep(mut self, rows: i64) -> Self {
        self.keep = Some(rows);
        self
    }

    /// A ref with one reaction.
    pub fn points_at(self, column: i64, parent: i64, ops: &[Vec<u8>]) -> Self {
        self.reference(column, parent, None, None, &[(V::Nil, ops.to_vec())])
    }

    pub fn reference(
        mut self,
        column: i64,
        parent: i64,
        breaks_when: Option<(i64, V)>,
        choose_by: Option<i64>,
        then: &[(V, Vec<Vec<u8>>)],
    ) -> Self {
        let nil_or = |number: Option<i64>| one(number.map_or(V::Nil, V::Int));
        let then: Vec<_> = then.iter().map(|(when, ops)| array(&[one(when.clone()), array(ops)])).collect();
        let each = breaks_when.is_some();
        self.refs.push(members(&[
            ("column", one(column)),
            ("parent", one(parent)),
            ("each", one(V::Bool(each))),
            (
                "breaks_when",
                breaks_when.map_or(one(V::Nil), |(column, with)| array(&[one(column), one(with)])),
            ),
            ("choose_by", nil_or(choose_by)),
            ("then", array(&then)),
        ]));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let nil_or = |number: Option<i64>| one(number.map_or(V::Nil, V::Int));
        members(&[
            ("id", one(self.id as i64)),
            ("name", one(self.name.as_str())),
            ("columns", array(&self.columns)),
            ("expires", nil_or(self.expires)),
            ("lease", nil_or(self.lease)),
            ("keep", nil_or(self.keep)),
            ("refs", array(&self.refs)),
        ])
    }
}

pub fn schema(tables: &[Tab]) -> Vec<u8> {
    array(&tables.iter().map(Tab::bytes).collect::<Vec<_>>())
}

/// A replica with these keys in its first table, and one key in the table after it.
pub fn stocked(keys: &[&str]) -> Replica {
    let mut replica = Replica::new(&[Tab::new(1, "kv").column("value", "bytes"), Tab::new(2, "next")]);
    let ops: Vec<_> = keys.iter().map(|key| put(1, *key, &[])).collect();
    replica.must(0, &ops);
    replica.must(0, &[put(2, "a", &[])]);
    replica
}
