//! Who the program runs as: Docker's words, looked up in the container's own
//! `/etc/passwd` and `/etc/group`; passwd(5), group(5).
//!
//! The files are the image's, so nothing about them is certain: they may be missing,
//! huge, full of broken lines, or links that lead elsewhere. A broken line is passed
//! over; reading stops at [`FILE_LIMIT`].

use std::io::Read;
use std::path::Path;

use glassdock_kernel::path::Root;
use glassdock_kernel::user::User;

use super::Failure;
use crate::oci;

/// Of a file so many bytes are read.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// Docker's bound for numbers of users and groups.
const LARGEST_ID: u32 = i32::MAX as u32;

/// A user, with the home that `HOME` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: User,
    pub(super) home: String,
}

/// Finds who is meant by `words` (`name`, `name:group`, `uid`, `uid:gid`), or by the bundle's numbers
/// if there are no words.
pub(super) fn look_up(
    root: &Root,
    numbers: &oci::User,
    words: Option<&str>,
    groups: &[String],
) -> Result<Identity, Failure> {
    let passwd = read(root, "/etc/passwd");
    let group = read(root, "/etc/group");
    identify(&passwd, &group, numbers, words, groups)
}

/// The numbers of the user and group that `words` mean in a container's own files.
///
/// # Errors
///
/// In Docker's words, if there is no such user or group.
pub fn numbers(root: &Root, words: &str) -> Result<(u32, u32), String> {
    let found = look_up(root, &oci::User::default(), Some(words), &[]);
    found.map(|identity| (identity.user.uid, identity.user.gid)).map_err(|failure| failure.to_string())
}

fn read(root: &Root, path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = root.read(Path::new(path)) {
        // What was read before an error is as good as the whole of a shorter file.
        let _ = file.take(FILE_LIMIT).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn identify(
    passwd: &str,
    group: &str,
    numbers: &oci::User,
    words: Option<&str>,
    groups: &[String],
) -> Result<Identity, Failure> {
    let words = words.filter(|words| !words.is_empty());
    let (user_word, group_word) = match words {
        None => (numbers.uid.to_string(), Some(numbers.gid.to_string())),
        Some(words) => match words.split_once(':') {
            Some((user, group)) => {
                (user.to_owned(), Some(group.to_owned()).filter(|group| !group.is_empty()))
            }
            None => (words.to_owned(), None),
        },
    };
    let user_word = if user_word.is_empty() { "0".to_owned() } else { user_word };
    let entry = find_user(passwd, &user_word);
    let (name, uid, mut gid, home) = match (&entry, id(&user_word)?) {
        (Some(entry), _) => (Some(entry.name), entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (None, uid, 0, "/"),
        (None, None) => {
            return Err(Failure::Invalid(format!(
                "unable to find user {user_word}: no matching entries in passwd file"
            )));
        }
    };
    let mut more = Vec::new();
    if let Some(word) = &group_word {
        gid = find_group(group, word)?;
    } else if let Some(name) = name {
        more.extend(groups_of(group, name).filter(|more| *more != gid));
    }
    more.extend_from_slice(&numbers.additional_gids);
    for word in groups {
        more.push(find_group(group, word)?);
    }
    more.sort_unstable();
    more.dedup();
    // Linux takes so many; see NGROUPS_MAX in getgroups(2).
    more.truncate(65_536);
    let home = if home.is_empty() { "/" } else { home };
    Ok(Identity { user: User { uid, gid, groups: more }, home: home.to_owned() })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// The user of a name, or else of a number.
fn find_user<'a>(passwd: &'a str, word: &str) -> Option<Entry<'a>> {
    let entry = |line: &'a str| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, uid, gid, rest @ ..] = fields.as_slice() else { return None };
        let home = rest.get(1).copied().unwrap_or("/");
        Some(Entry { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    };
    let number: Option<u32> = word.parse().ok();
    let by_name = passwd.lines().filter_map(entry).find(|entry| entry.name == word);
    by_name.or_else(|| passwd.lines().filter_map(entry).find(|entry| Some(entry.uid) == number))
}

/// The number of a group, by its name or as it stands.
fn find_group(group: &str, word: &str) -> Result<u32, Failure> {
    for line in group.lines() {
        let mut fields = line.split(':');
        if fields.next() == Some(word)
            && let Some(gid) = fields.nth(1).and_then(|gid| gid.parse().ok())
        {
            return Ok(gid);
        }
    }
    id(word)?.ok_or_else(|| {
        Failure::Invalid(format!("unable to find group {word}: no matching entries in group file"))
    })
}

/// The groups that list a user as a member.
fn groups_of<'a>(group: &'a str, name: &'a str) -> impl Iterator<Item = u32> + 'a {
    group.lines().filter_map(move |line| {
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, gid, members] = fields.as_slice() else { return None };
        members.split(',').any(|member| member.trim() == name).then(|| gid.parse().ok())?
    })
}

/// A number, if the word is one.
fn id(word: &str) -> Result<Option<u32>, Failure> {
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match word.parse() {
        Ok(number) if number <= LARGEST_ID => Ok(Some(number)),
        _ => Err(Failure::Invalid(format!("uids and gids must be in range 0-{LARGEST_ID}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\n:::\nalice:x:1000:100::/home/alice:/bin/sh\n42:x:7:7::/:\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nwheel:x:10:bob,alice\naudio:x:29: alice\nbroken:x\n";

    fn who(words: &str, groups: &[&str]) -> Result<(u32, u32, Vec<u32>, String), String> {
        let groups: Vec<_> = groups.iter().map(|&group| group.to_owned()).collect();
        identify(PASSWD, GROUP, &oci::User::default(), Some(words), &groups)
            .map(|identity| (identity.user.uid, identity.user.gid, identity.user.groups, identity.home))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn dockers_words() {
        assert_eq!(who("alice", &[]), Ok((1000, 100, vec![10, 29], "/home/alice".into())));
        assert_eq!(who("alice:wheel", &[]), Ok((1000, 10, vec![], "/home/alice".into())));
        assert_eq!(who("1000", &["audio", "7"]), Ok((1000, 100, vec![7, 10, 29], "/home/alice".into())));
        assert_eq!(who("1234", &[]), Ok((1234, 0, vec![], "/".into())));
        assert_eq!(who("1234:5", &[]), Ok((1234, 5, vec![], "/".into())));
        assert_eq!(who(":users", &[]), Ok((0, 100, vec![], "/root".into())));
        // A name that looks like a number is a name first.
        assert_eq!(who("42", &[]), Ok((7, 7, vec![], "/".into())));
    }

    #[test]
    fn who_is_not_there() {
        assert_eq!(
            who("bob", &[]),
            Err("unable to find user bob: no matching entries in passwd file".into())
        );
        assert_eq!(
            who("alice:x", &[]),
            Err("unable to find group x: no matching entries in group file".into())
        );
        assert_eq!(who("4294967296", &[]), Err("uids and gids must be in range 0-2147483647".into()));
        assert!(who("-1", &[]).is_err());
    }

    #[test]
    fn files_that_are_missing_or_strange() {
        let user = |passwd: &str| {
            identify(passwd, "", &oci::User { uid: 5, gid: 6, ..oci::User::default() }, None, &[])
        };
        assert_eq!(user("").expect("numbers need no file").user, User { uid: 5, gid: 6, groups: vec![] });
        assert_eq!(user("\u{fffd}:::::\n\n:::5::").expect("numbers need no file").home, "/");
    }
}
