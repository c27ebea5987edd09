use std::io::{Cursor, Read};
use std::path::Path;

use tar::EntryType;

use super::*;
use crate::layer::{Error, Limits};

/// An archive whose headers say whatever they say.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn put(mut self, name: &str, kind: EntryType, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o640 });
        header.set_mtime(7);
        header.set_size(content.len() as u64);
        let fields = header.as_gnu_mut().expect("a header");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.put(name, EntryType::Regular, "", content.as_bytes())
    }

    fn folder(self, name: &str) -> Self {
        self.put(name, EntryType::Directory, "", b"")
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.put(name, EntryType::Symlink, to, b"")
    }

    fn hard(self, name: &str, to: &str) -> Self {
        self.put(name, EntryType::Link, to, b"")
    }

    fn take(mut self) -> Result<Spool, Error> {
        self.0.resize(self.0.len() + 1024, 0);
        take(&self.0, Limits::default())
    }
}

fn take(bytes: &[u8], limits: Limits) -> Result<Spool, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arrival = Arrival::new(&folder.path().join("spool"), Cursor::new(bytes), limits)?;
    while arrival.next_entry()?.is_some() {
        arrival.keep()?;
    }
    arrival.finish()
}

fn text(spool: &Spool, path: &str) -> String {
    let id = match spool.find(Path::new(path)) {
        Ok(id) => id,
        Err(error) => return error.to_string(),
    };
    let mut text = String::new();
    spool.open(id).read_to_string(&mut text).expect("read");
    text
}

#[test]
fn paths_lead_where_the_unpacked_tree_would_lead() {
    let spool = Tar::default()
        .folder("a/")
        .file("a/file", "one")
        .link("way", "/a")
        .link("a/up", "../../../way/./file")
        .link("loop", "loop")
        .link("broken", "nowhere")
        .hard("other", "a/file")
        .hard("a/./more", "./way/file")
        .file("way/through", "two")
        .file("x/y/z", "deep")
        .take()
        .expect("taken");
    for path in ["a/file", "/way/file", "../../a/../way/file", "a/up", "other", "a/more"] {
        assert_eq!(text(&spool, path), "one", "{path}");
    }
    assert_eq!(text(&spool, "a/through"), "two", "a folder's link is followed inside");
    assert_eq!(text(&spool, "x/y/z"), "deep");
    for (path, errno) in [
        ("none", "No such file"),
        ("broken", "No such file"),
        ("a/file/x", "Not a directory"),
        ("a/file/", "Not a directory"),
        ("a/file/..", "Not a directory"),
        ("loop", "Too many levels"),
        (&"x/".repeat(3000), "File name too long"),
    ] {
        assert!(text(&spool, path).contains(errno), "{path}: {}", text(&spool, path));
    }
    let facts = |path: &str| spool.facts(spool.find(Path::new(path)).expect("there"));
    assert_eq!((facts("a").mode, facts("x").mode, facts("x/y/z").mode), (0o040_750, 0o040_755, 0o100_640));
    assert_eq!((facts("other").names, facts("x").modified, facts("x/y/z").size), (3, (7, 0), 4));
    assert_eq!(facts("other").file, facts("a/file").file);
    let names = |path: &str| -> Vec<String> {
        let names = spool.list(spool.find(Path::new(path)).expect("there"));
        names.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    };
    assert_eq!(names("way"), ["file", "more", "through", "up"]);
    assert!(names("other").is_empty());
}

#[test]
fn later_entries_take_the_places_of_earlier_ones() {
    let spool = Tar::default()
        .file("file", "old")
        .hard("kept", "file")
        .file("file", "new")
        .folder("folder/")
        .file("folder/x", "x")
        .folder("folder")
        .link("link", "file")
        .link("link", "kept")
        .take()
        .expect("taken");
    assert_eq!((text(&spool, "file"), text(&spool, "kept")), ("new".into(), "old".into()));
    assert_eq!((text(&spool, "link"), text(&spool, "folder/x")), ("old".into(), "x".into()));
    let kept = spool.find(Path::new("kept")).expect("there");
    assert_eq!(spool.facts(kept).names, 1);
}

#[test]
fn archives_that_mean_no_good_are_refused() {
    let tar = Tar::default;
    for (what, archive) in [
        ("a path outside", tar().file("../x", "")),
        ("a link of nothing", tar().hard("x", "no")),
        ("a link of what is outside", tar().hard("x", "../../etc/passwd")),
        ("a link of a folder", tar().folder("d").hard("x", "d")),
        ("a link of the root", tar().hard("x", ".")),
        ("a file that becomes a folder", tar().file("x", "").folder("x")),
        ("a folder that becomes a file", tar().folder("x").file("x", "")),
        ("a file that is a folder", tar().file("x", "").file("x/y", "")),
        ("the root as a file", tar().file(".", "x")),
        ("something below a link that leads nowhere", tar().link("x", "no").file("x/y", "")),
        ("something below a link without an end", tar().link("x", "x").file("x/y", "")),
    ] {
        assert!(archive.take().is_err(), "{what}");
    }
    assert!(take(b"x".repeat(2000).as_slice(), Limits::default()).is_err());
    let cut = tar().file("x", &"x".repeat(2000));
    assert!(take(&cut.0[..1500], Limits::default()).is_err());
    let many = |count: usize| (0..count).fold(tar(), |tar, at| tar.file(&at.to_string(), "12")).0;
    let limits = Limits { entries: 3, bytes: 5 };
    assert!(take(&many(2), limits).is_ok());
    assert!(matches!(take(&many(3), limits), Err(Error::TooMuch { what: "bytes", .. })));
    assert!(matches!(
        take(&many(4), Limits { bytes: 99, ..limits }),
        Err(Error::TooMuch { what: "entries", .. })
    ));
}

#[test]
fn paths_that_grow_by_links_come_to_an_end() {
    // The paths of the archive are as short as they must be, those of the tree would not be.
    let deep = "d/".repeat(1500);
    let mut builder = tar::Builder::new(Vec::new());
    let header = |kind| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(0);
        header
    };
    builder.append_data(&mut header(EntryType::Directory), &deep, std::io::empty()).expect("written");
    builder.append_link(&mut header(EntryType::Symlink), "way", &deep).expect("written");
    let further = format!("way/{deep}");
    builder.append_data(&mut header(EntryType::Directory), &further, std::io::empty()).expect("written");
    let error = take(&builder.into_inner().expect("an archive"), Limits::default()).expect_err("too deep");
    assert!(error.to_string().contains("longer than any"), "{error}");
}

#[test]
fn sums_are_of_all_that_counts() {
    let sum = |tar: Tar, path: &str| {
        let spool = tar.take().expect("taken");
        spool.sum(spool.find(Path::new(path)).expect("there")).expect("a sum")
    };
    let tar = Tar::default;
    let file = sum(tar().file("x", "1"), "x");
    assert_eq!(file, sum(tar().folder("a").file("a/y", "1").file("a/y", "1"), "a/y"));
    assert_ne!(file, sum(tar().file("x", "2"), "x"));
    assert_ne!(file, sum(tar().link("x", "1").link("1", "y").file("y", "2"), "x"));
    // A folder on the disk gives the same.
    let mut own = Sum::new(0o100_640, &Vec::new());
    own.update(b"1");
    assert_eq!(file, own.finish());
}

#[test]
fn files_with_holes_are_whole() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_path("holes").expect("a path");
    header.set_mode(0o644);
    header.set_size(3);
    let gnu = header.as_gnu_mut().expect("a header");
    gnu.realsize[..12].copy_from_slice(b"00000003000\0");
    gnu.sparse[0].offset[..12].copy_from_slice(b"00000001000\0");
    gnu.sparse[0].numbytes[..12].copy_from_slice(b"00000000003\0");
    header.set_cksum();
    let mut tar = Tar::default().file("before", "b");
    tar.0.extend_from_slice(header.as_bytes());
    tar.0.extend_from_slice(b"abc");
    tar.0.resize(tar.0.len().next_multiple_of(512), 0);
    let spool = tar.file("after", "a").take().expect("taken");
    let whole = [vec![0; 512], b"abc".to_vec(), vec![0; 0o3000 - 515]].concat();
    assert_eq!(text(&spool, "holes").as_bytes(), whole);
    assert_eq!((text(&spool, "before"), text(&spool, "after")), ("b".into(), "a".into()));
    let mut sum = Sum::new(0o100_644, &Vec::new());
    sum.update(&whole);
    let id = spool.find(Path::new("holes")).expect("there");
    assert_eq!(spool.sum(id).expect("a sum"), sum.finish());
    assert_eq!(spool.sum(id).expect("the same again"), spool.sum(id).expect("a sum"));
}

#[test]
fn attributes_that_an_archive_may_set_are_kept() {
    let mut builder = tar::Builder::new(Vec::new());
    let pairs: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.user.b", b"2"),
        ("SCHILY.xattr.user.a", b"1"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.b", b"3"),
    ];
    builder.append_pax_extensions(pairs).expect("written");
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    builder.append_data(&mut header, "x", b"x".as_slice()).expect("written");
    let spool = take(&builder.into_inner().expect("an archive"), Limits::default()).expect("taken");
    let id = spool.find(Path::new("x")).expect("there");
    let wanted = [(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), b"3".to_vec())];
    assert_eq!(spool.attributes(id), wanted);
}

#[test]
fn what_is_left_out_is_not_there() {
    let mut spool = Tar::default()
        .file("a/in", "1")
        .file("a/out", "2")
        .file("b/out", "3")
        .folder("c")
        .file("c/d/out", "4")
        .file("e", "5")
        .take()
        .expect("taken");
    let ignores = |path: &str| path.ends_with("out") || path == "c" || path == "a" || path == "c/d";
    spool.leave_out(ignores, |path| path == "c/d");
    for (path, there) in [
        ("a/in", true),
        ("a", true),
        ("a/out", false),
        ("b", true),
        ("b/out", false),
        ("c", false),
        ("e", true),
    ] {
        assert_eq!(spool.find(Path::new(path)).is_ok(), there, "{path}");
    }
}

#[test]
fn what_is_not_kept_is_not_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let tar = Tar::default().file("rules", "no").file("big", &"x".repeat(5000)).file("small", "s");
    let path = folder.path().join("spool");
    let mut arrival = Arrival::new(&path, Cursor::new(tar.0), Limits::default()).expect("made");
    assert_eq!(arrival.read("rules", 9).expect("read"), None);
    while let Some(path) = arrival.next_entry().expect("an entry") {
        if path != "big" {
            arrival.keep().expect("kept");
        }
    }
    assert_eq!(arrival.read("rules", 9).expect("read").as_deref(), Some(&b"no"[..]));
    assert_eq!(arrival.read("rules", 1).expect("read").as_deref(), Some(&b"n"[..]));
    let spool = arrival.finish().expect("whole");
    assert_eq!((text(&spool, "small").as_str(), std::fs::metadata(&path).expect("a file").len()), ("s", 3));
    assert!(spool.find(Path::new("big")).is_err());
}

#[test]
fn an_archive_may_end_right_after_a_files_content() {
    let mut tar = Tar::default().file("first", "1").file("last", "cut").0;
    tar.truncate(tar.len() - 512 + "cut".len());
    let spool = take(&tar, Limits::default()).expect("a whole file");
    assert!(spool.find(Path::new("last")).is_ok());
    for less in [1, 2, 4, 500] {
        let taken = take(&tar[..tar.len() - less], Limits::default());
        assert!(matches!(taken, Err(Error::Damaged(_))), "{less} bytes less");
    }
}
