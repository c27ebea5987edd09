//! Archives made by hand, since no honest tool makes hostile ones.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use proptest::prelude::*;
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use tar::{Builder, EntryType, Header};

use super::*;
use crate::digest::Digest;

struct Room {
    folder: tempfile::TempDir,
    layers: Layers,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let layers = Layers::open(&folder.path().join("root")).expect("layers");
        Self { folder, layers }
    }

    fn unpack(&self, blob: &[u8], archive: &[u8]) -> Result<PathBuf, Error> {
        let diff_id = DiffId(Digest::of(archive));
        let chain = ChainId::next(None, &diff_id);
        self.layers.unpack(&Trace::off(), blob, "", &diff_id, &chain, &|_| {})?;
        Ok(self.layers.path(&chain))
    }

    fn plain(&self, archive: &[u8]) -> Result<PathBuf, Error> {
        self.unpack(archive, archive)
    }

    /// Nothing but the root itself is in the folder, and the root has no leftovers.
    fn untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.folder.path()).expect("listed").flatten().collect();
        assert_eq!(names.len(), 1, "something appeared outside of the root: {names:?}");
        assert!(self.layers.list().expect("listed").is_empty(), "a refused layer is visible");
        let left = fs::read_dir(self.folder.path().join("root/layers")).expect("listed").count();
        assert_eq!(left, 0, "something half done was left");
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
/// Whether devices, owners and trusted attributes can be made here.
pub(super) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root to make devices and trusted attributes");
    }
    root
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    let own = |id: u32| u64::from(id);
    header.set_uid(own(rustix::process::geteuid().as_raw()));
    header.set_gid(own(rustix::process::getegid().as_raw()));
    header.set_mtime(1_000_000_000);
    header
}

/// An archive of entries (type, path, link, content), with names as they are: no tool's checks.
pub(super) fn archive(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, path, link, content) in entries {
        let mut header = header(*kind, content.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(1).expect("fits");
            header.set_device_minor(3).expect("fits");
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const SYM: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;

#[test]
fn plain_gzip_and_zstd_give_the_same_layer() {
    let bytes =
        archive(&[(DIR, "etc/", "", b""), (FILE, "etc/motd", "", b"hello"), (SYM, "m", "etc/motd", b"")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).expect("compressed");
    let gzip = gzip.finish().expect("compressed");
    let zstd = zstd::encode_all(&bytes[..], 1).expect("compressed");
    for blob in [&bytes, &gzip, &zstd] {
        let room = Room::new();
        let tree = room.unpack(blob, &bytes).expect("unpacked");
        assert_eq!(fs::read(tree.join("m")).expect("read"), b"hello");
        assert_eq!(fs::metadata(tree.join("etc")).expect("there").mtime(), 1_000_000_000);
        // The same again is a quick return, without a look at the blob.
        room.unpack(b"nonsense", &bytes).expect("it is here");
    }
}

#[test]
fn a_layer_that_lies_about_its_diff_id_is_not_visible() {
    let room = Room::new();
    let bytes = archive(&[(FILE, "a", "", b"x")]);
    let error = room.unpack(&bytes, b"something else").expect_err("a lie");
    assert!(matches!(error, Error::DiffId { .. }), "{error}");
    room.untouched();
    // Bytes after the end are part of the diff id.
    let mut more = bytes.clone();
    more.extend_from_slice(&[7; 100]);
    assert!(matches!(room.unpack(&more, &bytes), Err(Error::DiffId { .. })));
    room.plain(&more).expect("the honest digest");
}

#[test]
fn nothing_leads_out_of_the_layer() {
    for path in ["../escaped", "a/../../escaped", "/../escaped", "..", "./../x"] {
        let room = Room::new();
        let error = room.plain(&archive(&[(FILE, path, "", b"x")])).expect_err(path);
        assert!(matches!(error, Error::Refused { .. }), "{path}: {error}");
        room.untouched();
    }
    let room = Room::new();
    let outside = room.folder.path().to_str().expect("text").to_owned();
    // An absolute path and links that lead out lead to places inside.
    let tree = room
        .plain(&archive(&[
            (FILE, "/escaped-1", "", b"1"),
            (SYM, "up", "../../../..", b""),
            (FILE, "up/escaped-2", "", b"2"),
            (SYM, "abs", &outside, b""),
            (DIR, "d", "", b""),
            (SYM, "d/self", "/d", b""),
            (FILE, "d/self/escaped-3", "", b"3"),
        ]))
        .expect("unpacked");
    assert_eq!(fs::read(tree.join("escaped-1")).expect("inside"), b"1");
    assert_eq!(fs::read(tree.join("escaped-2")).expect("inside"), b"2");
    assert_eq!(fs::read(tree.join("d/escaped-3")).expect("inside"), b"3");
    assert_eq!(fs::read_dir(&outside).expect("listed").count(), 1);
    let dangling = archive(&[(SYM, "abs", &outside, b""), (FILE, "abs/escaped", "", b"x")]);
    assert!(Room::new().plain(&dangling).is_err(), "a link whose target is not in the layer is no directory");
    assert!(!Path::new(&outside).join("escaped").exists());
    // A file over a link replaces the link, it does not follow it.
    let target = room.folder.path().join("root/victim");
    fs::write(&target, "safe").expect("written");
    let over = archive(&[(SYM, "v", target.to_str().expect("text"), b""), (FILE, "v", "", b"evil")]);
    room.plain(&over).expect("unpacked");
    assert_eq!(fs::read(&target).expect("read"), b"safe");
}

#[test]
fn hard_links_stay_inside() {
    let room = Room::new();
    let secret = room.folder.path().join("root/secret");
    fs::write(&secret, "secret").expect("written");
    for link in [secret.to_str().expect("text"), "../../secret", "../../../secret"] {
        assert!(room.plain(&archive(&[(LINK, "stolen", link, b"")])).is_err(), "{link}");
    }
    let through = archive(&[(SYM, "s", secret.to_str().expect("text"), b""), (LINK, "stolen", "s", b"")]);
    let tree = room.plain(&through).expect("a link to the symlink itself");
    assert!(fs::symlink_metadata(tree.join("stolen")).expect("there").is_symlink());
    let room = Room::new();
    let fine = room
        .plain(&archive(&[(FILE, "a", "", b"1"), (LINK, "b", "a", b""), (LINK, "a", "a", b"")]))
        .expect("unpacked");
    assert_eq!(
        fs::metadata(fine.join("a")).expect("there").ino(),
        fs::metadata(fine.join("b")).expect("there").ino()
    );
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    if !root() {
        return;
    }
    let room = Room::new();
    let tree = room
        .plain(&archive(&[
            (FILE, ".wh.gone", "", b""),
            (DIR, "d/", "", b""),
            (FILE, "d/.wh..wh..opq", "", b""),
            (FILE, "d/new", "", b"n"),
            (FILE, "e/.wh..wh..opq", "", b""),
            (FILE, ".wh..wh.plnk", "", b""),
            (FILE, "kept", "", b"k"),
            (FILE, ".wh.kept", "", b""),
            (FILE, ".wh.again", "", b""),
            (DIR, "again/", "", b""),
        ]))
        .expect("unpacked");
    let gone = fs::symlink_metadata(tree.join("gone")).expect("there");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |name: &str| {
        let mut value = [0; 4];
        lgetxattr(tree.join(name), "trusted.overlay.opaque", &mut value[..])
            .is_ok_and(|size| &value[..size] == b"y")
    };
    assert!(opaque("d") && opaque("e") && opaque("again") && !opaque("."));
    assert_eq!(fs::read(tree.join("kept")).expect("what the layer itself has stays"), b"k");
    assert!(!tree.join(".wh..wh.plnk").exists());
}

#[test]
fn odd_whiteouts_are_refused_or_ignored() {
    for path in [".wh.", ".wh..", ".wh...", "a/.wh.", ".wh.../x", ".wh.a/b"] {
        let room = Room::new();
        let error = room.plain(&archive(&[(DIR, "a", "", b""), (FILE, path, "", b"")])).expect_err(path);
        assert!(matches!(error, Error::Refused { .. }), "{path}: {error}");
        room.untouched();
    }
    let room = Room::new();
    let tree = room.plain(&archive(&[(FILE, ".wh..wh.aufs", "", b""), (FILE, ".wh..wh..opq", "", b"")]));
    assert_eq!(fs::read_dir(tree.expect("ignored")).expect("listed").count(), 0);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let room = Room::new();
    let tree = room
        .plain(&archive(&[
            (FILE, "x", "", b"1"),
            (DIR, "x/", "", b""),
            (FILE, "x/y", "", b"2"),
            (FILE, "z/deep/er", "", b"3"),
            (FILE, "z", "", b"4"),
            (SYM, "l", "x", b""),
            (DIR, "l/", "", b""),
            (FILE, "l/in", "", b"5"),
        ]))
        .expect("unpacked");
    assert_eq!(fs::read(tree.join("x/y")).expect("read"), b"2");
    assert_eq!(fs::read(tree.join("z")).expect("read"), b"4");
    assert!(!tree.join("x/in").exists(), "a directory over a link is a directory");
}

#[test]
fn modes_owners_devices_attributes_and_times_are_kept() {
    if !root() {
        return;
    }
    let mut builder = Builder::new(Vec::new());
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0_u8];
    let extensions: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.user.multi", b"a\nb=c\n"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("mtime", b"1234567890.123456789"),
    ];
    builder.append_pax_extensions(extensions).expect("added");
    let mut file = header(FILE, 2);
    file.set_mode(0o4755);
    file.set_uid(12);
    file.set_gid(34);
    builder.append_data(&mut file, format!("long/{}/f", "n".repeat(150)), &b"hi"[..]).expect("added");
    let mut bytes = builder.into_inner().expect("made");
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(archive(&[(EntryType::Char, "null", "", b""), (EntryType::Fifo, "pipe", "", b"")]));
    let room = Room::new();
    let tree = room.plain(&bytes).expect("unpacked");
    let path = tree.join("long").join("n".repeat(150)).join("f");
    let found = fs::metadata(&path).expect("there");
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o4755, 12, 34));
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 123_456_789));
    let mut value = [0; 64];
    assert_eq!(lgetxattr(&path, "security.capability", &mut value[..]), Ok(20));
    let has_user = lgetxattr(&path, "user.multi", &mut value[..]);
    assert!(has_user.is_err() || &value[..6] == b"a\nb=c\n");
    assert!(
        lgetxattr(&path, "trusted.overlay.redirect", &mut value[..]).is_err(),
        "overlayfs's own are refused"
    );
    assert_eq!(fs::metadata(tree.join("null")).expect("there").rdev(), rustix::fs::makedev(1, 3));
    assert!(fs::metadata(tree.join("pipe")).expect("there").file_type().is_fifo());
    assert_eq!(fs::metadata(room.folder.path().join("root/layers")).expect("there").mode() & 0o077, 0);
}

#[test]
fn sparse_files_stay_sparse() {
    let mut bytes = Vec::new();
    let record = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n31 GNU.sparse.realsize=9000000\n25 GNU.sparse.name=holey\n";
    let mut pax = header(EntryType::XHeader, record.len() as u64);
    pax.set_path("p").expect("fits");
    pax.set_cksum();
    bytes.extend_from_slice(pax.as_bytes());
    bytes.extend_from_slice(record.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    // One piece: four bytes at 4096. The map is before the data, in a block of its own.
    let mut file = header(FILE, 516);
    file.set_path("GNUSparseFile.0/holey").expect("fits");
    file.set_cksum();
    bytes.extend_from_slice(file.as_bytes());
    bytes.extend_from_slice(b"1\n4096\n4\n");
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend_from_slice(b"DATA");
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend_from_slice(&[0; 1024]);
    let tree = Room::new();
    let file = tree.plain(&bytes).expect("unpacked").join("holey");
    let found = fs::metadata(&file).expect("there");
    assert_eq!(found.len(), 9_000_000);
    assert!(found.blocks() * 512 < 100_000, "the holes take no room");
    assert_eq!(&fs::read(&file).expect("read")[4096..4100], b"DATA");
}

#[test]
fn a_size_that_no_file_has_is_refused() {
    for size in [u64::MAX, u64::MAX - 511, 1 << 63] {
        let mut file = header(FILE, size);
        file.set_path("large").expect("fits");
        file.set_cksum();
        let error = Room::new().plain(file.as_bytes()).expect_err("it is refused");
        assert!(error.to_string().contains("size that no file has"), "{error}");
    }
}

#[test]
fn what_an_archive_costs_is_bounded() {
    let room = Room::new();
    let small = Room { layers: room.layers.with_limits(Limits { entries: 10, bytes: 1 << 20 }), ..room };
    // A bomb: a few bytes that become many.
    let zeros = vec![0; 4 << 20];
    let bomb = zstd::encode_all(&archive(&[(FILE, "zeros", "", &zeros)])[..], 19).expect("compressed");
    assert!(bomb.len() < 4096);
    assert!(matches!(small.unpack(&bomb, b"?"), Err(Error::TooMuch { what: "bytes", .. })));
    let many: Vec<(EntryType, &str, &str, &[u8])> = vec![(FILE, "same", "", b""); 11];
    assert!(matches!(small.plain(&archive(&many)), Err(Error::TooMuch { what: "entries", .. })));
    // A file that claims more than there is, an extended header of gigabytes.
    let mut claim = header(FILE, 1 << 40);
    claim.set_path("huge").expect("fits");
    claim.set_cksum();
    assert!(matches!(small.plain(claim.as_bytes()), Err(Error::TooMuch { .. })));
    let mut pax = header(EntryType::XHeader, 4 << 30);
    pax.set_path("p").expect("fits");
    pax.set_cksum();
    assert!(matches!(small.plain(pax.as_bytes()), Err(Error::TooMuch { .. })));
    small.untouched();
}

#[test]
fn names_and_trees_that_are_too_long_fail_and_leave_nothing() {
    let room = Room::new();
    let mut builder = Builder::new(Vec::new());
    let long = "n".repeat(300);
    builder.append_data(&mut header(FILE, 0), &long, &b""[..]).expect("added");
    let error = room.plain(&builder.into_inner().expect("made")).expect_err("too long a name");
    assert!(matches!(error, Error::Entry { .. }), "{error}");
    room.untouched();
    // Links make a tree deeper than any path; it can still be removed.
    let mut builder = Builder::new(Vec::new());
    let steps = vec!["d"; 1500].join("/");
    builder.append_data(&mut header(DIR, 0), &steps, &b""[..]).expect("added");
    for round in 0..3 {
        let mut link = header(SYM, 0);
        let from = if round == 0 { steps.clone() } else { format!("l{}/{steps}", round - 1) };
        builder.append_link(&mut link, format!("l{round}"), &from).expect("added");
        builder.append_data(&mut header(DIR, 0), format!("l{round}/{steps}"), &b""[..]).expect("added");
    }
    let bytes = builder.into_inner().expect("made");
    room.plain(&bytes).expect("unpacked");
    room.layers.remove(&ChainId(Digest::of(&bytes))).expect("removed");
    room.untouched();
}

#[test]
fn damaged_archives_are_errors() {
    let whole = archive(&[(DIR, "d", "", b""), (FILE, "d/f", "", &[1; 5000])]);
    for cut in [1, 300, 512, 700, 1200, 5000, 6300] {
        let room = Room::new();
        let end = room.plain(&whole[..cut]);
        assert!(end.is_err() || cut == 512, "cut at {cut}");
    }
    let mut wrong = whole.clone();
    wrong[0] ^= 1;
    assert!(matches!(Room::new().plain(&wrong), Err(Error::Damaged(_))));
    assert!(matches!(
        Room::new().plain(&archive(&[(EntryType::new(b'Z'), "z", "", b"")])),
        Err(Error::Refused { .. })
    ));
}

#[test]
fn what_was_half_done_is_cleared_at_the_start() {
    let room = Room::new();
    let folder = room.folder.path().join("root");
    fs::create_dir_all(folder.join("layers/.new-1/fs/a/b")).expect("made");
    fs::create_dir_all(folder.join("layers/.old-2/fs")).expect("made");
    Layers::open(&folder).expect("opens");
    room.untouched();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Bytes of any kind after a good start: an error at most.
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), good in any::<bool>()) {
        if good {
            let mut start = archive(&[(FILE, "a", "", b"x")]);
            start.truncate(1024);
            start.append(&mut bytes);
            bytes = start;
        }
        let room = Room::new();
        let _ = room.plain(&bytes);
    }

    /// A tree, its diff, and the diff unpacked are the same.
    #[test]
    fn a_diff_unpacks_to_the_same_tree(
        files in proptest::collection::btree_map("[a-c]{1,3}(/[d-f]{1,120}){0,2}", (proptest::collection::vec(any::<u8>(), 0..2000), 0..4_u8, 0..0o1000_u32), 0..12),
    ) {
        let room = Room::new();
        let upper = room.folder.path().join("root/upper");
        fs::create_dir(&upper).expect("made");
        for (path, (content, kind, mode)) in &files {
            let path = upper.join(path);
            if fs::create_dir_all(path.parent().expect("has one")).is_err() || path.exists() {
                continue;
            }
            match kind {
                0 => std::os::unix::fs::symlink("some/where", &path).expect("made"),
                1 if rustix::process::geteuid().is_root() =>
                    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty(), 0).expect("made"),
                _ => {
                    fs::write(&path, content).expect("written");
                    let _ = lsetxattr(&path, "user.note", &content[..content.len().min(50)], XattrFlags::empty());
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("set");
                    let _ = fs::hard_link(&path, path.with_extension("z"));
                }
            }
        }
        let mut first = Vec::new();
        let diffed = room.layers.diff(&Trace::off(), &upper, &mut first).expect("a diff");
        prop_assert_eq!(diffed.size, first.len() as u64);
        prop_assert_eq!(&diffed.diff_id.0, &Digest::of(&first));
        let tree = room.plain(&first).expect("unpacked");
        prop_assert_eq!(picture(&tree), picture(&upper));
        let mut second = Vec::new();
        room.layers.diff(&Trace::off(), &tree, &mut second).expect("a diff of that");
        prop_assert!(first == second, "the same tree gives the same bytes");
    }
}

type Facts = (u32, u64, i64, i64, Vec<u8>, u64);

/// What is in a tree, by path.
fn picture(folder: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).expect("listed").flatten() {
            let (path, stat) = (entry.path(), entry.metadata().expect("there"));
            let content = if stat.is_file() { fs::read(&path).expect("read") } else { Vec::new() };
            let links = if stat.is_file() { stat.nlink() } else { 0 };
            // A directory that a child is made in shows the time of that.
            let facts = (stat.mode(), stat.rdev(), stat.mtime(), stat.mtime_nsec(), content, links);
            found.insert(path.strip_prefix(folder).expect("below").to_owned(), facts);
            if stat.is_dir() {
                waiting.push(path);
            }
        }
    }
    // Times of whiteouts mean nothing.
    for facts in found.values_mut().filter(|facts| facts.0 & 0o170_000 == 0o020_000) {
        (facts.2, facts.3) = (0, 0);
    }
    found
}
