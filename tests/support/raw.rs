//! A publisher that writes its frames itself, and so can send what no library does.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;

/// A connection with one channel, with confirms.
pub struct Publisher(TcpStream);

/// A message, in bytes that need not be text.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// The routing key.
    pub key: Vec<u8>,
    /// The properties, flags included; none at all if it is empty.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Publisher {
    /// Connects as `guest` to the virtual host of this URL.
    pub fn connect(url: &str) -> Self {
        let (_, address) = url.split_once('@').unwrap();
        let (address, virtual_host) = address.split_once('/').unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self(stream);
        client.0.write_all(b"AMQP\0\0\x09\x01").unwrap();
        client.wait_for(10, 10);
        let login = [&long(&[]), &short(b"PLAIN"), &long(b"\0guest\0guest"), &short(b"en_US")];
        client.call(0, 10, 11, &login.map(|part| &part[..]).concat());
        let tune = client.wait_for(10, 30);
        client.call(0, 10, 31, &tune);
        client.call(0, 10, 40, &[&short(virtual_host.as_bytes())[..], &[0, 0]].concat());
        client.wait_for(10, 41);
        client.call(1, 20, 10, &[0]);
        client.wait_for(20, 11);
        client.call(1, 85, 10, &[0]);
        client.wait_for(85, 11);
        client
    }

    /// Publishes a message and waits for its confirm.
    pub fn publish(&mut self, exchange: &str, message: &Raw) {
        let arguments = [&[0, 0], &short(exchange.as_bytes())[..], &short(&message.key), &[0]];
        self.call(1, 60, 40, &arguments.concat());
        let properties =
            if message.properties.is_empty() { &[0, 0] } else { &message.properties[..] };
        let size = (message.body.len() as u64).to_be_bytes();
        self.send(HEADER, 1, &[&[0, 60, 0, 0], &size[..], properties].concat());
        self.send(BODY, 1, &message.body);
        self.wait_for(60, 80);
    }

    fn call(&mut self, channel: u16, class: u8, method: u8, arguments: &[u8]) {
        self.send(METHOD, channel, &[&[0, class, 0, method], arguments].concat());
    }

    fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let [c0, c1] = channel.to_be_bytes();
        self.0.write_all(&[&[kind, c0, c1], &long(payload)[..], &[END]].concat()).unwrap();
    }

    /// The arguments of the next method, which has to be this one.
    fn wait_for(&mut self, class: u8, method: u8) -> Vec<u8> {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).unwrap();
            let size = u32::from_be_bytes(head[3..].try_into().unwrap()) as usize;
            let mut payload = vec![0; size + 1];
            self.0.read_exact(&mut payload).unwrap();
            if head[0] == METHOD {
                let said = String::from_utf8_lossy(&payload[4..size]);
                assert_eq!(payload[..4], [0, class, 0, method], "the broker says {said:?}");
                return payload[4..size].to_vec();
            }
        }
    }
}

/// A short string.
pub fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

/// A long string, or what a table holds.
pub fn long(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes(), content].concat()
}

/// Properties with a correlation id.
pub fn correlation_id(id: &[u8]) -> Vec<u8> {
    [&[0x04, 0], &short(id)[..]].concat()
}

/// Properties with one header: a long string (`S`), a table (`F`), …
pub fn header(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    [&[0x20, 0], &long(&[&short(name)[..], &[kind], &long(content)].concat())[..]].concat()
}

/// What a table holds that is nested so many levels deep.
pub fn nested(levels: usize) -> Vec<u8> {
    let wrap = |inner: Vec<u8>, _| [&short(b"n")[..], b"F", &long(&inner)].concat();
    (0..levels).fold(Vec::new(), wrap)
}
