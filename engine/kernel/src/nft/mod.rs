//! nftables: the kernel's packet filter and address translation.
//!
//! A *table* holds *chains*; a chain that is *hooked* is asked about each packet at
//! one point of its way; a chain holds *rules*; a rule has matches and, if all of
//! them hold, a verdict:
//!
//! ```text
//!            ┌ prerouting ┐             ┌ forward ┐             ┌ postrouting ┐
//!   in ──────┤ whereto?   ├── routing ──┤ may it? ├─────────────┤ from whom?  ├── out
//!            └ (dnat)     ┘      │      └ (filter)┘             └ (snat)      ┘
//!                             input ► local process ► output (dnat) ──┘
//! ```
//!
//! The kernel doesn't know rules as texts but as little programs over registers:
//! "load the packet's protocol to register 1; stop unless it is 6; …". A [`Rule`]
//! is our form of one; it can be shown in the syntax of nft(8) ([`Rule`]'s
//! `Display`, which is what a trace has) and put into that program (`encode`).
//!
//! Changes are sent as one transaction: all of it counts from one moment on, or none.
//!
//! See nft(8); kernel `include/uapi/linux/netfilter/nf_tables.h`.

mod encode;

mod rule;

use std::io;

use glassdock_trace::{Body, Evidence, Trace};

use crate::netlink::{Message, Reply, Socket, attribute, text, u32_be};
use crate::{Error, Result};

pub use rule::{Match, Rule, Transport, Verdict};

/// Which packets a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, the family `ip`.
    Ip,
    /// IPv6, the family `ip6`.
    Ip6,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::Ip => encode::IP,
            Self::Ip6 => encode::IP6,
        }
    }

    /// As nft(8) calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}

/// A table with all that is in it; which family it is of is said by who makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// A free text that says whose it is, at most 127 bytes.
    pub comment: String,
    /// Its chains; a chain must stand before the rules that jump to it.
    pub chains: Vec<Chain>,
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where packets meet it; a chain without a hook is jumped to.
    pub hook: Option<Hook>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// A point on a packet's way, and when among the chains there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before anything else is known of the packet: for dropping what must not be.
    Early,
    /// Before the routing decision: where is it meant for? (`nat`, `dstnat`)
    Prerouting,
    /// On its way through this machine: may it pass? (`filter`)
    Forward,
    /// From this machine's own processes: where is it meant for? (`nat`, `-100`)
    Output,
    /// Before it leaves: as whose does it leave? (`nat`, `srcnat`)
    Postrouting,
}

impl Hook {
    /// The chain's type, the hook's number, and the priority.
    fn place(self) -> (&'static str, u32, i32) {
        match self {
            Self::Early => ("filter", 0, -300),
            Self::Prerouting => ("nat", 0, -100),
            Self::Forward => ("filter", 2, 0),
            Self::Output => ("nat", 3, -100),
            Self::Postrouting => ("nat", 4, 100),
        }
    }
}

/// A chain of somebody else, by family, table and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    family: u8,
    /// The table that it is in.
    pub table: String,
    /// The chain's name.
    pub chain: String,
}

/// A conversation with the kernel about the tables of one network namespace and family.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
    family: Family,
}

impl Nft {
    /// About IPv4 in the namespace of the calling thread: the host's.
    ///
    /// # Errors
    ///
    /// Those of socket(2): `EPROTONOSUPPORT` on a kernel without netfilter.
    pub fn here() -> Result<Self> {
        Self::of(Family::Ip)
    }

    /// As [`Nft::here`], about the tables of a family.
    ///
    /// # Errors
    ///
    /// Those of socket(2).
    pub fn of(family: Family) -> Result<Self> {
        let socket = Socket::open(libc::NETLINK_NETFILTER)
            .map_err(|error| Error::call("socket", "NETLINK_NETFILTER", error))?;
        Ok(Self { socket, family })
    }

    /// Makes a table with all that is in it, in place of one of that name.
    ///
    /// # Errors
    ///
    /// `EPERM` without CAP_NET_ADMIN; `EOPNOTSUPP` or `ENOENT` where the kernel lacks a part.
    pub fn replace_table(&mut self, trace: &Trace, table: &Table) -> Result<()> {
        let (number, family) = (self.family.number(), self.family.name());
        trace.step(table_body(&table.name, "create"), |span| {
            span.evidence(|| Evidence::new(format!("nft list table {family} {}", table.name), table.lines()));
            // Deleting what may not be there fails; so it is made first, which is no error if it is there.
            let new = || encode::new_table(number, &table.name, &table.comment);
            let mut messages = vec![new(), encode::delete_table(number, &table.name), new()];
            messages.extend(table.chains.iter().map(|chain| encode::new_chain(number, &table.name, chain)));
            for chain in &table.chains {
                let rules = chain.rules.iter();
                messages.extend(rules.map(|rule| encode::append_rule(number, &table.name, chain.name, rule)));
            }
            self.transaction(messages, &format!("table {family} {}", table.name))
        })
    }

    /// Deletes a table with all that is in it.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is not there.
    pub fn delete_table(&mut self, trace: &Trace, name: &str) -> Result<()> {
        trace.step(table_body(name, "delete"), |_| {
            let family = self.family;
            let subject = format!("table {} {name}", family.name());
            self.transaction(vec![encode::delete_table(family.number(), name)], &subject)
        })
    }

    /// The names and comments of all tables of the family.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn tables(&mut self) -> Result<Vec<(String, String)>> {
        let replies = self.dump(encode::get_tables(Socket::DUMP, self.family.number()), "all tables")?;
        Ok(replies.iter().map(encode::read_table).collect())
    }

    /// Adds rules at the end of a chain, all or none.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the chain is not there.
    pub fn append(&mut self, trace: &Trace, table: &str, chain: &str, rules: &[Rule]) -> Result<()> {
        let Some(body) = rules_body(table, chain, rules, "add") else { return Ok(()) };
        trace.step(body, |_| {
            let family = self.family.number();
            let messages = rules.iter().map(|rule| encode::append_rule(family, table, chain, rule)).collect();
            self.transaction(messages, &format!("chain {table} {chain}"))
        })
    }

    /// Deletes the rules that have the comments of these. Those that aren't there are no error.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the table or chain is not there.
    pub fn delete(&mut self, trace: &Trace, table: &str, chain: &str, rules: &[Rule]) -> Result<()> {
        let Some(body) = rules_body(table, chain, rules, "delete") else { return Ok(()) };
        trace.step(body, |_| {
            let family = self.family.number();
            let there = self.rules(family, table, chain)?;
            let meant = |comment: &str| rules.iter().any(|rule| rule.comment == comment);
            let messages: Vec<_> = there
                .iter()
                .filter(|(_, comment)| meant(comment))
                .map(|(handle, _)| encode::delete_rule(family, table, chain, *handle))
                .collect();
            self.transaction(messages, &format!("chain {table} {chain}"))
        })
    }

    /// Chains of others at the hook `forward` that drop what no rule of theirs lets
    /// pass: a packet must pass every chain at a hook, so no rule of ours can undo that.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn closed_forward_chains(&mut self) -> Result<Vec<ForeignChain>> {
        let replies = self.dump(encode::get_chains(Socket::DUMP), "all chains")?;
        let family = self.family.number();
        let read = |reply: &Reply| encode::read_closed_forward_chain(reply, family);
        Ok(replies.iter().filter_map(read).collect())
    }

    /// Puts rules at the head of a chain of somebody else, unless they are there.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the chain went away.
    pub fn open_foreign(&mut self, trace: &Trace, place: &ForeignChain, rules: &[Rule]) -> Result<()> {
        let there = self.rules(place.family, &place.table, &place.chain)?;
        let missing = |rule: &&Rule| !there.iter().any(|(_, comment)| *comment == rule.comment);
        let rules: Vec<Rule> = rules.iter().filter(missing).cloned().collect();
        let Some(body) = rules_body(&place.table, &place.chain, &rules, "add") else { return Ok(()) };
        trace.step(body, |_| {
            let insert = |rule| encode::insert_rule(place.family, &place.table, &place.chain, rule);
            let subject = format!("chain {} {}", place.table, place.chain);
            self.transaction(rules.iter().map(insert).collect(), &subject)
        })
    }

    /// Takes rules out of every chain of somebody else at the hook `forward`.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn close_foreign(&mut self, trace: &Trace, rules: &[Rule]) -> Result<()> {
        for reply in self.dump(encode::get_chains(Socket::DUMP), "all chains")? {
            let Some(place) = encode::read_forward_chain(&reply, self.family.number()) else { continue };
            let there = self.rules(place.family, &place.table, &place.chain)?;
            for (handle, comment) in there {
                let Some(rule) = rules.iter().find(|rule| rule.comment == comment) else { continue };
                let body = rules_body(&place.table, &place.chain, std::slice::from_ref(rule), "delete");
                let message = encode::delete_rule(place.family, &place.table, &place.chain, handle);
                let subject = format!("chain {} {}", place.table, place.chain);
                if let Some(body) = body {
                    trace.step(body, |_| self.transaction(vec![message], &subject))?;
                }
            }
        }
        Ok(())
    }

    /// The handles and comments of a chain's rules.
    fn rules(&mut self, family: u8, table: &str, chain: &str) -> Result<Vec<(u64, String)>> {
        let replies = self.dump(encode::get_rules(Socket::DUMP, family, table, chain), chain)?;
        Ok(replies.iter().map(encode::read_rule).collect())
    }

    fn dump(&mut self, message: Message, subject: &str) -> Result<Vec<Reply>> {
        self.socket.dump_where(message).map_err(|refusal| refusal.of("NETLINK_NETFILTER", subject))
    }

    /// Sends messages between the marks that make them one transaction.
    fn transaction(&mut self, messages: Vec<Message>, subject: &str) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let whole = std::iter::once(encode::begin()).chain(messages).chain([encode::end()]);
        for _ in 0..TRIES {
            match self.socket.batch(whole.clone()) {
                // Somebody else's transaction came in between (`nfnl_lock`); the kernel asks to try again.
                Err(refusal) if refusal.source.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|refusal| refusal.of("NFT_TRANSACTION", subject)),
            }
        }
        Err(Error::call("NFT_TRANSACTION", subject, io::Error::from_raw_os_error(libc::EBUSY)))
    }
}

/// How often a transaction is tried that others disturb.
const TRIES: usize = 50;

impl Table {
    /// The table in the syntax of nft(8), a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for chain in &self.chains {
            match chain.hook.map(Hook::place) {
                None => lines.push(format!("chain {}", chain.name)),
                Some((kind, hook, priority)) => {
                    let hook = ["prerouting", "input", "forward", "output", "postrouting"][hook as usize];
                    lines.push(format!("chain {} type {kind} hook {hook} priority {priority}", chain.name));
                }
            }
            lines.extend(chain.rules.iter().map(|rule| format!("  {rule}")));
        }
        lines
    }
}

fn table_body(name: &str, action: &str) -> Body {
    Body::NetNat {
        table: name.to_owned(),
        chain: String::new(),
        rule: String::new(),
        action: format!("{action} table"),
    }
}

fn rules_body(table: &str, chain: &str, rules: &[Rule], action: &str) -> Option<Body> {
    let rule = rules.iter().map(Rule::to_string).collect::<Vec<_>>().join("; ");
    let (table, chain) = (table.to_owned(), chain.to_owned());
    (!rules.is_empty()).then(|| Body::NetNat { table, chain, rule, action: action.to_owned() })
}

/// A comment as libnftables stores it: (kind 0, length, text with a null byte).
fn comment(userdata: &[u8]) -> String {
    match userdata {
        [0, length, rest @ ..] => text(rest.get(..usize::from(*length)).unwrap_or(&[])),
        _ => String::new(),
    }
}

/// A text attribute of a reply, or nothing.
fn name_in(attributes: &[u8], kind: u16) -> String {
    attribute(attributes, kind).map(text).unwrap_or_default()
}

/// A 64-bit number in the network's byte order.
fn u64_be(value: &[u8]) -> u64 {
    value.split_at_checked(4).map_or(0, |(high, low)| u64::from(u32_be(high)) << 32 | u64::from(u32_be(low)))
}
