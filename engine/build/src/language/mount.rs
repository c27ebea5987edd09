//! `RUN --mount=…`: what a command sees beside its image's files, for as long as it runs.
//!
//! ```text
//!   type=bind    files of the context, a stage or an image; what is written to them is lost
//!   type=cache   a folder that later builds find again
//!   type=tmpfs   a folder in memory
//!   type=secret  a file (or variable) whose content the client gives, in no layer ever
//!   type=ssh     the socket of the client's agent of keys
//! ```
//!
//! See "RUN --mount" in Docker's Dockerfile reference.

use std::collections::BTreeMap;

/// A mount whose variables are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted, as it is written. Absent: at a secret's or an agent's usual place, the others at
    /// the command's working directory.
    pub target: Option<String>,
    /// What is mounted.
    pub kind: Kind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Files of the context, or of a stage or image.
    Bind {
        /// The stage or image; the context if absent.
        from: Option<String>,
        /// Which of its files; all, if it is empty.
        source: String,
        /// Whether the command may write to them. What it writes is gone afterwards.
        writable: bool,
    },
    /// A folder that stays from build to build.
    Cache {
        /// Which one; the target says so if absent.
        id: Option<String>,
        /// Where a new one's first content comes from.
        from: Option<String>,
        /// Which of those files.
        source: String,
        /// What happens if several commands want it at once.
        sharing: Sharing,
        /// Whether the command may not write to it.
        read_only: bool,
        /// The mode and the owner that a new one gets.
        looks: Looks,
    },
    /// A folder in memory.
    Tmpfs {
        /// The most that it holds, in bytes; 0 leaves that to the kernel.
        size: u64,
    },
    /// A secret.
    Secret {
        /// Which one.
        id: String,
        /// The variable that gets it.
        env: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// The file's mode and owner.
        looks: Looks,
    },
    /// An agent of keys.
    Ssh {
        /// Which one.
        id: String,
        /// Whether the build fails without it.
        required: bool,
        /// The socket's mode and owner.
        looks: Looks,
    },
}

/// A mode, and who owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// The mode.
    pub mode: u32,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// Who may use a cache when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Whoever comes while it is in use gets another one.
    Private,
    /// One after the other.
    Locked,
}

/// Which kind knows which keys. Several names of one key stand in one word.
const KEYS: [(&str, &[&str]); 5] = [
    ("bind", &["target", "source", "from", "rw", "ro"]),
    ("cache", &["id", "target", "source", "from", "sharing", "rw", "ro", "mode", "uid", "gid"]),
    ("tmpfs", &["target", "size"]),
    ("secret", &["id", "target", "env", "required", "mode", "uid", "gid"]),
    ("ssh", &["id", "target", "required", "mode", "uid", "gid"]),
];

impl Mount {
    /// Reads a mount's value.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields: BTreeMap<&'static str, String> = BTreeMap::new();
        let mut name = "bind".to_owned();
        let split = fields_of(text)?;
        for field in &split {
            if let Some(kind) = field.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("type")) {
                name = kind.1.to_ascii_lowercase();
            }
        }
        let Some((kind, known)) = KEYS.iter().find(|(kind, _)| *kind == name) else {
            return Err(format!(
                "unsupported mount type {name:?}: expected bind, cache, tmpfs, secret or ssh"
            ));
        };
        for field in &split {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), value.to_owned()),
                None => (field.to_ascii_lowercase(), String::new()),
            };
            let bare = !field.contains('=');
            if key == "type" && !bare {
                continue;
            }
            let usual = match key.as_str() {
                "dst" | "destination" => "target",
                "src" => "source",
                "readonly" => "ro",
                "readwrite" => "rw",
                other => other,
            };
            let Some(known) = known.iter().find(|one| **one == usual) else {
                return Err(format!("unexpected key '{key}' for mount type '{kind}' in '{field}'"));
            };
            let value = match (bare, matches!(*known, "rw" | "ro" | "required")) {
                (true, true) => "true".to_owned(),
                (true, false) => return Err(format!("invalid field '{field}' must be a key=value pair")),
                (false, _) => value,
            };
            fields.insert(known, value);
        }
        Self::of(kind, &fields)
    }

    fn of(kind: &str, fields: &BTreeMap<&'static str, String>) -> Result<Self, String> {
        let text = |key: &str| fields.get(key).filter(|value| !value.is_empty()).cloned();
        let target = text("target");
        let from = text("from");
        let source = text("source").unwrap_or_default();
        let kind = match kind {
            "bind" => {
                let writable = truth(fields, "rw")?.unwrap_or(!truth(fields, "ro")?.unwrap_or(true));
                Kind::Bind { from, source, writable }
            }
            "cache" => {
                let read_only = truth(fields, "ro")?.unwrap_or(!truth(fields, "rw")?.unwrap_or(true));
                let sharing = match text("sharing").as_deref() {
                    None | Some("shared") => Sharing::Shared,
                    Some("private") => Sharing::Private,
                    Some("locked") => Sharing::Locked,
                    Some(other) => {
                        return Err(format!(
                            "unsupported sharing value {other:?}: expected shared, private or locked"
                        ));
                    }
                };
                Kind::Cache { id: text("id"), from, source, sharing, read_only, looks: looks(fields, 0o755)? }
            }
            "tmpfs" => Kind::Tmpfs { size: text("size").map_or(Ok(0), |size| bytes(&size))? },
            "secret" => {
                let id = text("id").or_else(|| target.as_deref().and_then(last_part).map(str::to_owned));
                let id = id
                    .ok_or("a mount of type secret needs an id=NAME, or a target=PATH that ends in a name")?;
                let required = truth(fields, "required")?.unwrap_or(false);
                Kind::Secret { id, env: text("env"), required, looks: looks(fields, 0o400)? }
            }
            _ => {
                let required = truth(fields, "required")?.unwrap_or(false);
                let id = text("id").unwrap_or_else(|| "default".to_owned());
                Kind::Ssh { id, required, looks: looks(fields, 0o600)? }
            }
        };
        Ok(Self { target, kind })
    }

    /// The stage or image that its files come from.
    #[must_use]
    pub fn from(&self) -> Option<&str> {
        match &self.kind {
            Kind::Bind { from, .. } | Kind::Cache { from, .. } => from.as_deref(),
            _ => None,
        }
    }
}

/// Splits at commas; a field in quotes may have some, and `""` in it means a quote (RFC 4180).
fn fields_of(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        let mut field = String::new();
        while rest.next_if(|next| next.is_whitespace()).is_some() {}
        if rest.next_if_eq(&'"').is_some() {
            loop {
                match rest.next() {
                    Some('"') if rest.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(other) => field.push(other),
                    None => return Err(format!("the quote in {text:?} has no end")),
                }
            }
            while rest.next_if(|next| next.is_whitespace()).is_some() {}
            if rest.peek().is_some_and(|next| *next != ',') {
                return Err(format!("a comma is missing after the quote in {text:?}"));
            }
        } else {
            while let Some(next) = rest.next_if(|next| *next != ',') {
                field.push(next);
            }
            field.truncate(field.trim_end().len());
        }
        if field.is_empty() {
            return Err(format!("there is an empty field in {text:?}"));
        }
        fields.push(field);
        if rest.next().is_none() {
            return Ok(fields);
        }
    }
}

fn truth(fields: &BTreeMap<&'static str, String>, key: &str) -> Result<Option<bool>, String> {
    match fields.get(key).map(|value| value.to_ascii_lowercase()).as_deref() {
        None => Ok(None),
        Some("true" | "1" | "t" | "") => Ok(Some(true)),
        Some("false" | "0" | "f") => Ok(Some(false)),
        Some(other) => Err(format!("invalid value for {key}: {other}: expected true or false")),
    }
}

fn looks(fields: &BTreeMap<&'static str, String>, usual: u32) -> Result<Looks, String> {
    let number = |key: &str, radix, default| match fields.get(key) {
        None => Ok(default),
        Some(text) => {
            u32::from_str_radix(text, radix).map_err(|_| format!("invalid value {text:?} for {key}"))
        }
    };
    let mode = number("mode", 8, usual)?;
    if mode > 0o7777 {
        return Err(format!("invalid value {mode:o} for mode: it is at most 7777"));
    }
    Ok(Looks { mode, uid: number("uid", 10, 0)?, gid: number("gid", 10, 0)? })
}

/// A size: a number, with `k`, `m`, `g` or `t` after it, and maybe a `b`.
fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid value for size: {text:?}: expected something like 64m");
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

fn last_part(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        Mount::parse(text).expect(text).kind
    }

    #[test]
    fn every_kind_has_its_keys() {
        let bind = Mount::parse("type=bind,from=build,source=/out,target=/in").expect("a bind");
        assert_eq!((bind.target.as_deref(), bind.from()), (Some("/in"), Some("build")));
        assert_eq!(
            kind("target=/x,rw"),
            Kind::Bind { from: None, source: String::new(), writable: true },
            "bind is the kind if none is said"
        );
        assert_eq!(kind("target=/x,ro=false"), Kind::Bind { from: None, source: "".into(), writable: true });
        let cache = kind("type=cache,dst=/c,sharing=locked,mode=0700,uid=7,gid=8,id=x,readonly");
        let looks = Looks { mode: 0o700, uid: 7, gid: 8 };
        assert_eq!(
            cache,
            Kind::Cache {
                id: Some("x".into()),
                from: None,
                source: String::new(),
                sharing: Sharing::Locked,
                read_only: true,
                looks
            }
        );
        assert_eq!(kind("type=tmpfs,target=/t,size=64m"), Kind::Tmpfs { size: 64 << 20 });
        let here = Mount::parse("ro").expect("the working directory is a place too");
        assert_eq!(here.target, None);
        assert_eq!(here.kind, Kind::Bind { from: None, source: String::new(), writable: false });
        let looks = Looks { mode: 0o400, uid: 0, gid: 0 };
        let secret = |id: &str, env: Option<&str>, required| Kind::Secret {
            id: id.into(),
            env: env.map(Into::into),
            required,
            looks,
        };
        assert_eq!(kind("type=secret,id=key,required"), secret("key", None, true));
        assert_eq!(kind("type=secret,target=/run/token"), secret("token", None, false));
        assert_eq!(kind("type=secret,id=key,env=KEY,required=false"), secret("key", Some("KEY"), false));
        let looks = Looks { mode: 0o600, uid: 0, gid: 0 };
        assert_eq!(kind("type=ssh"), Kind::Ssh { id: "default".into(), required: false, looks });
        assert_eq!(
            Mount::parse("\"target=/a,b\",\"source=x\"\"y\"").expect("quotes").target.as_deref(),
            Some("/a,b")
        );
    }

    #[test]
    fn what_makes_no_sense_says_so() {
        for (text, wanted) in [
            ("type=nfs,target=/x", "unsupported mount type \"nfs\""),
            ("type=bind,target=/x,size=1", "unexpected key 'size'"),
            ("type=tmpfs,target=/x,size=much", "invalid value for size"),
            ("type=tmpfs,target=/x,size=99999999999t", "invalid value for size"),
            ("type=cache,target=/x,sharing=mine", "unsupported sharing value"),
            ("type=cache,target=/x,mode=9", "invalid value \"9\" for mode"),
            ("type=cache,target=/x,mode=77777", "at most 7777"),
            ("type=secret", "needs an id=NAME"),
            ("type=secret,id=a,required=maybe", "expected true or false"),
            ("type=bind,target", "must be a key=value pair"),
            ("target=/x,,ro", "empty field"),
            ("", "empty field"),
            ("\"target=/x", "has no end"),
            ("\"target=/x\"y", "a comma is missing"),
        ] {
            let error = Mount::parse(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
