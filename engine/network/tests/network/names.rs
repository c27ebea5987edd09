use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use glassdock_network::{EndpointConfig, NewNetwork, names};
use glassdock_trace::Trace;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::support::{OUTSIDE, PATIENCE, Space, World, address, endpoint};

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    message.to_vec().expect("a question")
}

fn addresses(reply: &[u8]) -> Vec<Ipv4Addr> {
    let reply = Message::from_vec(reply).expect("a reply");
    let address = |data: &RData| match data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    reply.answers.iter().filter_map(|record| address(&record.data)).collect()
}

fn lookup(space: &Space, name: &str) -> Vec<Ipv4Addr> {
    let question = question(name);
    space.within(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.send_to(&question, (names::ADDRESS, 53)).expect("it is sent");
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply).expect("a reply");
        addresses(&reply[..length])
    })
}

fn lookup_by_tcp(space: &Space, name: &str) -> Vec<Ipv4Addr> {
    let question = question(name);
    space.within(|| {
        let mut stream = TcpStream::connect((names::ADDRESS, 53)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let length = u16::try_from(question.len()).expect("it is short").to_be_bytes();
        stream.write_all(&[&length[..], &question].concat()).expect("it is sent");
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("a reply");
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).expect("a reply");
        addresses(&reply)
    })
}

#[test]
fn containers_of_a_network_find_each_other_by_name_and_the_world_by_its_resolver() {
    let Some(world) = World::new() else { return };
    let networks = world.engine();
    let trace = Trace::off();
    let new = NewNetwork { name: "red".to_owned(), ..NewNetwork::default() };
    world.host.within(|| networks.create(&trace, new)).expect("a network");
    let config = EndpointConfig {
        names: vec!["web".to_owned(), "www".to_owned()],
        ..endpoint("0123456789abcdef", "red")
    };
    let (web, at_web) = world.attach(&networks, &config);
    let (db, at_db) = world.attach(&networks, &endpoint("db", "red"));
    let resolver = world.outside.within(|| UdpSocket::bind((OUTSIDE, 53)).expect("a resolver out there"));
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, who)) = resolver.recv_from(&mut buffer) {
            let mut reply = Message::from_vec(&buffer[..length]).expect("a question").into_response();
            let name = reply.queries[0].name.clone();
            let data = RData::A(hickory_proto::rr::rdata::A(Ipv4Addr::new(192, 0, 2, 7)));
            reply.add_answer(hickory_proto::rr::Record::from_rdata(name, 1, data));
            let _ = resolver.send_to(&reply.to_vec().expect("a reply"), who);
        }
    });
    world.host.within(|| {
        let upstream = vec![OUTSIDE.into()];
        networks.serve_names(&trace, &web.netns, "0123456789abcdef", upstream.clone()).expect("names");
        networks.serve_names(&trace, &db.netns, "db", upstream).expect("names");
    });

    assert_eq!(lookup(&db, "web."), [address(&at_web)]);
    assert_eq!(lookup(&db, "www.red."), [address(&at_web)]);
    assert_eq!(lookup_by_tcp(&web, "db."), [address(&at_db)]);
    assert_eq!(lookup(&web, "nobody."), [Ipv4Addr::UNSPECIFIED; 0]);
    assert_eq!(lookup(&web, "example.org."), [Ipv4Addr::new(192, 0, 2, 7)]);

    world.host.within(|| networks.release(&trace, "db")).expect("a release");
    assert_eq!(lookup(&web, "db."), [Ipv4Addr::UNSPECIFIED; 0], "gone with its container");
}
