mod build;
mod random;

use std::io;
use std::sync::Arc;

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::AMQPMethod;
use build::{
    body, content_header, correlation_id, deliver, entry, frame, headers, long, message, nested,
    short,
};
use bytes::Bytes;

use super::channels::Channels;
use super::inbound::Inbound;
use super::outbound::{Outbound, Step};
use super::room::{LARGE, MOST, Room};
use super::stand_in::{self, Mark};
use crate::amqp::properties::{from_amqp, to_amqp};
use crate::event::{Properties, Unreadable, Value};

/// What lapin would read of bytes that come in pieces, and why it would read no more.
fn read(pieces: &[&[u8]]) -> (Vec<u8>, io::Result<()>) {
    read_with(Arc::default(), pieces)
}

fn read_with(room: Arc<Room>, pieces: &[&[u8]]) -> (Vec<u8>, io::Result<()>) {
    read_on(&mut Channels::default(), room, pieces)
}

fn read_on(
    channels: &mut Channels,
    room: Arc<Room>,
    pieces: &[&[u8]],
) -> (Vec<u8>, io::Result<()>) {
    let mut inbound = Inbound::new(Mark::own(), room);
    let mut out = Vec::new();
    for piece in pieces {
        let mut piece = *piece;
        while !piece.is_empty() {
            let direct = inbound.direct().min(piece.len());
            if direct > 0 {
                out.extend(&piece[..direct]);
                inbound.passed(direct);
                piece = &piece[direct..];
                continue;
            }
            let room = inbound.room();
            let count = room.len().min(piece.len());
            room[..count].copy_from_slice(&piece[..count]);
            inbound.filled(count);
            piece = &piece[count..];
            loop {
                match inbound.ready(channels) {
                    Ok([]) => break,
                    Ok(ready) => {
                        // Lapin's buffer may be nearly full.
                        let count = ready.len().min(1000);
                        out.extend(&ready[..count]);
                        inbound.consume(count);
                    }
                    Err(error) => return (out, Err(error)),
                }
            }
        }
    }
    (out, Ok(()))
}

fn read_whole(bytes: &[u8]) -> Vec<u8> {
    let (out, ended) = read(&[bytes]);
    ended.unwrap();
    out
}

#[test]
fn large_messages_are_counted_when_all_of_them_has_come() {
    let room = Arc::<Room>::default();
    let place = room.place(7);
    let come = |size: usize, sent: usize| {
        let mut bytes = [deliver(7, b"x", b"k"), content_header(7, size as u64, &[0, 0])].concat();
        let parts = vec![0; sent];
        parts.chunks(100_000).for_each(|part| bytes.extend(body(7, part)));
        let (_, ended) = read_with(Arc::clone(&room), &[&bytes]);
        ended.unwrap();
    };
    come(MOST + 1, MOST);
    assert!(!room.is_full());
    come(MOST, MOST);
    come(LARGE - 1, LARGE - 1);
    assert!(!room.is_full());
    come(LARGE, LARGE);
    assert!(room.is_full());
    place.take(MOST);
    assert!(!room.is_full());
}

#[test]
fn a_large_message_that_cannot_be_read_is_counted_as_lapin_will_have_it() {
    let deep = headers(&entry(b"bl\xe5", b'S', &long(&vec![0; LARGE])));
    for (properties, size) in
        [(correlation_id(b"\xff"), 2 * LARGE), (deep.clone(), 3), (deep.clone(), 0)]
    {
        let room = Arc::<Room>::default();
        let place = room.place(7);
        let header = content_header(7, size as u64, &properties);
        let (header, parts) = ([deliver(7, b"x", b"k"), header].concat(), vec![0; size]);
        let parts: Vec<_> = parts.chunks(LARGE).map(|part| body(7, part)).collect();
        let mut inbound = Inbound::new(Mark::own(), Arc::clone(&room));
        let mut out = Vec::new();
        for (at, piece) in [header].iter().chain(&parts).enumerate() {
            assert_eq!(place.waiting(), 0, "before piece {at} of {}", parts.len());
            inbound.room()[..piece.len()].copy_from_slice(piece);
            inbound.filled(piece.len());
            loop {
                let ready = inbound.ready(&mut Channels::default()).unwrap();
                if ready.is_empty() {
                    break;
                }
                out.extend(ready);
                let count = ready.len();
                inbound.consume(count);
            }
        }
        let bodies = parse(&out).into_iter().filter_map(|frame| match frame {
            AMQPFrame::Body(_, part) => Some(part.len()),
            _ => None,
        });
        let whole = bodies.sum::<usize>();
        assert!(whole >= LARGE);
        assert_eq!(place.waiting(), whole);
        place.take(whole);
        assert_eq!(place.waiting(), 0);
    }
}

fn parse(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).unwrap();
        bytes = rest;
        frames.push(frame);
    }
    frames
}

/// The one message in `bytes` as the inbox gets it.
struct Seen {
    exchange: String,
    routing_key: String,
    properties: Properties,
    body: Bytes,
}

impl Seen {
    fn in_output(bytes: &[u8]) -> Self {
        let mut frames = parse(bytes).into_iter();
        let Some(AMQPFrame::Method(_, AMQPClass::Basic(AMQPMethod::Deliver(deliver)))) =
            frames.next()
        else {
            panic!("no delivery")
        };
        let Some(AMQPFrame::Header(_, header)) = frames.next() else { panic!("no header") };
        let parts = frames.map(|frame| match frame {
            AMQPFrame::Body(_, part) => part,
            other => panic!("{other}"),
        });
        let mut body = Bytes::from(parts.collect::<Vec<_>>().concat());
        assert_eq!(header.body_size, body.len() as u64);
        let mut properties = from_amqp(&header.properties);
        stand_in::resolve(&mut properties, &mut body);
        let (exchange, routing_key) = (deliver.exchange.into(), deliver.routing_key.into());
        Self { exchange, routing_key, properties, body }
    }

    fn unreadable(&self) -> &Unreadable {
        self.properties.unreadable.as_ref().expect("it is unreadable")
    }
}

fn seen(exchange: &[u8], routing_key: &[u8], properties: &[u8]) -> Seen {
    Seen::in_output(&read_whole(&message(1, exchange, routing_key, properties, b"{}")))
}

/// Innocent messages with an unreadable one of each kind between them.
fn mixed() -> Vec<u8> {
    let sound = [entry(b"a", b'I', &[0, 0, 0, 1]), entry(b"t", b'F', &nested(3))].concat();
    [
        frame(8, 0, &[]),
        message(1, b"os2mo", b"employee.it.create", &headers(&sound), b"first"),
        deliver(2, b"os2mo", b"bl\xe5"),
        message(1, b"os2mo", b"key", &correlation_id(&[0xff; 16]), b"second"),
        content_header(2, 3, &headers(&entry(b"\xe5", b'S', &long(b"x")))),
        body(2, b"ab"),
        message(1, b"os2mo", b"key", &headers(&entry(b"deep", b'F', &nested(1000))), b"third"),
        body(2, b"c"),
        message(1, b"os2mo", b"key", &[0, 0], b"last"),
    ]
    .concat()
}

#[test]
fn what_lapin_reads_passes_as_it_is() {
    let sound = [
        message(1, b"os2mo", "blå".as_bytes(), &headers(&entry(b"deep", b'F', &nested(31))), b"{}"),
        frame(8, 0, &[]),
        frame(1, 1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
        content_header(1, 200_000, &[0, 0]),
        body(1, &[7; 100_000]),
        body(1, &[8; 100_000]),
    ]
    .concat();
    assert_eq!(read_whole(&sound), sound);
    assert_eq!(read_whole(b"AMQP\0\0\x09\x01"), b"AMQP\0\0\x09\x01");
}

#[test]
fn it_does_not_matter_where_the_bytes_are_split() {
    let mixed = mixed();
    let expected = read_whole(&mixed);
    assert!(parse(&expected).len() > 16);
    for at in 0..mixed.len() {
        let (out, ended) = read(&[&mixed[..at], &mixed[at..]]);
        ended.unwrap();
        assert_eq!(out, expected, "split at {at}");
    }
    let single: Vec<&[u8]> = mixed.chunks(1).collect();
    assert_eq!(read(&single).0, expected);
}

#[test]
fn properties_that_are_not_utf_8() {
    let properties = correlation_id(b"\x01\xff2345");
    let seen = seen(b"os2mo", b"key", &properties);
    assert_eq!(
        seen.unreadable().reason,
        r#"unreadable: the property correlation_id is not UTF-8 ("\x01\xff2345")"#
    );
    assert_eq!(seen.unreadable().properties, Some(properties));
    assert_eq!(seen.properties.correlation_id.as_deref(), Some("\x01\u{fffd}2345"));
    assert_eq!((&*seen.exchange, &*seen.routing_key), ("os2mo", "key"));
    assert_eq!(&seen.body[..], b"{}");
}

#[test]
fn a_routing_key_that_is_not_utf_8() {
    let seen = seen(b"os2mo", b"employee.bl\xe5.create", &[0, 0]);
    assert_eq!(seen.routing_key, "employee.bl\u{fffd}.create");
    let unreadable = seen.unreadable();
    assert_eq!(
        unreadable.reason,
        r#"unreadable: the routing key is not UTF-8 ("employee.bl\xe5.create")"#
    );
    assert_eq!(unreadable.routing_key, b"employee.bl\xe5.create");
    assert_eq!(unreadable.exchange, b"os2mo");
    assert_eq!(unreadable.properties, None);
    assert_eq!(&seen.body[..], b"{}");
}

#[test]
fn a_long_key_that_is_not_utf_8_is_still_a_short_string() {
    assert_eq!(seen(b"os2mo", &[0xe5; 255], &[0, 0]).routing_key, "\u{fffd}".repeat(85));
}

#[test]
fn headers_that_cannot_be_read() {
    for (content, reason) in [
        (entry(b"bl\xe5", b'V', &[]), r#"the name of a header is not UTF-8 ("bl\xe5")"#),
        (
            entry(b"a", b'F', &long(&entry(b"\xe5", b'V', &[]))),
            r#"a name in the header "a" is not UTF-8"#,
        ),
        (entry(b"a", b'F', &nested(33)), r#"the header "a" is nested more than 32 levels deep"#),
        (entry(b"a", b'?', &[1]), r#"the header "a" is malformed"#),
        (entry(b"a", b'S', &[0, 0, 0, 9]), r#"the header "a" is malformed"#),
        (entry(b"a", b'A', &long(b"I")), r#"the header "a" is malformed"#),
        (vec![9], "the headers are malformed"),
    ] {
        let kept = entry(b"kept", b't', &[1]);
        let properties = headers(&[kept, content].concat());
        let seen = seen(b"os2mo", b"key", &properties);
        assert!(seen.unreadable().reason.contains(reason), "{}", seen.unreadable().reason);
        assert_eq!(seen.unreadable().properties, Some(properties));
        assert_eq!(seen.properties.headers["kept"], Value::Bool(true));
    }
}

#[test]
fn properties_larger_than_a_frame() {
    let properties = headers(&entry(b"a", b'S', &long(&[b'x'; 140_000])));
    let out = read_whole(&message(1, b"os2mo", b"key", &properties, b"{}"));
    assert!(parse(&out).len() == 5, "the details take two frames");
    let seen = Seen::in_output(&out);
    assert!(seen.unreadable().reason.contains("140"), "{}", seen.unreadable().reason);
    assert_eq!(seen.unreadable().properties, Some(properties));
    assert!(seen.properties.headers.is_empty());
    assert_eq!(&seen.body[..], b"{}");
}

#[test]
fn a_broker_s_words_cut_within_a_character() {
    let text = [&[b'x'; 251], &b"\xc3..."[..]].concat();
    let close = [&[0, 20, 0, 40, 1, 0x94], &short(&text)[..], &[0, 40, 0, 10]].concat();
    let frames = parse(&read_whole(&frame(1, 3, &close)));
    let [AMQPFrame::Method(3, AMQPClass::Channel(method))] = &frames[..] else { panic!() };
    assert!(format!("{method:?}").contains("404"), "{method:?}");
}

#[test]
fn what_no_client_can_go_on_with_is_an_error() {
    for (bytes, reason) in [
        (b"HTTP/1.1 400".to_vec(), "unknown type 72"),
        (frame(1, 1, &[&[0, 50, 0, 10][..], &[0; 3000]].concat()), "3004 bytes"),
        (frame(1, 1, &[0, 60, 0, 60, 9]), "malformed"),
        (frame(2, 1, &[0; 11]), "malformed"),
        (frame(3, 1, &[0; 140_000]), "140008 bytes"),
        (vec![2, 0, 1, 0xff, 0xff, 0xff, 0xff], "4294967303 bytes"),
        (frame(1, 0, &[&[0, 10, 0, 10, 0, 9], &nested(1000)[..], &[0; 8]].concat()), "malformed"),
    ] {
        let (out, ended) = read(&[&frame(8, 0, &[]), &bytes]);
        assert_eq!(out, frame(8, 0, &[]));
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn what_could_not_be_read_goes_back_as_it_was() {
    let original = headers(&entry(b"bl\xe5", b'F', &nested(1000)));
    let unreadable = Unreadable { properties: Some(original.clone()), ..Unreadable::default() };
    let properties = Properties { unreadable: Some(unreadable.into()), ..Properties::default() };
    let header = |properties: Vec<u8>| {
        [body(1, b"before"), content_header(1, 2, &properties), body(1, b"{}")].concat()
    };
    let stand_in = lapin_bytes(&properties);
    let tune_ok = frame(1, 0, &[0, 10, 0, 31, 0, 9, 0, 0, 0x20, 0, 0, 60]);
    let sent = [b"AMQP\0\0\x09\x01", &tune_ok[..], &header(stand_in)].concat();
    let expected = [b"AMQP\0\0\x09\x01", &tune_ok[..], &header(original)].concat();
    for at in 0..=sent.len() {
        let mut outbound = Outbound::new(Mark::own());
        let out = written(&mut outbound, &mut Channels::default(), [&sent[..at], &sent[at..]]);
        assert_eq!(out, expected, "split at {at}");
        assert_eq!(outbound.take_frame_max(), Some(8192));
    }
}

/// Lapin would make room for frames of 4 GiB.
#[test]
fn a_broker_that_sets_no_limit_of_frames_is_given_one() {
    let tune = |limit: [u8; 4]| {
        let payload = [&[0, 10, 0, 30, 7, 0xff][..], &limit, &[0, 60]].concat();
        [frame(1, 0, &payload), frame(1, 0, &[0, 10, 0, 41, 0])].concat()
    };
    for (said, read_as) in [(0, 128 << 10), (8192, 8192), (1 << 20, 1 << 20)] {
        let (sent, expected) = (tune(u32::to_be_bytes(said)), tune(u32::to_be_bytes(read_as)));
        for at in 0..=sent.len() {
            let (out, ended) = read(&[&sent[..at], &sent[at..]]);
            ended.unwrap();
            assert_eq!(out, expected, "{said}, split at {at}");
        }
    }
}

/// A channel's own method.
fn own(channel: u16, method: u8) -> Vec<u8> {
    frame(1, channel, &[0, 20, 0, method, 1, 2, 3])
}

#[test]
fn nothing_is_written_to_a_closed_channel() {
    let publish = |channel| {
        let method = frame(1, channel, &[0, 60, 0, 40, 0, 0, 0, 0, 0]);
        [method, content_header(channel, 3, &[0, 0]), body(channel, b"abc")].concat()
    };
    let ack = |channel| frame(1, channel, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    let heartbeat = frame(8, 0, &[]);
    // The broker closes it before what is written from here on, or not.
    for (is_closed, close) in [(false, 40), (true, 41)] {
        let before = [own(2, 10), publish(1), publish(2), ack(2)].concat();
        let dropped = [publish(2), ack(2), body(2, b"cut"), own(2, 40), own(2, 41)];
        let after = [publish(1), ack(1), heartbeat.clone(), own(2, 10), publish(2)].concat();
        let sent = [&own(2, close)[..], &dropped.concat(), &after].concat();
        let expected = [&before[..], &own(2, close), &after].concat();
        for at in 0..=sent.len() {
            let (mut outbound, mut channels) = (Outbound::new(Mark::own()), Channels::default());
            let mut out = written(&mut outbound, &mut channels, [&before, &[]]);
            if is_closed {
                assert!(channels.may_come(2, [0, 20, 0, 40]));
            }
            out.extend(written(&mut outbound, &mut channels, [&sent[..at], &sent[at..]]));
            assert_eq!(out, expected, "split at {at}");
        }
    }
}

#[test]
fn of_a_channel_that_both_close_lapin_reads_the_broker_s_close_alone() {
    let close = [&[0, 20, 0, 40, 1, 0x94], &short(b"why")[..], &[0; 4]].concat();
    let (before, between) = (frame(8, 0, &[]), message(2, b"x", b"k", &[0, 0], b"{}"));
    let (close, close_ok) = (frame(1, 2, &close), frame(1, 2, &[0, 20, 0, 41]));
    let came =
        [&before[..], &close, &between, &close_ok, &frame(1, 3, &[0, 20, 0, 41]), &before].concat();
    let expected = [&before[..], &close, &between, &frame(1, 3, &[0, 20, 0, 41]), &before].concat();
    for at in 0..=came.len() {
        let mut channels = Channels::default();
        written(&mut Outbound::new(Mark::own()), &mut channels, [&own(2, 10), &own(2, 40)]);
        let (out, ended) = read_on(&mut channels, Arc::default(), &[&came[..at], &came[at..]]);
        ended.unwrap();
        assert_eq!(out, expected, "split at {at}");
    }
}

/// What the broker gets of what lapin writes in these pieces.
fn written(outbound: &mut Outbound, channels: &mut Channels, pieces: [&[u8]; 2]) -> Vec<u8> {
    let mut out = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            out.append(&mut outbound.pending);
            let count = match outbound.step(piece, channels) {
                Step::Pass(count) => {
                    // The socket need not take all of it.
                    let count = count.min(5);
                    out.extend(&piece[..count]);
                    outbound.passed(count);
                    count
                }
                Step::Taken(count) => count,
            };
            piece = &piece[count..];
        }
    }
    out.append(&mut outbound.pending);
    out
}

/// Properties as lapin writes them.
fn lapin_bytes(properties: &Properties) -> Vec<u8> {
    let amqp = to_amqp(properties);
    let mut out = vec![0; 64 << 10];
    let written = amq_protocol::protocol::basic::gen_properties(&amqp)(out[..].as_mut().into());
    let left = written.unwrap().into_inner().0.len();
    out.truncate(out.len() - left);
    out
}
