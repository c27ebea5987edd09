//! What differs from run to run, and the names that it gets instead.
//!
//! Everything volatile is here and nowhere else: [`FIELDS`] for the fields of
//! events, [`Names::text`] for free text such as a command's output. A thing is
//! given a name when it is first met, and keeps it: the digest that a pull
//! fetched as `image1` is `image1` in the listing after it.
//!
//! | volatile | becomes |
//! |---|---|
//! | ids and digests, whole or 12 digits | `c1`, `image1`, `layer2`, `blob3`, `id4` |
//! | generated container names | `name1` |
//! | addresses; ports behind `127.0.0.1` | `ip1`; `127.0.0.1:PORT` |
//! | process ids, sizes, counts of bytes | `N`, `SIZE` |
//! | ages and moments | `TIME` |
//! | numbers and times in the host's list of processes (one with `PID` and `PPID`) | `N`, `TIME` |
//! | folders of the run, bridges (told by [`Names::literal`]) | what the caller says |

use std::collections::{BTreeMap, HashMap};

/// What becomes of a field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An id or digest: it gets a name of this sort.
    Named(&'static str),
    /// A number that says nothing about the step: `N`.
    Number,
    /// A name, which may have been generated.
    MaybeGenerated,
    /// Left out: it depends on the host.
    Dropped,
    /// The id of an image where the name was found here, the digest of a manifest elsewhere.
    Resolved,
}

/// The fields that are volatile, by the event's kind (`*` for any) and the field's name.
/// The order is that of giving names: a digest that is an image's id is an image
/// even where a pull fetched it as a blob.
pub const FIELDS: &[(&str, &str, Rule)] = &[
    ("*", "container", Rule::Named("c")),
    ("container.state", "name", Rule::MaybeGenerated),
    ("*", "image", Rule::Named("image")),
    ("layer.unpack", "chain_id", Rule::Named("layer")),
    ("layer.commit", "chain_id", Rule::Named("layer")),
    ("*", "layers", Rule::Named("layer")),
    ("*", "diff_id", Rule::Named("diff")),
    ("image.resolve", "digest", Rule::Resolved),
    ("*", "digest", Rule::Named("blob")),
    ("*", "computed", Rule::Named("blob")),
    ("*", "pid", Rule::Number),
    ("*", "pids", Rule::Number),
    ("*", "size", Rule::Number),
    ("*", "bytes", Rule::Number),
    ("*", "entries", Rule::Number),
    ("*", "sent", Rule::Number),
    ("*", "received", Rule::Number),
    ("*", "expires_in", Rule::Number),
    ("seccomp.load", "syscalls", Rule::Number),
    ("seccomp.load", "instructions", Rule::Number),
    ("cgroup.create", "version", Rule::Dropped),
    ("cgroup.create", "controllers", Rule::Dropped),
    ("image.resolve", "platform", Rule::Dropped),
    ("mount.mask", "source", Rule::Dropped),
    ("rlimit.set", "soft", Rule::Number),
    ("rlimit.set", "hard", Rule::Number),
];

/// What becomes of the field `name` of an event of `kind`, if it is volatile.
#[must_use]
pub fn rule(kind: &str, name: &str) -> Option<Rule> {
    FIELDS
        .iter()
        .find(|(of, field, _)| (*of == "*" || *of == kind) && *field == name)
        .map(|(_, _, rule)| *rule)
}

/// The names that were given.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By the digits of an id or digest, or the whole text of anything else.
    given: HashMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
    /// Literal texts, the longest first.
    literals: Vec<(String, String)>,
}

impl Names {
    /// Wherever `text` stands, `name` will stand instead.
    pub fn literal(&mut self, text: impl Into<String>, name: impl Into<String>) {
        let text = text.into();
        if text.is_empty() {
            return;
        }
        self.literals.push((text, name.into()));
        self.literals.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    }

    /// The name of a thing; it gets one of this `sort` if it has none yet.
    pub fn name(&mut self, sort: &'static str, value: &str) -> String {
        let key = value.strip_prefix("sha256:").unwrap_or(value);
        if let Some(name) = self.given(key) {
            return name;
        }
        let count = self.counts.entry(sort).or_default();
        *count += 1;
        let name = format!("{sort}{count}");
        self.given.insert(key.to_owned(), name.clone());
        name
    }

    /// A name of a container: its own if someone chose it, a number if it was generated.
    pub fn maybe_generated(&mut self, value: &str) -> String {
        if is_generated(value) { self.name("name", value) } else { value.to_owned() }
    }

    /// The name of an id, or of the one that begins with these 12 digits.
    fn given(&self, key: &str) -> Option<String> {
        if let Some(name) = self.given.get(key) {
            return Some(name.clone());
        }
        if key.len() != 12 || !is_hex(key) {
            return None;
        }
        let mut whole = self.given.iter().filter(|(long, _)| long.len() == 64 && long.starts_with(key));
        whole.next().map(|(_, name)| name.clone())
    }

    /// Free text with everything volatile in it named.
    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (literal, name) in &self.literals {
            text = text.replace(literal.as_str(), name);
        }
        let mut out = String::with_capacity(text.len());
        let mut titles = Vec::new();
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                out.push('\n');
            }
            out.push_str(&processes(&ages(&squeeze(&self.words(line))), &mut titles));
        }
        out
    }

    /// Ids in paths say by their folder of what they are.
    fn in_folder(&mut self, before: &str, word: &str) -> Option<String> {
        // A registry makes up an id for each upload, in whatever shape it likes.
        if before.ends_with("/blobs/uploads/") && word.len() >= 16 {
            return Some("UPLOAD".to_owned());
        }
        // The folder of a build's context has a number made up for it.
        if before.ends_with("/builds/") && word.len() == 16 && is_hex(word) {
            return Some(self.name("build", word));
        }
        let sorts = [("layers/", "layer"), ("containers/", "c"), ("blobs/sha256/", "blob")];
        let (_, sort) = sorts.into_iter().find(|(folder, _)| before.ends_with(folder))?;
        (word.len() == 64 && is_hex(word)).then(|| self.name(sort, word))
    }

    /// Names each word of a line; words are runs of letters, digits, `_`, `.`, `:`.
    fn words(&mut self, line: &str) -> String {
        let mut out = String::with_capacity(line.len());
        let mut rest = line;
        while !rest.is_empty() {
            let length = rest.find(|letter: char| !is_word(letter)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let in_proc = out.ends_with("/proc/") && word.bytes().all(|byte| byte.is_ascii_digit());
            if in_proc && !word.is_empty() {
                out.push_str("PID");
            } else if let Some(name) = self.in_folder(&out, word) {
                out.push_str(&name);
            } else if out.ends_with('%') {
                // Percent-encoded: `%7B` is a brace, and no size.
                out.push_str(word);
            } else {
                out.push_str(&self.word(word));
            }
            let mut letters = after.chars();
            out.extend(letters.next());
            rest = letters.as_str();
        }
        out
    }

    fn word(&mut self, word: &str) -> String {
        if word.is_empty() {
            return String::new();
        }
        // Punctuation at the end belongs to the sentence: "c54a2cc56cbb:", "10.1.0.2."
        let core = word.trim_end_matches([':', '.']);
        let tail = word.get(core.len()..).unwrap_or_default();
        let named = self.core(core);
        format!("{named}{tail}")
    }

    fn core(&mut self, word: &str) -> String {
        let digits = word.strip_prefix("sha256:").unwrap_or(word);
        // Twelve letters may be a word of some language; with a digit among them they are an id.
        let short_id = digits.len() == 12 && digits.bytes().any(|byte| byte.is_ascii_digit());
        if is_hex(digits) && (digits.len() == 64 || short_id) {
            return self.name("id", digits);
        }
        if is_generated(word) && self.given.contains_key(word) {
            return self.name("name", word);
        }
        let veth = word.strip_prefix("veth").or_else(|| word.strip_prefix("gv"));
        if veth.is_some_and(|tail| tail.len() >= 4 && is_hex(tail)) {
            return self.name("veth", word);
        }
        if is_moment(word) {
            return "TIME".to_owned();
        }
        if is_size(word) {
            return "SIZE".to_owned();
        }
        self.address(word).unwrap_or_else(|| word.to_owned())
    }

    fn address(&mut self, word: &str) -> Option<String> {
        let (address, port) =
            word.split_once(':').map_or((word, None), |(address, port)| (address, Some(port)));
        let parsed: std::net::Ipv4Addr = address.parse().ok()?;
        let named = if parsed.is_loopback() || parsed.is_unspecified() {
            address.to_owned()
        } else {
            self.name("ip", address)
        };
        Some(match port {
            Some(port) if parsed.is_loopback() && port.parse::<u16>().is_ok() => format!("{named}:PORT"),
            Some(port) => format!("{named}:{port}"),
            None => named,
        })
    }
}

/// Whether a name is of the form that engines generate: `brave_otter`, `brave_otter3`.
#[must_use]
pub fn is_generated(name: &str) -> bool {
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let small = |part: &str| part.len() >= 3 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    name.split_once('_').is_some_and(|(left, right)| small(left) && small(right))
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_.:".contains(letter)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// `2026-01-01T10:20:30.123Z` is cut at its dashes; what is left has a `T` and colons.
fn is_moment(word: &str) -> bool {
    word.get(2..3) == Some("T")
        && word.matches(':').count() == 2
        && word.bytes().all(|byte| byte.is_ascii_digit() || b"T:.Z".contains(&byte))
}

/// `1.24MB`, `13.3kB`, `0B`, as docker prints sizes.
fn is_size(word: &str) -> bool {
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = word.get(number.len()..).unwrap_or_default();
    ["B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB"].contains(&unit)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Columns are as wide as what stands in them: two spaces are enough.
fn squeeze(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let indent = line.len() - line.trim_start_matches(' ').len();
    out.push_str(line.get(..indent).unwrap_or_default());
    let mut spaces = 0;
    for letter in line.chars().skip(indent) {
        if letter == ' ' {
            spaces += 1;
            continue;
        }
        out.push_str(match spaces {
            0 => "",
            1 => " ",
            _ => "  ",
        });
        spaces = 0;
        out.push(letter);
    }
    out
}

/// `3 seconds ago`, `About a minute ago`, `Up 2 hours`: how long ago is no news.
fn ages(line: &str) -> String {
    const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];
    let mut words: Vec<&str> = line.split(' ').collect();
    let mut at = 0;
    while at < words.len() {
        let unit = words.get(at).map_or("", |word| word.trim_end_matches(['s', ',']));
        if !UNITS.contains(&unit) || at == 0 {
            at += 1;
            continue;
        }
        let before =
            |back: usize| at.checked_sub(back).and_then(|place| words.get(place)).copied().unwrap_or("");
        let quantity = before(1).bytes().all(|byte| byte.is_ascii_digit()) && !before(1).is_empty();
        let start = match (before(3), before(2), before(1)) {
            ("Less", "than", "a") => at - 3,
            (_, "About", "a" | "an") => at - 2,
            _ if quantity => at - 1,
            _ => {
                at += 1;
                continue;
            }
        };
        words.splice(start..=at, ["TIME"]);
        at = start + 1;
    }
    words.join(" ")
}

/// A line of the host's list of processes, as `docker top` prints it. `titles` are those of the list
/// that the line may be part of; a line with `PID` and `PPID` begins one. (A list from inside a
/// container has no `PPID`, and its numbers count from 1: they are the same in every run.)
fn processes(line: &str, titles: &mut Vec<String>) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.contains(&"PID") && words.contains(&"PPID") {
        *titles = words.into_iter().map(str::to_owned).collect();
        return line.to_owned();
    }
    if titles.is_empty() || words.len() < titles.len() {
        titles.clear();
        return line.to_owned();
    }
    let (named, rest) = words.split_at(titles.len() - 1);
    let named = titles.iter().zip(named).map(|(title, word)| match title.as_str() {
        "PID" | "PPID" | "C" | "PGID" | "SID" => "N",
        "STIME" | "START" | "STARTED" | "TIME" | "ELAPSED" => "TIME",
        _ => word,
    });
    let rest = rest.join(" ");
    named.chain([rest.as_str()]).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_the_host_and_not_of_a_container() {
        let host = "UID    PID    PPID   C  STIME  TTY   TIME      CMD\nroot   4711   4700   0  22:49  ?     00:00:00  sh -c  x\n\nroot 1 2 3 4 5 6 7 8";
        assert_eq!(
            text(host),
            "UID  PID  PPID  C  STIME  TTY  TIME  CMD\nroot  N  N  N  TIME  ?  TIME  sh -c x\n\nroot 1 2 3 4 5 6 7 8"
        );
        assert_eq!(text("PID   USER     COMMAND\n    1 root     ps"), "PID  USER  COMMAND\n    1 root  ps");
    }

    fn text(input: &str) -> String {
        Names::default().text(input)
    }

    #[test]
    fn a_thing_keeps_its_name() {
        let mut names = Names::default();
        let id = "c54a2cc56cbb".to_owned() + &"0".repeat(52);
        assert_eq!(names.name("image", &format!("sha256:{id}")), "image1");
        assert_eq!(names.text("Untagged: x@sha256:"), "Untagged: x@sha256:");
        assert_eq!(names.text(&format!("Deleted: sha256:{id}")), "Deleted: image1");
        assert_eq!(names.text("c54a2cc56cbb: Pull complete"), "image1: Pull complete");
        assert_eq!(names.text("0a1b2c3d4e5f: Pull complete"), "id1: Pull complete");
        assert_eq!(
            names.text("deadbeeffeed is a word, 123 a number"),
            "deadbeeffeed is a word, 123 a number"
        );
    }

    #[test]
    fn listings() {
        assert_eq!(
            text("hello-world   latest    c54a2cc56cbb   3 years ago   13.3kB"),
            "hello-world  latest  id1  TIME ago  SIZE"
        );
        assert_eq!(text("Exited (0) Less than a second ago"), "Exited (0) TIME ago");
        assert_eq!(text("Up About a minute"), "Up TIME");
        assert_eq!(text("a second thought"), "a second thought");
    }

    #[test]
    fn addresses_ports_and_processes() {
        assert_eq!(text("http://127.0.0.1:41234/v2/"), "http://127.0.0.1:PORT/v2/");
        let upload = "/v2/a/blobs/uploads/bce54834fb2549962fd62f4def1a6586?digest=x";
        assert_eq!(text(upload), "/v2/a/blobs/uploads/UPLOAD?digest=x");
        let context = "ROOT/builds/25328cad01326377/step-0/upper";
        assert_eq!(text(context), "ROOT/builds/build1/step-0/upper");
        assert_eq!(text("?filters=%7B%22stars%22"), "?filters=%7B%22stars%22");
        assert_eq!(text("10.1.2.3/24 via 10.1.2.1, 10.1.2.3."), "ip1/24 via ip2, ip1.");
        assert_eq!(text("/proc/4711/ns/net"), "/proc/PID/ns/net");
        assert_eq!(text("vethab12cd on 0.0.0.0:80"), "veth1 on 0.0.0.0:80");
        assert_eq!(text("at 2026-01-02T10:20:30.5Z"), "at 2026-01-TIME");
    }

    #[test]
    fn literals_and_generated_names() {
        let mut names = Names::default();
        names.literal("/tmp/run1", "RUN");
        names.literal("/tmp/run1/root", "ROOT");
        assert_eq!(names.text("/tmp/run1/root/x /tmp/run1/y"), "ROOT/x RUN/y");
        assert_eq!(names.maybe_generated("otter"), "otter");
        assert_eq!(names.maybe_generated("brave_otter"), "name1");
        assert_eq!(names.text("brave_otter not_known"), "name1 not_known");
    }
}
