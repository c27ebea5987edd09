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
    let Some(words) = words else { return as_numbered(passwd, group, numbers, groups) };
    let mut pieces = words.split(':');
    let mut piece = || pieces.next().filter(|piece| !piece.is_empty());
    let (user_word, group_word) = (piece().unwrap_or("0"), piece());
    let (name, uid, mut gid, home) = match (find_user(passwd, user_word), number(user_word)) {
        (Some(entry), _) => (Some(entry.name), entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (None, in_range(uid)?, 0, "/"),
        (None, None) => {
            return Err(Failure::User(format!(
                "unable to find user {user_word}: no matching entries in passwd file"
            )));
        }
    };
    let mut more = Vec::new();
    if let Some(word) = group_word {
        let missing = || format!("unable to find group {word}: no matching entries in group file");
        gid = find_group(group, word)?.ok_or_else(|| Failure::User(missing()))?;
    } else if let Some(name) = name {
        more.extend(groups_of(group, name));
    }
    // A set-group-id program changes the first group; what a file shuts to that group's members stays shut if it is
    // among the further ones too (CVE-2022-36109).
    more.push(gid);
    more_groups(group, groups, &mut more)?;
    Ok(Identity { user: User { uid, gid, groups: more }, home: home_or_root(home) })
}

/// Who a bundle's numbers mean: they alone, whatever the container's files say.
fn as_numbered(
    passwd: &str,
    group: &str,
    numbers: &oci::User,
    groups: &[String],
) -> Result<Identity, Failure> {
    let home = find_user(passwd, &numbers.uid.to_string()).map_or("/", |entry| entry.home);
    let mut more = numbers.additional_gids.clone();
    more_groups(group, groups, &mut more)?;
    let user = User { uid: numbers.uid, gid: numbers.gid, groups: more };
    Ok(Identity { user, home: home_or_root(home) })
}

/// Puts the groups of `words`, by name or number, to those that are there; each is there once.
fn more_groups(group: &str, words: &[String], more: &mut Vec<u32>) -> Result<(), Failure> {
    for word in words {
        // With a capital letter, as Docker has it here.
        let missing = || format!("Unable to find group {word}: no matching entries in group file");
        more.push(find_group(group, word)?.ok_or_else(|| Failure::User(missing()))?);
    }
    more.sort_unstable();
    more.dedup();
    // Linux takes so many; see NGROUPS_MAX in getgroups(2).
    more.truncate(65_536);
    Ok(())
}

fn home_or_root(home: &str) -> String {
    if home.is_empty() { "/" } else { home }.to_owned()
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// The user of a name; a word that is a number means just that, and no name.
fn find_user<'a>(passwd: &'a str, word: &str) -> Option<Entry<'a>> {
    let entry = |line: &'a str| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, uid, gid, rest @ ..] = fields.as_slice() else { return None };
        let home = rest.get(1).copied().unwrap_or("/");
        Some(Entry { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    };
    let number = number(word);
    let meant = |entry: &Entry<'_>| match number {
        Some(number) => i64::from(entry.uid) == number,
        None => entry.name == word,
    };
    passwd.lines().filter_map(entry).find(meant)
}

/// The number of a group, by its name or as it stands; none if there is no such name.
fn find_group(group: &str, word: &str) -> Result<Option<u32>, Failure> {
    if let Some(gid) = number(word) {
        return in_range(gid).map(Some);
    }
    let entry = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(word)).then(|| fields.nth(1)?.parse().ok())?
    };
    Ok(group.lines().find_map(entry))
}

/// The groups that list a user as a member.
fn groups_of<'a>(group: &'a str, name: &'a str) -> impl Iterator<Item = u32> + 'a {
    group.lines().filter_map(move |line| {
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, gid, members] = fields.as_slice() else { return None };
        members.split(',').any(|member| member.trim() == name).then(|| gid.parse().ok())?
    })
}

/// A number, if the word is one; with a sign too.
fn number(word: &str) -> Option<i64> {
    word.parse().ok()
}

fn in_range(number: i64) -> Result<u32, Failure> {
    u32::try_from(number)
        .ok()
        .filter(|&number| number <= LARGEST_ID)
        .ok_or_else(|| Failure::User(format!("uids and gids must be in range 0-{LARGEST_ID}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\n:::\nalice:x:1000:100::/home/alice:/bin/sh\n42:x:7:7::/:\n";
    const GROUP: &str =
        "root:x:0:\nusers:x:100:\nwheel:x:10:bob,alice\naudio:x:29: alice,root\nbroken:x\n42:x:77:42\n";

    fn who(words: &str, groups: &[&str]) -> Result<(u32, u32, Vec<u32>, String), String> {
        let groups: Vec<_> = groups.iter().map(|&group| group.to_owned()).collect();
        identify(PASSWD, GROUP, &oci::User::default(), Some(words), &groups)
            .map(|identity| (identity.user.uid, identity.user.gid, identity.user.groups, identity.home))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn dockers_words() {
        assert_eq!(who("alice", &[]), Ok((1000, 100, vec![10, 29, 100], "/home/alice".into())));
        assert_eq!(who("alice:wheel", &[]), Ok((1000, 10, vec![10], "/home/alice".into())));
        assert_eq!(who("alice:wheel:x", &[]), Ok((1000, 10, vec![10], "/home/alice".into())));
        assert_eq!(who("1000", &["audio", "7"]), Ok((1000, 100, vec![7, 10, 29, 100], "/home/alice".into())));
        assert_eq!(who("1234", &[]), Ok((1234, 0, vec![0], "/".into())));
        assert_eq!(who("1234:5", &["wheel"]), Ok((1234, 5, vec![5, 10], "/".into())));
        // No words mean root, with root's groups.
        for root in ["", "0", "root", ":", "+0"] {
            assert_eq!(who(root, &[]), Ok((0, 0, vec![0, 29], "/root".into())), "{root:?}");
        }
        assert_eq!(who(":users", &[]), Ok((0, 100, vec![100], "/root".into())));
        // A number is no name, though one is written so.
        assert_eq!(who("42", &[]), Ok((42, 0, vec![0], "/".into())));
        assert_eq!(who("7", &[]), Ok((7, 7, vec![7, 77], "/".into())));
        assert_eq!(who("0:42", &["42"]), Ok((0, 42, vec![42], "/root".into())));
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
        for beyond in ["-1", "4294967296", "0:-1", "0:2147483648"] {
            assert_eq!(
                who(beyond, &[]),
                Err("uids and gids must be in range 0-2147483647".into()),
                "{beyond}"
            );
        }
        // A number that no machine has is a word.
        assert!(
            who("99999999999999999999", &[]).is_err_and(|error| error.starts_with("unable to find user 9"))
        );
        assert_eq!(
            who("0", &["wheel", "x"]),
            Err("Unable to find group x: no matching entries in group file".into())
        );
        assert_eq!(who("0", &["-1"]), Err("uids and gids must be in range 0-2147483647".into()));
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
