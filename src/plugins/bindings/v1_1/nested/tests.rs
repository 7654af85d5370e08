use super::*;

/// What a plugin has that returns what it was given.
fn returned(value: &ValueParam<'_>) -> ValueResult {
    match value {
        ValueParam::Null => ValueResult::Null,
        ValueParam::Boolean(value) => ValueResult::Boolean(*value),
        ValueParam::Int8(value) => ValueResult::Int8(*value),
        ValueParam::Int16(value) => ValueResult::Int16(*value),
        ValueParam::Int32(value) => ValueResult::Int32(*value),
        ValueParam::Int64(value) => ValueResult::Int64(*value),
        ValueParam::Uint8(value) => ValueResult::Uint8(*value),
        ValueParam::Uint16(value) => ValueResult::Uint16(*value),
        ValueParam::Uint32(value) => ValueResult::Uint32(*value),
        ValueParam::Float(value) => ValueResult::Float(*value),
        ValueParam::Double(value) => ValueResult::Double(*value),
        ValueParam::Decimal(Decimal { scale, digits }) => {
            ValueResult::Decimal(Decimal { scale: *scale, digits: *digits })
        }
        ValueParam::Timestamp(value) => ValueResult::Timestamp(*value),
        ValueParam::Text(text) => ValueResult::Text((*text).to_owned()),
        ValueParam::Bytes(bytes) => ValueResult::Bytes(bytes.to_vec()),
        ValueParam::Binary(bytes) => ValueResult::Binary(bytes.to_vec()),
        ValueParam::List(places) => ValueResult::List(places.to_vec()),
        ValueParam::Table(places) => ValueResult::Table(
            places.iter().map(|(name, place)| ((*name).to_owned(), *place)).collect(),
        ),
    }
}

/// The headers after they were given to a plugin and came back.
fn there_and_back(headers: &BTreeMap<String, Value>) -> Vec<(String, Value)> {
    let inner = Inner::of(headers);
    let (lowered, nested) = inner.lower(headers);
    let lowered = lowered.iter().map(|(name, value)| ((*name).to_owned(), returned(value)));
    lift(lowered.collect(), nested.iter().map(returned).collect()).unwrap()
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(Value::Int(1), |inner, _| Value::List(vec![inner]))
}

#[test]
fn every_type_comes_back_as_it_was() {
    let plain = [
        Value::Null,
        Value::Bool(true),
        Value::Int(-5),
        Value::Int(i64::MIN),
        Value::Int8(-5),
        Value::Int16(5),
        Value::Int64(5),
        Value::UInt8(5),
        Value::UInt16(5),
        Value::UInt32(5),
        Value::Float(0.1),
        Value::Float32(0.1),
        Value::Decimal { scale: 2, value: 314 },
        Value::Timestamp(1_767_225_600),
        "text".into(),
        Value::Bytes(vec![0xff]),
        Value::Binary(vec![0, 1]),
    ];
    let table = |values: &[(&str, Value)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Table(values.collect())
    };
    // As in `x-death`: tables in a list, lists in tables, empty ones, and several of them.
    let keys = Value::List(vec!["a.b.c".into(), "d".into()]);
    let death = table(&[("count", Value::Int64(1)), ("routing-keys", keys), ("none", table(&[]))]);
    let deaths = Value::List(vec![death.clone(), Value::List(vec![]), death]);
    let mut headers: BTreeMap<String, Value> =
        plain.iter().enumerate().map(|(n, value)| (format!("{n:02}"), value.clone())).collect();
    headers.insert("all".into(), Value::List(plain.to_vec()));
    headers.insert("deaths".into(), deaths);
    headers.insert("deep".into(), deep(LEVELS));
    headers.insert("last".into(), table(&[("x", Value::Int(1))]));
    assert_eq!(there_and_back(&headers), Vec::from_iter(headers));
    assert_eq!(there_and_back(&BTreeMap::new()), []);
}

#[test]
fn lists_that_cannot_be_are_named() {
    let refused = |value: ValueResult, nested: Vec<ValueResult>| {
        lift(vec![("h".into(), value)], nested).unwrap_err()
    };
    let list = |places: &[u32]| ValueResult::List(places.to_vec());
    let one = || ValueResult::Int32(1);
    for (reason, expected) in [
        (
            refused(list(&[1]), vec![one()]),
            "header \"h\": it names nested[1], but nested has 1 values",
        ),
        (refused(list(&[0, 0]), vec![one()]), "header \"h\": nested[0] is named twice"),
        (refused(list(&[0]), vec![list(&[0])]), "nested[0] is named twice"),
        (refused(one(), vec![one()]), "nested[0]: no list or table of a header names it"),
        (
            refused(ValueResult::Table(vec![("n".into(), 7)]), vec![]),
            "it names nested[7], but nested has 0 values",
        ),
    ] {
        assert!(reason.contains(expected), "{reason}");
    }
    let chain = (1..=LEVELS as u32 + 1).map(|next| list(&[next])).chain([one()]).collect();
    assert!(refused(list(&[0]), chain).contains("more than 32 levels deep: make it flatter"));
}
