//! What is answered to a question: a matter of bytes and of the networks' state alone.

use std::net::IpAddr;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::model::Endpoint;
use crate::networks::State;

/// How long an answer may be remembered, in seconds.
const TTL: u32 = 600;

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is answered with these bytes.
    Here(Vec<u8>),
    /// It is asked elsewhere.
    Elsewhere,
    /// It is no question.
    Nothing,
}

/// Answers a container's question.
pub(super) fn answer(state: &State, container: &str, question: &[u8]) -> Answer {
    let Ok(message) = Message::from_vec(question) else { return Answer::Nothing };
    let [query] = &message.queries[..] else { return code(&message, ResponseCode::FormErr) };
    if message.metadata.op_code != OpCode::Query {
        return code(&message, ResponseCode::NotImp);
    }
    let view = View::of(state, container);
    let name = query.name.to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    if query.query_type == RecordType::PTR {
        let address = query.name.parse_arpa_name().ok().map(|net| net.addr());
        return match address.and_then(|address| view.name_of(address)) {
            Some(found) => records(&message, vec![RData::PTR(PTR(found))]),
            None => view.otherwise(&message, name),
        };
    }
    let found = view.addresses_of(name);
    if found.is_empty() {
        return view.otherwise(&message, name);
    }
    // A known name without records of that type is known all the same.
    let wanted = |address: &IpAddr| match query.query_type {
        RecordType::ANY => true,
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        _ => false,
    };
    let data = found.into_iter().filter(wanted).map(|address| match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    });
    records(&message, data.collect())
}

/// The reply that says: the one who should know doesn't answer.
pub(super) fn failure(question: &[u8]) -> Vec<u8> {
    let reply = Message::from_vec(question).map(|message| code(&message, ResponseCode::ServFail));
    match reply {
        Ok(Answer::Here(bytes)) => bytes,
        _ => Vec::new(),
    }
}

/// What a container sees: the endpoints of its users' networks.
struct View<'a> {
    endpoints: Vec<&'a Endpoint>,
    /// Its own endpoints, with the names that only it has for others.
    own: Vec<&'a Endpoint>,
    /// Whether it has a network that leads out.
    leads_out: bool,
}

impl<'a> View<'a> {
    fn of(state: &'a State, container: &'a str) -> Self {
        let own = state.endpoints.values().filter(|endpoint| endpoint.container == container);
        let networks: Vec<_> = own.filter_map(|endpoint| state.networks.get(&endpoint.network)).collect();
        let named = |endpoint: &&Endpoint| {
            networks.iter().any(|network| !network.builtin && network.id == endpoint.network)
        };
        Self {
            endpoints: state.endpoints.values().filter(named).collect(),
            own: state.endpoints.values().filter(|endpoint| endpoint.container == container).collect(),
            leads_out: networks.iter().any(|network| !network.internal),
        }
    }

    /// The addresses of `name`, or of `name.network`.
    fn addresses_of(&self, name: &str) -> Vec<IpAddr> {
        let is = |endpoint: &Endpoint| {
            let bare = name.strip_suffix(&format!(".{}", endpoint.network_name.to_lowercase()));
            let is = |known: &String| {
                known.eq_ignore_ascii_case(name) || bare.is_some_and(|bare| known.eq_ignore_ascii_case(bare))
            };
            endpoint.names.iter().any(is)
        };
        // A link's name counts before the names that everyone has.
        let link = |endpoint: &&Endpoint| {
            let link = endpoint.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
            link.map(|(_, target)| (endpoint.network.clone(), target.clone()))
        };
        if let Some((network, target)) = self.own.iter().find_map(link) {
            let is = |endpoint: &&&Endpoint| {
                let mut names = endpoint.names.iter().chain([&endpoint.container]);
                endpoint.network == network && names.any(|known| known.eq_ignore_ascii_case(&target))
            };
            let found = self.endpoints.iter().filter(is);
            return found.flat_map(|found| addresses(found)).collect();
        }
        let found = self.endpoints.iter().filter(|endpoint| is(endpoint));
        found.flat_map(|endpoint| addresses(endpoint)).collect()
    }

    /// The name behind an address, with its network's.
    fn name_of(&self, address: IpAddr) -> Option<Name> {
        let has = |endpoint: &&&Endpoint| addresses(endpoint).any(|own| own == address);
        let endpoint = self.endpoints.iter().find(has)?;
        Name::from_ascii(format!("{}.{}.", endpoint.names.first()?, endpoint.network_name)).ok()
    }

    /// What becomes of a question for a name that is not known here.
    fn otherwise(&self, message: &Message, name: &str) -> Answer {
        if !name.contains('.') {
            return code(message, ResponseCode::NXDomain);
        }
        if self.leads_out { Answer::Elsewhere } else { code(message, ResponseCode::Refused) }
    }
}

/// An endpoint's addresses, of both versions.
fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    let first = endpoint.address.map(|address| IpAddr::V4(address.address()));
    first.into_iter().chain(endpoint.address6.map(|address| IpAddr::V6(address.address())))
}

fn records(question: &Message, data: Vec<RData>) -> Answer {
    let mut reply = reply_to(question, ResponseCode::NoError);
    let name = question.queries.first().map(|query| query.name.clone()).unwrap_or_default();
    reply.add_answers(data.into_iter().map(|data| Record::from_rdata(name.clone(), TTL, data)));
    bytes(&reply)
}

fn code(question: &Message, code: ResponseCode) -> Answer {
    bytes(&reply_to(question, code))
}

fn reply_to(question: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(question.queries.iter().cloned());
    reply
}

fn bytes(message: &Message) -> Answer {
    message.to_vec().map_or(Answer::Nothing, Answer::Here)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;
    use crate::model::{Driver, Network};

    fn state() -> State {
        let mut state = State::default();
        for (id, internal) in [("red", false), ("vault", true)] {
            let network: Network = serde_json::from_value(serde_json::json!({
                "id": id, "name": id, "driver": Driver::Bridge, "created_ns": 0, "internal": internal,
            }))
            .expect("a network");
            state.networks.insert(id.to_owned(), network);
        }
        for (container, network, address) in
            [("web", "red", "10.0.0.2/24"), ("db", "red", "10.0.0.3/24"), ("safe", "vault", "10.0.1.2/24")]
        {
            let endpoint: Endpoint = serde_json::from_value(serde_json::json!({
                "id": container, "container": container, "network": network, "network_name": network,
                "interface": "eth0", "host_interface": "gv0", "address": address, "gateway": null, "mac": null,
                "address6": if container == "db" { serde_json::json!("fd00::3/64") } else { serde_json::Value::Null },
                "names": [container, "Common"],
                "links": if container == "web" { serde_json::json!({"store": "db"}) } else { serde_json::json!({}) },
            }))
            .expect("an endpoint");
            state.endpoints.insert((container.to_owned(), network.to_owned()), endpoint);
        }
        state
    }

    fn ask(container: &str, name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<String>)> {
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        let bytes = question.to_vec().expect("a question");
        match answer(&state(), container, &bytes) {
            Answer::Here(bytes) => {
                let reply = Message::from_vec(&bytes).expect("a reply");
                assert_eq!(reply.metadata.id, question.metadata.id);
                let data = reply.answers.iter().map(|record| record.data.to_string()).collect();
                Some((reply.metadata.response_code, data))
            }
            _ => None,
        }
    }

    fn found(data: &[&str]) -> Option<(ResponseCode, Vec<String>)> {
        Some((ResponseCode::NoError, data.iter().map(|text| (*text).to_owned()).collect()))
    }

    #[test]
    fn names_of_ones_own_networks_are_known() {
        assert_eq!(ask("web", "db.", RecordType::A), found(&["10.0.0.3"]));
        assert_eq!(ask("web", "DB.red.", RecordType::A), found(&["10.0.0.3"]));
        assert_eq!(ask("web", "common.", RecordType::A), found(&["10.0.0.3", "10.0.0.2"]));
        assert_eq!(ask("web", "db.", RecordType::AAAA), found(&["fd00::3"]));
        assert_eq!(ask("db", "web.", RecordType::AAAA), found(&[]), "it is known, and has none");
        let backwards = format!("3.{}d.f.ip6.arpa.", "0.".repeat(29));
        assert_eq!(ask("web", &backwards, RecordType::PTR), found(&["db.red."]));
        assert_eq!(ask("web", "3.0.0.10.in-addr.arpa.", RecordType::PTR), found(&["db.red."]));
    }

    #[test]
    fn a_link_is_a_name_that_only_its_owner_has() {
        assert_eq!(ask("web", "store.", RecordType::A), found(&["10.0.0.3"]));
        assert_eq!(ask("db", "store.", RecordType::A), Some((ResponseCode::NXDomain, Vec::new())));
    }

    #[test]
    fn names_of_others_are_not_and_the_world_is_asked_only_from_where_it_is_reached() {
        let unknown = Some((ResponseCode::NXDomain, Vec::new()));
        assert_eq!(ask("web", "safe.", RecordType::A), unknown);
        assert_eq!(ask("stranger", "db.", RecordType::A), unknown);
        assert_eq!(ask("web", "example.org.", RecordType::A), None, "asked elsewhere");
        assert_eq!(ask("safe", "example.org.", RecordType::A), Some((ResponseCode::Refused, Vec::new())));
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        for bytes in [&[][..], &[0; 3], &[0xff; 40], &[0; 4096]] {
            let answer = answer(&state(), "web", bytes);
            assert!(!matches!(answer, Answer::Elsewhere), "{bytes:?}");
        }
    }
}
