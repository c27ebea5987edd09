//! Ids and names of containers.

use crate::error::Error;

/// 64 random hexadecimal digits: an id.
///
/// # Errors
///
/// Internal, if the kernel has no randomness.
pub fn new_id() -> Result<String, Error> {
    loop {
        let id = hex_digits::<32>()?;
        // A short id must not look like a number: tools take `12345` for one.
        if id.get(..12).is_some_and(|short| short.bytes().any(|byte| byte.is_ascii_alphabetic())) {
            return Ok(id);
        }
    }
}

/// `BYTES` random bytes in hexadecimal digits, two for each.
///
/// # Errors
///
/// Internal, if the kernel has no randomness.
pub fn hex_digits<const BYTES: usize>() -> Result<String, Error> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal(format!("cannot make an id: getrandom: {error}")))?;
    Ok(hex::encode(bytes))
}

/// The first twelve digits of an id, as people see it.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Reads a name that a client chose; a `/` before it is left away.
///
/// # Errors
///
/// Invalid, in Docker's words, for a name outside of Docker's grammar.
pub fn parse(name: &str) -> Result<String, Error> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && bare.len() >= 2 {
        return Ok(bare.to_owned());
    }
    Err(Error::invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// A name for a container that its user gave none: an adjective and an animal.
/// `attempt` counts the tries before, which were taken.
#[must_use]
pub fn random(attempt: u32) -> String {
    let mut bytes = [0_u8; 4];
    // Without randomness the first words must do: the number below tells names apart.
    let _ = getrandom::fill(&mut bytes);
    let [a, b, c, d] = bytes.map(usize::from);
    let pick =
        |words: &'static [&'static str], number: usize| words.get(number % words.len()).unwrap_or(&"otter");
    let name = format!("{}_{}", pick(ADJECTIVES, a * 256 + b), pick(ANIMALS, c * 256 + d));
    if attempt == 0 { name } else { format!("{name}{}", (a + d) % 10 + 10 * attempt as usize) }
}

#[rustfmt::skip]
const ADJECTIVES: &[&str] = &[
    "able", "airy", "amber", "ample", "azure", "balmy", "bold", "brave", "breezy", "bright", "brisk", "calm",
    "candid", "cheery", "civil", "clear", "clever", "cosy", "crisp", "curious", "daring", "deft", "eager", "early",
    "earnest", "fair", "fleet", "fluent", "fond", "frank", "fresh", "gentle", "glad", "glassy", "golden", "grand",
    "hardy", "hazel", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow",
    "merry", "mild", "mindful", "modest", "neat", "nimble", "noble", "patient", "placid", "plucky", "polite", "proud",
    "quick", "quiet", "rapid", "ready", "robust", "rosy", "rustic", "sandy", "serene", "sharp", "silent", "silver",
    "sincere", "sleek", "snug", "sober", "solid", "sound", "spry", "steady", "stout", "sturdy", "sunny", "supple",
    "swift", "tender", "tidy", "tranquil", "trusty", "upbeat", "valiant", "vivid", "warm", "wise", "witty", "zesty",
];

#[rustfmt::skip]
const ANIMALS: &[&str] = &[
    "albatross", "alpaca", "badger", "beaver", "bison", "bittern", "bobcat", "buzzard", "caribou", "cheetah",
    "chinchilla", "condor", "cormorant", "crane", "cricket", "curlew", "dingo", "dolphin", "dormouse", "dove",
    "eagle", "egret", "eider", "elk", "ermine", "falcon", "ferret", "finch", "firefly", "fox", "gannet", "gazelle",
    "gecko", "gibbon", "goldfinch", "goose", "grouse", "hare", "hedgehog", "heron", "hoopoe", "ibex", "ibis",
    "jackdaw", "jay", "kestrel", "kingfisher", "kiwi", "koala", "lark", "lemming", "lemur", "linnet", "llama",
    "lynx", "magpie", "mallard", "marmot", "marten", "mole", "moose", "narwhal", "newt", "ocelot", "octopus",
    "orca", "oriole", "osprey", "otter", "owl", "panda", "partridge", "pelican", "penguin", "petrel", "pika",
    "plover", "porcupine", "puffin", "quail", "rabbit", "raven", "robin", "salmon", "seal", "shrew", "siskin",
    "sparrow", "squirrel", "starling", "stoat", "stork", "swallow", "swan", "tapir", "tern", "thrush", "toad",
    "turtle", "vole", "walrus", "weasel", "whale", "wombat", "woodpecker", "wren", "yak", "zebra",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_grammar() {
        for name in ["otter", "/otter", "a.b-c_d", "0x"] {
            assert!(parse(name).is_ok(), "{name}");
        }
        for name in ["", "/", "a", "-a", "a b", "a/b", "//a", "ä1", "a\n", "..", "_x"] {
            assert!(parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn random_names_are_names() {
        for attempt in 0..200 {
            let name = random(attempt);
            assert_eq!(parse(&name), Ok(name.clone()));
        }
    }

    #[test]
    fn ids_differ() {
        let ids = [new_id().expect("an id"), new_id().expect("an id")];
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[0].len(), 64);
    }
}
