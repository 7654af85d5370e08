//! Arbitrary frames and bytes in arbitrary pieces: what comes out is what lapin reads, or
//! there is an error.

use amq_protocol::frame::parse_frame;
use amq_protocol::frame::parsing::parse_content_header;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::super::fields::{LEVELS, fixed_size};
use super::super::frame::{BODY, HEADER, HEARTBEAT, Head, METHOD};
use super::super::properties::{self, Faults};
use super::build::{body, content_header, deliver, entry, frame, headers, long, nested, short};
use super::read;

/// More where time is no matter: `WIRE_SEEDS=1000000 cargo test --release --lib wire`.
#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("WIRE_SEEDS").map_or(5_000, |seeds| seeds.parse().unwrap())
}

fn bytes(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..=most)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Mostly text.
fn text(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..8) {
        0 => bytes(rng, 20),
        1 => "blåbærgrød".as_bytes()[..rng.random_range(0..=13)].to_vec(),
        _ => b"employee.it.create"[..rng.random_range(0..=18)].to_vec(),
    }
}

/// A value with its type, mostly sound.
fn value(rng: &mut StdRng, levels: usize) -> Vec<u8> {
    let kind = b"tbBsUuIiLlfdDSxATFVF?"[rng.random_range(0..21)];
    let content = match kind {
        b'S' | b'x' => long(&bytes(rng, 30)),
        b'F' | b'A' if levels == 0 => long(&[]),
        b'F' if rng.random_ratio(1, 50) => nested(rng.random_range(0..1500)),
        b'F' => long(&table(rng, levels - 1)),
        b'A' => {
            let count = rng.random_range(0..3);
            long(&(0..count).flat_map(|_| value(rng, levels - 1)).collect::<Vec<_>>())
        }
        kind => vec![rng.random(); fixed_size(kind).unwrap_or(3)],
    };
    [&[kind], &content[..]].concat()
}

fn table(rng: &mut StdRng, levels: usize) -> Vec<u8> {
    let count = rng.random_range(0..4);
    let entries = (0..count).map(|_| {
        let (name, value) = (text(rng), value(rng, levels));
        entry(&name, value[0], &value[1..])
    });
    entries.collect::<Vec<_>>().concat()
}

fn some_properties(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..4) {
        0 => vec![0, 0],
        1 => headers(&table(rng, 5)),
        _ => {
            let flags: u16 = rng.random();
            let mut out = flags.to_be_bytes().to_vec();
            for index in 0..14 {
                if flags & (1 << (15 - index)) != 0 {
                    out.extend(match index {
                        2 => long(&table(rng, 3)),
                        3 | 4 => vec![rng.random()],
                        9 => vec![rng.random(); 8],
                        _ => short(&text(rng)),
                    });
                }
            }
            out
        }
    }
}

fn some_frame(rng: &mut StdRng) -> Vec<u8> {
    let channel = rng.random_range(0..4);
    match rng.random_range(0..12) {
        0..3 => deliver(channel, &text(rng), &text(rng)),
        3..6 => content_header(channel, rng.random_range(0..100), &some_properties(rng)),
        6..8 => body(channel, &bytes(rng, 300)),
        8 => frame(HEARTBEAT, 0, &[]),
        9 => frame(METHOD, channel, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, rng.random()]),
        10 => {
            let close = [&[0, 20, 0, 40, 1, 0x94], &short(&text(rng))[..], &[0; 4]].concat();
            frame(METHOD, channel, &close)
        }
        _ => {
            let kind = *[METHOD, HEADER, BODY, HEARTBEAT, rng.random()]
                .get(rng.random_range(0..5))
                .unwrap();
            frame(kind, channel, &bytes(rng, 3000))
        }
    }
}

fn damage(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..3) {
        0 => bytes[at] = rng.random(),
        1 => bytes.truncate(at),
        _ => bytes.insert(at, rng.random()),
    }
}

fn pieces<'a>(rng: &mut StdRng, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let most = *[1, 10, 100, 100_000].get(rng.random_range(0..4)).unwrap();
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(rng.random_range(1..=most).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Whether lapin reads all of it. That it refuses a frame which passed unseen is the
/// clean error; what was looked at it must read.
fn check(mut out: &[u8], seed: u64) {
    while !out.is_empty() {
        match parse_frame(out) {
            Ok((rest, _)) => out = rest,
            Err(error) if error.is_incomplete() => return,
            Err(error) => {
                let head = Head::read(out).unwrap();
                let is_looked_at = head.kind == HEADER
                    || head.kind == METHOD && out[7..].starts_with(&[0, 60, 0, 60]);
                assert!(!is_looked_at, "seed {seed}: {error}: {head:?}");
                return;
            }
        }
    }
}

#[test]
fn whatever_comes_lapin_reads_it_or_there_is_an_error() {
    for seed in seeds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(1..20);
        let mut input: Vec<u8> = (0..count).flat_map(|_| some_frame(&mut rng)).collect();
        if rng.random_bool(0.3) {
            damage(&mut rng, &mut input);
        }
        let split = pieces(&mut rng, &input);
        let (out, ended) = read(&split);
        check(&out, seed);
        // However it is split.
        let (whole, ended_whole) = read(&[&input]);
        assert_eq!(ended.is_ok(), ended_whole.is_ok(), "seed {seed}");
        assert!(out == whole, "seed {seed}: {} {}", out.len(), whole.len());
        // What comes out does so again.
        if ended.is_ok() {
            assert!(read(&[&out]).0 == out, "seed {seed}");
        }
    }
}

#[test]
fn noise_is_an_error_or_passes() {
    for seed in seeds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let input = bytes(&mut rng, 4000);
        check(&read(&pieces(&mut rng, &input)).0, seed);
    }
}

#[test]
fn what_is_called_readable_is_what_lapin_reads() {
    let (mut readable, mut others) = (0, 0);
    for seed in seeds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut properties = some_properties(&mut rng);
        if rng.random_bool(0.5) {
            damage(&mut rng, &mut properties);
        }
        let by_lapin = |properties: &[u8]| {
            let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], properties].concat();
            matches!(parse_content_header(&payload[..]), Ok(([], _)))
        };
        let mut faults = Faults::default();
        let read = properties::readable(&properties, &mut faults);
        if properties::are_readable(&properties) {
            assert!(by_lapin(&properties), "seed {seed}");
            assert!(faults.is_empty(), "seed {seed}: {}", faults.reason());
            readable += 1;
        } else {
            assert!(!faults.is_empty(), "seed {seed}");
            let is_deep = faults.reason().contains(&format!("more than {LEVELS} levels"));
            assert!(is_deep || !by_lapin(&properties), "seed {seed}: {}", faults.reason());
            others += 1;
        }
        assert!(properties::are_readable(&read) && by_lapin(&read), "seed {seed}");
    }
    assert!(readable > 100 && others > 100, "{readable} {others}");
}
