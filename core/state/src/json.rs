//! Rows as JSON, written straight from their packed form.

pub use crate::json_text::{write_padded, write_string};
use crate::read::{self, KeyQuery, Query, ReadError, Sees};
use crate::schema::Schema;
pub use crate::shape::{BYTES, EMBED, OMIT_EMPTY, Shape, TIME};
use crate::store::Read;

/// One row as JSON; None if it is not there.
///
/// # Errors
/// [`ReadError`].
pub fn get(r: &impl Read, schema: &Schema, shape: &Shape, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let table = schema.table(shape.table())?;
    let Some(row) = read::get(r, shape.table(), key)? else { return Ok(None) };
    let mut out = Vec::with_capacity(row.len() * 5 / 4 + 128);
    shape.write(table, key, row, &mut out)?;
    Ok(Some(out))
}

/// A JSON array, how many items it has, and the key to continue after.
pub type Listed = (Vec<u8>, usize, Option<Vec<u8>>);

/// A query's rows as one JSON array. The query's table is the shape's.
///
/// # Errors
/// [`ReadError`].
pub fn scan(
    r: &impl Read,
    schema: &Schema,
    shape: &Shape,
    query: &Query<'_>,
    sees: Sees<'_>,
) -> Result<Listed, ReadError> {
    let table = schema.table(shape.table())?;
    let query = Query { table: shape.table(), ..*query };
    let mut out = vec![b'['];
    let mut count = 0;
    let next = read::scan_seen(r, schema, &query, sees, &mut |key, row| {
        if count > 0 {
            out.push(b',');
        }
        count += 1;
        shape.write(table, key, row, &mut out)
    })?;
    out.push(b']');
    Ok((out, count, next))
}

/// Keys as one JSON array of strings.
///
/// # Errors
/// [`ReadError`].
pub fn keys(
    r: &impl Read,
    schema: &Schema,
    query: &KeyQuery<'_>,
    sees: Sees<'_>,
) -> Result<Listed, ReadError> {
    let mut out = vec![b'['];
    let mut count = 0;
    let next = read::keys_seen(r, schema, query, sees, &mut |key| {
        if count > 0 {
            out.push(b',');
        }
        count += 1;
        write_string(&mut out, &String::from_utf8_lossy(key));
    })?;
    out.push(b']');
    Ok((out, count, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::*;
    use crate::store::Store;

    fn written(fields: &[(&str, i32, u32)], cells: &[V]) -> String {
        let table = Tab::new(1, "all")
            .column("bytes", "bytes")
            .column("text", "text")
            .column("unsigned", "u64")
            .column("signed", "i64")
            .column("flag", "bool")
            .column("list", "list")
            .column("map", "map")
            .column("json", "json");
        let mut replica = Replica::new(&[table]);
        replica.must(0, &[put(1, "k\"é", cells)]);
        let shape = Shape::new(1, fields).unwrap();
        let r = replica.store.read().unwrap();
        let json = get(&r, &replica.tables.schema(), &shape, "k\"é".as_bytes()).unwrap().unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn every_kind_has_its_form() {
        let fields = [
            ("key", -1, 0),
            ("create_index", -2, 0),
            ("modify_index", -3, 0),
            ("map", 6, 0),
            ("value", 0, BYTES),
            ("text", 1, 0),
            ("signed", 3, 0),
            ("at", 2, TIME),
            ("flag", 4, 0),
            ("list", 5, 0),
            ("json", 7, EMBED),
            ("again", 1, 0),
        ];
        let cells = [
            V::Bytes(b"a\nb".to_vec()),
            "<&>\u{1}".into(),
            V::Int(1_000),
            V::Int(-5),
            V::Bool(true),
            (&["x", "\"y"][..]).into(),
            V::Map(vec![("b".into(), "2".into()), ("a".into(), "1".into())]),
            V::Bytes(b"{\"a\": [1]}".to_vec()),
        ];
        let want = concat!(
            r#"{"key":"k\"é","create_index":1,"modify_index":1,"map":{"a":"1","b":"2"},"value":"a\nb","#,
            r#""text":"<&>\u0001","signed":-5,"at":"1970-01-01T00:00:01.000Z","flag":true,"#,
            r#""list":["x","\"y"],"json":{"a": [1]},"again":"<&>\u0001"}"#
        );
        assert_eq!(written(&fields, &cells), want);
    }

    #[test]
    fn empty_members_are_left_out_where_asked() {
        let fields: Vec<_> = (0..8).map(|column| ("x", column, OMIT_EMPTY)).collect();
        assert_eq!(written(&fields, &[]), "{}");
        let empty = [
            V::Bytes(vec![]),
            "".into(),
            0.into(),
            0.into(),
            V::Nil,
            V::List(vec![]),
            V::Map(vec![]),
            V::Nil,
        ];
        assert_eq!(written(&fields, &empty), "{}");
        assert_eq!(written(&[("x", 2, 0), ("y", 7, EMBED)], &[]), r#"{"x":null,"y":null}"#);
        assert_eq!(
            written(&[("x", 4, OMIT_EMPTY)], &[V::Nil, V::Nil, V::Nil, V::Nil, V::Bool(false)]),
            r#"{"x":false}"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_say_how_they_are_coded() {
        let cells = [V::Bytes(vec![0xff, 0xfe])];
        let want = r#"{"value":"//4=","encoding":"base64"}"#;
        assert_eq!(written(&[("value", 0, BYTES | OMIT_EMPTY)], &cells), want);
        let want = r#"{"old_value":"//4=","old_value_encoding":"base64"}"#;
        assert_eq!(written(&[("old_value", 0, BYTES)], &cells), want);
    }

    #[test]
    fn lists_are_arrays() {
        let mut replica = Replica::new(&[Tab::new(1, "kv").column("value", "bytes")]);
        let shape = Shape::new(1, &[("key", -1, 0)]).unwrap();
        let query = Query { table: 1, prefix: b"", filters: &[], after: None, limit: 2 };
        let all = |replica: &Replica| {
            let r = replica.store.read().unwrap();
            let (json, count, next) = scan(&r, &replica.tables.schema(), &shape, &query, None).unwrap();
            (String::from_utf8(json).unwrap(), count, next)
        };
        assert_eq!(all(&replica), ("[]".into(), 0, None));
        replica.must(0, &[put(1, "a", &[]), put(1, "b", &[]), put(1, "c/d", &[])]);
        assert_eq!(all(&replica), (r#"[{"key":"a"},{"key":"b"}]"#.into(), 2, Some(b"b".to_vec())));
        let query = KeyQuery { table: 1, prefix: b"", separator: b"/", after: None, inside: false, limit: 9 };
        let (json, count, _) =
            keys(&replica.store.read().unwrap(), &replica.tables.schema(), &query, None).unwrap();
        assert_eq!((json, count), (br#"["a","b","c/"]"#.to_vec(), 3));
    }

    #[test]
    fn shapes_are_checked() {
        assert!(Shape::new(1, &[("x", -4, 0)]).is_err());
        assert!(Shape::new(1, &[("x", 256, 0)]).is_err());
        assert!(Shape::new(1, &[("x", 0, 16)]).is_err());
    }
}
