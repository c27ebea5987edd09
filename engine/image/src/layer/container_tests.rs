//! What `diff`, `commit`, `cp` and `export` do with a container's folders.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use tar::EntryType;

use super::tests::{archive, root};
use super::*;

/// A layer below, and an upper directory above it.
struct Container {
    folder: tempfile::TempDir,
    layers: Layers,
}

impl Container {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let layers = Layers::open(&folder.path().join("root")).expect("layers");
        for name in ["lower/etc", "lower/opt/a/b", "lower/gone", "lower/kept", "upper"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        for name in ["lower/etc/passwd", "lower/opt/a/one", "lower/opt/a/b/two", "lower/gone/f"] {
            fs::write(folder.path().join(name), name).expect("a file");
        }
        Self { folder, layers }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn upper(&self, path: &str) -> PathBuf {
        let path = self.at("upper").join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        path
    }

    fn whiteout(&self, path: &str) {
        mknodat(CWD, self.upper(path), FileType::CharacterDevice, Mode::empty(), 0).expect("a whiteout");
    }

    fn lower(&self) -> Vec<PathBuf> {
        vec![self.at("lower")]
    }

    /// `C /etc`, a line a change, as docker prints them.
    fn changes(&self) -> Vec<String> {
        let found = self.layers.changes(&Trace::off(), &self.at("upper"), &self.lower()).expect("compared");
        let line = |change: &Change| {
            let kind = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{kind} {}", String::from_utf8_lossy(&change.path))
        };
        found.iter().map(line).collect()
    }

    fn diff(&self) -> Vec<String> {
        let mut bytes = Vec::new();
        let diffed = self.layers.diff_container(&Trace::off(), &self.at("upper"), &self.lower(), &mut bytes);
        diffed.expect("an archive");
        names(&bytes)
    }
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("entries");
    entries.map(|entry| entry.expect("an entry").path().expect("a path").display().to_string()).collect()
}

#[test]
fn changes_are_told_as_docker_tells_them() {
    if !root() {
        return;
    }
    let container = Container::new();
    fs::write(container.upper("etc/new"), "x").expect("a file");
    container.whiteout("opt/a/one");
    fs::create_dir_all(container.upper("opt/a/b/x").parent().expect("a parent")).expect("a folder");
    fs::create_dir(container.upper("gone")).expect("a folder");
    lsetxattr(container.at("upper/gone"), "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .expect("marked");
    fs::write(container.upper("gone/g"), "x").expect("a file");
    fs::create_dir(container.upper("kept")).expect("a folder");
    fs::create_dir_all(container.upper("n/m/x").parent().expect("a parent")).expect("folders");
    assert_eq!(
        container.changes(),
        [
            "C /etc",
            "A /etc/new",
            "C /gone",
            "D /gone/f",
            "A /gone/g",
            "A /n",
            "A /n/m",
            "C /opt",
            "C /opt/a",
            "D /opt/a/one",
        ]
    );
    fs::set_permissions(container.at("upper/kept"), fs::Permissions::from_mode(0o700)).expect("a mode");
    assert!(container.changes().contains(&"C /kept".to_owned()));
}

#[test]
fn the_engines_own_places_are_nobodys_change() {
    if !root() {
        return;
    }
    let container = Container::new();
    for path in [".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console"] {
        fs::write(container.upper(path), "").expect("a file");
    }
    for path in ["proc", "sys"] {
        fs::create_dir(container.upper(path)).expect("a folder");
    }
    assert_eq!(container.changes(), Vec::<String>::new());
    assert_eq!(container.diff(), Vec::<String>::new());
    fs::write(container.upper("etc/hosts"), "own").expect("a file");
    fs::write(container.upper("proc/own"), "").expect("a file");
    assert_eq!(container.changes(), ["C /etc", "A /etc/hosts", "A /proc", "A /proc/own"]);
    assert_eq!(container.diff(), ["etc/", "proc/", "etc/hosts", "proc/own"]);
}

#[test]
fn a_furnished_container_has_not_changed() {
    if !root() {
        return;
    }
    let container = Container::new();
    fs::write(container.at("lower/etc/hosts"), "the image's").expect("a file");
    fs::write(container.at("lower/etc/mtab"), "the machine's").expect("a file");
    fs::set_permissions(container.at("lower/etc"), fs::Permissions::from_mode(0o750)).expect("a mode");
    std::os::unix::fs::chown(container.at("lower/etc"), Some(7), Some(8)).expect("an owner");
    symlink(container.at("outside"), container.at("lower/dev")).expect("a link");
    fs::create_dir(container.at("outside")).expect("a folder");
    let upper = container.at("upper");
    container.layers.furnish(&upper, &container.lower()).expect("furnished");
    let list = |folder: &str| {
        let entries = fs::read_dir(container.at(folder)).expect("listed");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(list("upper"), [".dockerenv", "etc", "proc", "sys"]);
    assert_eq!(list("upper/etc"), ["hostname", "mtab", "resolv.conf"]);
    assert_eq!(list("outside"), [""; 0], "a link of the image leads nowhere");
    let etc = fs::metadata(upper.join("etc")).expect("there");
    assert_eq!((etc.mode() & 0o7777, etc.uid(), etc.gid()), (0o750, 7, 8));
    assert_eq!(fs::read_link(upper.join("etc/mtab")).expect("a link"), Path::new("/proc/mounts"));
    assert_eq!(container.changes(), Vec::<String>::new());
    assert_eq!(container.diff(), Vec::<String>::new());
    // An image of a whole container has the marks already.
    let whole = vec![upper.clone(), container.at("lower")];
    fs::create_dir(container.at("next")).expect("a folder");
    container.layers.furnish(&container.at("next"), &whole).expect("furnished");
    assert_eq!((list("next"), list("next/etc")), (vec![".dockerenv".into(), "etc".into()], Vec::new()));
    let next = container.layers.changes(&Trace::off(), &container.at("next"), &whole).expect("compared");
    assert_eq!(next, []);
    // What someone makes of them is a change, and so is such a link where nothing was furnished.
    fs::remove_file(upper.join("etc/mtab")).expect("removed");
    symlink("/elsewhere", upper.join("etc/mtab")).expect("a link");
    assert_eq!(container.changes(), ["C /etc", "C /etc/mtab"]);
    fs::remove_file(upper.join(".dockerenv")).expect("removed");
    fs::remove_file(upper.join("etc/mtab")).expect("removed");
    symlink("/proc/mounts", upper.join("etc/mtab")).expect("a link");
    assert_eq!(container.diff(), ["etc/", "etc/mtab"]);
}

#[test]
fn attributes_are_part_of_a_change() {
    let container = Container::new();
    fs::write(container.upper("noted"), "x").expect("a file");
    // Not every file system takes them.
    if lsetxattr(container.upper("noted"), "user.note", b"hello", XattrFlags::empty()).is_err() {
        return;
    }
    let mut archive = Vec::new();
    container.layers.diff(&Trace::off(), &container.at("upper"), &mut archive).expect("archived");
    let told = b"SCHILY.xattr.user.note=hello\n";
    assert!(archive.windows(told.len()).any(|bytes| bytes == told));
    let read = attributes_of(&container.upper("noted")).expect("read");
    assert_eq!(read, [(b"user.note".to_vec(), b"hello".to_vec())]);
}

#[test]
fn what_is_copied_in_stays_in_its_folder() {
    if !root() {
        return;
    }
    let container = Container::new();
    let tree = container.at("lower");
    fs::create_dir(tree.join("tmp")).expect("a folder");
    symlink("/opt/a", tree.join("link")).expect("a link");
    symlink("/../../../../tmp", tree.join("kept/out")).expect("a link");
    let put = |folder: &str, keep: bool, entries: &[(EntryType, &str, &str, &[u8])]| {
        let target = Target::new(folder.as_bytes(), keep, Some((7, 8))).expect("a target");
        let root = fs::File::open(&tree).expect("open");
        extract(root.into(), &target, archive(entries).as_slice(), Limits::default())
            .map_err(|error| error.to_string())
    };
    let (file, dir) = (EntryType::Regular, EntryType::Directory);
    let (sym, hard) = (EntryType::Symlink, EntryType::Link);
    put("/opt", true, &[(dir, "./", "", b""), (file, "/x/y", "", b"new"), (hard, "z", "x/y", b"")])
        .expect("in");
    let made = tree.join("opt/x/y").metadata().expect("there");
    assert_eq!((made.uid(), made.gid(), made.nlink()), (7, 8, 2));
    assert_eq!(fs::metadata(tree.join("opt")).expect("there").uid(), 0, "the folder itself stays as it is");
    for (entries, message) in [
        (&[(file, "../x", "", &b"x"[..])], r#""../x" is outside of "/opt""#),
        (&[(file, "a/../../x", "", &b"x"[..])], r#""a/../../x" is outside of "/opt""#),
        (&[(sym, "l", "../../etc", &b""[..])], r#"invalid symlink "/opt/l" -> "../../etc""#),
        (&[(hard, "h", "../etc/passwd", &b""[..])], r#"invalid hardlink "/etc/passwd" -> "../etc/passwd""#),
        (&[(file, "a", "", &b"x"[..])], r#"cannot overwrite directory "/opt/a" with non-directory "/opt""#),
        (&[(dir, "x/y", "", &b""[..])], r#"cannot overwrite non-directory "/opt/x/y" with directory "/opt""#),
    ] {
        assert_eq!(put("/opt", true, entries).expect_err(message), message);
    }
    // Links of the tree are followed inside it, and a whiteout is a name like any other.
    put(
        "/",
        true,
        &[(file, "link/in", "", b"1"), (file, "kept/out/deep", "", b"2"), (file, ".wh.x", "", b"")],
    )
    .expect("in");
    assert_eq!(fs::read(tree.join("opt/a/in")).expect("there"), b"1");
    assert_eq!(fs::read(tree.join("tmp/deep")).expect("inside"), b"2");
    assert!(tree.join(".wh.x").is_file());
    put("/opt", false, &[(file, "a", "", b"a file now")]).expect("in");
    assert!(tree.join("opt/a").is_file());
}

#[test]
fn folders_are_packed_by_a_name_of_their_own() {
    let container = Container::new();
    let tree = container.at("lower/opt");
    fs::hard_link(tree.join("a/one"), tree.join("a/same")).expect("a link");
    let long = "x".repeat(120);
    fs::write(tree.join("a").join(&long), "long").expect("a file");
    let packed = |name: &str| {
        let mut bytes = Vec::new();
        pack::directory(fs::File::open(tree.join("a")).expect("open").into(), name.as_bytes(), &mut bytes)
            .expect("packed");
        names(&bytes)
    };
    let long = |prefix: &str| format!("{prefix}{}", "x".repeat(120));
    assert_eq!(packed("b"), ["b/", "b/b/", "b/one", "b/same", &long("b/"), "b/b/two"]);
    assert_eq!(packed(""), ["b/", "one", "same", &long(""), "b/two"]);
    assert_eq!(packed("/")[..2], ["/", "/b/"]);
    let mut bytes = Vec::new();
    let folder = || fs::File::open(&tree).expect("open").into();
    pack::single(folder(), b"a/one", b"1", &mut bytes).expect("packed");
    assert_eq!(names(&bytes), ["1"]);
}
